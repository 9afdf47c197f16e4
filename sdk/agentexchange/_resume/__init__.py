"""Durable positions: a program goes on where it stopped."""
