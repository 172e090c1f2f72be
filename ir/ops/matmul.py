"""Matrix products: MatMul, Gemm, Einsum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dims import Dim
from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import attribute_error, broadcast_shapes, dtype_error, format_shape, shape_error, unify_dim
from .numerics import Array, rounded, widened
from .operands import agreeing_dtype, require_rank, shape_of, unresolved

_ARITHMETIC = frozenset((DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE, DType.INT32, DType.INT64, DType.UINT32, DType.UINT64))


def matmul_shape(a: Any, b: Any) -> tuple[Any, ...] | None:
    """The shape of a numpy matrix product; None when a rank is unknown."""
    if a is None or b is None:
        return None
    rank_a, rank_b = len(a), len(b)
    if not rank_a or not rank_b:
        raise shape_error(f"a matrix product needs operands of rank 1 or more, not {format_shape(a)} and {format_shape(b)}")
    inner_a, inner_b = a[-1], b[-2] if rank_b > 1 else b[0]
    if type(inner_a) is int and type(inner_b) is int and inner_a != inner_b:
        raise shape_error(f"the inner dimensions of {format_shape(a)} and {format_shape(b)} differ: {inner_a} and {inner_b}")
    rows = () if rank_a == 1 else (a[-2],)
    columns = () if rank_b == 1 else (b[-1],)
    if rank_a <= 2 and rank_b <= 2:
        return (*rows, *columns)
    lead = a[:-2] if rank_b <= 2 else b[:-2] if rank_a <= 2 else broadcast_shapes(a[:-2], b[:-2])
    return (*(lead or ()), *rows, *columns)


@dataclass(frozen=True)
class MatMul(Op):
    """Matrix product as ``numpy.matmul`` defines it."""

    def infer(self, a: TensorType, b: TensorType) -> Any:
        if type(a) is not TensorType:
            return unresolved(a, "A")
        dtype = agreeing_dtype(a, b)
        if dtype not in _ARITHMETIC:
            raise dtype_error(f"MatMul does not take {dtype}")
        return TensorType(dtype, matmul_shape(a.shape, shape_of(b)))

    def evaluate(self, a: Array, b: Array) -> Array:
        return rounded(np.matmul(widened(a), widened(b)), a.dtype)


@dataclass(frozen=True)
class Gemm(Op):
    """``alpha * A' B' + beta * C``, where the primes transpose if transA or transB is set."""

    alpha: float = 1.0
    beta: float = 1.0
    transA: int = 0
    transB: int = 0

    def infer(self, a: TensorType, b: TensorType, c: TensorType | None = None) -> Any:
        if type(a) is not TensorType:
            return unresolved(a, "A")
        dtype = agreeing_dtype(a, b, c)
        if dtype not in _ARITHMETIC:
            raise dtype_error(f"Gemm does not take {dtype}")
        left, right = require_rank(a, 2, "A"), require_rank(b, 2, "B")
        rows = inner_left = columns = inner_right = None
        if left is not None:
            rows, inner_left = (left[1], left[0]) if self.transA else left
        if right is not None:
            inner_right, columns = (right[1], right[0]) if self.transB else right
        if type(inner_left) is int and type(inner_right) is int and inner_left != inner_right:
            raise shape_error(
                f"the inner dimensions of A {format_shape(left)} and B {format_shape(right)} differ: {inner_left} and {inner_right}"
            )
        _check_addend(shape_of(c), rows, columns)
        return TensorType(dtype, (rows, columns))  # type: ignore[arg-type]

    def evaluate(self, a: Array, b: Array, c: Array | None = None) -> Array:
        left, right = widened(a), widened(b)
        y = np.matmul(left.T if self.transA else left, right.T if self.transB else right)
        if self.alpha != 1.0:
            y = (y * self.alpha).astype(y.dtype)
        if c is not None and self.beta != 0.0:
            addend = widened(c)
            y = y + (addend if self.beta == 1.0 else (addend * self.beta).astype(y.dtype))
        return rounded(y, a.dtype)


def _check_addend(shape: Any, rows: Dim | None, columns: Dim | None) -> None:
    if shape is None:
        return
    if len(shape) > 2:
        raise shape_error(f"C {format_shape(shape)} must have at most two dimensions")
    for dim, target in zip(reversed(shape), (columns, rows), strict=False):
        if type(dim) is int and dim != 1 and type(target) is int and dim != target:
            raise shape_error(f"C {format_shape(shape)} does not broadcast to [{rows}, {columns}]")


@dataclass(frozen=True)
class Einsum(Op):
    """Einstein summation over labelled axes, with an optional ellipsis for broadcast leading axes."""

    equation: str
    since = 12

    def infer(self, *inputs: TensorType) -> Any:
        if not inputs or type(inputs[0]) is not TensorType:
            return unresolved(inputs[0] if inputs else None, "the first operand")
        dtype = agreeing_dtype(*inputs)
        terms, result = parse_equation(self.equation)
        if len(terms) != len(inputs):
            raise attribute_error(f"equation {self.equation!r} has {len(terms)} terms for {len(inputs)} operands")
        sizes: dict[str, Any] = {}
        ellipses: list[Any] = []
        for term, operand in zip(terms, inputs, strict=True):
            ellipses.append(_bind_term(term, shape_of(operand), sizes))
        if any(e is None for e in ellipses) and "..." in result:
            return TensorType(dtype, None)
        lead = broadcast_shapes(*(e for e in ellipses if e is not None)) or ()
        before, dots, after = result.partition("...")
        middle = lead if dots else ()
        return TensorType(dtype, (*(sizes.get(x) for x in before), *middle, *(sizes.get(x) for x in after)))  # type: ignore[arg-type]

    def evaluate(self, *inputs: Array) -> Array:
        terms, result = parse_equation(self.equation)
        plain = ",".join(terms) + "->" + result
        return rounded(np.einsum(plain, *(widened(x) for x in inputs), optimize=len(inputs) > 1), inputs[0].dtype)


def parse_equation(equation: str) -> tuple[list[str], str]:
    """The input terms and the (explicit) result term of an equation; blanks are dropped."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    for term in (*terms, right):
        labels = term.replace("...", "", 1)
        if labels and not (labels.isalpha() and labels.isascii()):
            raise attribute_error(f"equation {equation!r} has a malformed term {term!r}")
    if arrow:
        known = set(left)
        for label in right.replace("...", ""):
            if label not in known:
                raise attribute_error(f"equation {equation!r} returns {label!r}, which no operand has")
        return terms, right
    labels = left.replace("...", "").replace(",", "")
    once = "".join(sorted(x for x in set(labels) if labels.count(x) == 1))
    return terms, ("..." if "..." in left else "") + once


def _bind_term(term: str, shape: Any, sizes: dict[str, Any]) -> Any:
    """Record the sizes of a term's labels; returns the shape under its ellipsis, None when the rank is unknown."""
    before, dots, after = term.partition("...")
    if shape is None:
        for label in before + after:
            sizes.setdefault(label, None)
        return None if dots else ()
    extra = len(shape) - len(before) - len(after)
    if extra < 0 or (extra and not dots):
        raise shape_error(f"einsum term {term!r} does not fit the operand {format_shape(shape)}")
    labelled = [*zip(before, shape, strict=False), *zip(after, shape[len(before) + extra :], strict=True)]
    for label, dim in labelled:
        old = sizes.get(label)
        if old == 1 or dim == 1:
            sizes[label] = dim if old in (1, None) else old
        else:
            sizes[label] = unify_dim(old, dim, f"einsum label {label!r}")
    return shape[len(before) : len(before) + extra]
