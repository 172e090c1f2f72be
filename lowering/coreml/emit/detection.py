"""Boxes chosen by their scores, and images read at computed positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.detection import NonMaxSuppression
from ....ir.ops.vision import GridSample
from ..versions import Release
from .context import Emission, ints
from .translation import Obstacle, translates

_RESAMPLE = "resample of MIL (documentation in coremltools 9.0, ops/defs/iOS15/image_resizing.py)"
_SUPPRESSION = "non_maximum_suppression of MIL (documentation in coremltools 9.0, ops/defs/iOS17/tensor_operation.py)"


def _suppressed(node: Node) -> Obstacle | None:
    if not all(v is not None and v.tensor.is_static for v in node.inputs[:2]):
        return Obstacle("dynamic-shape", "the numbers of boxes and classes have to be known")
    for index, name in ((2, "greatest number of boxes"), (3, "limit of overlaps")):
        value = node.operand(index)
        if value is not None and value.data is None and value.ints is None:
            return Obstacle("dynamic-parameter", f"MIL wants the {name} as a constant")
    if not _most(node):
        return Obstacle("zero-size", "no boxes are to be chosen")
    return None


def _most(node: Node) -> int:
    """How many boxes are chosen at most for a class: there are no more than boxes."""
    most, boxes = node.operand(2), node.inputs[0]
    assert boxes is not None
    size = (boxes.tensor.static_shape or (0, 0, 0))[1]
    if most is None:
        return 0
    given = most.ints[0] if most.ints else int(most.data.numpy().reshape(-1)[0]) if most.data is not None else 0
    return max(0, min(int(given), size))


@translates(NonMaxSuppression, when=_suppressed, since=Release.IOS17, level="decomposed", evidence=_SUPPRESSION)
def suppression(e: Emission, node: Node) -> None:
    """MIL's suppression with every class as a batch of its own; then the places that hold a box whose score passes the threshold.

    MIL's operator fills places that no box takes with the index -1.
    """
    op = node.op
    assert isinstance(op, NonMaxSuppression)
    boxes, scores = e.operand(node), e.operand(node, 1)
    batch, classes, count = (int(n) for n in scores.shape)
    most = _most(node)
    overlap = e.known(node, 3)
    limit = np.float32(0 if overlap is None else overlap.reshape(-1)[0])
    corners = e.mil.transpose(x=boxes, perm=[0, 2, 1]) if op.center_point_box else _centred(e, boxes)
    if classes > 1:
        spread = e.mil.tile(x=e.mil.expand_dims(x=corners, axes=[1]), reps=ints([1, classes, 1, 1]))
        corners = e.mil.reshape(x=spread, shape=ints([batch * classes, 4, count]))
    rows = e.mil.reshape(x=scores, shape=ints([batch * classes, 1, count]))
    found = e.mil.non_maximum_suppression(boxes=corners, scores=rows, iou_threshold=limit, max_boxes=most, per_class_suppression=False)
    chosen = found[2]
    kept = e.mil.greater_equal(x=chosen, y=np.int32(0))
    threshold = e.operand(node, 4)
    if threshold is not None:
        scored = e.mil.reshape(x=found[1], shape=ints([batch * classes, most]))
        bound = e.mil.reshape(x=threshold, shape=ints([1, 1])) if len(threshold.shape) else threshold
        kept = e.mil.logical_and(x=kept, y=e.mil.greater(x=scored, y=bound))
    names = np.indices((batch, classes, most))[:2].reshape(2, -1).T.astype(np.int32)
    table = e.mil.concat(values=[e.const(names), e.mil.reshape(x=chosen, shape=ints([-1, 1]))], axis=1)
    places = e.mil.non_zero(x=e.mil.reshape(x=e.cast(kept, "int32"), shape=ints([-1])))
    e.bind(node, e.mil.gather(x=table, indices=e.mil.squeeze(x=places, axes=[1]), axis=0))


def _centred(e: Emission, boxes: Any) -> Any:
    """Two opposite corners ``(y, x, y, x)`` as centres and sizes ``(x, y, width, height)``, boxes last."""
    first, second = e.mil.split(x=boxes, split_sizes=ints([2, 2]), axis=2)
    low, high = e.mil.minimum(x=first, y=second), e.mil.maximum(x=first, y=second)
    centre = e.mil.mul(x=e.mil.add(x=low, y=high), y=np.float32(0.5))
    sizes = e.mil.sub(x=high, y=low)
    rows = e.mil.concat(values=[centre, sizes], axis=2)
    return e.mil.transpose(x=e.mil.gather(x=rows, indices=ints([1, 0, 3, 2]), axis=2), perm=[0, 2, 1])


def _resampled(node: Node) -> Obstacle | None:
    op, x, grid = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, GridSample) and x is not None and grid is not None
    if x.rank != 4:
        return Obstacle("rank", "MIL samples images of two spatial dimensions")
    if op.mode != "linear":
        return Obstacle("attribute", "MIL's sampling is used with linear interpolation")
    if op.padding_mode == "reflection" and not (x.shape and all(isinstance(n, int) and n > 1 for n in x.shape[2:])):
        return Obstacle("dynamic-shape", "reflections need images with known sizes of more than one")
    return None


_PADDING = {"zeros": "constant", "border": "border", "reflection": "symmetric"}


@translates(GridSample, when=_resampled, evidence=_RESAMPLE)
def resample(e: Emission, node: Node) -> None:
    """Bilinear sampling at normalised positions; reflections happen at the outermost centres or at the edges."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, GridSample)
    padding = "reflection" if op.padding_mode == "reflection" and op.align_corners else _PADDING[op.padding_mode]
    sampled = e.mil.resample(
        x=x,
        coordinates=e.cast(e.operand(node, 1), "fp32"),
        sampling_mode="bilinear",
        padding_mode=padding,
        padding_value=e.like(0, x),
        coordinates_mode="normalized_minus_one_to_one",
        align_corners=bool(op.align_corners),
    )
    e.bind(node, sampled)
