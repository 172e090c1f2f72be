"""What nodes cost as long as no cost model of the hardware says better: their work and the bytes that they move."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..costmodel.memory import type_bytes
from ..costmodel.work import node_macs
from ..ir.dims import Dim, Expr, substitute
from ..ir.graph import Node

Price = Callable[[Sequence[Node]], "float | None"]
"""Gives the price of running some nodes, in any one unit (seconds where a cost model gives it); None when it is not known."""

NOMINAL_SIZE = 16
"""What a symbolic dimension is taken for where one number is needed."""


def nominal(dim: Dim | None) -> float:
    """A size as a number, symbols taken for `NOMINAL_SIZE`; what is not known counts as nothing.

    >>> nominal(7), nominal(None)
    (7.0, 0.0)
    """
    if isinstance(dim, Expr):
        dim = substitute(dim, dict.fromkeys(dim.symbols(), NOMINAL_SIZE))
    return float(dim) if isinstance(dim, int) else 0.0


def moved_bytes(node: Node) -> float:
    """The bytes that a node reads and writes, constants included."""
    values = [v for v in node.inputs if v is not None] + [v for v in node.outputs if v.uses]
    return sum(nominal(type_bytes(value.type)) for value in values)


def work_price(nodes: Sequence[Node]) -> float:
    """Multiply-accumulates plus bytes moved: one of either is taken to last equally long."""
    return sum(nominal(node_macs(node)) + moved_bytes(node) for node in nodes)
