"""Taking and placing elements by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.gather import Gather, GatherElements, GatherND
from ....ir.ops.generate import OneHot, Trilu
from ....ir.ops.scatter import ScatterElements, ScatterND
from ....ir.ops.selection import NonZero, ReverseSequence
from .context import Emission
from .translation import MOVABLE, NUMBERS, Obstacle, constant_operand, translates


def _indices(node: Node) -> Obstacle | None:
    """Negative indices are made positive, which needs the size of the axis unless they are known."""
    x, indices = node.inputs[0], node.inputs[1]
    assert x is not None and indices is not None and x.shape is not None
    rank = (x.rank or 0) + (indices.rank or 0) - 1
    if isinstance(node.op, Gather) and rank > 5:
        return Obstacle("rank", "the result has too many dimensions")
    return None


def _positive(e: Emission, indices: Any, size: Any) -> Any:
    """Indices counted from the front."""
    if e.is_const(indices):
        array = np.asarray(indices.val)
        if array.size == 0 or int(array.min()) >= 0:
            return indices
        if not _symbolic(size):
            return e.const(np.where(array < 0, array + np.int32(size), array).astype(np.int32))
    return e.mil.select(cond=e.mil.less(x=indices, y=np.int32(0)), a=e.mil.add(x=indices, y=size), b=indices)


def _symbolic(size: Any) -> bool:
    return not isinstance(size, int | np.integer)


def _axis_size(e: Emission, x: Any, axis: int) -> Any:
    size = x.shape[axis]
    if not _symbolic(size):
        return np.int32(size)
    return e.mil.slice_by_index(x=e.mil.shape(x=x), begin=[axis], end=[axis + 1], squeeze_mask=[True])


def _as_number(e: Emission, var: Any) -> tuple[Any, bool]:
    """MIL takes bools nowhere by index: they travel as integers."""
    return (e.cast(var, "int32"), True) if e.kind(var) == "bool" else (var, False)


def _back(e: Emission, var: Any, was_bool: bool) -> Any:
    return e.mil.cast(x=var, dtype="bool") if was_bool else var


@translates(Gather, dtypes=MOVABLE, when=_indices)
def gather(e: Emission, node: Node) -> None:
    """Slices of one axis."""
    op = node.op
    assert isinstance(op, Gather)
    x, was_bool = _as_number(e, e.weight(node, 0))
    axis = op.axis % len(x.shape)
    indices = _positive(e, e.operand(node, 1), _axis_size(e, x, axis))
    e.bind(node, _back(e, e.mil.gather(x=x, indices=indices, axis=axis), was_bool))


@translates(GatherElements, dtypes=MOVABLE, when=_indices)
def gather_elements(e: Emission, node: Node) -> None:
    """Elements along one axis, each at its own index."""
    op = node.op
    assert isinstance(op, GatherElements)
    x, was_bool = _as_number(e, e.operand(node))
    axis = op.axis % len(x.shape)
    indices = _positive(e, e.operand(node, 1), _axis_size(e, x, axis))
    limits = indices.shape
    if any(a != b for i, (a, b) in enumerate(zip(limits, x.shape, strict=True)) if i != axis):
        begin = [0] * len(limits)
        end = [int(n) for n in limits]
        mask = [i == axis for i in range(len(limits))]
        x = e.mil.slice_by_index(x=x, begin=begin, end=end, begin_mask=mask, end_mask=mask)
    e.bind(node, _back(e, e.mil.gather_along_axis(x=x, indices=indices, axis=axis), was_bool))


def _known_sizes(node: Node) -> Obstacle | None:
    if all(v is None or v.tensor.is_static for v in node.inputs):
        return None
    return Obstacle("dynamic-shape", "the sizes of the operands have to be known")


def _tuples(node: Node) -> Obstacle | None:
    op, indices = node.op, node.inputs[1]
    assert isinstance(op, GatherND) and indices is not None
    if op.batch_dims:
        return _known_sizes(node)
    if indices.shape is None or not isinstance(indices.shape[-1], int):
        return Obstacle("dynamic-shape", "the length of the index tuples has to be known")
    return None


@translates(GatherND, dtypes=MOVABLE, when=_tuples)
def gather_nd(e: Emission, node: Node) -> None:
    """Slices at index tuples; batches become a leading index."""
    op = node.op
    assert isinstance(op, GatherND)
    x, was_bool = _as_number(e, e.operand(node))
    indices = e.operand(node, 1)
    depth = int(indices.shape[-1])
    indexed = x.shape[op.batch_dims : op.batch_dims + depth]
    if any(_symbolic(n) for n in indexed):
        sizes = e.mil.slice_by_index(x=e.mil.shape(x=x), begin=[op.batch_dims], end=[op.batch_dims + depth])
    else:
        sizes = np.array([int(n) for n in indexed], np.int32)
    indices = _positive_tuples(e, indices, sizes)
    if op.batch_dims:
        lead = tuple(int(n) for n in indices.shape[:-1])
        grids = np.meshgrid(*(np.arange(n) for n in lead[: op.batch_dims]), indexing="ij")
        columns = [np.broadcast_to(g.reshape(g.shape + (1,) * (len(lead) - op.batch_dims)), lead)[..., None] for g in grids]
        prefix = e.const(np.concatenate(columns, axis=-1).astype(np.int32))
        indices = e.mil.concat(values=[prefix, indices], axis=len(lead))
    e.bind(node, _back(e, e.mil.gather_nd(x=x, indices=indices), was_bool))


def _positive_tuples(e: Emission, indices: Any, sizes: Any) -> Any:
    if e.is_const(indices) and np.asarray(indices.val).min() >= 0:
        return indices
    shifted = e.mil.add(x=indices, y=sizes)
    return e.mil.select(cond=e.mil.less(x=indices, y=np.int32(0)), a=shifted, b=indices)


_MODES = {"none": "update", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _scatter(node: Node) -> Obstacle | None:
    found = _known_sizes(node)
    if found is not None:
        return found
    x = node.inputs[0]
    if x is not None and x.dtype not in NUMBERS and node.op.reduction != "none":  # type: ignore[attr-defined]
        return Obstacle("dtype", "reductions of numbers only")
    return None


@translates(ScatterND, dtypes=MOVABLE, when=_scatter)
def scatter_nd(e: Emission, node: Node) -> None:
    """Slices placed at index tuples."""
    op = node.op
    assert isinstance(op, ScatterND)
    x, was_bool = _as_number(e, e.operand(node))
    updates, _ = _as_number(e, e.operand(node, 2))
    indices = e.operand(node, 1)
    depth = int(indices.shape[-1])
    indices = _positive_tuples(e, indices, np.array([int(n) for n in x.shape[:depth]], np.int32))
    e.bind(node, _back(e, e.mil.scatter_nd(data=x, indices=indices, updates=updates, mode=_MODES[op.reduction]), was_bool))


@translates(ScatterElements, dtypes=MOVABLE, when=_scatter, level="decomposed")
def scatter_elements(e: Emission, node: Node) -> None:
    """Elements placed along one axis: by MIL's operator where the other sizes agree, else at full index tuples."""
    op = node.op
    assert isinstance(op, ScatterElements)
    x, was_bool = _as_number(e, e.operand(node))
    updates, _ = _as_number(e, e.operand(node, 2))
    axis = op.axis % len(x.shape)
    indices = _positive(e, e.operand(node, 1), _axis_size(e, x, axis))
    lead = tuple(int(n) for n in indices.shape)
    if all(a == b for i, (a, b) in enumerate(zip(lead, x.shape, strict=True)) if i != axis):
        result = e.mil.scatter_along_axis(data=x, indices=indices, updates=updates, axis=axis, mode=_MODES[op.reduction])
    else:
        grids = np.meshgrid(*(np.arange(n, dtype=np.int32) for n in lead), indexing="ij")
        column = e.mil.expand_dims(x=indices, axes=[len(lead)])
        if len(lead) + 1 > 5:
            column = e.mil.reshape(x=indices, shape=[-1, 1])
            grids = [g.reshape(-1) for g in grids]
            updates = e.mil.reshape(x=updates, shape=[-1])
        parts = [column if i == axis else e.const(np.ascontiguousarray(g[..., None])) for i, g in enumerate(grids)]
        tuples = e.mil.concat(values=parts, axis=-1) if len(parts) > 1 else column
        result = e.mil.scatter_nd(data=x, indices=tuples, updates=updates, mode=_MODES[op.reduction])
    e.bind(node, _back(e, result, was_bool))


