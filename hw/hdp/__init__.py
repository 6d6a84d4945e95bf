"""Hybrid dynamic pruning: the sparsity engine, which decides what is worth computing (docs/hdp.md)."""
