"""Removal of nodes whose results nobody uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Graph
from .base import Change, Pass
from .context import Context


@dataclass(frozen=True)
class DeadCode(Pass):
    """Remove nodes whose results nobody uses, in regions too. Constants without uses vanish by themselves."""

    name: ClassVar[str] = "dead-code"
    aliases: ClassVar[tuple[str, ...]] = ("dce",)
    idempotent: ClassVar[bool] = True

    def run(self, graph: Graph, context: Context) -> Change:
        return Change.of("node", _sweep(graph, context))


def _sweep(graph: Graph, context: Context) -> int:
    """Visit the nodes backwards: when a node's turn comes, all its users have been visited."""
    removed = 0
    node = graph.last
    while node is not None:
        previous = node.previous
        if any(value.uses for value in node.outputs):
            for region in node.regions:
                removed += _sweep(region, context)
        elif context.permit("dead-code"):
            graph.remove(node)
            removed += 1
        node = previous
    return removed
