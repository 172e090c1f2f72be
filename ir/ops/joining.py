"""What two types have in common: branches that meet, loop-carried values, elements of one sequence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..dims import Dim, Expr
from ..types import UNKNOWN, OptionalType, SequenceType, TensorType, Type, UnknownType, map_dims
from .common import dtype_error

if TYPE_CHECKING:
    from ..graph import Graph


def join(left: Any, right: Any, what: str) -> Any:
    """The type that admits both: equal dimensions stay, different ones become None, different ranks leave the shape open.

    Raises:
        Diagnostic: the element types or kinds of the two differ; ``what`` names the two in the message.
    """
    if left is right:
        return left
    if isinstance(left, UnknownType) or isinstance(right, UnknownType):
        known = right if isinstance(left, UnknownType) else left
        return TensorType(known.dtype, None) if isinstance(known, TensorType) else UNKNOWN
    if isinstance(left, TensorType) and isinstance(right, TensorType):
        if left.dtype is not right.dtype:
            raise dtype_error(f"{what} have the types {left} and {right}")
        if left.shape is None or right.shape is None or len(left.shape) != len(right.shape):
            return TensorType(left.dtype, None)
        shape = tuple([a if a == b else None for a, b in zip(left.shape, right.shape, strict=True)])
        content = None
        if left.content is not None and right.content is not None and left.shape == right.shape:
            content = tuple([a if a == b else None for a, b in zip(left.content, right.content, strict=True)])
            if all(c is None for c in content):
                content = None
        return TensorType(left.dtype, shape, content)  # type: ignore[arg-type]
    if type(left) is type(right) and isinstance(left, SequenceType | OptionalType):
        return replace(left, element=join(left.element, right.element, what))
    raise dtype_error(f"{what} have the types {left} and {right}")


def join_all(types: Any, what: str) -> Any:
    """The type that admits all of ``types`` (at least one)."""
    result = None
    for type_ in types:
        result = type_ if result is None else join(result, type_, what)
    return result


def outside(type_: Type, body: Graph) -> Type:
    """The type as the graph around ``body`` may know it: dimensions that only exist inside the body become None."""
    if not _mentions_symbols(type_):
        return type_
    local = {value.name for value in body.values()}

    def keep(dim: Dim | None) -> Any:
        if isinstance(dim, Expr) and any(name.rpartition(".")[0] in local for name in dim.symbols()):
            return None
        return dim

    return map_dims(type_, keep)


def _mentions_symbols(type_: Any) -> bool:
    if isinstance(type_, TensorType):
        return any(isinstance(d, Expr) for d in (*(type_.shape or ()), *(type_.content or ())))
    return isinstance(type_, SequenceType | OptionalType) and _mentions_symbols(type_.element)