def _one_hot(node: Node) -> Obstacle | None:
    depth = node.inputs[1]
    assert depth is not None
    if depth.data is None and depth.ints is None:
        return Obstacle("dynamic-parameter", "the depth has to be known")
    return None


@translates(OneHot, dtypes=NUMBERS, when=_one_hot)
def one_hot(e: Emission, node: Node) -> None:
    """One of two values at each position; indices outside give the first value everywhere."""
    op = node.op
    assert isinstance(op, OneHot)
    depth = int(e.known(node, 1).reshape(-1)[0])
    indices = e.cast(e.operand(node), "int32")
    axis = op.axis % (len(indices.shape) + 1)
    shape = [1] * (len(indices.shape) + 1)
    shape[axis] = depth
    positive = e.mil.select(cond=e.mil.less(x=indices, y=np.int32(0)), a=e.mil.add(x=indices, y=np.int32(depth)), b=indices)
    hit = e.mil.equal(x=e.mil.expand_dims(x=positive, axes=[axis]), y=np.arange(depth, dtype=np.int32).reshape(shape))
    values, was_bool = _as_number(e, e.operand(node, 2))
    off, on = (e.mil.squeeze(x=part) for part in e.mil.split(x=values, num_splits=2, axis=0))
    hot = e.cast(hit, e.kind(values))
    rest = e.mil.sub(x=e.like(1, hot), y=hot)
    e.bind(node, _back(e, e.mil.add(x=e.mil.mul(x=hot, y=on), y=e.mil.mul(x=rest, y=off)), was_bool))


