"""The accelerator's Verilog as a shared library, and the device made of it."""
