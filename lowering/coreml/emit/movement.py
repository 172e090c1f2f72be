"""Operators that move elements: reshapes, transposes, slices, joins, pads, repeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.dims import Expr
from ....ir.graph import Node, Value
from ....ir.ops.concat import Concat, Split
from ....ir.ops.generate import ConstantOfShape, Range
from ....ir.ops.reshape import Expand, Flatten, Reshape, Shape, Size, Squeeze, Tile, Unsqueeze
from ....ir.ops.slice import Slice
from ....ir.ops.transpose import Transpose
from .context import Emission, ints
from .translation import FLOATS, INTEGERS, MOVABLE, Obstacle, translates


def _shape_known(node: Node) -> Obstacle | None:
    """A result whose sizes are known but for one, or a shape operand that is computed in the program."""
    shape = node.output.shape
    assert shape is not None
    if sum(not isinstance(d, int) for d in shape) <= 1:
        return None
    target = node.operand(1)
    if isinstance(node.op, Reshape) and target is not None and not getattr(node.op, "allowzero", 0):
        return None
    if isinstance(node.op, Unsqueeze | Squeeze):
        return None
    return Obstacle("dynamic-shape", "more than one size of the result is not known")


def static_or_one_free(value: Value) -> list[int] | None:
    """A shape for MIL's reshape: integers with at most one -1; None when more is unknown."""
    shape = value.shape
    assert shape is not None
    if sum(not isinstance(d, int) for d in shape) > 1:
        return None
    return [d if isinstance(d, int) else -1 for d in shape]


@translates(Reshape, Flatten, dtypes=MOVABLE, when=_shape_known)
def reshape(e: Emission, node: Node) -> None:
    """A reshape to known sizes (one may be free), or to a shape computed in the program."""
    x = e.operand(node)
    target = static_or_one_free(node.output)
    if target is None:
        e.bind(node, e.mil.reshape(x=x, shape=_computed_target(e, node, x)))
    elif not target:
        e.bind(node, e.mil.squeeze(x=x) if len(x.shape) else e.mil.identity(x=x))
    elif not len(x.shape):
        e.bind(node, e.mil.expand_dims(x=x, axes=list(range(len(target)))))
    else:
        e.bind(node, e.mil.reshape(x=x, shape=ints(target)))


def _computed_target(e: Emission, node: Node, x: Any) -> Any:
    """The shape of a result of which several sizes are unknown: those of the operand are read off it, others are computed in the program.

    ONNX's zeros stand for the operand's size at the same place; MIL's count from the right since iOS17, so that none may be left.
    """
    source, shape = e.required(node, 0).shape or (), node.output.shape or ()
    given = node.operand(1)
    stated: Sequence[int | None] = (None,) * len(shape) if given is None or given.ints is None else given.ints
    known: list[int | None] = []  # -2 - axis stands for a size of the operand
    for place, (dim, wanted) in enumerate(zip(shape, stated, strict=True)):
        if isinstance(dim, int):
            known.append(dim)
        elif dim in source:
            known.append(-2 - list(source).index(dim))
        else:
            known.append(-2 - place if wanted == 0 else wanted)
    if known.count(None) == 1 and -1 not in known:
        known = [-1 if k is None else k for k in known]
    sizes = e.mil.shape(x=x) if any(k is not None and k < -1 for k in known) else None
    parts = []
    for place, k in enumerate(known):
        if k is not None and k >= -1:
            parts.append(ints([k]))
        elif k is None:
            parts.append(e.mil.slice_by_index(x=e.operand(node, 1), begin=ints([place]), end=ints([place + 1])))
        else:
            parts.append(e.mil.slice_by_index(x=sizes, begin=ints([-2 - k]), end=ints([-1 - k])))
    return e.mil.concat(values=parts, axis=0)


