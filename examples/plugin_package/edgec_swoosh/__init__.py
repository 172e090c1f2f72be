"""A plugin of edgec: importing the package registers an operator, a rewrite rule and a pass."""

from . import fuse, operator

__all__ = ["operator", "fuse"]
