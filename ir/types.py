"""Types of values: tensors with symbolic shapes, sequences and optionals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .dims import Dim, Expr, product, substitute, symbol
from .dtypes import DType

Shape = tuple[Dim, ...]
CONTENT_LIMIT = 1024  # elements of integer tensors whose contents inference follows
NUMBERS_LIMIT = 16  # elements of floating-point constants that inference may read


@dataclass(frozen=True, slots=True)
class TensorType:
    """A tensor's element type and shape.

    Attributes:
        dtype: the element type.
        shape: the dimensions, or None when not even the rank is known. Inference rules may return ``None`` *inside* the shape
            for a dimension they cannot know; the graph replaces it by a fresh symbol before it is stored in a value.
        content: the elements in row-major order when inference knows them (small integer or bool tensors that compute shapes), each
            an integer, an expression, or None where it is unknown. It refines the type and takes no part in equality.
        numbers: the elements of a small floating-point constant (the scales of a Resize); results of operators do not carry them.
    """

    dtype: DType
    shape: tuple[Dim, ...] | None
    content: tuple[Dim | None, ...] | None = field(default=None, compare=False)
    numbers: tuple[float, ...] | None = field(default=None, compare=False)

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)

    @property
    def elements(self) -> Dim | None:
        """The number of elements, or None when the shape is unknown."""
        return None if self.shape is None else product(self.shape)

    @property
    def is_static(self) -> bool:
        """Whether every dimension is a known integer."""
        return self.shape is not None and all(type(d) is int for d in self.shape)

    @property
    def static_shape(self) -> tuple[int, ...] | None:
        """The shape when every dimension is a known integer, else None."""
        return self.shape if self.is_static else None  # type: ignore[return-value]

    @property
    def known_content(self) -> tuple[Dim, ...] | None:
        """The content when every element is known (perhaps as an expression)."""
        if self.content is None or any(c is None for c in self.content):
            return None
        return self.content  # type: ignore[return-value]

    @property
    def static_content(self) -> tuple[int, ...] | None:
        """The content when every element is a known integer."""
        if self.content is None or not all(type(c) is int for c in self.content):
            return None
        return self.content  # type: ignore[return-value]

    def with_dtype(self, dtype: DType) -> TensorType:
        """The same shape with another element type and no known content."""
        return TensorType(dtype, self.shape)

    def with_shape(self, shape: tuple[Dim, ...] | None) -> TensorType:
        """The same element type with another shape and no known content."""
        return TensorType(self.dtype, shape)

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype}[*]"
        return f"{self.dtype}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclass(frozen=True, slots=True)
class SequenceType:
    """A sequence whose elements all have one type (element shapes may be only partly known)."""

    element: Type

    def __str__(self) -> str:
        return f"seq<{self.element}>"


@dataclass(frozen=True, slots=True)
class OptionalType:
    """A value that may be absent."""

    element: Type

    def __str__(self) -> str:
        return f"optional<{self.element}>"


@dataclass(frozen=True, slots=True)
class UnknownType:
    """The result of an opaque operator about which nothing is known."""

    def __str__(self) -> str:
        return "unknown"


UNKNOWN = UnknownType()
Type = TensorType | SequenceType | OptionalType | UnknownType


def map_dims(type_: Any, function: Any) -> Any:
    """The type with every dimension (and content element) mapped through ``function(dim)``; None dims are passed on as None."""
    if isinstance(type_, TensorType):
        shape = None if type_.shape is None else tuple(function(d) for d in type_.shape)
        content = None if type_.content is None else tuple(None if c is None else function(c) for c in type_.content)
        return TensorType(type_.dtype, shape, content, type_.numbers)
    if isinstance(type_, SequenceType | OptionalType):
        return replace(type_, element=map_dims(type_.element, function))
    return type_


def bind(type_: Type, bindings: Mapping[str, Dim]) -> Type:
    """The type with symbols replaced, for example ``{"batch": 8}``."""
    return map_dims(type_, lambda d: substitute(d, bindings) if isinstance(d, Expr) else d)


def name_unknown_dims(type_: Type, stem: str) -> Type:
    """Give every dimension that inference left as None a symbol named after the value: ``stem.0``, ``stem.1`` …

    Unknown dimensions of a sequence's elements stay None: they may differ from element to element.
    """
    if isinstance(type_, TensorType):
        if type_.shape is None or None not in type_.shape:
            return type_
        named = tuple(symbol(f"{stem}.{i}") if d is None else d for i, d in enumerate(type_.shape))
        return TensorType(type_.dtype, named, type_.content)
    if isinstance(type_, OptionalType):
        return replace(type_, element=name_unknown_dims(type_.element, stem))
    return type_


def _is_loose(dim: Dim | None) -> bool:
    """Whether a dimension is only known as the outcome of broadcasting different symbols."""
    return isinstance(dim, Expr) and any(a.name == "broadcast" and a.arguments is not None for m, _ in dim.terms for a, _ in m)


def refine(inferred: Type, declared: Type) -> Type | None:
    """The more precise of two descriptions of one value, dimension by dimension, or None when they contradict each other.

    An inferred integer or compound expression wins over a declared symbol; a declared integer wins over an inferred symbol, and a
    declared symbol over an inferred ``broadcast`` of several.
    """
    if isinstance(inferred, UnknownType):
        return declared
    if isinstance(declared, UnknownType):
        return inferred
    if isinstance(inferred, TensorType) and isinstance(declared, TensorType):
        if inferred.dtype is not declared.dtype:
            return None
        if inferred.shape is None:
            return TensorType(inferred.dtype, declared.shape, inferred.content)
        if declared.shape is None:
            return inferred
        if len(inferred.shape) != len(declared.shape):
            return None
        merged: list[Dim] = []
        for ours, theirs in zip(inferred.shape, declared.shape, strict=True):
            if isinstance(ours, int) and isinstance(theirs, int) and ours != theirs:
                return None
            declared_wins = ours is None or isinstance(theirs, int) or _is_loose(ours) and not _is_loose(theirs)
            merged.append(theirs if declared_wins else ours)
        return TensorType(inferred.dtype, tuple(merged), inferred.content)
    if type(inferred) is type(declared) and isinstance(inferred, SequenceType | OptionalType):
        element = refine(inferred.element, declared.element)  # type: ignore[union-attr]
        return None if element is None else replace(inferred, element=element)
    return None
