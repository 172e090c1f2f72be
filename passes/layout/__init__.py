"""Layout assignment: which values are held with channels last."""

from . import assign, spatial, weights

__all__ = ["assign", "spatial", "weights"]
