"""Devices that run programs, and the host driver that is the same for all of them."""