@translates(Squeeze, dtypes=MOVABLE)
def squeeze(e: Emission, node: Node) -> None:
    """Dimensions of size one taken away."""
    x, axes = e.operand(node), node.operand(1)
    if axes is None:
        chosen = [i for i, d in enumerate(x.shape) if d == 1]
    else:
        chosen = [a % len(x.shape) for a in axes.ints or ()]
    if any(_symbolic(x.shape[a]) for a in chosen):  # MIL's squeeze keeps dimensions that it does not know to be one
        mask = [a not in chosen for a in range(len(x.shape))]
        end = ints([int(not m) for m in mask])
        taken = [not m for m in mask]
        result = e.mil.slice_by_index(x=x, begin=ints([0] * len(mask)), end=end, begin_mask=mask, end_mask=mask, squeeze_mask=taken)
        e.bind(node, result)
        return
    e.bind(node, e.mil.squeeze(x=x, axes=sorted(chosen)) if chosen else e.mil.identity(x=x))


@translates(Unsqueeze, dtypes=MOVABLE)
def unsqueeze(e: Emission, node: Node) -> None:
    """Dimensions of size one added."""
    axes = e.required(node, 1).ints or ()
    rank = node.output.rank or 0
    x = e.operand(node)
    e.bind(node, e.mil.expand_dims(x=x, axes=sorted(a % rank for a in axes)) if axes else e.mil.identity(x=x))


@translates(Transpose, dtypes=MOVABLE)
def transpose(e: Emission, node: Node) -> None:
    """A permutation of the axes."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, Transpose)
    perm = list(op.perm) if op.perm is not None else list(reversed(range(len(x.shape))))
    e.bind(node, e.mil.transpose(x=x, perm=perm) if perm else e.mil.identity(x=x))


@translates(Concat, dtypes=MOVABLE)
def concat(e: Emission, node: Node) -> None:
    """Operands one after another; empty ones have been refused."""
    op = node.op
    assert isinstance(op, Concat)
    parts = [e.wide(v) for v in node.inputs if v is not None]
    e.bind(node, e.mil.concat(values=parts, axis=op.axis) if len(parts) > 1 else e.mil.identity(x=parts[0]))


def _symbolic(dim: Any) -> bool:
    return not isinstance(dim, int | np.integer)


def _split(node: Node) -> Obstacle | None:
    op = node.op
    assert isinstance(op, Split)
    if all(isinstance(v.shape[op.axis], int) for v in node.outputs if v.shape is not None):  # type: ignore[index]
        return None
    return Obstacle("dynamic-shape", "the sizes of the parts are not known")


@translates(Split, dtypes=MOVABLE, when=_split)
def split(e: Emission, node: Node) -> None:
    """Parts of one axis."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, Split)
    sizes = [v.shape[op.axis] for v in node.outputs if v.shape is not None]
    if len(sizes) == 1:
        e.bind(node, e.mil.identity(x=x))
        return
    e.bind(node, *e.mil.split(x=x, split_sizes=ints(sizes), axis=op.axis))


def _slice(node: Node) -> Obstacle | None:
    for index, name in ((3, "axes"), (4, "steps")):
        value = node.operand(index)
        if value is not None and value.ints is None:
            return Obstacle("dynamic-parameter", f"MIL wants the {name} of a slice as constants")
    starts, ends, steps = (node.operand(i) for i in (1, 2, 4))
    dynamic = any(v is not None and v.ints is None for v in (starts, ends))
    if dynamic and steps is not None and steps.ints is not None and any(s != 1 for s in steps.ints):
        return Obstacle("dynamic-parameter", "bounds computed at run time need steps of one")
    return None


