"""Software: golden models, model import, compiler, devices, command line."""