def _matrix(node: Node) -> Obstacle | None:
    found = constant_operand(1, "the diagonal")(node)
    if found is not None:
        return found
    shape = node.output.shape
    assert shape is not None
    if all(isinstance(d, int) for d in shape[-2:]):
        return None
    return Obstacle("dynamic-shape", "the sizes of the matrices have to be known")


@translates(Trilu, dtypes=MOVABLE, when=_matrix, level="decomposed")
def triangle(e: Emission, node: Node) -> None:
    """A choice between the operand and zeros by a constant triangle."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, Trilu)
    offset = e.known(node, 1)
    k = 0 if offset is None else int(offset.reshape(-1)[0])
    rows, columns = (int(n) for n in x.shape[-2:])
    kept = np.triu(np.ones((rows, columns), bool), k) if op.upper else np.tril(np.ones((rows, columns), bool), k)
    if e.kind(x) == "bool":
        e.bind(node, e.mil.logical_and(x=x, y=kept))
        return
    shape = tuple(int(n) for n in x.shape)
    mask = np.ascontiguousarray(np.broadcast_to(kept, shape))
    e.bind(node, e.mil.select(cond=mask, a=x, b=np.zeros(shape, e.like(0, x).dtype)))


@translates(NonZero, dtypes=MOVABLE, level="decomposed")
def non_zero(e: Emission, node: Node) -> None:
    """The positions of what is not zero, one column each."""
    x, _ = _as_number(e, e.operand(node))
    e.bind(node, e.mil.transpose(x=e.mil.non_zero(x=x), perm=[1, 0]))


@translates(ReverseSequence, dtypes=MOVABLE)
def reverse_sequence(e: Emission, node: Node) -> None:
    """The first elements of each row in reverse order."""
    op = node.op
    assert isinstance(op, ReverseSequence)
    lengths = e.operand(node, 1)
    e.bind(node, e.mil.reverse_sequence(x=e.operand(node), lengths=lengths, seq_axis=op.time_axis, batch_axis=op.batch_axis))
