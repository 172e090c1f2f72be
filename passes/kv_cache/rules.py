"""How each kind of operator treats tensors that grow: shapes, indices, ranges, products."""

from __future__ import annotations

from typing import Any

from ...ir.graph import Node, Value
from ...ir.ops.cast import Cast
from ...ir.ops.concat import Concat
from ...ir.ops.gather import Gather, GatherND
from ...ir.ops.generate import ConstantOfShape, Range, Trilu
from ...ir.ops.logical import Where
from ...ir.ops.matmul import MatMul
from ...ir.ops.reduction import CumSum, ReduceMax, ReduceMean, ReduceMin, ReduceSum
from ...ir.ops.reshape import Expand, Flatten, Reshape, Squeeze, Unsqueeze
from ...ir.ops.scatter import TensorScatter
from ...ir.ops.slice import Slice
from ...ir.ops.softmax import Softmax
from ...ir.ops.transpose import Transpose
from ...ir.ops.unary import Identity
from .lanes import FULL, PAST, WEIGHTS, Lanes, Obstacle, lane_rule, operand, resized
from .terms import terms_before

_OPEN_END = 2**31 - 1
_MOVES = (Reshape, Expand, Unsqueeze, Squeeze, Flatten, Transpose, Cast, Identity)


# -- shapes -----------------------------------------------------------------------------------------------------------------
@lane_rule(Reshape, Flatten, Squeeze, Unsqueeze)
def reshape(lanes: Lanes, node: Node) -> None:
    """The axis of positions stays one of its own."""
    x = operand(node, 0)
    lane = lanes.of(x)
    if lane is None:
        return
    axis = lanes.grown_axis(node.output, node)
    if axis is None or lanes.same_place(x, lane.axis, node.output) != axis:
        raise Obstacle("it joins the axis of positions with another one", node.where)
    lanes.keep(node.output, axis, lane.kind)
    if isinstance(node.op, Reshape) and lanes.sized(node.inputs[1]):
        resized(lanes, node, 1)


@lane_rule(Expand)
def expand(lanes: Lanes, node: Node) -> None:
    """Repeats elements along the axis of positions, or along others."""
    x, shape = operand(node, 0), operand(node, 1)
    lane = lanes.of(x)
    axis = lanes.grown_axis(node.output, node) if lane is None else None
    if lane is not None:
        assert node.output.rank is not None and x.rank is not None
        axis = node.output.rank - x.rank + lane.axis
    if axis is not None:
        lanes.keep(node.output, axis, lane.kind if lane is not None else FULL)
        if lanes.sized(shape):
            resized(lanes, node, 1)


@lane_rule(ConstantOfShape)
def constant_of_shape(lanes: Lanes, node: Node) -> None:
    """The same element at all positions."""
    axis = lanes.grown_axis(node.output, node)
    if axis is not None:
        lanes.keep(node.output, axis)
        resized(lanes, node, 0)


@lane_rule(Transpose)
def transpose(lanes: Lanes, node: Node) -> None:
    """The axis of positions goes elsewhere."""
    x, lane = operand(node, 0), lanes.of(operand(node, 0))
    assert lane is not None and x.rank is not None and isinstance(node.op, Transpose)
    perm = node.op.perm or tuple(reversed(range(x.rank)))
    lanes.keep(node.output, perm.index(lane.axis), lane.kind)


@lane_rule(Range)
def count(lanes: Lanes, node: Node) -> None:
    """The numbers of all positions get as many as the buffer has; a range of new positions starts at the position."""
    start, limit, delta = (operand(node, i) for i in range(3))
    known = [v.content[0] if v.content else None for v in (start, limit, delta)]
    size = node.output.shape[0] if node.output.shape else None
    if None in known or known[2] != 1 or size is None:
        raise Obstacle("a range with unknown bounds", node.where)
    terms = lanes.terms
    if terms.grows(size):
        if known[0] != 0:
            raise Obstacle("a range of positions that does not start at the first", node.where)
        lanes.grown_axis(node.output, node)
        lanes.keep(node.output, 0)
        lanes.settled.add((node, 1))
        lanes.edit(node, lambda n: n.set_operand(1, terms_before(n, lanes.context).constant(terms.length, limit.dtype)))
        return
    lanes.settled.update({(node, 0), (node, 1)})
    new, first, dtype = terms.normal(size), known[0], start.tensor.dtype
    if not terms.known([new, first]):
        raise Obstacle("a range of positions with unknown bounds", node.where)

    def shifted(n: Node) -> None:
        t = terms_before(n, lanes.context)
        new_places = t.add(t.cast(terms.count(new), dtype), terms.values([first], (1,), dtype))
        lanes.graph.replace(n.output, new_places)

    lanes.edit(node, shifted)


