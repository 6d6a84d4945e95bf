"""The HDP co-processor: cores of attention behind control, LOAD and STORE (docs/coprocessor.md)."""
