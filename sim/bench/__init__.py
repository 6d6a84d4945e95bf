"""cocotb testbenches and what they share: `harness`, `streams`, `ports`."""