@translates(Slice, dtypes=MOVABLE, when=_slice)
def slice_axes(e: Emission, node: Node) -> None:
    """Parts of some axes; bounds are clamped as ONNX does."""
    x = e.operand(node)
    rank = len(x.shape)
    starts, ends, axes, steps = (node.operand(i) for i in (1, 2, 3, 4))
    assert starts is not None and ends is not None
    count = starts.tensor.static_shape
    chosen = [a % rank for a in axes.ints or ()] if axes is not None else list(range(count[0] if count else rank))
    if starts.ints is None or ends.ints is None:
        _dynamic_slice(e, node, x, chosen)
        return
    strides = list(steps.ints or ()) if steps is not None else [1] * len(chosen)
    begin, end, stride = [0] * rank, [0] * rank, [1] * rank
    begin_mask, end_mask = [True] * rank, [True] * rank
    for axis, start, stop, step in zip(chosen, starts.ints, ends.ints, strides, strict=True):
        size = x.shape[axis]
        stride[axis] = step
        if isinstance(size, int | np.integer):
            first, last, _ = slice(start, stop, step).indices(int(size))
            begin[axis], begin_mask[axis] = first, False
            if last >= 0:
                end[axis], end_mask[axis] = last, False
        else:
            # clamping at run time is MIL's own: bounds beyond the ends are limited by the masks
            if not (step > 0 and start in (0,) or step < 0 and start >= 2**30):
                begin[axis], begin_mask[axis] = start, False
            if not (step > 0 and stop >= 2**30 or step < 0 and stop <= -(2**30)):
                end[axis], end_mask[axis] = stop, False
    if all(begin_mask) and all(end_mask) and all(s == 1 for s in stride):
        e.bind(node, e.mil.identity(x=x))
        return
    result = e.mil.slice_by_index(x=x, begin=ints(begin), end=ints(end), stride=ints(stride), begin_mask=begin_mask, end_mask=end_mask)
    e.bind(node, result)


def _dynamic_slice(e: Emission, node: Node, x: Any, axes: Sequence[int]) -> None:
    """Bounds computed at run time: clamped to the sizes, then put in the place of their axes."""
    sizes = e.mil.shape(x=x)
    rank = len(x.shape)
    bounds = []
    for index in (1, 2):
        bound = e.operand(node, index)
        chosen = e.mil.gather(x=sizes, indices=ints(axes), axis=0)
        wrapped = e.mil.select(cond=e.mil.less(x=bound, y=np.int32(0)), a=e.mil.add(x=bound, y=chosen), b=bound)
        clamped = e.mil.minimum(x=e.mil.maximum(x=wrapped, y=np.int32(0)), y=chosen)
        base = ints([0] * rank) if index == 1 else sizes
        parts = []
        for axis in range(rank):
            if axis in axes:
                place = list(axes).index(axis)
                parts.append(e.mil.slice_by_index(x=clamped, begin=ints([place]), end=ints([place + 1])))
            elif index == 1:
                parts.append(base[axis : axis + 1])
            else:
                parts.append(e.mil.slice_by_index(x=sizes, begin=ints([axis]), end=ints([axis + 1])))
        bounds.append(e.mil.concat(values=parts, axis=0) if len(parts) > 1 else parts[0])
    e.bind(node, e.mil.slice_by_index(x=x, begin=bounds[0], end=bounds[1]))


def _repeats(node: Node) -> Obstacle | None:
    if node.output.tensor.is_static and node.inputs[0].tensor.is_static:  # type: ignore[union-attr]
        return None
    known = e_ints(node, 1)
    if isinstance(node.op, Tile) and known is not None:
        return None
    if isinstance(node.op, Expand) and _spreads_known_axes(node):
        return None
    return Obstacle("dynamic-shape", "sizes of operand and result have to be known")


def e_ints(node: Node, index: int) -> tuple[int, ...] | None:
    """The integers of an operand when they are known."""
    value = node.operand(index)
    return None if value is None else value.ints


def _spreads_known_axes(node: Node) -> bool:
    x, y = node.inputs[0].shape, node.output.shape  # type: ignore[union-attr]
    assert x is not None and y is not None
    lead = (1,) * (len(y) - len(x)) + tuple(x)
    return all(a == b or a == 1 and isinstance(b, int) for a, b in zip(lead, y, strict=True))


