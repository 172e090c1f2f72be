"""Gather, GatherElements and GatherND."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..op import Op
from ..types import TensorType
from .cells import cells, from_cells, ints_of, unknown_of
from .common import dtype_error, format_shape, normalize_axis, shape_error


def require_indices(indices: TensorType, name: str = "indices") -> None:
    """Check that an operand holds indices: integers."""
    if isinstance(indices, TensorType) and not indices.dtype.is_integer:
        raise dtype_error(f"{name} must be integers, not {indices.dtype}", hint="insert a Cast to int64")


@dataclass(frozen=True)
class Gather(Op):
    """The slices of ``data`` along ``axis`` that ``indices`` names."""

    axis: int = 0

    def infer(self, data: TensorType, indices: TensorType) -> Any:
        if not isinstance(data, TensorType):
            return unknown_of(data, "data")
        require_indices(indices)
        shape = data.shape
        index_shape = indices.shape if isinstance(indices, TensorType) else None
        if shape is None or index_shape is None:
            return TensorType(data.dtype, None)
        axis = normalize_axis(self.axis, len(shape))
        result = shape[:axis] + index_shape + shape[axis + 1 :]
        if data.content is None:
            return TensorType(data.dtype, result)
        known, chosen = cells(data), ints_of(indices)
        if known is None or chosen is None or known.ndim == 0:
            return TensorType(data.dtype, result)
        size = known.shape[axis]
        if any(not -size <= i < size for i in chosen):
            return TensorType(data.dtype, result)  # fails if it ever runs, but it may stand in a branch never taken
        positions = np.array(chosen, np.int64).reshape(indices.static_shape or ())
        return from_cells(data.dtype, result, np.asarray(np.take(known, positions, axis), dtype=object))

    def evaluate(self, data: Any, indices: Any) -> Any:
        return np.asarray(np.take(data, indices.astype(np.int64), self.axis), dtype=data.dtype)


@dataclass(frozen=True)
class GatherElements(Op):
    """One element of ``data`` for each index, at the index's own position on the other axes."""

    axis: int = 0
    since = 11

    def infer(self, data: TensorType, indices: TensorType) -> Any:
        if not isinstance(data, TensorType):
            return unknown_of(data, "data")
        require_indices(indices)
        shape = indices.shape if isinstance(indices, TensorType) else None
        if shape is None or data.shape is None:
            return TensorType(data.dtype, shape if shape is not None else _blank(data.shape))
        if len(shape) != len(data.shape):
            raise shape_error(f"data {format_shape(data.shape)} and indices {format_shape(shape)} differ in rank")
        axis = normalize_axis(self.axis, len(shape))
        for position, (dim, limit) in enumerate(zip(shape, data.shape, strict=True)):
            if position != axis and type(dim) is int and type(limit) is int and dim > limit:
                raise shape_error(f"dimension {position} of indices {format_shape(shape)} exceeds that of {format_shape(data.shape)}")
        return TensorType(data.dtype, shape)

    def evaluate(self, data: Any, indices: Any) -> Any:
        axis = normalize_axis(self.axis, data.ndim)
        grid = list(np.indices(indices.shape, sparse=True))
        grid[axis] = indices.astype(np.int64)
        return data[tuple(grid)]


def _blank(shape: Any) -> Any:
    return None if shape is None else (None,) * len(shape)


@dataclass(frozen=True)
class GatherND(Op):
    """The slices of ``data`` that the last dimension of ``indices`` addresses."""

    batch_dims: int = 0
    since = 11

    def infer(self, data: TensorType, indices: TensorType) -> Any:
        if not isinstance(data, TensorType):
            return unknown_of(data, "data")
        require_indices(indices)
        shape = data.shape
        index_shape = indices.shape if isinstance(indices, TensorType) else None
        if shape is None or index_shape is None:
            return TensorType(data.dtype, None)
        if not index_shape:
            raise shape_error("indices of GatherND must have at least one dimension")
        depth = index_shape[-1]
        if type(depth) is not int:
            return TensorType(data.dtype, None)
        if self.batch_dims + depth > len(shape):
            raise shape_error(
                f"indices {format_shape(index_shape)} address {depth} dimensions after {self.batch_dims} of {format_shape(shape)}"
            )
        result = index_shape[:-1] + shape[self.batch_dims + depth :]
        known, chosen = cells(data) if data.content is not None else None, ints_of(indices)
        if known is None or chosen is None:
            return TensorType(data.dtype, result)
        positions = np.array(chosen, np.int64).reshape(indices.static_shape or ())
        limits = known.shape[self.batch_dims : self.batch_dims + depth]
        if any(not -size <= i < size for row in positions.reshape(-1, depth).tolist() for i, size in zip(row, limits, strict=True)):
            return TensorType(data.dtype, result)
        return from_cells(data.dtype, result, np.asarray(self.evaluate(known, positions), dtype=object))

    def evaluate(self, data: Any, indices: Any) -> Any:
        positions = np.moveaxis(indices.astype(np.int64), -1, 0)
        batch = np.indices(indices.shape[:-1], sparse=True)[: self.batch_dims]
        return data[(*batch, *positions)]
