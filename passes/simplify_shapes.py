"""Shapes that are computed at run time, as little as possible.

Exporters compute the target of a Reshape with chains of Shape, Gather, Unsqueeze and Concat. Inference knows the result of such a
chain as expressions over the symbols of the inputs, so it can be spelled again from scratch: as a constant with 0 (copy) and -1 (what
is left) where one dimension is unknown at most, or from the shapes of the inputs.

A constant with both -1 and a copied symbolic dimension is used only where the copied dimensions are made of symbols of the inputs:
should such a dimension be 0 at run time, -1 would have no meaning, and dimensions of inputs count as not empty. Dimensions that
depend on data (the number of found boxes) may be 0 and are treated as such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..ir.dims import Dim, Expr
from ..ir.graph import Graph, Node, Value, int64s
from ..ir.ops.concat import Concat
from ..ir.ops.gather import Gather
from ..ir.ops.region import Region
from ..ir.ops.reshape import Reshape, Shape, Unsqueeze
from ..ir.ops.slice import Slice
from .base import Change, Pass
from .context import Context
from .driver import apply_rules, index_of
from .mutation import remove_dead, replace_value
from .remove_no_ops import RESHAPING
from .rewriter import Result, Rewriter, rewrites_op
from .values import uniform_number

GROUP = "shapes"
_UNBOUNDED = 2**62
_PARTIAL_SHAPE = 15  # the opset since which Shape has start and end


@dataclass(frozen=True)
class SimplifyShapes(Pass):
    """Spell shapes that are computed at run time in the shortest way, and merge changes of shape that follow each other."""

    name: ClassVar[str] = "simplify-shapes"
    idempotent: ClassVar[bool] = True

    def run(self, graph: Graph, context: Context) -> Change:
        change = apply_rules(graph, index_of(GROUP), context)
        if context.admits("", _PARTIAL_SHAPE):
            change = change | _Rebuilder(graph, context).run()
        return change


def constant_target(source: Value, target: Sequence[Dim | None], symbols: Mapping[str, Any]) -> list[int] | None:
    """A constant operand of Reshape that gives these dimensions, None if there is none.

    Args:
        source: the operand of the Reshape.
        target: the dimensions; None, or a symbol of its own, where nothing is known.
        symbols: the symbols of the graph's inputs (`input_symbols`).
    """
    shape = source.shape
    if any(type(dim) is int and dim == 0 for dim in target):
        return None  # 0 would copy
    entries: list[int] = []
    copied: list[Expr] = []
    opened = 0
    for position, dim in enumerate(target):
        if type(dim) is int:
            entries.append(dim)
        elif dim is not None and shape is not None and position < len(shape) and shape[position] == dim:
            entries.append(0)
            copied.append(dim)  # type: ignore[arg-type]
        else:
            entries.append(-1)
            opened += 1
    if opened > 1 or (opened and not all(dim.bounds(symbols)[0] >= 1 for dim in copied)):
        return None
    return entries


def input_symbols(graph: Graph, context: Context) -> Mapping[str, tuple[int, int]]:
    """The symbols of the dimensions of the model's inputs, with the range that they are taken to have."""
    return context.analysis("input-symbols", graph.root, _input_symbols)


def _input_symbols(graph: Graph) -> dict[str, tuple[int, int]]:
    dims = [dim for value in graph.inputs for dim in value.shape or () if isinstance(dim, Expr)]
    return {name: (1, _UNBOUNDED) for dim in dims for name in dim.symbols()}


@rewrites_op(Reshape, name="constant-reshape", group=GROUP)
def constant_reshape(node: Node, b: Rewriter) -> Result:
    """A Reshape to a computed shape of which at most one dimension is unknown gets a constant shape."""
    value, wanted = node.inputs
    if value is None or wanted is None or wanted.data is not None:
        return None
    dims = wanted.content
    if dims is None or node.output.shape is None or len(dims) != len(node.output.shape):
        return None
    if node.op.allowzero == 0 and any(type(d) is int and d == 0 for d in dims):  # type: ignore[attr-defined]
        return None
    entries = constant_target(value, node.output.shape, input_symbols(b.graph, b.context))
    return b.add(Reshape(), value, b.ints(entries)) if entries is not None else None


