"""Images that detectors cut into every other pixel, as SpaceToDepth."""

from __future__ import annotations

import numpy as np

from ....ir.graph import Node, Value
from ....ir.ops.concat import Concat
from ....ir.ops.conv import Conv
from ....ir.ops.slice import Slice
from ....ir.ops.vision import SpaceToDepth
from ....passes.rewriter import Result, Rewriter, rewrites_op
from .group import GROUP

Phase = tuple[int, int]


@rewrites_op(Conv, name="tflite-space-to-depth", group=GROUP, benefit=2)
def space_to_depth(node: Node, b: Rewriter) -> Result:
    """A convolution of all phases of an image, lined up as channels, reads SpaceToDepth with its filters' channels in that order.

    LiteRT's slices with steps copy element by element: four of 3 x 416 x 416 take 1.6 ms, SPACE_TO_DEPTH 0.2.
    """
    joined, weight = node.inputs[0], node.inputs[1]
    producer = joined.producer if joined is not None else None
    if producer is None or not isinstance(producer.op, Concat) or producer.op.axis != 1 or weight is None or weight.data is None:
        return None
    op = node.op
    assert isinstance(op, Conv)
    found = [_phase_of(value) for value in producer.inputs]
    sources = {source for source, _, _ in found if source is not None}
    steps = {step for _, step, _ in found}
    if op.group != 1 or len(sources) != 1 or len(steps) != 1 or (step := steps.pop()) < 2:
        return None
    order = [phase[0] * step + phase[1] for _, _, phase in found]
    source = sources.pop()
    shape = source.tensor.static_shape
    if shape is None or sorted(order) != list(range(step * step)) or shape[2] % step or shape[3] % step:
        return None
    filters = weight.data.numpy()
    blocks = filters.reshape(filters.shape[0], len(order), shape[1], *filters.shape[2:])
    sorted_ = np.ascontiguousarray(blocks[:, np.argsort(order)]).reshape(filters.shape)
    return b.add(op, b.add(SpaceToDepth(blocksize=step), source), b.constant(sorted_), *node.inputs[2:])


def _phase_of(value: Value | None) -> tuple[Value | None, int, Phase]:
    """The image that slices take every so many pixels of, the step in both directions, and the first pixel; None when it is not so."""
    starts, steps = {2: 0, 3: 0}, {2: 1, 3: 1}
    nothing: tuple[None, int, Phase] = (None, 0, (0, 0))
    while value is not None and value.producer is not None and isinstance(value.producer.op, Slice):
        node = value.producer
        first, last, axes, step = (v.ints if v is not None else None for v in map(node.operand, (1, 2, 3, 4)))
        source = node.inputs[0]
        if first is None or last is None or source is None or source.shape is None or len(source.shape) != 4:
            return nothing
        axes = axes if axes is not None else range(len(first))
        for axis, begin, end, stride in zip(axes, first, last, step or [1] * len(first), strict=True):
            size = source.shape[axis]
            if axis % 4 not in starts or not isinstance(size, int) or begin < 0 or end < size or steps[axis % 4] != 1:
                return nothing
            starts[axis % 4], steps[axis % 4] = begin, stride
        value = source
    if steps[2] != steps[3] or max(starts.values()) >= steps[2]:
        return nothing
    return value, steps[2], (starts[2], starts[3])
