"""Sequences of tensors. In evaluation a sequence is a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..dims import Dim
from ..dtypes import DType
from ..op import Op
from ..types import UNKNOWN, SequenceType, TensorType, Type, UnknownType
from .cells import elements_of, scalar_of, unknown_of
from .common import dtype_error, normalize_axis
from .joining import join, join_all, outside


def element_of(operand: Any, name: str = "input_sequence") -> Any:
    """The element type of a sequence operand, unknown when the operand is."""
    if isinstance(operand, SequenceType):
        return operand.element
    if isinstance(operand, UnknownType):
        return UNKNOWN
    raise dtype_error(f"{name} must be a sequence, not {operand}")


def _position(position: Any) -> int:
    return int(np.asarray(position).reshape(-1)[0])


@dataclass(frozen=True)
class SequenceConstruct(Op):
    """A sequence of the operands."""

    since = 11

    def infer(self, *inputs: Any) -> Type:
        return SequenceType(join_all(inputs, "elements of a sequence") if inputs else UNKNOWN)

    def evaluate(self, *inputs: Any) -> Any:
        return list(inputs)


@dataclass(frozen=True)
class SequenceEmpty(Op):
    """A sequence without elements."""

    dtype: DType | None = None
    since = 11

    def infer(self) -> Type:
        return SequenceType(TensorType(self.dtype or DType.FLOAT, None))

    def evaluate(self) -> Any:
        return []


@dataclass(frozen=True)
class SequenceAt(Op):
    """The element at a position, counted from the end when negative."""

    since = 11
    shape_operands = (1,)

    def infer(self, input_sequence: Any, position: TensorType) -> Any:
        return element_of(input_sequence)

    def evaluate(self, input_sequence: Any, position: Any) -> Any:
        return input_sequence[_position(position)]


@dataclass(frozen=True)
class SequenceInsert(Op):
    """The sequence with one more element, at a position or at the end."""

    since = 11
    shape_operands = (2,)

    def infer(self, input_sequence: Any, tensor: Any, position: TensorType | None = None) -> Any:
        return SequenceType(join(element_of(input_sequence), tensor, "the sequence's elements and the new one"))

    def evaluate(self, input_sequence: Any, tensor: Any, position: Any = None) -> Any:
        at = len(input_sequence) if position is None else _position(position)
        at = at + len(input_sequence) if at < 0 else at
        return [*input_sequence[:at], tensor, *input_sequence[at:]]


@dataclass(frozen=True)
class SequenceErase(Op):
    """The sequence without the element at a position, or without the last."""

    since = 11
    shape_operands = (1,)

    def infer(self, input_sequence: Any, position: TensorType | None = None) -> Any:
        element_of(input_sequence)
        return input_sequence

    def evaluate(self, input_sequence: Any, position: Any = None) -> Any:
        rest = list(input_sequence)
        del rest[-1 if position is None else _position(position)]
        return rest


@dataclass(frozen=True)
class SequenceLength(Op):
    """The number of elements as an int64 scalar."""

    since = 11

    def infer(self, input_sequence: Any) -> Type:
        element_of(input_sequence)
        return TensorType(DType.INT64, ())

    def evaluate(self, input_sequence: Any) -> Any:
        return np.array(len(input_sequence), np.int64)


@dataclass(frozen=True)
class ConcatFromSequence(Op):
    """The elements joined along an existing axis, or stacked along a new one."""

    axis: int
    new_axis: int = 0
    since = 11

    def infer(self, input_sequence: Any) -> Any:
        element = element_of(input_sequence)
        if not isinstance(element, TensorType):
            return unknown_of(element, "an element of the sequence")
        if element.shape is None:
            return TensorType(element.dtype, None)
        if self.new_axis:
            axis = normalize_axis(self.axis, len(element.shape) + 1)
            return TensorType(element.dtype, (*element.shape[:axis], None, *element.shape[axis:]))  # type: ignore[arg-type]
        axis = normalize_axis(self.axis, len(element.shape))
        return TensorType(element.dtype, (*element.shape[:axis], None, *element.shape[axis + 1 :]))  # type: ignore[arg-type]

    def evaluate(self, input_sequence: Any) -> Any:
        return np.stack(input_sequence, self.axis) if self.new_axis else np.concatenate(input_sequence, self.axis)


@dataclass(frozen=True)
class SplitToSequence(Op):
    """The parts of a tensor along an axis: of the lengths ``split``, of one length, or single slices."""

    axis: int = 0
    keepdims: int = 1
    since = 11
    shape_operands = (1,)

    def infer(self, input: TensorType, split: TensorType | None = None) -> Any:
        if not isinstance(input, TensorType):
            return SequenceType(unknown_of(input, "input"))
        shape = input.shape
        if shape is None:
            return SequenceType(TensorType(input.dtype, None))
        axis = normalize_axis(self.axis, len(shape))
        if split is None and not self.keepdims:
            return SequenceType(TensorType(input.dtype, shape[:axis] + shape[axis + 1 :]))
        part: Dim | None = 1 if split is None else _common_part(shape[axis], split)
        return SequenceType(TensorType(input.dtype, (*shape[:axis], part, *shape[axis + 1 :])))  # type: ignore[arg-type]

    def evaluate(self, input: Any, split: Any = None) -> Any:
        size = input.shape[self.axis]
        if split is None:
            parts = np.split(input, range(1, size), self.axis)
            return parts if self.keepdims else [np.squeeze(p, self.axis) for p in parts]
        cuts = range(int(split), size, int(split)) if split.ndim == 0 else np.cumsum(split)[:-1]
        return np.split(input, cuts, self.axis)


def _common_part(dim: Dim, split: Any) -> Dim | None:
    """The length that all parts have, None when they differ or are not known."""
    if isinstance(split, TensorType) and split.shape == ():
        part = scalar_of(split)
        if type(part) is not int or type(dim) is not int:
            return None
        return part if dim % part == 0 else None
    lengths = elements_of(split)
    return lengths[0] if lengths and all(part == lengths[0] for part in lengths) else None


@dataclass(frozen=True)
class SequenceMap(Op):
    """Run the body on every element of a sequence; other sequences are walked in step, tensors are passed as they are."""

    region_names: ClassVar[tuple[str, ...]] = ("body",)
    since: ClassVar[int] = 17

    def infer(self, input_sequence: Any, *additional_inputs: Any, regions: Sequence[Any] = ()) -> Any:
        element_of(input_sequence)
        return tuple(SequenceType(outside(value.type, regions[0])) for value in regions[0].outputs)

    def region_inputs(self, operands: Sequence[Any], index: int, results: Sequence[Type] | None = None) -> list[Type]:
        """The elements of the sequences, and the tensors."""
        return [o.element if isinstance(o, SequenceType) else o for o in operands]

    def evaluate(self, input_sequence: Any, *additional_inputs: Any, regions: Sequence[Any] = ()) -> Any:
        body = regions[0]
        columns: list[list[Any]] = [[] for _ in body.graph.outputs]
        for step, element in enumerate(input_sequence):
            results = body(element, *(a[step] if isinstance(a, list) else a for a in additional_inputs))
            for column, result in zip(columns, results, strict=True):
                column.append(result)
        return tuple(columns)
