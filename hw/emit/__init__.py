"""Emission: RTLIL, Verilog, C header, documentation and the package that holds them."""

from .package import generate
from .rtlil import rtlil
from .verilog import verilog

__all__ = ["generate", "rtlil", "verilog"]
