"""What a network asks of a machine, before any program exists: operations, intensity, rooflines, an analytical latency.

The rules are those of "Full Stack Optimization of Transformer Inference: a Survey" (arXiv 2302.14017), here called the
survey; `printed.toml` holds what its tables print, `comparison` puts ours beside it.
"""
