"""Which tensors only get longer when a cache is replaced by a buffer, and what nodes need so that this stays true.

A tensor with an axis of positions, ``past + sequence`` long, has ``length`` entries there once the caches are buffers. It keeps its
*lanes* when the entries of the filled places are what they were; what the other places hold does not matter, since attention is not let
near them. `Lanes` goes through the graph in order and proves this for every tensor that grows, by a rule for each kind of operator. A
node without a rule, or whose rule fails, is an obstacle: the graph is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...ir.dims import product
from ...ir.graph import Graph, Node, Value
from ...ir.types import TensorType
from ..context import Context
from ..mutation import captured_values
from .pairs import Pair
from .terms import CacheTerms

FULL, PAST, WEIGHTS = "full", "past", "weights"


@dataclass(frozen=True)
class Lane:
    """How a tensor grows.

    Attributes:
        axis: the axis of the positions.
        kind: ``full``: all positions are filled; ``past``: those before the new ones are; ``weights``: likewise ``full``, and zero
            at the places that are not.
    """

    axis: int
    kind: str = FULL


class Obstacle(Exception):
    """Why a graph cannot have buffers of a fixed length, and where."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(reason)
        self.reason, self.where = reason, where


Rule = Callable[["Lanes", Node], None]
RULES: dict[type, Rule] = {}


def lane_rule(*classes: type) -> Callable[[Rule], Rule]:
    """Declare the rule of some operator classes."""

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(classes, rule))
        return rule

    return register


class Lanes:
    """The proof for one graph, and the edits that it asks for.

    Attributes:
        terms: sizes and positions at run time.
        lanes: the tensors that grow.
        edits: what is to be done to each node once everything is proven.
        settled: operands made of the number of positions that a rule has dealt with; the others get the numbers computed anew.
        appends: the nodes that append to caches.
    """

    def __init__(self, graph: Graph, context: Context, terms: CacheTerms, pairs: list[Pair]) -> None:
        self.graph, self.context, self.terms = graph, context, terms
        self.lanes: dict[Value, Lane] = {pair.past: Lane(pair.axis, PAST) for pair in pairs}
        self.edits: dict[Node, list[Callable[[Node], None]]] = {}
        self.settled: set[tuple[Node, int]] = set()
        self.appends: dict[Node, None] = dict.fromkeys(pair.node for pair in pairs)
        self._outputs = {pair.output: pair for pair in pairs}

    def prove(self) -> None:
        """Go through the graph; `Obstacle` when something else than lanes comes out."""
        graph = self.graph
        for value in graph.inputs:
            if value not in self.lanes and value.shape is not None:
                axes = [axis for axis, dim in enumerate(value.shape) if self.terms.grows(dim)]
                if axes:
                    self.lanes[value] = Lane(self._single(axes, value, f"input '{value.name}'"))
        for node in graph:
            self._visit(node)
        for index, (value, name) in enumerate(zip(graph.outputs, graph.output_names, strict=True)):
            if value in self.lanes and index not in self._outputs:
                raise Obstacle(f"the output '{name}' of type {value.type} grows and is no cache", f"output '{name}'")
            if self.sized(value):
                raise Obstacle(f"the output '{name}' is the number of positions", f"output '{name}'")

    # -- questions that rules ask -----------------------------------------------------------------------------------------
    def of(self, value: Value | None) -> Lane | None:
        """How a tensor grows, None when it does not."""
        return None if value is None else self.lanes.get(value)

    def sized(self, value: Value | None) -> bool:
        """Whether a value is computed from the number of positions alone."""
        return value is not None and value.content is not None and any(self.terms.grows(d) for d in value.content)

    def grown_axis(self, value: Value, node: Node) -> int | None:
        """The axis along which a tensor grows by its shape; `Obstacle` when it is not exactly the number of positions."""
        if value.shape is None:
            raise Obstacle("the rank is not known", node.where)
        axes = [axis for axis, dim in enumerate(value.shape) if self.terms.grows(dim)]
        return self._single(axes, value, node.where) if axes else None

    def _single(self, axes: list[int], value: Value, where: str) -> int:
        assert value.shape is not None
        if len(axes) > 1 or self.terms.fixed(value.shape[axes[0]]) != self.terms.length:
            raise Obstacle(f"'{value.name}' of type {value.type} grows otherwise than by one axis of all positions", where)
        return axes[0]

    def full(self, value: Value | None, node: Node) -> Lane | None:
        """How a tensor grows; `Obstacle` when the new positions are still missing."""
        lane = self.of(value)
        if lane is not None and lane.kind == PAST:
            raise Obstacle("it reads a cache before the new positions are in", node.where)
        return lane

    def same_place(self, x: Value, axis: int, y: Value) -> int | None:
        """The axis of ``y`` in front of which are as many elements as in front of an axis of ``x``."""
        assert x.shape is not None and y.shape is not None
        normal = self.terms.normal
        before = product([normal(d) for d in x.shape[:axis]])
        for place, dim in enumerate(y.shape):
            if self.terms.grows(dim) and product([normal(d) for d in y.shape[:place]]) == before:
                return place
        return None

    # -- what rules say ---------------------------------------------------------------------------------------------------
    def keep(self, value: Value, axis: int, kind: str = FULL) -> None:
        """A result keeps its lanes."""
        assert value.rank is not None
        self.lanes[value] = Lane(axis % value.rank, kind)

    def edit(self, node: Node, action: Callable[[Node], None]) -> None:
        """Do something to a node once everything is proven."""
        self.edits.setdefault(node, []).append(action)

    # -- the way through the graph ----------------------------------------------------------------------------------------
    def _visit(self, node: Node) -> None:
        for region in node.regions:
            for value in captured_values(region):
                if value in self.lanes or self.sized(value):
                    raise Obstacle("its body reads the cache or the number of positions", node.where)
        if node.outputs and all(self.sized(v) or not isinstance(v.type, TensorType) for v in node.outputs):
            return  # what reads it is given the numbers anew
        rule = RULES.get(type(node.op))
        grown = any(v in self.lanes for v in node.inputs if v is not None)
        if rule is not None and (grown or any(self.sized(v) for v in node.inputs)):
            rule(self, node)
        elif grown and node.op.elementwise:
            elementwise(self, node)
        elif grown and not all(self._is_shape(v) for v in node.outputs):
            raise Obstacle(f"{node.op.qualified_name} may mix the positions of '{self._grown_operand(node)}'", node.where)
        for index, value in enumerate(node.inputs):
            if self.sized(value):
                self._give_numbers(node, index)
        for value in node.outputs:
            if value not in self.lanes and value.shape is not None and any(self.terms.grows(d) for d in value.shape) and value.uses:
                raise Obstacle(f"'{value.name}' of type {value.type} grows in a way that is not followed", node.where)

    def _grown_operand(self, node: Node) -> str:
        return next(v.name for v in node.inputs if v is not None and v in self.lanes)

    @staticmethod
    def _is_shape(value: Value) -> bool:
        """Whether the elements are a shape that does not grow: an axis of a tensor that does."""
        return value.producer is not None and value.producer.op.op_name in ("Shape", "Size") and value.content is not None

    def _give_numbers(self, node: Node, index: int) -> None:
        """Compute an operand that is made of the number of positions from the position instead."""
        value = node.inputs[index]
        assert value is not None
        if (node, index) in self.settled:
            return
        content, shape, dtype = value.content or (), value.tensor.static_shape, value.dtype
        if not self.terms.known(content) or shape is None or dtype is None:
            raise Obstacle(f"'{value.name}' depends on the number of positions in a way that cannot be computed", node.where)
        self.edit(node, lambda n: n.set_operand(index, self.terms.values(content, shape, dtype)))


