"""Place and route: how fast a configuration runs on a device, and what stops it from running faster."""
