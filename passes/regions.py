"""Fusion as grouping: nodes that one kernel can compute become a `Region`, and regions become nodes again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..ir.clone import clone_into
from ..ir.graph import Graph, Node, Value
from ..ir.ops.conv import Conv, ConvTranspose
from ..ir.ops.matmul import Gemm, MatMul
from ..ir.ops.region import Region
from ..ir.ops.unary import Identity
from ..ir.types import TensorType
from .base import Change, Pass
from .context import Context

PRODUCTS = (Conv, ConvTranspose, Gemm, MatMul)
CHAIN, CONVOLUTION, MATRIX = "elementwise-chain", "conv-activation", "matmul-activation"


@dataclass(eq=False)
class _Group:
    """Nodes that are to become one region; the last node's first result is the only one read from outside."""

    nodes: list[Node] = field(default_factory=list)
    product: Node | None = None

    @property
    def kind(self) -> str:
        """What the region is called."""
        if self.product is None:
            return CHAIN
        return CONVOLUTION if isinstance(self.product.op, Conv | ConvTranspose) else MATRIX


@dataclass(frozen=True)
class GroupRegions(Pass):
    """Group Conv, Gemm or MatMul with the bias, activation and residual that follow, and chains of elementwise operators.

    A node joins the group of an operand that nothing else reads, so that every region has one result and no cycle can arise. The whole
    group can then run in one pass over memory: its traffic is that of its operands and its result.

    Attributes:
        max_nodes: how large a region may grow.
    """

    max_nodes: int = 32

    name: ClassVar[str] = "group-regions"
    idempotent: ClassVar[bool] = True

    def run(self, graph: Graph, context: Context) -> Change:
        change = Change()
        for inner in list(graph.graphs()):
            if inner.parent is not None and isinstance(inner.parent.op, Region):
                continue
            for group in _groups(inner, self.max_nodes):
                if not context.permit(self.name):
                    return change
                _enclose(inner, group)
                change.record(group.kind)
        return change


def _groups(graph: Graph, max_nodes: int) -> list[_Group]:
    member: dict[Node, _Group] = {}
    groups: list[_Group] = []
    loaded: set[Value] = set()  # what runtimes compute when they load the model: inside of a kernel it would be computed in every run
    for node in graph:
        if node.op.pure and not node.regions and all(v is None or v.is_constant or v in loaded for v in node.inputs):
            loaded.update(node.outputs)
        elif isinstance(node.op, PRODUCTS):
            member[node] = _Group([node], node)
            groups.append(member[node])
        elif node.op.elementwise and len(node.outputs) == 1 and not isinstance(node.op, Identity) and _is_tensor(node):
            group = _Group([node])
            for value in dict.fromkeys(node.inputs):
                joined = None if value is None else _joinable(value, node, member)
                if joined is None or joined.product is not None and group.product is not None:
                    continue
                if joined is group or len(joined.nodes) + len(group.nodes) > max_nodes:
                    continue
                group = _Group(joined.nodes + group.nodes, joined.product or group.product)
            for inside in group.nodes:
                member[inside] = group
            groups.append(group)
    final = {id(g): g for g in member.values()}
    return [g for g in groups if id(g) in final and len(g.nodes) > 1 and member[g.nodes[-1]] is g]


def _is_tensor(node: Node) -> bool:
    return isinstance(node.output.type, TensorType)


def _joinable(value: Value, user: Node, member: dict[Node, _Group]) -> _Group | None:
    """The group that computes an operand, when ``user`` is its only reader."""
    producer = value.producer
    if producer is None or producer not in member or producer.graph is not user.graph or value.is_output:
        return None
    group = member[producer]
    if group.nodes[-1] is not producer or any(reader is not user for reader, _ in value.uses):
        return None
    return group


def _enclose(graph: Graph, group: _Group) -> Node:
    """Move the nodes of a group into a new Region in the place of the last one."""
    nodes = group.nodes
    last = nodes[-1]
    inside = {v for node in nodes for v in node.outputs}
    operands = list(dict.fromkeys(v for node in nodes for v in node.inputs if v is not None and v.data is None and v not in inside))
    body = Graph(group.kind)
    mapping: dict[Value, Value] = {}
    for operand in operands:
        mapping[operand] = body.add_input(operand.name, operand.type)
        mapping[operand].origins = operand.origins
    for node in nodes:
        copy = body.insert(
            node.op,
            [None if v is None else mapping.get(v, v) for v in node.inputs],
            outputs=len(node.outputs),
            names=[v.name for v in node.outputs],
            name=node.name,
            types=[v.type for v in node.outputs],
        )
        copy.sources, copy.metadata = node.sources, dict(node.metadata)
        for old, new in zip(node.outputs, copy.outputs, strict=True):
            new.origins = old.origins
            mapping[old] = new
    body.set_outputs([mapping[last.output]])
    region = graph.insert(Region(group.kind), operands, before=last, regions=[body], names=[last.output.name], types=[last.output.type])
    region.sources = tuple(dict.fromkeys(s for node in nodes for s in node.sources))
    graph.replace(last.output, region.output)
    for node in reversed(nodes):
        graph.remove(node)
    return region


@dataclass(frozen=True)
class InlineRegions(Pass):
    """Put the nodes of every Region back in its place."""

    name: ClassVar[str] = "inline-regions"
    idempotent: ClassVar[bool] = True

    def run(self, graph: Graph, context: Context) -> Change:
        change = Change()
        for node in [n for n in graph.walk() if isinstance(n.op, Region)]:
            if node.graph is None or not context.permit(self.name):
                continue
            inline_region(node)
            change.record("region")
        return change


def inline_region(node: Node) -> None:
    """Replace one Region by the nodes of its body."""
    graph = node.graph
    assert graph is not None
    body = node.regions[0]
    operands = {inner: outer for inner, outer in zip(body.inputs, node.inputs, strict=True) if outer is not None}
    results = clone_into(body, graph, operands, before=node, rename=False)
    for old, new in zip(node.outputs, results, strict=True):
        graph.replace(old, new)
    graph.remove(node)
