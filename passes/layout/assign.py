"""The pass that assigns layouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...ir.graph import Graph
from ...ir.ops.channels_last import ChannelsLastOp
from ..base import Change, Pass
from ..context import Context
from . import agnostic, axes, products  # registers the handlers
from .choice import Layout
from .rebuild import Rebuilder

__all__ = ["AssignLayout", "agnostic", "axes", "products"]


@dataclass(frozen=True)
class AssignLayout(Pass):
    """Choose which values are held with channels last, so that the fewest bytes are transposed.

    The wish for channels last spreads from the spatial operators through everything that can work in either layout; Transposes of the
    model are seen as other views of what they read. A minimum cut over the nodes then says which of them run on moved operands.
    """

    name: ClassVar[str] = "assign-layout"

    def run(self, graph: Graph, context: Context) -> Change:
        change = Change()
        for part in list(graph.graphs()):
            if not any(isinstance(node.op, ChannelsLastOp) for node in part) or not context.permit(self.name):
                continue
            layout = Layout(part)
            layout.spread()
            layout.choose()
            change.record("moved-nodes", Rebuilder(layout).run())
        return change
