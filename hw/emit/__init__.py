"""Emission: RTLIL, Verilog, C header, documentation and the package that holds them."""
