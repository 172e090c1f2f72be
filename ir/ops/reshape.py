"""Operators that change a shape and keep the elements, and those that read a shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim, floordiv, product
from ..dtypes import DType
from ..op import Op
from ..types import CONTENT_LIMIT, TensorType
from .cells import cells, elements_of, from_cells, ints_of, length_of, unknown_of
from .common import attribute_error, broadcast_shapes, format_shape, normalize_axes, shape_error, with_content


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements under another shape; 0 copies a dimension (unless ``allowzero``), one -1 takes what is left."""

    allowzero: int = 0
    shape_operands = (1,)

    def infer(self, data: TensorType, shape: TensorType) -> Any:
        if not isinstance(data, TensorType):
            return unknown_of(data, "data")
        wanted = elements_of(shape)
        if wanted is None:
            return TensorType(data.dtype, None)
        target = self._target(data.shape, wanted)
        if data.shape is None:
            target = [None if d == -1 else d for d in target]
        else:
            self._settle(data.shape, target)
        content = data.content if data.content is not None and None not in target else None
        return TensorType(data.dtype, tuple(target), content)  # type: ignore[arg-type]

    def _target(self, source: tuple[Dim, ...] | None, wanted: Sequence[Dim | None]) -> list[Any]:
        """The requested dimensions with zeros replaced; -1 stays, None is unknown."""
        target: list[Any] = []
        for position, entry in enumerate(wanted):
            if type(entry) is int:
                if entry == 0 and not self.allowzero:
                    if source is not None and position >= len(source):
                        raise shape_error(
                            f"shape {format_shape(wanted)} copies dimension {position}, which {format_shape(source)} does not have"
                        )
                    entry = None if source is None else source[position]
                elif entry < -1:
                    raise shape_error(f"shape {format_shape(wanted)} has the impossible dimension {entry}")
            target.append(entry)
        if target.count(-1) > 1:
            raise shape_error(f"shape {format_shape(wanted)} has more than one -1")
        return target

    @staticmethod
    def _settle(source: tuple[Dim, ...], target: list[Any]) -> None:
        """Replace the single open dimension (-1, or the only unknown one) by the quotient of the element counts."""
        opened = [i for i, d in enumerate(target) if d is None or d == -1]
        total = product(source)
        if len(opened) > 1:
            for position in opened:
                target[position] = None
            return
        rest = product([d for i, d in enumerate(target) if i not in opened])
        static = isinstance(total, int) and isinstance(rest, int)
        if not opened:
            if static and total != rest:
                raise shape_error(f"{total} elements of {format_shape(source)} do not fit {format_shape(target)}")
            return
        if rest == 0:
            if target[opened[0]] == -1 and static:
                raise shape_error(f"-1 in {format_shape(target)} is ambiguous, for another dimension is 0")
            target[opened[0]] = None
            return
        if static and total % rest:
            raise shape_error(f"{total} elements of {format_shape(source)} do not fit {format_shape(target)}")
        target[opened[0]] = floordiv(total, rest)

    def evaluate(self, data: Any, shape: Any) -> Any:
        dims = [int(d) for d in shape]
        if not self.allowzero:
            dims = [data.shape[i] if d == 0 else d for i, d in enumerate(dims)]
        return data.reshape(dims)


@dataclass(frozen=True)
class Flatten(Op):
    """A matrix: the dimensions before ``axis`` and those from it on, each multiplied together."""

    axis: int = 1

    def infer(self, input: TensorType) -> Any:
        if not isinstance(input, TensorType):
            return unknown_of(input, "input")
        if input.shape is None:
            return TensorType(input.dtype, (None, None))  # type: ignore[arg-type]
        axis = self._split(len(input.shape))
        return TensorType(input.dtype, (product(input.shape[:axis]), product(input.shape[axis:])), input.content)

    def _split(self, rank: int) -> int:
        if not -rank <= self.axis <= rank:
            raise attribute_error(f"axis {self.axis} is out of range for rank {rank}")
        return self.axis + rank if self.axis < 0 else self.axis

    def evaluate(self, input: Any) -> Any:
        axis = self._split(input.ndim)
        return input.reshape(int(np.prod(input.shape[:axis], dtype=np.int64)), int(np.prod(input.shape[axis:], dtype=np.int64)))


@dataclass(frozen=True)
class Squeeze(Op):
    """Drop dimensions of size 1: those of ``axes``, or all of them."""

    shape_operands = (1,)

    def infer(self, data: TensorType, axes: TensorType | None = None) -> Any:
        if not isinstance(data, TensorType):
            return unknown_of(data, "data")
        shape = data.shape
        if axes is None:
            if shape is None or not data.is_static:
                return TensorType(data.dtype, None)  # a symbolic dimension may turn out to be 1
            return TensorType(data.dtype, tuple(d for d in shape if d != 1), data.content)
        chosen = ints_of(axes)
        if chosen is None or shape is None:
            count = length_of(axes) if shape is not None else None
            if count is None or shape is None:
                return TensorType(data.dtype, None)
            return TensorType(data.dtype, (None,) * (len(shape) - count))  # type: ignore[arg-type]
        dropped = normalize_axes(chosen, len(shape))
        for axis in dropped:
            if type(shape[axis]) is int and shape[axis] != 1:
                raise shape_error(f"dimension {axis} of {format_shape(shape)} is not 1 and cannot be squeezed")
        return TensorType(data.dtype, tuple(d for i, d in enumerate(shape) if i not in dropped), data.content)

    def evaluate(self, data: Any, axes: Any = None) -> Any:
        return np.squeeze(data) if axes is None else np.squeeze(data, tuple(int(a) for a in axes.reshape(-1)))


