"""Layout assignment: which values are held with channels last."""

from . import assign, spatial

__all__ = ["assign", "spatial"]
