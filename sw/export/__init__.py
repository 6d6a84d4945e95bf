"""Configurations and matmuls in the words of other people's tools: ZigZag and SCALE-Sim."""

from celosia.sw.export.layers import ExportError, distinct, matmuls_json

__all__ = ["ExportError", "distinct", "matmuls_json"]
