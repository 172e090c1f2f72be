"""Contents of small integer tensors as object arrays, and how inference rules read parameter operands."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dims import Dim, Expr
from ..dtypes import DType
from ..types import CONTENT_LIMIT, UNKNOWN, TensorType, UnknownType
from .common import dtype_error


def unknown_of(operand: Any, name: str) -> UnknownType:
    """The answer of a rule whose data operand is not a tensor: unknown for an unknown operand, otherwise a diagnostic."""
    if isinstance(operand, UnknownType):
        return UNKNOWN
    raise dtype_error(f"{name} must be a tensor, not {operand}")


def content_of(operand: Any) -> tuple[Dim | None, ...] | None:
    """What is known of a parameter operand's elements, None when nothing is."""
    return operand.content if isinstance(operand, TensorType) else None


def ints_of(operand: Any) -> tuple[int, ...] | None:
    """A parameter operand's elements when all are known integers."""
    return operand.static_content if isinstance(operand, TensorType) else None


def scalar_of(operand: Any) -> Dim | None:
    """The only element of a parameter operand, None when it is not known."""
    content = content_of(operand)
    return content[0] if content is not None and len(content) == 1 else None


def length_of(operand: Any) -> int | None:
    """How many elements a one-dimensional parameter operand has, None when that is not known or beyond any rank."""
    if not isinstance(operand, TensorType) or operand.shape is None:
        return None
    if not operand.shape:
        return 1
    first = operand.shape[0]
    return first if len(operand.shape) == 1 and type(first) is int and first <= CONTENT_LIMIT else None


def elements_of(operand: Any) -> tuple[Dim | None, ...] | None:
    """The elements of a one-dimensional operand of known length, None for each one that is not known."""
    content = content_of(operand)
    if content is not None:
        return content
    length = length_of(operand)
    return None if length is None else (None,) * length


def cells(operand: TensorType) -> np.ndarray[Any, Any] | None:
    """The content as an object array of the operand's shape, None when there is none."""
    if operand.content is None or not operand.is_static:
        return None
    flat = np.empty(len(operand.content), dtype=object)
    flat[:] = operand.content
    return flat.reshape(operand.static_shape or ())


def from_cells(dtype: DType, shape: tuple[Any, ...] | None, array: np.ndarray[Any, Any] | None) -> TensorType:
    """A tensor type with the elements of an object array as its content (none when there is no array or it is too large)."""
    if array is None or array.size > CONTENT_LIMIT:
        return TensorType(dtype, shape)
    content = tuple(array.reshape(-1).tolist())
    if content and all(c is None for c in content):
        return TensorType(dtype, shape)
    return TensorType(dtype, shape, content)


def at_least(dim: Dim, bound: int) -> bool:
    """Whether a dimension is at least ``bound`` for all values of its symbols, as far as interval arithmetic can tell."""
    return (dim.bounds({})[0] if isinstance(dim, Expr) else dim) >= bound


def at_most(dim: Dim, bound: int) -> bool:
    """Whether a dimension is at most ``bound`` for all values of its symbols, as far as interval arithmetic can tell."""
    return (dim.bounds({})[1] if isinstance(dim, Expr) else dim) <= bound
