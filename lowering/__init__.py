"""Lowering: backends, their capability matrices, and the artifacts they make."""
