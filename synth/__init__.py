"""Area and timing flows."""
