"""Slice, with symbolic dimensions and symbolic bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..dims import Dim, ceildiv, maximum, minimum
from ..op import Op
from ..types import TensorType
from .cells import at_least, at_most, cells, elements_of, from_cells, ints_of, length_of, unknown_of
from .common import format_shape, normalize_axes, shape_error

_FAR = 2**31 - 1  # exporters write this or more for "to the end"


@dataclass(frozen=True)
class Slice(Op):
    """Part of a tensor: ``data[start:end:step]`` on each of ``axes``, as in numpy."""

    shape_operands = (1, 2, 3, 4)

    def infer(
        self,
        data: TensorType,
        starts: TensorType,
        ends: TensorType,
        axes: TensorType | None = None,
        steps: TensorType | None = None,
    ) -> Any:
        if not isinstance(data, TensorType):
            return unknown_of(data, "data")
        shape = data.shape
        if shape is None:
            return TensorType(data.dtype, None)
        if axes is not None:
            given = ints_of(axes)
            if given is None:
                return TensorType(data.dtype, (None,) * len(shape))  # type: ignore[arg-type]
            chosen = normalize_axes(given, len(shape))
        else:
            count = length_of(starts)
            count = length_of(ends) if count is None else count
            if count is None:
                return TensorType(data.dtype, (None,) * len(shape))  # type: ignore[arg-type]
            if count > len(shape):
                raise shape_error(f"{count} slices for the {len(shape)} dimensions of {format_shape(shape)}")
            chosen = tuple(range(count))
        unknown = (None,) * len(chosen)
        first, last = elements_of(starts) or unknown, elements_of(ends) or unknown
        stride = (1,) * len(chosen) if steps is None else elements_of(steps) or unknown
        if not len(first) == len(last) == len(stride) == len(chosen):
            raise shape_error(f"{len(first)} starts, {len(last)} ends, {len(stride)} steps for {len(chosen)} axes")
        result: list[Any] = list(shape)
        for axis, start, end, step in zip(chosen, first, last, stride, strict=True):
            result[axis] = slice_length(shape[axis], start, end, step)
        if data.content is None:
            return TensorType(data.dtype, tuple(result))
        known = cells(data)
        bounds = (*first, *last, *stride)
        if known is None or not all(type(b) is int for b in bounds):
            return TensorType(data.dtype, tuple(result))
        return from_cells(data.dtype, tuple(result), known[_index(len(shape), chosen, first, last, stride)])

    def evaluate(self, data: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
        count = len(starts)
        chosen = range(count) if axes is None else normalize_axes([int(a) for a in axes], data.ndim)
        stride = [1] * count if steps is None else [int(s) for s in steps]
        return data[_index(data.ndim, chosen, [int(s) for s in starts], [int(e) for e in ends], stride)]


def _index(rank: int, axes: Any, starts: Any, ends: Any, steps: Any) -> tuple[slice, ...]:
    index = [slice(None)] * rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[axis] = slice(start, end, step)
    return tuple(index)


def slice_length(dim: Dim, start: Dim | None, end: Dim | None, step: Dim | None) -> Dim | None:
    """The number of elements of ``[start:end:step]`` of a dimension, None when it cannot be said.

    Bounds are clamped to the dimension exactly as at run time; a clamp that provably does nothing leaves no trace.
    """
    if type(step) is int and step == 0:
        raise shape_error("a step of Slice is 0")
    if type(start) is int and type(end) is int and type(step) is int:
        if type(dim) is int:
            return len(range(*slice(start, end, step).indices(dim)))
    if start is None or type(step) is not int:
        return None
    if step < 0:
        return _backward_length(dim, start, end, step)
    if end is None:
        return 0 if at_least(start, 0) and _reaches(start, dim) else None
    length = _forward_length(dim, start, end)
    return None if length is None else ceildiv(length, step)


def _reaches(bound: Dim, dim: Dim) -> bool:
    return at_least(bound, _FAR) or at_least(bound - dim, 0)


def _clamp(bound: Dim, dim: Dim) -> Dim:
    return 0 if isinstance(bound, int) and bound == 0 else minimum(bound, dim)  # a dimension is never negative


def _forward_length(dim: Dim, start: Dim, end: Dim) -> Dim | None:
    """The length for step 1.

    Lengths are written with ``minimum(bound, dim)`` alone, so that the parts of a tensor cut at one place add up to its size.
    """
    start_ahead, start_behind = at_least(start, 0), at_most(start, -1)
    end_ahead, end_behind = at_least(end, 0), at_most(end, -1)
    if not (start_ahead or start_behind) or not (end_ahead or end_behind):
        return None  # the sign decides from which side a bound counts
    if end_ahead and _reaches(end, dim):
        return _clamp(start * -1, dim) if start_behind else dim - _clamp(start, dim)
    if start_ahead and end_ahead:
        return _window(dim, start, end)
    if start_behind and end_behind:
        return _window(dim, end * -1, start * -1)
    if start_ahead:
        return dim - _clamp(start - end, dim)
    return maximum(_clamp(end, dim) + _clamp(start * -1, dim) - dim, 0)


def _window(dim: Dim, low: Dim, high: Dim) -> Dim:
    """How much of [low, high) lies in [0, dim), for bounds that are not negative."""
    width = high - low
    if at_most(width, 0):
        return 0
    if not at_least(width, 0):
        return maximum(_clamp(high, dim) - _clamp(low, dim), 0)
    if isinstance(low, int) and isinstance(high, int):
        return _clamp(high, dim) - _clamp(low, dim)
    return minimum(width, dim - _clamp(low, dim))


def _backward_length(dim: Dim, start: Dim, end: Dim | None, step: int) -> Dim | None:
    """The length for negative steps where the slice starts at the last element; other starts of unknown dimensions are not followed."""
    if end is None or not isinstance(end, int):
        return None
    from_last = start == -1 if isinstance(start, int) and start < 0 else at_least(start, 0) and _reaches(start + 1, dim)
    if not from_last:
        return None
    if end <= -_FAR:
        return ceildiv(dim, -step)
    kept = dim - _clamp(end + 1, dim) if end >= 0 else _clamp(-end - 1, dim)
    return ceildiv(kept, -step)
