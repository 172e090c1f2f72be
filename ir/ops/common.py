"""What inference rules share: broadcasting, axes, dtype checks, contents of small integer tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..diagnostics import E_ATTRIBUTE, E_DTYPE, E_SHAPE, Diagnostic
from ..dims import Dim, broadcast
from ..dtypes import DType
from ..types import CONTENT_LIMIT, OptionalType, SequenceType, TensorType

FLOATS = frozenset((DType.FLOAT, DType.DOUBLE, DType.FLOAT16, DType.BFLOAT16))


def shape_error(message: str, hint: str = "") -> Diagnostic:
    """A shape mismatch; the graph adds the node."""
    return Diagnostic(E_SHAPE, message, hint=hint)


def dtype_error(message: str, hint: str = "") -> Diagnostic:
    """An element type mismatch; the graph adds the node."""
    return Diagnostic(E_DTYPE, message, hint=hint)


def attribute_error(message: str, hint: str = "") -> Diagnostic:
    """An impossible attribute; the graph adds the node."""
    return Diagnostic(E_ATTRIBUTE, message, hint=hint)


def tensor(operand: Any, name: str = "operand") -> TensorType:
    """The operand as a tensor type, or a diagnostic (an unknown operand has no type to return, so the caller stops too)."""
    if isinstance(operand, TensorType):
        return operand
    if isinstance(operand, SequenceType | OptionalType):
        raise dtype_error(f"{name} must be a tensor, not {operand}")
    raise dtype_error(f"the type of {name} is not known", hint="declare it in the model's value_info")


def same_dtype(*operands: TensorType | None) -> DType:
    """The element type that all given operands share."""
    present = [o for o in operands if o is not None]
    first = present[0].dtype
    for other in present[1:]:
        if other.dtype is not first:
            raise dtype_error(f"element types {first} and {other.dtype} must agree", hint="insert a Cast")
    return first


def require_dtype(operand: TensorType, allowed: Any, name: str = "operand") -> None:
    """Check that the operand's element type is in ``allowed``."""
    if operand.dtype not in allowed:
        raise dtype_error(f"{name} may not be {operand.dtype}")


def broadcast_shapes(*shapes: tuple[Dim, ...] | None) -> tuple[Dim, ...] | None:
    """Multidirectional (numpy) broadcasting of shapes with symbolic dimensions; None when a rank is unknown."""
    if any(s is None for s in shapes):
        return None
    known: list[tuple[Dim, ...]] = [s for s in shapes if s is not None]
    if len(known) == 2 and known[0] == known[1]:
        return known[0]
    rank = max((len(s) for s in known), default=0)
    result: list[Dim] = []
    for position in range(rank):
        merged: Dim = 1
        for shape in known:
            index = position - rank + len(shape)
            if index < 0:
                continue
            joined = broadcast(merged, shape[index])
            if joined is None:
                raise shape_error(f"shapes {', '.join(map(format_shape, known))} do not broadcast")
            merged = joined
        result.append(merged)
    return tuple(result)


def format_shape(shape: Sequence[Any] | None) -> str:
    """``[batch, 3, 224]``, or ``[*]`` when the rank is unknown."""
    return "[*]" if shape is None else "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"


def normalize_axis(axis: int, rank: int, what: str = "axis") -> int:
    """A possibly negative axis as a non-negative one, checked against the rank."""
    if not -rank <= axis < rank:
        raise attribute_error(f"{what} {axis} is out of range for rank {rank}")
    return axis + rank if axis < 0 else axis


def normalize_axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Several axes, made non-negative and checked to be distinct."""
    normal = tuple(normalize_axis(a, rank) for a in axes)
    if len(set(normal)) != len(normal):
        raise attribute_error(f"axes {list(axes)} repeat an axis")
    return normal


def unify_dim(a: Dim | None, b: Dim | None, what: str) -> Dim | None:
    """The more precise of two descriptions of one dimension; a diagnostic when both are integers and differ."""
    if a is None or a == b:
        return b
    if b is None:
        return a
    if isinstance(a, int) and isinstance(b, int):
        raise shape_error(f"{what}: {a} and {b} must be equal")
    return a if isinstance(a, int) else b if isinstance(b, int) else a


def with_content(dtype: DType, shape: tuple[Any, ...] | None, content: Sequence[Any] | None) -> TensorType:
    """A tensor type with known elements where the shape is static, the type counts and the size is within the limit."""
    if content is None or len(content) > CONTENT_LIMIT or not (dtype.is_integer or dtype is DType.BOOL):
        return TensorType(dtype, shape)
    if all(c is None for c in content) and content:
        return TensorType(dtype, shape)
    return TensorType(dtype, shape, tuple(content))


def map_content(function: Callable[..., Any], *operands: TensorType) -> tuple[Any, ...] | None:
    """Apply an elementwise function to the contents of integer operands with numpy broadcasting; None when not all are known.

    ``function`` gets ints or expressions and returns one, or None when the result is not known.
    """
    if any(o.content is None or not o.is_static for o in operands):
        return None
    import numpy as np

    arrays = []
    for operand in operands:
        cells = np.empty(len(operand.content or ()), dtype=object)
        cells[:] = operand.content
        arrays.append(cells.reshape(operand.static_shape or ()))
    joined = np.broadcast_arrays(*arrays)
    if joined[0].size > CONTENT_LIMIT:
        return None
    return tuple(
        None if any(c is None for c in cells) else function(*cells) for cells in zip(*(a.reshape(-1) for a in joined), strict=True)
    )
