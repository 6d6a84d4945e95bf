"""The systolic array and the sequencer that runs matmuls on it."""
