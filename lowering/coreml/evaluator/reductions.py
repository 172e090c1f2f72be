"""Reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import undefined
from .registry import operator
from .values import Array


def _l1(x: Array, axis: Any, keepdims: bool) -> Array:
    return np.abs(x).sum(axis=axis, keepdims=keepdims, dtype=x.dtype)


def _sum(x: Array, axis: Any, keepdims: bool) -> Array:
    return x.sum(axis=axis, keepdims=keepdims, dtype=x.dtype)


def _squares(x: Array, axis: Any, keepdims: bool) -> Array:
    return np.square(x).sum(axis=axis, keepdims=keepdims, dtype=x.dtype)


def _product(x: Array, axis: Any, keepdims: bool) -> Array:
    return x.prod(axis=axis, keepdims=keepdims, dtype=x.dtype)


def _l2(x: Array, axis: Any, keepdims: bool) -> Array:
    return np.sqrt(_squares(_floats(x), axis, keepdims))


def _log_sum(x: Array, axis: Any, keepdims: bool) -> Array:
    return np.log(_sum(_floats(x), axis, keepdims))


def _log_sum_exp(x: Array, axis: Any, keepdims: bool) -> Array:
    peak = _floats(x).max(axis=axis, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0)
    total = np.log(np.exp(x - peak).sum(axis=axis, keepdims=True)) + peak
    return total if keepdims else np.squeeze(total, axis=axis)


def _mean(x: Array, axis: Any, keepdims: bool) -> Array:
    return _floats(x).mean(axis=axis, keepdims=keepdims)


def _floats(x: Array) -> Array:
    if x.dtype.kind != "f":
        undefined("the documentation does not say how its result is rounded for integers")
    return x


def _reduction(name: str, function: Callable[[Array, Any, bool], Any]) -> None:
    def evaluate(x: Array, axes: Any = None, keep_dims: Any = False) -> Any:
        chosen = tuple(range(x.ndim)) if axes is None else tuple(int(a) for a in np.asarray(axes).reshape(-1))
        return function(x, chosen, bool(keep_dims))

    operator(name)(evaluate)


for _name, _function in (
    ("reduce_l1_norm", _l1),
    ("reduce_l2_norm", _l2),
    ("reduce_log_sum", _log_sum),
    ("reduce_log_sum_exp", _log_sum_exp),
    ("reduce_max", lambda x, axis, keepdims: x.max(axis=axis, keepdims=keepdims)),
    ("reduce_mean", _mean),
    ("reduce_min", lambda x, axis, keepdims: x.min(axis=axis, keepdims=keepdims)),
    ("reduce_prod", _product),
    ("reduce_sum", _sum),
    ("reduce_sum_square", _squares),
):
    _reduction(_name, _function)


@operator("reduce_argmax")
def reduce_argmax(x: Array, axis: Any = -1, keep_dims: Any = False, output_dtype: str = "int32") -> Array:
    """The position of the greatest element, of equal ones the first."""
    return np.argmax(x, axis=int(axis), keepdims=bool(keep_dims)).astype(output_dtype)


@operator("reduce_argmin")
def reduce_argmin(x: Array, axis: Any = -1, keep_dims: Any = False, output_dtype: str = "int32") -> Array:
    """The position of the least element, of equal ones the first."""
    return np.argmin(x, axis=int(axis), keepdims=bool(keep_dims)).astype(output_dtype)