@lane_rule(Concat)
def concat(lanes: Lanes, node: Node) -> None:
    """New positions are written into the buffer; along other axes the positions of all operands agree."""
    assert isinstance(node.op, Concat) and node.output.rank is not None
    axis = node.op.axis % node.output.rank
    found = [lanes.of(v) for v in node.inputs]
    if node in lanes.appends:
        first = found[0]
        if first is None or first.kind != PAST or first.axis != axis or found[1] is not None:
            raise Obstacle("it appends something else than the new positions", node.where)
        lanes.keep(node.output, axis)
        lanes.edit(node, lambda n: append(lanes, n, axis))
        return
    axes = {lane.axis if lane is not None else None for lane in found}
    if len(axes) != 1 or axis in axes or any(lane is not None and lane.kind == PAST for lane in found):
        raise Obstacle("it joins positions", node.where)
    lanes.keep(node.output, next(lane.axis for lane in found if lane is not None))


def append(lanes: Lanes, node: Node, axis: int) -> None:
    """Replace a Concat by writing at the position."""
    cache, new = operand(node, 0), operand(node, 1)
    assert cache.shape is not None
    t = terms_before(node, lanes.context)
    written = t.apply(TensorScatter(axis=axis - len(cache.shape)), cache, new, lanes.terms.indices(cache.shape[0]))
    t.b.finish()
    name = node.output.name
    lanes.graph.replace(node.output, written)
    node.output.name, written.name = f"{name}/grown", name


# -- parts ------------------------------------------------------------------------------------------------------------------
def _columns(lanes: Lanes, value: Value | None) -> bool:
    """Whether the elements of an index that grows are the numbers of the positions themselves."""
    while value is not None and value.producer is not None:
        node = value.producer
        if isinstance(node.op, Range):
            return value in lanes.lanes
        if not isinstance(node.op, _MOVES):
            return False
        value = node.inputs[0]
    return False


def _from_front(value: Value) -> bool:
    """Whether all indices are known and counted from the front."""
    return value.ints is not None and all(i >= 0 for i in value.ints)


@lane_rule(Gather)
def gather(lanes: Lanes, node: Node) -> None:
    """Whole columns, or the columns in their order."""
    assert isinstance(node.op, Gather)
    data, index = operand(node, 0), operand(node, 1)
    lane, chosen = lanes.full(data, node), lanes.full(index, node)
    assert data.rank is not None and index.rank is not None
    axis = node.op.axis % data.rank
    if chosen is not None:
        if lane is None or lane.axis != axis or not _columns(lanes, index):
            raise Obstacle("it looks something up for every position", node.where)
        lanes.keep(node.output, axis + chosen.axis)
    elif lane is not None and lane.axis != axis:
        lanes.keep(node.output, lane.axis + (index.rank - 1 if lane.axis > axis else 0))
    elif lane is not None and not _from_front(index):
        raise Obstacle("it picks positions that are not counted from the first", node.where)


@lane_rule(GatherND)
def gather_nd(lanes: Lanes, node: Node) -> None:
    """The columns in their order, with other indices beside."""
    assert isinstance(node.op, GatherND)
    data, index = operand(node, 0), operand(node, 1)
    lane, chosen = lanes.full(data, node), lanes.full(index, node)
    assert index.rank is not None
    joined = index.producer
    if node.op.batch_dims or lane is None or chosen is None or chosen.axis == index.rank - 1:
        raise Obstacle("it picks positions in an unknown way", node.where)
    parts: list[Value | None] = [index]
    if joined is not None and isinstance(joined.op, Concat) and joined.op.axis % index.rank == index.rank - 1:
        parts = list(joined.inputs)
    width = [v.shape[-1] if v is not None and v.shape else None for v in parts]
    if any(w != 1 for w in width) or lane.axis >= len(parts) or not _columns(lanes, parts[lane.axis]):
        raise Obstacle("it picks positions that are not the columns in their order", node.where)
    lanes.keep(node.output, chosen.axis)


