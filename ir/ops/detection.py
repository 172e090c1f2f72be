"""Operators of object detectors: suppression of boxes, pooling of regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import attribute_error, dtype_error, unify_dim
from .numerics import Array, rounded, widened
from .operands import float_dtype, require_equal, require_rank, shape_of, unresolved


@dataclass(frozen=True)
class NonMaxSuppression(Op):
    """The best boxes of every class, without those that overlap a better one: ``[selected, 3]`` of batch, class and box."""

    center_point_box: int = 0
    since = 10

    def infer(
        self,
        boxes: TensorType,
        scores: TensorType,
        max_output_boxes_per_class: TensorType | None = None,
        iou_threshold: TensorType | None = None,
        score_threshold: TensorType | None = None,
    ) -> Any:
        for name, operand in (("boxes", boxes), ("scores", scores)):
            if type(operand) is TensorType and operand.dtype is not DType.FLOAT:
                raise dtype_error(f"{name} must be f32, not {operand.dtype}")
        corners, marks = require_rank(boxes, 3, "boxes"), require_rank(scores, 3, "scores")
        if corners is not None:
            require_equal(corners[2], 4, "the last dimension of boxes and the four coordinates")
            if marks is not None:
                require_equal(corners[0], marks[0], "batch of boxes and scores")
                require_equal(corners[1], marks[2], "numbers of boxes and scores")
        return TensorType(DType.INT64, (None, 3))  # type: ignore[arg-type]

    def evaluate(
        self,
        boxes: Array,
        scores: Array,
        max_output_boxes_per_class: Array | None = None,
        iou_threshold: Array | None = None,
        score_threshold: Array | None = None,
    ) -> Array:
        most = 0 if max_output_boxes_per_class is None else int(max_output_boxes_per_class.reshape(-1)[0])
        overlap = 0.0 if iou_threshold is None else float(iou_threshold.reshape(-1)[0])
        least = None if score_threshold is None else score_threshold.reshape(-1)[0]
        chosen: list[tuple[int, int, int]] = []
        for batch in range(scores.shape[0] if most > 0 else 0):
            low, high = self._corners(boxes[batch])
            for label in range(scores.shape[1]):
                row = scores[batch, label]
                order = np.argsort(-row, kind="stable")
                if least is not None:
                    order = order[row[order] > least]
                kept = 0
                while order.size and kept < most:
                    best, order = order[0], order[1:]
                    chosen.append((batch, label, int(best)))
                    kept += 1
                    order = order[_overlaps(low, high, best, order) <= overlap]
        return np.asarray(chosen, np.int64).reshape(-1, 3)

    def _corners(self, boxes: Array) -> tuple[Array, Array]:
        if self.center_point_box:
            half = boxes[:, 2:] / 2
            return boxes[:, :2] - half, boxes[:, :2] + half
        return np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])


def _overlaps(low: Array, high: Array, one: Any, others: Array) -> Array:
    """Intersection over union of one box with others; boxes without area overlap nothing."""
    sides = np.minimum(high[one], high[others]) - np.maximum(low[one], low[others])
    common = np.clip(sides, 0, None).prod(axis=1)
    own, theirs = (high[one] - low[one]).prod(), (high[others] - low[others]).prod(axis=1)
    union = own + theirs - common
    usable = (own > 0) & (theirs > 0) & (union > 0)
    return np.where(usable, common / np.where(usable, union, 1), 0)


@dataclass(frozen=True)
class RoiAlign(Op):
    """Regions of images pooled to one size with bilinear sampling."""

    coordinate_transformation_mode: str = "half_pixel"
    mode: str = "avg"
    output_height: int = 1
    output_width: int = 1
    sampling_ratio: int = 0
    spatial_scale: float = 1.0
    since = 10

    def infer(self, x: TensorType, rois: TensorType, batch_indices: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        if self.mode not in ("avg", "max"):
            raise attribute_error(f"mode is {self.mode!r}", hint="choose one of: avg, max")
        if self.coordinate_transformation_mode not in ("half_pixel", "output_half_pixel"):
            raise attribute_error(f"coordinate_transformation_mode is {self.coordinate_transformation_mode!r}")
        dtype = float_dtype(x, rois)
        shape, regions, owners = require_rank(x, 4, "X"), require_rank(rois, 2, "rois"), shape_of(batch_indices)
        if regions is not None:
            require_equal(regions[1], 4, "the last dimension of rois and the four coordinates")
        count = unify_dim(regions[0] if regions else None, owners[0] if owners else None, "numbers of rois and batch_indices")
        channels = shape[1] if shape is not None else None
        return TensorType(dtype, (count, channels, self.output_height, self.output_width))  # type: ignore[arg-type]

    def evaluate(self, x: Array, rois: Array, batch_indices: Array) -> Array:
        wide, regions = widened(x), widened(rois)
        half = self.coordinate_transformation_mode == "half_pixel"
        result = np.zeros((len(rois), x.shape[1], self.output_height, self.output_width), wide.dtype)
        for number, (region, image) in enumerate(zip(regions, batch_indices, strict=True)):
            left, top, right, bottom = region * wide.dtype.type(self.spatial_scale) - wide.dtype.type(0.5 if half else 0)
            height, width = bottom - top, right - left
            if not half:
                height, width = max(height, wide.dtype.type(1)), max(width, wide.dtype.type(1))
            rows = self._axis(top, height, self.output_height, x.shape[2])
            columns = self._axis(left, width, self.output_width, x.shape[3])
            result[number] = self._pooled(wide[int(image)], rows, columns)
        return rounded(result, x.dtype)

    def _axis(self, start: Any, extent: Any, bins: int, size: int) -> tuple[Array, Array, Array]:
        """Neighbours ``[2, bins, samples]`` and their weights along one axis, and which samples lie inside the image."""
        per_bin = self.sampling_ratio if self.sampling_ratio > 0 else int(np.ceil(extent / bins))
        step = extent / bins
        offsets = (np.arange(max(per_bin, 0), dtype=np.float32) + 0.5) * step / max(per_bin, 1)
        position = start + np.arange(bins, dtype=np.float32)[:, None] * step + offsets
        inside = (position >= -1) & (position <= size)
        position = np.clip(position, 0, size - 1)
        low = np.minimum(np.floor(position).astype(np.int64), size - 1)
        fraction = position - low
        return np.stack((low, np.minimum(low + 1, size - 1))), np.stack((1 - fraction, fraction)), inside

    def _pooled(self, image: Array, rows: Any, columns: Any) -> Array:
        (row, row_weight, row_in), (column, column_weight, column_in) = rows, columns
        samples = row.shape[2] * column.shape[2]
        if not samples:
            return np.zeros((image.shape[0], row.shape[1], column.shape[1]), image.dtype)
        inside = row_in[:, None, :, None] & column_in[None, :, None, :]
        corners = []
        for i in range(2):
            for j in range(2):
                values = image[:, row[i][:, None, :, None], column[j][None, :, None, :]]
                weight = row_weight[i][:, None, :, None] * column_weight[j][None, :, None, :]
                corners.append(values * np.where(inside, weight, 0).astype(image.dtype))
        if self.mode == "avg":
            return sum(corners).sum(axis=(3, 4)) / image.dtype.type(samples)  # type: ignore[union-attr]
        return np.max(np.stack(corners), axis=(0, 4, 5))


@dataclass(frozen=True)
class MaxRoiPool(Op):
    """The maximum in each cell of regions ``[batch index, x1, y1, x2, y2]``."""

    pooled_shape: tuple[int, ...]
    spatial_scale: float = 1.0

    def infer(self, x: TensorType, rois: TensorType) -> Any:
        if type(x) is not TensorType:
            return unresolved(x, "X")
        if len(self.pooled_shape) != 2 or min(self.pooled_shape) < 1:
            raise attribute_error(f"pooled_shape {list(self.pooled_shape)} must be a height and a width")
        dtype = float_dtype(x, rois)
        shape, regions = require_rank(x, 4, "X"), require_rank(rois, 2, "rois")
        if regions is not None:
            require_equal(regions[1], 5, "the last dimension of rois and the batch index with four coordinates")
        return TensorType(dtype, (regions[0] if regions else None, shape[1] if shape else None, *self.pooled_shape))  # type: ignore[arg-type]

    def evaluate(self, x: Array, rois: Array) -> Array:
        wide = widened(x)
        height, width = x.shape[2:]
        result = np.zeros((len(rois), x.shape[1], *self.pooled_shape), wide.dtype)
        for number, region in enumerate(widened(rois)):
            image = wide[int(region[0])]
            left, top, right, bottom = (int(np.floor(c * self.spatial_scale + 0.5)) for c in region[1:])
            rows = _cells(top, bottom, self.pooled_shape[0], height)
            columns = _cells(left, right, self.pooled_shape[1], width)
            for i, (first, last) in enumerate(rows):
                for j, (begin, end) in enumerate(columns):
                    if last > first and end > begin:
                        result[number, :, i, j] = image[:, first:last, begin:end].max(axis=(1, 2))
        return rounded(result, x.dtype)


def _cells(start: int, stop: int, bins: int, size: int) -> list[tuple[int, int]]:
    step = max(stop - start + 1, 1) / bins
    edges = [(int(np.floor(i * step)) + start, int(np.ceil((i + 1) * step)) + start) for i in range(bins)]
    return [(min(max(a, 0), size), min(max(b, 0), size)) for a, b in edges]
