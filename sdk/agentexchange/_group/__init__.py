"""Consumer groups: each event to one live member."""
