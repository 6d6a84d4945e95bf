"""Area of an accelerator on a target, module by module: `flow.measure`."""