@dataclass(frozen=True)
class Unsqueeze(Op):
    """Insert dimensions of size 1 at ``axes`` of the result."""

    shape_operands = (1,)

    def infer(self, data: TensorType, axes: TensorType) -> Any:
        if not isinstance(data, TensorType):
            return unknown_of(data, "data")
        chosen = ints_of(axes)
        if data.shape is None:
            return TensorType(data.dtype, None)
        if chosen is None:
            count = length_of(axes)
            return TensorType(data.dtype, None if count is None else (None,) * (len(data.shape) + count))  # type: ignore[arg-type]
        rank = len(data.shape) + len(chosen)
        inserted = normalize_axes(chosen, rank)
        rest = iter(data.shape)
        return TensorType(data.dtype, tuple(1 if i in inserted else next(rest) for i in range(rank)), data.content)

    def evaluate(self, data: Any, axes: Any) -> Any:
        return np.expand_dims(data, tuple(int(a) for a in axes.reshape(-1)))


@dataclass(frozen=True)
class Expand(Op):
    """Broadcast to ``shape`` (numpy rules in both directions)."""

    shape_operands = (1,)
    since = 8

    def infer(self, input: TensorType, shape: TensorType) -> Any:
        if not isinstance(input, TensorType):
            return unknown_of(input, "input")
        wanted = elements_of(shape)
        if wanted is None or input.shape is None:
            return TensorType(input.dtype, None)
        source: tuple[Dim, ...] = (1,) * (len(wanted) - len(input.shape)) + input.shape
        lead = len(source) - len(wanted)
        result: list[Any] = list(source[:lead])
        for dim, entry in zip(source[lead:], wanted, strict=True):
            if entry is None:
                result.append(dim if type(dim) is int and dim != 1 else None)
            elif type(entry) is int and entry < 0:
                if entry < -1:
                    raise shape_error(f"shape {format_shape(wanted)} has the impossible dimension {entry}")
                result.append(dim)
            else:
                joined = broadcast_shapes((dim,), (entry,))
                assert joined is not None
                result.append(joined[0])
        known = cells(input)
        if known is None or not all(type(d) is int for d in result):
            return TensorType(input.dtype, tuple(result))
        return from_cells(input.dtype, tuple(result), np.broadcast_to(known, tuple(result)))

    def evaluate(self, input: Any, shape: Any) -> Any:
        dims = [int(d) for d in shape]
        source = (1,) * (len(dims) - input.ndim) + input.shape
        dims = [source[len(source) - len(dims) + i] if d == -1 else d for i, d in enumerate(dims)]
        return np.broadcast_to(input, np.broadcast_shapes(input.shape, tuple(dims))).copy()


@dataclass(frozen=True)
class Tile(Op):
    """Repeat the tensor along every dimension."""

    shape_operands = (1,)

    def infer(self, input: TensorType, repeats: TensorType) -> Any:
        if not isinstance(input, TensorType):
            return unknown_of(input, "input")
        times = elements_of(repeats)
        if input.shape is None:
            return TensorType(input.dtype, None if times is None else (None,) * len(times))  # type: ignore[arg-type]
        if times is None:
            return TensorType(input.dtype, (None,) * len(input.shape))  # type: ignore[arg-type]
        if len(times) != len(input.shape):
            raise shape_error(f"{len(times)} repeats for the {len(input.shape)} dimensions of {format_shape(input.shape)}")
        shape = tuple(None if t is None else d * t for d, t in zip(input.shape, times, strict=True))
        known = cells(input)
        counts = ints_of(repeats)
        if known is None or counts is None or product(shape) > CONTENT_LIMIT:  # type: ignore[arg-type,operator]
            return TensorType(input.dtype, shape)  # type: ignore[arg-type]
        return from_cells(input.dtype, shape, np.tile(known, counts))

    def evaluate(self, input: Any, repeats: Any) -> Any:
        return np.tile(input, tuple(int(r) for r in repeats))


@dataclass(frozen=True)
class Shape(Op):
    """The dimensions from ``start`` to ``end`` as an int64 vector."""

    start: int = 0
    end: int | None = None

    def infer(self, data: TensorType) -> TensorType:
        if not isinstance(data, TensorType):
            unknown_of(data, "data")
            return TensorType(DType.INT64, (None,))  # type: ignore[arg-type]
        if data.shape is None:
            return TensorType(DType.INT64, (None,))  # type: ignore[arg-type]
        dims = data.shape if self.start == 0 and self.end is None else data.shape[self.start : self.end]
        return TensorType(DType.INT64, (len(dims),), dims)

    def evaluate(self, data: Any) -> Any:
        return np.array(data.shape[self.start : self.end], np.int64)


@dataclass(frozen=True)
class Size(Op):
    """The number of elements as an int64 scalar."""

    def infer(self, data: TensorType) -> TensorType:
        if not isinstance(data, TensorType):
            unknown_of(data, "data")
            return TensorType(DType.INT64, ())
        return with_content(DType.INT64, (), None if data.shape is None else (product(data.shape),))

    def evaluate(self, data: Any) -> Any:
        return np.array(data.size, np.int64)
