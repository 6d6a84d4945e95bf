"""Simulation: the compiled RTL device, testbenches, traces."""
