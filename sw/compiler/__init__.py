"""From a quantised network to a program: tiling, allocation, scheduling, tokens, encoding."""
