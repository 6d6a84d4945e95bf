"""Random programs of legal instructions, on the RTL and on the functional device."""

from celosia.sim.fuzz.runner import FuzzError, Tally, fuzz

__all__ = ["FuzzError", "Tally", "fuzz"]