@lane_rule(Slice)
def part(lanes: Lanes, node: Node) -> None:
    """All positions, or the new ones; of tensors that do not grow, too."""
    data = operand(node, 0)
    lane = lanes.full(data, node)
    bounds = _bounds(node)
    if bounds is None or data.shape is None:
        raise Obstacle("a slice with unknown bounds", node.where)
    terms = lanes.terms
    left: list[tuple[int, Any, Any, int]] = []
    picked: list[tuple[int, Any, Any]] = []
    grown = None if lane is None else lane.axis
    result = node.output.shape or ()
    for axis, start, end, step in bounds:
        size = data.shape[axis]
        if (lane is None or axis != lane.axis) and not (terms.grows(start) or terms.grows(end)):
            left.append((axis, start, end, step))
            continue
        first = size + start if isinstance(start, int) and start < 0 else start
        last = size if isinstance(end, int) and end >= _OPEN_END else size + end if isinstance(end, int) and end < 0 else end
        if step != 1:
            raise Obstacle("a slice of positions with steps", node.where)
        if first == 0 and terms.grows(last) and terms.fixed(last) == terms.length:
            if lane is not None and axis == lane.axis:
                continue  # all of them
            if not isinstance(size, int) or size < terms.length or grown is not None:
                raise Obstacle(f"it takes the first of {size} positions, the buffer has {terms.length}", node.where)
            left.append((axis, 0, terms.length, 1))
            terms.assume(result[axis], last)
            grown = axis
        elif terms.grows(first) and not terms.grows(last - first) and terms.known([first]):
            picked.append((axis, first, last - first))
            terms.assume(result[axis], last - first)
            grown = None if axis == grown else grown
        else:
            raise Obstacle("a slice of positions that are neither all nor the new ones", node.where)
    if grown is not None:
        lanes.keep(node.output, grown)
    lanes.settled.update({(node, i) for i in range(1, len(node.inputs))})
    lanes.edit(node, lambda n: _cut(lanes, n, left, picked))


def _bounds(node: Node) -> list[tuple[int, Any, Any, int]] | None:
    """Axis, start, end and step of each slice, None when they are not all known."""
    data = operand(node, 0)
    starts, ends, axes, steps = (None if (v := node.operand(i)) is None else v.content or () for i in range(1, 5))
    if not starts or not ends or data.rank is None or None in starts or None in ends:
        return None
    chosen = range(len(starts)) if axes is None else [a % data.rank if isinstance(a, int) else None for a in axes]
    strides = [1] * len(starts) if steps is None else list(steps)
    if len(list(chosen)) != len(starts) or len(strides) != len(starts) or None in chosen or not all(isinstance(s, int) for s in strides):
        return None
    return list(zip(chosen, starts, ends, strides, strict=True))  # type: ignore[arg-type]


def _cut(lanes: Lanes, node: Node, left: list[tuple[int, Any, Any, int]], picked: list[tuple[int, Any, Any]]) -> None:
    t = terms_before(node, lanes.context)
    value = operand(node, 0)
    if left:
        axes, starts, ends, steps = (list(column) for column in zip(*left, strict=True))
        bounds = [lanes.terms.vector(starts), lanes.terms.vector(ends)]
        value = t.apply(Slice(), value, *bounds, t.ints(axes), t.ints(steps))
    for axis, first, size in picked:
        index = t.add(lanes.terms.count(lanes.terms.normal(size)), lanes.terms.vector([first]))
        value = t.apply(Gather(axis=axis), value, index)
    lanes.graph.replace(node.output, value)


