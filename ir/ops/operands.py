"""What the rules of the neural-network operators ask of their operands, tolerant of types that are not known."""

from __future__ import annotations

from typing import Any

from ..dims import Dim
from ..dtypes import DType
from ..types import UNKNOWN, TensorType, UnknownType
from .common import FLOATS, dtype_error, format_shape, shape_error, tensor

MaybeShape = tuple[Dim, ...] | None


def shape_of(operand: Any) -> MaybeShape:
    """The shape of a tensor operand; None when it is absent, its rank is unknown or its type is unknown."""
    return operand.shape if type(operand) is TensorType else None


def unresolved(operand: Any, name: str) -> UnknownType:
    """What a rule returns when its deciding operand is not a tensor: unknown stays unknown, other kinds are an error."""
    if isinstance(operand, UnknownType):
        return UNKNOWN
    tensor(operand, name)
    return UNKNOWN


def float_dtype(first: TensorType, *others: Any) -> DType:
    """The floating-point element type that the operands share; absent and unknown operands are passed over."""
    dtype = first.dtype
    if dtype not in FLOATS:
        raise dtype_error(f"a floating-point operand is needed, not {dtype}", hint="insert a Cast")
    for other in others:
        if type(other) is TensorType and other.dtype is not dtype:
            raise dtype_error(f"element types {dtype} and {other.dtype} must agree", hint="insert a Cast")
    return dtype


def agreeing_dtype(first: TensorType, *others: Any) -> DType:
    """The element type that the operands share; absent and unknown operands are passed over."""
    dtype = first.dtype
    for other in others:
        if type(other) is TensorType and other.dtype is not dtype:
            raise dtype_error(f"element types {dtype} and {other.dtype} must agree", hint="insert a Cast")
    return dtype


def require_rank(operand: Any, rank: int, name: str) -> MaybeShape:
    """The operand's shape, checked to have the given rank; None when it is not known."""
    shape = shape_of(operand)
    if shape is not None and len(shape) != rank:
        raise shape_error(f"{name} must have rank {rank}, not {len(shape)}: {format_shape(shape)}")
    return shape


def require_vector(operand: Any, length: Dim | None, name: str) -> None:
    """Check that the operand (when it is present and known) is one-dimensional with the given length."""
    shape = shape_of(operand)
    if shape is None:
        return
    if len(shape) != 1:
        raise shape_error(f"{name} must have rank 1, not {len(shape)}: {format_shape(shape)}")
    if type(length) is int and type(shape[0]) is int and length != shape[0]:
        raise shape_error(f"{name} must have {length} elements, not {shape[0]}")


def require_equal(first: Dim | None, second: Dim | None, what: str) -> None:
    """A shape error when both are integers and differ."""
    if type(first) is int and type(second) is int and first != second:
        raise shape_error(f"{what}: {first} and {second} must be equal")


def divided(dim: Dim | None, divisor: int, what: str) -> Dim | None:
    """``dim // divisor``; a shape error when an integer dimension is not divisible."""
    if divisor < 1:
        raise shape_error(f"{what} cannot be divided into {divisor} parts")
    if dim is None:
        return None
    if type(dim) is int and dim % divisor:
        raise shape_error(f"{what} {dim} is not divisible by {divisor}")
    return dim // divisor