@rewrites_op(*RESHAPING, name="merge-reshapes", group=GROUP)
def merge_reshapes(node: Node, b: Rewriter) -> Result:
    """Changes of shape that follow each other are one Reshape, where a constant can say it."""
    first = node.inputs[0]
    if first is None or first.producer is None or not isinstance(first.producer.op, RESHAPING):
        return None
    source = first.producer.inputs[0]
    if source is None or node.output.shape is None:
        return None
    entries = constant_target(source, node.output.shape, input_symbols(b.graph, b.context))
    if entries is None:
        return None
    b.credit(first.producer)
    return b.add(Reshape(), source, b.ints(entries))


@rewrites_op(Slice, name="slice-of-shape", group=GROUP)
def slice_of_shape(node: Node, b: Rewriter) -> Result:
    """Part of a shape is a Shape with start and end."""
    producer = _shape_producer(node, b)
    bounds = [node.operand(i) for i in (1, 2)]
    steps = node.operand(4)
    if producer is None or (steps is not None and uniform_number(steps) != 1):
        return None
    if any(bound is None or bound.ints is None or len(bound.ints) != 1 for bound in bounds):
        return None
    count, offset = _span(producer)
    start, end, _ = slice(bounds[0].ints[0], bounds[1].ints[0]).indices(count)  # type: ignore[union-attr,index]
    b.credit(producer)
    return b.add(Shape(offset + start, offset + max(end, start)), producer.inputs[0])


@rewrites_op(Gather, name="gather-of-shape", group=GROUP)
def gather_of_shape(node: Node, b: Rewriter) -> Result:
    """One or several successive elements of a shape are a Shape with start and end."""
    producer = _shape_producer(node, b)
    indices = node.inputs[1]
    if producer is None or indices is None or indices.ints is None or indices.rank != 1 or not indices.ints:
        return None
    count, offset = _span(producer)
    places = [i % count for i in indices.ints]
    if places != list(range(places[0], places[0] + len(places))):
        return None
    b.credit(producer)
    return b.add(Shape(offset + places[0], offset + places[-1] + 1), producer.inputs[0])


@rewrites_op(Unsqueeze, name="dimension-as-vector", group=GROUP)
def dimension_as_vector(node: Node, b: Rewriter) -> Result:
    """Unsqueeze(Gather(Shape(x), i)) is a Shape of one dimension."""
    scalar = node.inputs[0]
    gather = scalar.producer if scalar is not None else None
    if scalar is None or gather is None or not isinstance(gather.op, Gather) or scalar.shape != ():
        return None
    producer = _shape_producer(gather, b)
    index = uniform_number(gather.inputs[1])
    if producer is None or not isinstance(index, int) or node.output.shape != (1,):
        return None
    count, offset = _span(producer)
    place = offset + index % count
    b.credit(gather, producer)
    return b.add(Shape(place, place + 1), producer.inputs[0])


def _shape_producer(node: Node, b: Rewriter) -> Node | None:
    """The Shape node that computes the first operand, when its number of elements is known and parts of shapes may be used."""
    value = node.inputs[0]
    producer = value.producer if value is not None else None
    if producer is None or not isinstance(producer.op, Shape) or not b.context.admits("", _PARTIAL_SHAPE):
        return None
    source = producer.inputs[0]
    return producer if source is not None and source.rank is not None and producer.output.content else None


def _span(producer: Node) -> tuple[int, int]:
    """The number of elements of a Shape node's result, and the first dimension that it reads."""
    op: Any = producer.op
    source = producer.inputs[0]
    assert source is not None and source.rank is not None
    start, end, _ = slice(op.start, op.end).indices(source.rank)
    return max(end - start, 0), start


