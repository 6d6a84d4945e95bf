"""The core of the HDP co-processor: attention of one head after another over 2 x 2 blocks (docs/coprocessor.md)."""
