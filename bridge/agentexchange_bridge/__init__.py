"""The bridge: one upstream feed, written to Redis for every crew that reads it."""
