"""Hardware: configuration, instruction set, registers, components, emission."""
