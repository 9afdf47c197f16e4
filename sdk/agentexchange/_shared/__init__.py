"""The shared feed: a client fed by Redis instead of by the platform."""
