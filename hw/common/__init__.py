"""Leaf components that know nothing of the accelerator: buffers, queues, delays, arbiters, memories."""
