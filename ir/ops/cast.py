"""Conversions between element types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import attribute_error, dtype_error
from .elementwise import FLOAT8, check_type, combine, fit, partial

CAST_TYPES = frozenset(DType) - {DType.COMPLEX64, DType.COMPLEX128}
CAST_LIKE_TYPES = CAST_TYPES - {DType.FLOAT6E2M3, DType.FLOAT6E3M2}
BITCAST_TYPES = frozenset(DType) - {DType.STRING, DType.FLOAT6E2M3, DType.FLOAT6E3M2}
ROUND_MODES = ("up", "down", "nearest")


def cast_type(op: Op, x: TensorType, to: DType, allowed: frozenset[DType]) -> TensorType:
    """The type of a tensor after a cast; integers, booleans and constant numbers stay known as integers."""
    check_type(op, x.dtype, allowed)
    if to not in allowed:
        raise dtype_error(f"{op.op_name} cannot give {to}")
    if x.content is None:
        if x.dtype is to:
            return x
        if x.numbers is not None and to.is_integer and all(abs(n) < 1 << to.bits - 1 for n in x.numbers):
            return TensorType(to, x.shape, tuple(fit(int(n), to) for n in x.numbers))
        return TensorType(to, x.shape)
    if to is DType.BOOL and x.dtype is not DType.BOOL:
        return combine(to, x.shape, lambda c: int(c != 0) if isinstance(c, int) else None, x)
    return combine(to, x.shape, lambda c: c, x)


def cast_array(x: Array, to: DType, saturate: bool = True, round_mode: str = "up") -> Array:
    """The array converted to another element type as ONNX's Cast does it.

    Floats become integers by truncation; integers out of range keep their low bits; with ``saturate`` values
    out of the range of a float8 type become its greatest finite value.
    """
    source = DType.from_numpy(x.dtype)
    if source is to:
        return x
    with np.errstate(all="ignore"):
        if source is DType.STRING:
            return _from_strings(x, to, saturate, round_mode)
        if to is DType.STRING:
            return _to_strings(x, source)
        if source.is_float and source.bits < 32:
            x, source = x.astype(np.float32), DType.FLOAT
        if to is DType.FLOAT8E8M0:
            return _to_exponent(x.astype(np.float32), saturate, round_mode)
        if to in FLOAT8:
            return _to_float8(x, to, saturate)
        if to.is_integer and to.bits < 8:
            return _to_small_integer(x, to)
        if to.is_float and to.bits < 32 and source is not DType.FLOAT:
            if source is not DType.DOUBLE or to is not DType.FLOAT16:
                x = x.astype(np.float32)
        if source.is_float and to.is_unsigned_integer and to.bits < 64:
            x = x.astype(np.int64)
        return x.astype(to.numpy)


def _to_float8(x: Array, to: DType, saturate: bool) -> Array:
    import ml_dtypes

    x = x.astype(np.float32)
    if saturate:
        limit = np.float32(ml_dtypes.finfo(to.numpy).max)
        return np.clip(x, -limit, limit).astype(to.numpy)
    return x.astype(to.numpy)


def _to_small_integer(x: Array, to: DType) -> Array:
    """The low bits of integers and of truncated floats, as the elements of a 2-bit or 4-bit type."""
    span = 1 << to.bits
    low = x.astype(np.int64) & (span - 1)
    if to.is_signed_integer:
        low = np.where(low >= span >> 1, low - span, low)
    return low.astype(np.int8).astype(to.numpy)


def _to_exponent(x: Array, saturate: bool, round_mode: str) -> Array:
    """Floats as powers of two (float8e8m0); the code is the exponent field of the float32, rounded as asked for."""
    if round_mode not in ROUND_MODES:
        raise attribute_error(f"round_mode is {round_mode!r}", hint="choose one of: " + ", ".join(ROUND_MODES))
    bits = np.abs(x).view(np.uint32)
    exponent = (bits >> 23).astype(np.int64)
    fraction = bits & 0x7FFFFF
    if round_mode == "up":
        carry = (fraction > 0) & ((exponent > 0) | (fraction > 0x400000))
    elif round_mode == "nearest":
        carry = np.where(exponent > 0, fraction >= 0x400000, fraction > 0x400000)
    else:
        carry = np.zeros(x.shape, np.bool_)
    code = np.where(carry & (exponent < 254 + (not saturate)), exponent + 1, exponent)
    if saturate:
        code = np.minimum(code, 254)
    else:
        code = np.where(x == 0, 255, code)
    code = np.where(np.isnan(x), 255, code)
    return code.astype(np.uint8).view(DType.FLOAT8E8M0.numpy)


def _to_strings(x: Array, source: DType) -> Array:
    if source.is_float and source.bits < 32:
        x = x.astype(np.float32)
    if x.dtype.kind in "biu":
        texts: list[str] = [str(int(v)) for v in x.reshape(-1)]
    elif x.dtype.kind == "f":
        texts = [_float_text(v) for v in x.reshape(-1)]
    else:
        texts = [str(int(v)) for v in x.astype(np.int64).reshape(-1)]
    result = np.empty(len(texts), np.object_)
    result[:] = texts
    return result.reshape(x.shape)


def _float_text(value: Any) -> str:
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "INF" if value > 0 else "-INF"
    return str(value)


def _from_strings(x: Array, to: DType, saturate: bool, round_mode: str) -> Array:
    try:
        if to.is_integer:
            numbers = np.array([int(str(s)) for s in x.reshape(-1)], np.int64 if to.is_signed_integer else np.uint64)
        else:
            numbers = np.array([float(str(s)) for s in x.reshape(-1)], np.float64)
    except (ValueError, OverflowError) as error:
        raise dtype_error(f"Cast cannot read a string as {to}: {error}") from error
    return cast_array(numbers.reshape(x.shape), to, saturate, round_mode)


@dataclass(frozen=True)
class Cast(Op):
    """Elements converted to the type ``to``.

    Attributes:
        saturate: whether values out of the range of a float8 type become its greatest value.
        round_mode: rounding to float8e8m0: ``up``, ``down`` or ``nearest``.
    """

    to: DType
    round_mode: str = "up"
    saturate: int = 1
    elementwise: ClassVar[bool] = True

    def infer(self, x: TensorType) -> Any:
        if not isinstance(x, TensorType):
            partial(x)
            return TensorType(self.to, None)
        return cast_type(self, x, self.to, CAST_TYPES)

    def evaluate(self, x: Array) -> Any:
        return cast_array(x, self.to, bool(self.saturate), self.round_mode)


@dataclass(frozen=True)
class CastLike(Op):
    """Elements converted to the element type of the second operand, whose elements do not matter."""

    round_mode: str = "up"
    saturate: int = 1
    since: ClassVar[int] = 15
    elementwise: ClassVar[bool] = True

    def infer(self, x: TensorType, target_type: TensorType) -> Any:
        if not isinstance(target_type, TensorType):
            return partial(target_type)
        if not isinstance(x, TensorType):
            partial(x)
            return TensorType(target_type.dtype, None)
        return cast_type(self, x, target_type.dtype, CAST_LIKE_TYPES)

    def evaluate(self, x: Array, target_type: Array) -> Any:
        return cast_array(x, DType.from_numpy(target_type.dtype), bool(self.saturate), self.round_mode)


@dataclass(frozen=True)
class BitCast(Op):
    """The same bits read as another element type of the same width."""

    to: DType
    since: ClassVar[int] = 26
    elementwise: ClassVar[bool] = True

    def infer(self, x: TensorType) -> Any:
        if self.to not in BITCAST_TYPES:
            raise dtype_error(f"BitCast cannot give {self.to}")
        if not isinstance(x, TensorType):
            partial(x)
            return TensorType(self.to, None)
        check_type(self, x.dtype, BITCAST_TYPES)
        if x.dtype.bits != self.to.bits:
            raise dtype_error(f"BitCast needs types of one width, not {x.dtype} and {self.to}")
        if x.content is None or not x.dtype.is_integer or not self.to.is_integer:
            return TensorType(self.to, x.shape)
        return combine(self.to, x.shape, lambda c: c if isinstance(c, int) else None, x)

    def evaluate(self, x: Array) -> Any:
        if self.to.bits >= 8:
            return np.ascontiguousarray(x).view(self.to.numpy).reshape(x.shape)
        codes = np.ascontiguousarray(x).view(np.uint8) & ((1 << self.to.bits) - 1)
        if self.to.is_integer:
            return _to_small_integer(codes, self.to).reshape(x.shape)
        return codes.view(self.to.numpy).reshape(x.shape)
