"""Direct memory access: AXI4 signatures, the units LOAD and STORE, and the arbiter of the read channel."""