def resized(lanes: Lanes, node: Node, index: int) -> None:
    """Give a node a shape operand for buffers of the full length."""
    value = node.inputs[index]
    assert value is not None
    content = value.content or (None,)
    if not lanes.terms.known(content):
        raise Obstacle("its shape depends on the number of positions in a way that cannot be computed", node.where)
    dims = [lanes.terms.fixed(d) for d in content if d is not None]
    lanes.settled.add((node, index))
    lanes.edit(node, lambda n: n.set_operand(index, lanes.terms.vector(dims)))


def elementwise(lanes: Lanes, node: Node) -> None:
    """Elements at the same place: all operands that grow do so along one axis of the result."""
    out = node.output
    given: list[tuple[Value, Lane]] = [(v, lane) for v in node.inputs if v is not None and (lane := lanes.of(v)) is not None]
    kinds = {lane.kind for _, lane in given}
    alone = sum(v is not None for v in node.inputs) == 1
    if PAST in kinds and not alone:
        raise Obstacle("it changes a cache before the new positions are in", node.where)
    behind = {(v.rank or 0) - lane.axis for v, lane in given}
    if len(behind) != 1 or out.rank is None:
        raise Obstacle("its operands grow along different axes", node.where)
    kind = next(iter(kinds)) if alone and (kinds != {WEIGHTS} or node.op.op_name in ("Cast", "Identity")) else FULL
    lanes.keep(out, out.rank - next(iter(behind)), kind)


def operand(node: Node, index: int) -> Any:
    """An operand that the operator demands."""
    value = node.operand(index)
    assert value is not None
    return value