class _Rebuilder:
    """Spells vectors of known expressions again from the shapes of the inputs, where that takes fewer nodes."""

    def __init__(self, graph: Graph, context: Context) -> None:
        self.graph, self.context = graph, context
        self.places: dict[Dim, tuple[Value, int]] = {}
        self.parts: dict[tuple[Value, int, int], Value] = {}
        self.change = Change()
        for value in graph.inputs:
            for axis, dim in enumerate(value.shape or ()):
                if isinstance(dim, Expr):
                    self.places.setdefault(dim, (value, axis))

    def run(self) -> Change:
        if not self.places:
            return self.change
        for node in _nodes_that_see_inputs(self.graph):
            if node.graph is None:
                continue
            if isinstance(node.op, Shape):
                self._redirect(node)
                continue
            for position in node.op.shape_operands:
                value = node.operand(position)
                if value is not None and value.producer is not None and not isinstance(value.producer.op, Shape):
                    self._rebuild(value)
        return self.change

    def _redirect(self, node: Node) -> None:
        """A Shape of an inner value whose dimensions an input has in a row reads that input."""
        content, source = node.output.content, node.inputs[0]
        if not content or source is None or source.is_input or not node.output.uses:
            return
        segments = self._segments(content)
        if segments is None or len(segments) != 1 or isinstance(segments[0], list):
            return
        if self.context.permit("shape-of-input"):
            self._replace(node.output, self._part(segments[0]))
            self.change.record("shape-of-input")

    def _rebuild(self, value: Value) -> None:
        content = value.content
        if content is None or value.rank != 1 or all(type(dim) is int for dim in content):
            return
        segments = self._segments(content)
        if segments is None:
            return
        fresh = sum(not isinstance(s, list) and s not in self.parts for s in segments) + (len(segments) > 1)
        if fresh >= _exclusive(value) or not self.context.permit("rebuild-shape"):
            return
        pieces = [int64s(s, self.graph.fresh_name("shape")) if isinstance(s, list) else self._part(s) for s in segments]
        if len(pieces) == 1:
            self._replace(value, pieces[0])
        else:
            assert value.producer is not None and value.producer.graph is not None
            joined = value.producer.graph.add(Concat(0), *pieces, before=value.producer)
            joined.producer.sources = value.producer.sources
            joined.name, value.name = value.name, joined.name
            self._replace(value, joined)
        self.change.record("rebuild-shape")

    def _segments(self, content: Sequence[Dim | None]) -> list[Any] | None:
        """The content as lists of integers and as (input, start, end) runs of an input's dimensions; None if impossible."""
        segments: list[Any] = []
        for dim in content:
            if type(dim) is int:
                if segments and isinstance(segments[-1], list):
                    segments[-1].append(dim)
                elif segments and not isinstance(segments[-1], list) and _continues(segments[-1], dim):
                    segments[-1] = (*segments[-1][:2], segments[-1][2] + 1)
                else:
                    segments.append([dim])
                continue
            if segments and not isinstance(segments[-1], list) and _continues(segments[-1], dim):
                segments[-1] = (*segments[-1][:2], segments[-1][2] + 1)
                continue
            place = self.places.get(dim) if dim is not None else None
            if place is None:
                return None
            segments.append((place[0], place[1], place[1] + 1))
        return segments

    def _part(self, segment: tuple[Value, int, int]) -> Value:
        found = self.parts.get(segment)
        if found is None or found.producer is None or found.producer.graph is None:  # it may have lost its last reader
            source, start, end = segment
            op = Shape() if start == 0 and end == source.rank else Shape(start, end)
            found = self.parts[segment] = self.graph.add(op, source, before=self.graph.first)
        return found

    def _replace(self, old: Value, new: Value) -> None:
        producer = old.producer
        replace_value(self.graph, old, new)
        if producer is not None:
            remove_dead([producer])


def _nodes_that_see_inputs(graph: Graph) -> list[Node]:
    """All nodes but those in the bodies of Regions, which may read nothing of the graphs around them."""
    found: list[Node] = []
    for node in graph:
        found.append(node)
        if not isinstance(node.op, Region):
            for region in node.regions:
                found.extend(_nodes_that_see_inputs(region))
    return found


def _continues(segment: tuple[Value, int, int], dim: Any) -> bool:
    source, _, end = segment
    return source.shape is not None and end < len(source.shape) and source.shape[end] == dim


def _exclusive(value: Value) -> int:
    """How many nodes disappear when nobody reads this value any more."""
    assert value.producer is not None
    gone: set[Node] = {value.producer}
    pending = [operand for operand in value.producer.inputs if operand is not None]
    while pending:
        producer = pending.pop().producer
        if producer is None or producer in gone:
            continue
        if all(user in gone for result in producer.outputs for user, _ in result.uses):
            gone.add(producer)
            pending.extend(operand for operand in producer.inputs if operand is not None)
    return len(gone)
