"""Equal computations are done once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..ir.graph import Graph, Node, Value
from ..ir.ops.region import Region
from .base import Change, Pass
from .context import Context
from .mutation import replace_value
from .share_constants import ConstantPool


@dataclass(frozen=True)
class CommonSubexpressions(Pass):
    """Compute equal things once: same operator, attributes and operands; constants count as the same when they are equal.

    Inside a region the values of the enclosing graphs are used again. Nodes that are not pure, and those that hold regions, stay.
    """

    name: ClassVar[str] = "common-subexpressions"
    aliases: ClassVar[tuple[str, ...]] = ("cse",)
    idempotent: ClassVar[bool] = True

    def run(self, graph: Graph, context: Context) -> Change:
        merger = _Merger(context)
        merger.visit(graph)
        return Change.of("node", merger.merged)


class _Merger:
    def __init__(self, context: Context) -> None:
        self.context = context
        self.constants = ConstantPool()
        self.seen: dict[Any, Node] = {}  # what is visible at the present point
        self.merged = 0

    def visit(self, graph: Graph) -> None:
        own: list[Any] = []
        for node in graph:
            if node.regions:
                self._visit_regions(node)
                continue
            if not node.op.pure:
                continue
            key = self._key(node)
            first = self.seen.get(key)
            if first is None:
                self.seen[key] = node
                own.append(key)
            elif self.context.permit("common-subexpressions"):
                self._merge(graph, node, first)
        for key in own:
            del self.seen[key]

    def _visit_regions(self, node: Node) -> None:
        outside = self.seen
        if isinstance(node.op, Region):
            self.seen = {}  # the body of a Region may read nothing but its inputs
        for region in node.regions:
            self.visit(region)
        self.seen = outside

    def _key(self, node: Node) -> tuple[Any, ...]:
        operands: list[Value | None] = []
        for value in node.inputs:
            operands.append(self.constants.representative(value) if value is not None and value.data is not None else value)
        if node.op.commutative and len(operands) >= 2 and id(operands[1]) < id(operands[0]):
            operands[0], operands[1] = operands[1], operands[0]
        return (type(node.op), node.op, len(node.outputs), *operands)

    def _merge(self, graph: Graph, node: Node, first: Node) -> None:
        for old, new in zip(node.outputs, first.outputs, strict=True):
            replace_value(graph, old, new)
        first.sources += tuple(s for s in node.sources if s not in first.sources)
        graph.remove(node)
        self.merged += 1
