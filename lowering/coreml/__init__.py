"""Lowering to Core ML: a MIL program saved as an .mlpackage."""
