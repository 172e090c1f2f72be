"""The textual form of graphs and models: `print_graph` and `parse_model` are exact inverses of each other."""

from .parser import parse_model
from .printer import print_graph

__all__ = ["parse_model", "print_graph"]
