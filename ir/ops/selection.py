"""Operators that pick elements by value: NonZero, TopK, Unique, Compress, and ReverseSequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .cells import scalar_of, unknown_of
from .common import attribute_error, dtype_error, format_shape, normalize_axis, shape_error


@dataclass(frozen=True)
class NonZero(Op):
    """The indices of the elements that are not zero, one column each."""

    since = 9

    def infer(self, X: TensorType) -> TensorType:
        if not isinstance(X, TensorType):
            unknown_of(X, "X")
            return TensorType(DType.INT64, (None, None))  # type: ignore[arg-type]
        return TensorType(DType.INT64, (None if X.shape is None else len(X.shape), None))  # type: ignore[arg-type]

    def evaluate(self, X: Any) -> Any:
        if X.ndim == 0:
            return np.zeros((0, int(bool(X))), np.int64)
        return np.array(np.nonzero(X), np.int64).reshape(X.ndim, -1)


@dataclass(frozen=True)
class TopK(Op):
    """The K largest (or smallest) elements along an axis and their indices; of equal ones the first comes first."""

    axis: int = -1
    largest: int = 1
    sorted: int = 1
    outputs = 2
    shape_operands = (1,)

    def infer(self, X: TensorType, K: TensorType) -> Any:
        if not isinstance(X, TensorType):
            return unknown_of(X, "X"), TensorType(DType.INT64, None)
        if X.shape is None:
            return TensorType(X.dtype, None), TensorType(DType.INT64, None)
        axis = normalize_axis(self.axis, len(X.shape))
        count = scalar_of(K)
        dim = X.shape[axis]
        if type(count) is int and (count < 0 or type(dim) is int and count > dim):
            raise shape_error(f"K is {count}, but dimension {axis} of {format_shape(X.shape)} has {dim} elements")
        shape = (*X.shape[:axis], count, *X.shape[axis + 1 :])
        return TensorType(X.dtype, shape), TensorType(DType.INT64, shape)  # type: ignore[arg-type]

    def evaluate(self, X: Any, K: Any) -> Any:
        count = int(np.asarray(K).reshape(-1)[0])
        keys = X if X.dtype.isbuiltin == 1 else X.astype(np.float32)
        if self.largest:
            flipped = np.argsort(np.flip(keys, self.axis), axis=self.axis, kind="stable")
            order = X.shape[self.axis] - 1 - np.flip(flipped, self.axis)
        else:
            order = np.argsort(keys, axis=self.axis, kind="stable")
        chosen = np.take(order, np.arange(count), self.axis)
        return np.take_along_axis(X, chosen, self.axis), chosen.astype(np.int64)


@dataclass(frozen=True)
class Unique(Op):
    """The distinct elements (or slices along ``axis``), where each occurs first, which one each element is, and how often."""

    axis: int | None = None
    sorted: int = 1
    since = 11

    def infer(self, X: TensorType) -> Any:
        counts = TensorType(DType.INT64, (None,))  # type: ignore[arg-type]
        if not isinstance(X, TensorType):
            return unknown_of(X, "X"), counts, counts, counts
        if self.axis is None:
            elements = X.elements
            values = TensorType(X.dtype, (None,))  # type: ignore[arg-type]
        elif X.shape is None:
            elements, values = None, TensorType(X.dtype, None)
        else:
            axis = normalize_axis(self.axis, len(X.shape))
            elements = X.shape[axis]
            values = TensorType(X.dtype, (*X.shape[:axis], None, *X.shape[axis + 1 :]))  # type: ignore[arg-type]
        return values, counts, TensorType(DType.INT64, (elements,)), counts  # type: ignore[arg-type]

    def evaluate(self, X: Any) -> Any:
        values, first, inverse, counts = np.unique(X, return_index=True, return_inverse=True, return_counts=True, axis=self.axis)
        inverse = inverse.reshape(-1)
        if not self.sorted:
            order = np.argsort(first, kind="stable")
            rank = np.argsort(order, kind="stable")
            values = np.take(values, order, 0 if self.axis is None else self.axis)
            first, counts, inverse = first[order], counts[order], rank[inverse]
        return values, first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)


@dataclass(frozen=True)
class Compress(Op):
    """The slices along ``axis`` (or the elements of the flattened tensor) whose condition is true."""

    axis: int | None = None
    since = 9

    def infer(self, input: TensorType, condition: TensorType) -> Any:
        if not isinstance(input, TensorType):
            return unknown_of(input, "input")
        if isinstance(condition, TensorType) and condition.dtype is not DType.BOOL:
            raise dtype_error(f"condition must be bool, not {condition.dtype}")
        known = condition.static_content if isinstance(condition, TensorType) else None
        count = None if known is None else sum(map(bool, known))
        if self.axis is None:
            return TensorType(input.dtype, (count,))  # type: ignore[arg-type]
        if input.shape is None:
            return TensorType(input.dtype, None)
        axis = normalize_axis(self.axis, len(input.shape))
        return TensorType(input.dtype, (*input.shape[:axis], count, *input.shape[axis + 1 :]))  # type: ignore[arg-type]

    def evaluate(self, input: Any, condition: Any) -> Any:
        return np.compress(condition, input, self.axis)


@dataclass(frozen=True)
class ReverseSequence(Op):
    """Reverse the first ``sequence_lens[i]`` steps of each batch entry."""

    batch_axis: int = 1
    time_axis: int = 0
    since = 10

    def infer(self, input: TensorType, sequence_lens: TensorType) -> Any:
        if not isinstance(input, TensorType):
            return unknown_of(input, "input")
        if {self.batch_axis, self.time_axis} != {0, 1}:
            raise attribute_error(f"batch_axis {self.batch_axis} and time_axis {self.time_axis} must be 0 and 1 in some order")
        if input.shape is not None and len(input.shape) < 2:
            raise shape_error(f"ReverseSequence needs at least two dimensions, not {format_shape(input.shape)}")
        return input.with_shape(input.shape)

    def evaluate(self, input: Any, sequence_lens: Any) -> Any:
        result = np.moveaxis(input.copy(), self.batch_axis, 0)
        for sample, length in enumerate(sequence_lens.tolist()):
            result[sample, :length] = result[sample, :length][::-1]
        return np.moveaxis(result, 0, self.batch_axis)
