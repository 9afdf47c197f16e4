"""What groups and durable positions share: events acknowledged after their handlers have returned."""
