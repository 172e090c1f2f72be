"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import undefined, unsupported
from .registry import operator
from .values import Array


@operator("linear")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """``x`` times the transpose of ``weight [outputs, inputs]``, plus the bias."""
    y = np.matmul(x, weight.T)
    return y if bias is None else y + bias


@operator("matmul")
def matmul(x: Array, y: Array, transpose_x: Any = False, transpose_y: Any = False) -> Array:
    """The batched matrix product with numpy's broadcasting."""
    if x.dtype != y.dtype:
        undefined(f"its operands have the element types {x.dtype} and {y.dtype}")
    if bool(transpose_x) and x.ndim > 1:
        x = np.swapaxes(x, -1, -2)
    if bool(transpose_y) and y.ndim > 1:
        y = np.swapaxes(y, -1, -2)
    return np.matmul(x, y)


@operator("einsum", tuples=("values",))
def einsum(values: list[Array], equation: str) -> Array:
    """The two admitted equations: products of axis -1 of the first with axis -3 of the second operand, every other axis a batch."""
    letters: dict[str, str] = {}
    plain = "".join(c if c in ",->" else letters.setdefault(c, chr(ord("a") + len(letters))) for c in equation if c != " ")
    if plain not in ("abcd,adce->abce", "abc,cbd->abd") or len(values) != 2:
        unsupported(f"its equation is '{equation}'")
    x, y = values
    if x.dtype != y.dtype or x.ndim != y.ndim:
        undefined(f"its operands are {x.dtype}{list(x.shape)} and {y.dtype}{list(y.shape)}")
    return np.swapaxes(np.matmul(np.swapaxes(x, -3, -2), np.swapaxes(y, -3, -2)), -3, -2)
