"""Elementwise arithmetic, comparison and conversion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import undefined
from .registry import operator
from .values import BY_NAME, Array


def _unary(name: str, function: Callable[[Any], Any]) -> None:
    def evaluate(x: Array) -> Any:
        return function(x)

    operator(name)(evaluate)


for _name, _function in (
    ("abs", np.abs),
    ("acos", np.arccos),
    ("asin", np.arcsin),
    ("atan", np.arctan),
    ("atanh", np.arctanh),
    ("ceil", np.ceil),
    ("cos", np.cos),
    ("cosh", np.cosh),
    ("exp", np.exp),
    ("floor", np.floor),
    ("logical_not", np.logical_not),
    ("round", np.rint),
    ("sign", np.sign),
    ("sin", np.sin),
    ("sinh", np.sinh),
    ("sqrt", np.sqrt),
    ("square", np.square),
    ("tan", np.tan),
    ("tanh", np.tanh),
):
    _unary(_name, _function)


@operator("erf")
def erf(x: Array) -> Array:
    """The Gauss error function."""
    from scipy.special import erf as gauss

    return np.asarray(gauss(x), x.dtype)


@operator("exp2")
def exp2(x: Array) -> Array:
    """Two to the power of x; of integers only the powers that are integers."""
    if x.dtype.kind not in "iu":
        return np.exp2(x)
    if (x < 0).any() or (x > 30).any():
        undefined("an integer power of two has no 32-bit integer result")
    return np.left_shift(np.ones_like(x), x)


@operator("inverse")
def inverse(x: Array, epsilon: Any = 1e-4) -> Array:
    """One over x + epsilon."""
    return 1 / (x + epsilon)


@operator("log")
def log(x: Array, epsilon: Any = 1e-45) -> Array:
    """The logarithm of x + epsilon."""
    return np.log(x + np.asarray(epsilon, x.dtype))


@operator("rsqrt")
def rsqrt(x: Array, epsilon: Any = 1e-12) -> Array:
    """One over the square root of x + epsilon."""
    return 1 / np.sqrt(x + epsilon)


@operator("clip")
def clip(x: Array, alpha: Array, beta: Array) -> Array:
    """x between alpha and beta."""
    return np.minimum(np.maximum(x, alpha), beta)


@operator("threshold")
def threshold(x: Array, alpha: Array) -> Array:
    """x, but at least alpha."""
    return np.maximum(x, alpha)


@operator("cast")
def cast(x: Array, dtype: str) -> Array:
    """Conversion; floats lose their fraction. Values that the integer type cannot hold have no defined result."""
    target = BY_NAME.get({"int64": "int32"}.get(dtype, dtype))
    if target is None:
        undefined(f"there is no element type '{dtype}'")
    stored = target.stored
    if stored.kind not in "iu" or x.dtype.kind == "b":
        return x.astype(np.float32 if stored == np.float16 else stored)
    limits = np.iinfo(stored)
    whole = np.trunc(x) if x.dtype.kind == "f" else x
    if x.size and not bool(((whole >= limits.min) & (whole <= limits.max)).all()):
        undefined(f"{dtype} cannot hold every value")
    return whole.astype(stored)


def _binary(name: str, function: Callable[[Any, Any], Any]) -> None:
    def evaluate(x: Array, y: Array) -> Any:
        if x.dtype != y.dtype:
            undefined(f"its operands have the element types {x.dtype} and {y.dtype}")
        return function(x, y)

    operator(name)(evaluate)


def _nonzero(y: Array) -> Array:
    if y.dtype.kind in "iu" and not y.all():
        undefined("an integer is divided by zero")
    return y


def _floor_div(x: Array, y: Array) -> Array:
    return np.floor_divide(x, _nonzero(y))


def _mod(x: Array, y: Array) -> Array:
    return np.mod(x, _nonzero(y))


def _real_div(x: Array, y: Array) -> Array:
    """The quotient; of integers an integer (so a stored result of coremltools' tests), if it is the same rounded down and towards zero."""
    if x.dtype.kind not in "iu":
        return np.divide(x, y)
    down = np.floor_divide(x, _nonzero(y))
    if np.any((down < 0) & (down * y != x)):
        undefined("the documentation does not say how a negative quotient of integers is rounded")
    return down


def _pow(x: Array, y: Array) -> Array:
    if y.dtype.kind in "iu" and (y < 0).any():
        undefined("a negative power of an integer is not an integer")
    return np.power(x, y)


for _name, _function in (
    ("add", np.add),
    ("equal", np.equal),
    ("floor_div", _floor_div),
    ("greater", np.greater),
    ("greater_equal", np.greater_equal),
    ("less", np.less),
    ("less_equal", np.less_equal),
    ("logical_and", np.logical_and),
    ("logical_or", np.logical_or),
    ("logical_xor", np.logical_xor),
    ("maximum", np.maximum),
    ("minimum", np.minimum),
    ("mod", _mod),
    ("mul", np.multiply),
    ("not_equal", np.not_equal),
    ("pow", _pow),
    ("real_div", _real_div),
    ("sub", np.subtract),
):
    _binary(_name, _function)


@operator("select")
def select(cond: Array, a: Array, b: Array) -> Array:
    """a where the condition holds, else b."""
    if a.dtype != b.dtype:
        undefined(f"its choices have the element types {a.dtype} and {b.dtype}")
    return np.where(cond.astype(bool), a, b)


@operator("identity", moves=True)
def identity(x: Any) -> Any:
    """The value itself."""
    return x
