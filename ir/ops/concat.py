"""Concat, Split and Pad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim, ceildiv
from ..op import Op
from ..types import CONTENT_LIMIT, UNKNOWN, TensorType
from .cells import cells, elements_of, from_cells, ints_of, length_of, unknown_of
from .common import attribute_error, format_shape, normalize_axes, normalize_axis, same_dtype, shape_error, unify_dim


@dataclass(frozen=True)
class Concat(Op):
    """Join tensors along one axis."""

    axis: int

    def infer(self, *inputs: TensorType) -> Any:
        tensors = [t for t in inputs if isinstance(t, TensorType)]
        for operand in inputs:
            if not isinstance(operand, TensorType):
                unknown_of(operand, "an operand of Concat")
        if not tensors:
            if not inputs:
                raise shape_error("Concat needs at least one operand")
            return UNKNOWN
        dtype = same_dtype(*tensors)
        shapes = [t.shape for t in tensors if t.shape is not None]
        if not shapes:
            return TensorType(dtype, None)
        merged: list[Any] = list(shapes[0])
        axis = normalize_axis(self.axis, len(merged))
        total: Any = merged[axis]
        for shape in shapes[1:]:
            if len(shape) != len(merged):
                raise shape_error(f"{format_shape(shapes[0])} and {format_shape(shape)} differ in rank")
            for position, dim in enumerate(shape):
                if position == axis:
                    total = total + dim
                elif dim is not merged[position]:
                    merged[position] = unify_dim(merged[position], dim, f"dimension {position} of Concat operands")
        merged[axis] = total if len(shapes) == len(inputs) else None
        return TensorType(dtype, tuple(merged), _joined(inputs, axis))

    def evaluate(self, *inputs: Any) -> Any:
        return np.concatenate(inputs, self.axis)


def _joined(operands: Sequence[Any], axis: int) -> tuple[Dim | None, ...] | None:
    """The content of a concatenation, with None for elements of operands whose content is not known."""
    if all(o.content is None if isinstance(o, TensorType) else True for o in operands):
        return None
    if all(isinstance(o, TensorType) and o.shape is not None and len(o.shape) == 1 for o in operands):
        result: list[Dim | None] = []
        for operand in operands:
            part = elements_of(operand)
            if part is None:
                return None
            result += part
        return tuple(result) if len(result) <= CONTENT_LIMIT else None
    known = [cells(o) if isinstance(o, TensorType) else None for o in operands]
    if any(k is None for k in known):
        return None
    joined = np.concatenate(known, axis)  # type: ignore[arg-type]
    return tuple(joined.reshape(-1).tolist()) if joined.size <= CONTENT_LIMIT else None


@dataclass(frozen=True)
class Split(Op):
    """Cut a tensor along one axis into parts of the lengths of ``split``, or into ``num_outputs`` equal parts (a shorter last)."""

    axis: int = 0
    num_outputs: int | None = None
    shape_operands = (1,)

    def infer(self, input: TensorType, split: TensorType | None = None) -> Any:
        lengths = self._lengths_or_count(split)
        if not isinstance(input, TensorType):
            return (unknown_of(input, "input"),) * len(lengths)
        shape = input.shape
        if shape is None:
            return (TensorType(input.dtype, None),) * len(lengths)
        axis = normalize_axis(self.axis, len(shape))
        dim = shape[axis]
        if split is None:
            lengths = equal_parts(dim, len(lengths))
        elif all(type(part) is int for part in lengths) and type(dim) is int and sum(lengths) != dim:
            raise shape_error(f"split {format_shape(lengths)} does not add up to {dim}, dimension {axis} of the operand")
        types = [TensorType(input.dtype, (*shape[:axis], part, *shape[axis + 1 :])) for part in lengths]
        known = cells(input) if input.content is not None else None
        if known is None or not all(type(part) is int for part in lengths):
            return tuple(types)
        pieces = np.split(known, np.cumsum(lengths)[:-1], axis)
        return tuple(from_cells(input.dtype, t.shape, piece) for t, piece in zip(types, pieces, strict=True))

    def _lengths_or_count(self, split: Any) -> list[Any]:
        if split is None:
            if not self.num_outputs:
                raise attribute_error("Split needs num_outputs or the operand split")
            if not 0 < self.num_outputs <= 1 << 16:
                raise attribute_error(f"num_outputs is {self.num_outputs}")
            return [None] * self.num_outputs
        lengths = elements_of(split)
        return list(lengths) if lengths is not None else [None] * 256  # the node's results say how many there are

    def evaluate(self, input: Any, split: Any = None) -> Any:
        axis = normalize_axis(self.axis, input.ndim)
        lengths = self._lengths_or_count(None) if split is None else [int(s) for s in split]
        if split is None:
            lengths = equal_parts(input.shape[axis], len(lengths))
            if None in lengths:
                raise ValueError(f"{input.shape[axis]} elements cannot be split into {self.num_outputs} parts")
        return tuple(np.split(input, np.cumsum(lengths, dtype=np.int64)[:-1], axis))


def equal_parts(dim: Dim, count: int) -> list[Any]:
    """The lengths of ``count`` equal parts of a dimension; the last may be shorter (None for each when it cannot be)."""
    part = ceildiv(dim, count)
    last = dim - part * (count - 1)
    if isinstance(last, int) and last < 0:
        return [None] * count  # fails if it ever runs, but it may stand in a branch never taken
    return [part] * (count - 1) + [last]


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


@dataclass(frozen=True)
class Pad(Op):
    """Add elements before and after each dimension (or take some away, where ``pads`` is negative)."""

    mode: str = "constant"
    shape_operands = (1, 3)

    def infer(self, data: TensorType, pads: TensorType, constant_value: TensorType | None = None, axes: TensorType | None = None) -> Any:
        if self.mode not in _PAD_MODES:
            raise attribute_error(f"mode '{self.mode}' is not one of {', '.join(_PAD_MODES)}")
        if not isinstance(data, TensorType):
            return unknown_of(data, "data")
        if isinstance(constant_value, TensorType):
            same_dtype(data, constant_value)
        shape = data.shape
        amounts = elements_of(pads)
        if shape is None:
            count = length_of(pads)
            known_rank = axes is None and count is not None
            return TensorType(data.dtype, (None,) * (count // 2) if known_rank and count is not None else None)  # type: ignore[arg-type]
        chosen: Sequence[int] | None = range(len(shape)) if axes is None else ints_of(axes)
        if chosen is None or amounts is None:
            return TensorType(data.dtype, (None,) * len(shape))  # type: ignore[arg-type]
        chosen = normalize_axes(chosen, len(shape))
        if len(amounts) != 2 * len(chosen):
            raise shape_error(f"{len(amounts)} pads for {len(chosen)} axes of {format_shape(shape)}")
        result: list[Any] = list(shape)
        for index, axis in enumerate(chosen):
            before, after = amounts[index], amounts[index + len(chosen)]
            result[axis] = None if before is None or after is None else result[axis] + before + after
            if type(result[axis]) is int and result[axis] < 0:
                raise shape_error(f"pads {format_shape(amounts)} leave {result[axis]} elements of dimension {axis}")
        return TensorType(data.dtype, tuple(result))

    def evaluate(self, data: Any, pads: Any, constant_value: Any = None, axes: Any = None) -> Any:
        chosen = range(data.ndim) if axes is None else normalize_axes([int(a) for a in axes], data.ndim)
        amounts = [int(p) for p in pads]
        widths = [[0, 0] for _ in range(data.ndim)]
        for index, axis in enumerate(chosen):
            widths[axis] = [amounts[index], amounts[index + len(chosen)]]
        crop = tuple(slice(max(-b, 0), n - max(-a, 0)) for (b, a), n in zip(widths, data.shape, strict=True))
        data, widths = data[crop], [[max(b, 0), max(a, 0)] for b, a in widths]
        if self.mode != "constant":
            return np.pad(data, widths, mode=self.mode)  # type: ignore[call-overload]
        fill = ("" if data.dtype == np.object_ else 0) if constant_value is None else constant_value.reshape(-1)[0]
        result = np.full([n + b + a for n, (b, a) in zip(data.shape, widths, strict=True)], fill, data.dtype)
        result[tuple(slice(b, b + n) for (b, _), n in zip(widths, data.shape, strict=True))] = data
        return result