@translates(Expand, dtypes=MOVABLE, when=_repeats)
def expand(e: Emission, node: Node) -> None:
    """Broadcasting by repetition of axes of size one."""
    x, target = e.operand(node), node.output.shape
    assert target is not None
    missing = len(target) - len(x.shape)
    if missing:
        x = e.mil.expand_dims(x=x, axes=list(range(missing)))
    reps = [1 if isinstance(d, Expr) or p == d else int(d) for p, d in zip(x.shape, target, strict=True)]
    if any(r != 1 for r in reps):
        x = e.mil.tile(x=x, reps=ints(reps))
    e.bind(node, x if missing or any(r != 1 for r in reps) else e.mil.identity(x=x))


def _counted(node: Node) -> Obstacle | None:
    target = node.operand(1)
    if target is not None and target.tensor.is_static:
        return None
    return Obstacle("dynamic-rank", "the number of dimensions of the result is not known")


@translates(Expand, dtypes=MOVABLE, when=_counted, level="decomposed")
def expand_to_computed(e: Emission, node: Node) -> None:
    """Broadcasting to a shape that the program computes: a product with ones of that shape."""
    x = e.operand(node)
    kind = e.kind(x)
    number = e.cast(x, "int32") if kind == "bool" else x
    ones = e.mil.fill(shape=e.operand(node, 1), value=e.like(1, number))
    e.bind(node, e.cast(e.mil.mul(x=number, y=ones), kind))


@translates(Tile, dtypes=MOVABLE, when=_repeats)
def tile(e: Emission, node: Node) -> None:
    """Repetition along each axis."""
    x = e.operand(node)
    reps = e_ints(node, 1)
    if reps is None:
        reps = tuple(b // a for a, b in zip(x.shape, node.output.shape or (), strict=True))
    e.bind(node, e.mil.tile(x=x, reps=ints(reps)) if any(r != 1 for r in reps) else e.mil.identity(x=x))


@translates(Shape, dtypes=MOVABLE)
def shape(e: Emission, node: Node) -> None:
    """The sizes of an operand at run time."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, Shape)
    sizes = e.mil.shape(x=x)
    first, last, _ = slice(op.start, op.end).indices(len(x.shape))
    if (first, last) != (0, len(x.shape)):
        sizes = e.mil.slice_by_index(x=sizes, begin=ints([first]), end=ints([last]))
    e.bind(node, sizes)


@translates(Size, dtypes=MOVABLE)
def size(e: Emission, node: Node) -> None:
    """The number of elements at run time."""
    e.bind(node, e.mil.reduce_prod(x=e.mil.shape(x=e.operand(node)), axes=[0], keep_dims=False))


def _fill(node: Node) -> Obstacle | None:
    op = node.op
    assert isinstance(op, ConstantOfShape)
    return None


@translates(ConstantOfShape, dtypes=None, when=_fill)
def fill(e: Emission, node: Node) -> None:
    """One value everywhere, in a shape that is known or computed."""
    op, target = node.op, node.output.tensor
    assert isinstance(op, ConstantOfShape)
    from ..carriers import carried

    value = np.zeros((), target.dtype.numpy) if op.value is None else op.value.numpy().reshape(-1)[0]
    number = carried(np.asarray(value), target.dtype, node.where)
    if target.static_shape is not None:
        e.bind(node, e.const(np.full(target.static_shape, number)))
    else:
        e.bind(node, e.mil.fill(shape=e.operand(node), value=number[()]))


@translates(Range, dtypes=FLOATS | INTEGERS)
def range_1d(e: Emission, node: Node) -> None:
    """Numbers at equal distances."""
    start, limit, step = (e.mil.squeeze(x=v) if len(v.shape) else v for v in (e.operand(node, i) for i in range(3)))
    e.bind(node, e.mil.range_1d(start=start, end=limit, step=step))
