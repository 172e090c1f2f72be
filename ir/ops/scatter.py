"""ScatterElements, ScatterND and TensorScatter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..op import Op
from ..types import TensorType
from .cells import cells, from_cells, ints_of, unknown_of
from .common import attribute_error, format_shape, normalize_axis, same_dtype, shape_error
from .gather import require_indices

_REDUCTIONS = ("none", "add", "mul", "max", "min")


def _check(reduction: str, data: TensorType, indices: Any, updates: Any) -> None:
    if reduction not in _REDUCTIONS:
        raise attribute_error(f"reduction '{reduction}' is not one of {', '.join(_REDUCTIONS)}")
    require_indices(indices)
    if isinstance(updates, TensorType):
        same_dtype(data, updates)


def _update(result: Any, index: Any, updates: Any, reduction: str) -> Any:
    """Write ``updates`` into ``result`` in order; repeated indices accumulate (without a reduction the last one stays)."""
    if reduction == "none":
        result[index] = updates
        return result
    operation = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[reduction]
    if result.dtype == np.bool_:
        operation = {"add": np.logical_or, "mul": np.logical_and, "max": np.logical_or, "min": np.logical_and}[reduction]
    if result.dtype.isbuiltin != 1:  # ufunc.at does not know the types of ml_dtypes
        wide = result.astype(np.float32)
        operation.at(wide, index, updates.astype(np.float32))
        return wide.astype(result.dtype)
    operation.at(result, index, updates)
    return result


@dataclass(frozen=True)
class ScatterElements(Op):
    """``data`` with single elements replaced or combined: the opposite of GatherElements."""

    axis: int = 0
    reduction: str = "none"
    since = 11

    def infer(self, data: TensorType, indices: TensorType, updates: TensorType) -> Any:
        if not isinstance(data, TensorType):
            return unknown_of(data, "data")
        _check(self.reduction, data, indices, updates)
        if data.shape is not None:
            normalize_axis(self.axis, len(data.shape))
            for operand, name in ((indices, "indices"), (updates, "updates")):
                shape = operand.shape if isinstance(operand, TensorType) else None
                if shape is not None and len(shape) != len(data.shape):
                    raise shape_error(f"data {format_shape(data.shape)} and {name} {format_shape(shape)} differ in rank")
        return data.with_shape(data.shape)

    def evaluate(self, data: Any, indices: Any, updates: Any) -> Any:
        axis = normalize_axis(self.axis, data.ndim)
        grid = list(np.indices(indices.shape, sparse=True))
        grid[axis] = indices.astype(np.int64)
        return _update(data.copy(), tuple(np.broadcast_arrays(*grid)), updates, self.reduction)


@dataclass(frozen=True)
class ScatterND(Op):
    """``data`` with slices replaced or combined: the opposite of GatherND."""

    reduction: str = "none"
    since = 11

    def infer(self, data: TensorType, indices: TensorType, updates: TensorType) -> Any:
        if not isinstance(data, TensorType):
            return unknown_of(data, "data")
        _check(self.reduction, data, indices, updates)
        index_shape = indices.shape if isinstance(indices, TensorType) else None
        if data.shape is not None and index_shape is not None:
            depth = index_shape[-1] if index_shape else None
            if type(depth) is int and depth > len(data.shape):
                raise shape_error(f"indices {format_shape(index_shape)} address {depth} dimensions of {format_shape(data.shape)}")
            update_shape = updates.shape if isinstance(updates, TensorType) else None
            if type(depth) is int and update_shape is not None:
                expected = index_shape[:-1] + data.shape[depth:]
                if len(expected) != len(update_shape):
                    raise shape_error(f"updates {format_shape(update_shape)} should have the shape {format_shape(expected)}")
        if data.content is None or self.reduction != "none":
            return data.with_shape(data.shape)
        known, chosen = cells(data), ints_of(indices)
        added = cells(updates) if isinstance(updates, TensorType) else None
        if known is None or chosen is None or added is None:
            return data.with_shape(data.shape)
        positions = np.array(chosen, np.int64).reshape(indices.static_shape or ())
        result = known.copy()
        result[tuple(np.moveaxis(positions, -1, 0))] = added
        return from_cells(data.dtype, data.shape, result)

    def evaluate(self, data: Any, indices: Any, updates: Any) -> Any:
        return _update(data.copy(), tuple(np.moveaxis(indices.astype(np.int64), -1, 0)), updates, self.reduction)


@dataclass(frozen=True)
class TensorScatter(Op):
    """A cache with an update written at each sample's own position of the sequence axis."""

    axis: int = -2
    mode: str = "linear"
    since = 24
    shape_operands = (2,)

    def infer(self, past_cache: TensorType, update: TensorType, write_indices: TensorType | None = None) -> Any:
        if not isinstance(past_cache, TensorType):
            return unknown_of(past_cache, "past_cache")
        if self.mode not in ("linear", "circular"):
            raise attribute_error(f"mode '{self.mode}' is neither linear nor circular")
        if isinstance(update, TensorType):
            same_dtype(past_cache, update)
        shape = past_cache.shape
        if shape is not None and isinstance(update, TensorType) and update.shape is not None:
            axis = normalize_axis(self.axis, len(shape))
            if axis == 0:
                raise attribute_error("the sequence axis of TensorScatter cannot be the batch axis")
            if len(update.shape) != len(shape):
                raise shape_error(f"update {format_shape(update.shape)} and cache {format_shape(shape)} differ in rank")
            for position, (ours, theirs) in enumerate(zip(shape, update.shape, strict=True)):
                if type(ours) is not int or type(theirs) is not int:
                    continue
                if theirs > ours or theirs != ours and position != axis:
                    raise shape_error(f"update {format_shape(update.shape)} does not fit the cache {format_shape(shape)}")
        return past_cache.with_shape(shape)

    def evaluate(self, past_cache: Any, update: Any, write_indices: Any = None) -> Any:
        axis = normalize_axis(self.axis, past_cache.ndim)
        result = np.moveaxis(past_cache.copy(), axis, 1)
        source = np.moveaxis(update, axis, 1)
        for sample in range(len(result)):
            start = 0 if write_indices is None else int(write_indices[sample])
            places = np.arange(start, start + source.shape[1])
            result[sample, places % result.shape[1] if self.mode == "circular" else places] = source[sample]
        return np.moveaxis(result, 1, axis)
