"""Leaf components that know nothing of the accelerator: buffers, queues, arbiters, memories."""
