"""Writing into buffers at a position that is known at run time only, and into states."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.scatter import TensorScatter
from ...caches import one_position
from ..carriers import CARRIERS
from ..versions import Release
from .context import Emission
from .translation import NUMBERS, Obstacle, translates


def _uniform(node: Node) -> Obstacle | None:
    op, cache, update = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, TensorScatter) and cache is not None and update is not None
    if op.mode != "linear":
        return Obstacle("attribute", "MIL does not wrap around at the end of the buffer")
    if node.operand(2) is not None and one_position(node) is None:
        return Obstacle("dynamic-parameter", "the elements of a batch are written at positions of their own")
    if cache.tensor.static_shape is None or update.tensor.static_shape is None:
        return Obstacle("dynamic-shape", "the sizes of the buffer and of what is written have to be known")
    return None


def _start(e: Emission, node: Node) -> Any:
    """The position, int32 ``[1]``."""
    place = one_position(node)
    if place is None:
        return e.const(np.zeros(1, np.int32))
    var = e.wide(place)
    return e.mil.expand_dims(x=var, axes=[0]) if place.rank == 0 else var


@translates(TensorScatter, dtypes=NUMBERS, when=_uniform, since=Release.IOS18)
def slice_update(e: Emission, node: Node) -> None:
    """Replaces a slice; of a state in place, in the element type that states have."""
    op, update = node.op, e.operand(node, 1)
    assert isinstance(op, TensorScatter)
    source = e.required(node, 0)
    cell = e.cells.get(source)
    cache = e.operand(node) if cell is None else cell.read
    rank, shape = len(cache.shape), [int(n) for n in cache.shape]
    axis = op.axis % rank
    before, behind = np.zeros(axis, np.int32), np.array(shape[axis + 1 :], np.int32)
    start = _start(e, node)
    stop = e.mil.add(x=start, y=np.array([int(update.shape[axis])], np.int32))
    begin = _joined(e, before, start, np.zeros(rank - axis - 1, np.int32))
    end = _joined(e, np.array(shape[:axis], np.int32), stop, behind)
    written = e.mil.slice_update(x=cache, update=e.cast(update, e.kind(cache)), begin=begin, end=end)
    if cell is not None and not cell.written and cell.target is node.output:
        written = e.mil.coreml_update_state(state=cell.state, value=written)
        cell.written = True
    e.bind(node, e.cast(written, CARRIERS[source.tensor.dtype]))


@translates(TensorScatter, dtypes=NUMBERS, when=_uniform, level="decomposed")
def scatter(e: Emission, node: Node) -> None:
    """Replaces slices of one axis, each by its index."""
    op, update, cache = node.op, e.operand(node, 1), e.operand(node)
    assert isinstance(op, TensorScatter)
    axis = op.axis % len(cache.shape)
    places = e.mil.add(x=_start(e, node), y=np.arange(int(update.shape[axis]), dtype=np.int32))
    e.bind(node, e.mil.scatter(data=cache, indices=places, updates=update, axis=axis, mode="update"))


def _joined(e: Emission, before: Any, middle: Any, behind: Any) -> Any:
    parts = [e.const(before)] * bool(len(before)) + [middle] + [e.const(behind)] * bool(len(behind))
    return e.mil.concat(values=parts, axis=0) if len(parts) > 1 else middle