@lane_rule(Trilu)
def triangle(lanes: Lanes, node: Node) -> None:
    """The diagonal stays where it is."""
    lane = lanes.full(operand(node, 0), node)
    if lane is not None:
        lanes.keep(node.output, lane.axis)


@lane_rule(CumSum)
def running_sum(lanes: Lanes, node: Node) -> None:
    """Sums up to each position, from the first one on."""
    assert isinstance(node.op, CumSum)
    lane, axis = lanes.full(operand(node, 0), node), operand(node, 1)
    if lane is None:
        return
    if axis.ints is None or node.op.reverse:
        raise Obstacle("it sums from the last position on", node.where)
    lanes.keep(node.output, lane.axis)


# -- sums -------------------------------------------------------------------------------------------------------------------
@lane_rule(ReduceSum, ReduceMean, ReduceMax, ReduceMin)
def reduction(lanes: Lanes, node: Node) -> None:
    """Other axes may go; a sum over positions takes those that are filled."""
    x = operand(node, 0)
    lane = lanes.full(x, node)
    op: Any = node.op
    if lane is None:
        return
    assert x.rank is not None
    given = node.operand(1)
    axes = () if given is None else given.ints
    if axes is None:
        raise Obstacle("the axes are not known", node.where)
    over = {a % x.rank for a in axes} or (set() if op.noop_with_empty_axes else set(range(x.rank)))
    if lane.axis not in over:
        lanes.keep(node.output, lane.axis - (0 if op.keepdims else sum(a < lane.axis for a in over)))
    elif isinstance(op, ReduceSum):
        lanes.edit(node, lambda n: hide(lanes, n, 0, lane.axis, 0))
    else:
        raise Obstacle("it reduces the positions", node.where)


def hide(lanes: Lanes, node: Node, index: int, axis: int, number: float) -> None:
    """Give an operand one number at the places that are not filled."""
    x = operand(node, index)
    assert x.rank is not None
    t = terms_before(node, lanes.context)
    node.set_operand(index, t.apply(Where(), lanes.terms.filled(x.rank - 1 - axis), x, t.like(number, x)))


def keep_finite(lanes: Lanes, node: Node, index: int) -> None:
    """Let places that are not filled hold zeros in an operand whose elements were computed: they might be infinite there."""
    value: Value | None = operand(node, index)
    lane = lanes.of(value)
    assert lane is not None
    while value is not None and value.producer is not None and value.producer not in lanes.appends:
        if not isinstance(value.producer.op, _MOVES):
            lanes.edit(node, lambda n: hide(lanes, n, index, lane.axis, 0))
            return
        value = value.producer.inputs[0]


@lane_rule(Softmax)
def softmax(lanes: Lanes, node: Node) -> None:
    """Over the positions, places that are not filled weigh nothing."""
    x = operand(node, 0)
    lane = lanes.full(x, node)
    assert lane is not None and x.rank is not None and isinstance(node.op, Softmax)
    over = node.op.axis % x.rank == lane.axis
    lanes.keep(node.output, lane.axis, WEIGHTS if over else FULL)
    if over:
        lanes.edit(node, lambda n: hide(lanes, n, 0, lane.axis, float("-inf")))


@lane_rule(MatMul)
def product_of(lanes: Lanes, node: Node) -> None:
    """Columns of the result, or a sum over positions that are weighted with zero where they are not filled."""
    x, y = operand(node, 0), operand(node, 1)
    left, right = lanes.full(x, node), lanes.full(y, node)
    if x.rank is None or y.rank is None or min(x.rank, y.rank) < 2 or node.output.rank is None:
        raise Obstacle("a product with vectors", node.where)
    behind_left = None if left is None else x.rank - left.axis
    behind_right = None if right is None else y.rank - right.axis
    if behind_left == 1 and behind_right == 2:
        if left is None or left.kind != WEIGHTS:
            raise Obstacle("it sums over positions without weights that vanish where nothing is filled", node.where)
        keep_finite(lanes, node, 1)
    elif (behind_left, behind_right) in ((None, 1), (2, None)):
        lanes.keep(node.output, node.output.rank - (behind_left or behind_right or 0))
    else:
        raise Obstacle("a product of other axes than those of positions", node.where)
