"""The two on-chip memories and their ports."""
