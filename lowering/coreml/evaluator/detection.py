"""Selection of boxes and of class labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import undefined
from .registry import Call, operator
from .values import Array


def _overlap(box: Array, others: Array) -> Array:
    """Intersection over union of boxes ``(x, y, width, height)`` around their centres."""
    low = np.maximum(box[:2] - box[2:] / 2, others[:, :2] - others[:, 2:] / 2)
    high = np.minimum(box[:2] + box[2:] / 2, others[:, :2] + others[:, 2:] / 2)
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    return shared / (box[2] * box[3] + others[:, 2] * others[:, 3] - shared)


def _selected(boxes: Array, scores: Array, threshold: float, least: float | None, limit: int, per_class: bool) -> list[int]:
    """The boxes that survive, best score first; a box's score and class are those of its greatest class score."""
    best, classes = scores.max(axis=1), scores.argmax(axis=1)
    order = np.argsort(-best, kind="stable")
    waiting = order if least is None else order[best[order] > least]
    if not len(waiting):
        waiting = order[:1]
    chosen: list[int] = []
    while len(waiting) and len(chosen) < limit:
        first, waiting = int(waiting[0]), waiting[1:]
        chosen.append(first)
        hidden = _overlap(boxes[first], boxes[waiting]) > threshold
        if per_class:
            hidden &= classes[waiting] == classes[first]
        waiting = waiting[~hidden]
    return chosen


@operator("non_maximum_suppression")
def non_maximum_suppression(
    boxes: Array,
    scores: Array,
    iou_threshold: Any,
    max_boxes: Any,
    call: Call,
    score_threshold: Any = None,
    per_class_suppression: Any = False,
) -> tuple[Array, ...]:
    """Boxes without those that a better one overlaps. Before iOS17 the boxes are rows and their number is a fourth result.

    Places that no box takes hold zeros and the index -1. When every score lies below the threshold, the best box is chosen all the same.
    """
    rows = call.opset < 17
    if not rows:
        boxes, scores = np.swapaxes(boxes, 1, 2), np.swapaxes(scores, 1, 2)
    limit = int(max_boxes)
    least = None if score_threshold is None else float(score_threshold)
    coordinates = np.zeros((len(boxes), limit, 4), boxes.dtype)
    values = np.zeros((len(boxes), limit, scores.shape[2]), scores.dtype)
    index = np.full((len(boxes), limit), -1, np.int32)
    counts = np.zeros(len(boxes), np.int32)
    for i in range(len(boxes)):
        chosen = _selected(boxes[i], scores[i], float(iou_threshold), least, limit, bool(per_class_suppression))
        counts[i] = len(chosen)
        coordinates[i, : len(chosen)], values[i, : len(chosen)], index[i, : len(chosen)] = boxes[i, chosen], scores[i, chosen], chosen
    if rows:
        return coordinates, values, index, counts
    return np.swapaxes(coordinates, 1, 2), np.swapaxes(values, 1, 2), index


@operator("classify", moves=True)
def classify(probabilities: Array, classes: list[Any]) -> tuple[Any, dict[Any, float]]:
    """The most probable label, and every label with its probability."""
    values = probabilities.reshape(-1)
    if values.size != len(classes):
        undefined(f"{values.size} probabilities for {len(classes)} classes")
    labels = [c.item() if isinstance(c, np.ndarray) else c for c in classes]
    return labels[int(values.argmax())], {label: float(value) for label, value in zip(labels, values, strict=True)}
