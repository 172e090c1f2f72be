"""Element types: every ONNX element type, its short name, its width and its numpy type."""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import Any

import numpy as np


class DType(Enum):
    """An element type. The enum value is ``(ONNX code, short name, bits per element)``; strings have 0 bits."""

    FLOAT = (1, "f32", 32)
    UINT8 = (2, "u8", 8)
    INT8 = (3, "i8", 8)
    UINT16 = (4, "u16", 16)
    INT16 = (5, "i16", 16)
    INT32 = (6, "i32", 32)
    INT64 = (7, "i64", 64)
    STRING = (8, "str", 0)
    BOOL = (9, "bool", 8)
    FLOAT16 = (10, "f16", 16)
    DOUBLE = (11, "f64", 64)
    UINT32 = (12, "u32", 32)
    UINT64 = (13, "u64", 64)
    COMPLEX64 = (14, "c64", 64)
    COMPLEX128 = (15, "c128", 128)
    BFLOAT16 = (16, "bf16", 16)
    FLOAT8E4M3FN = (17, "f8e4m3fn", 8)
    FLOAT8E4M3FNUZ = (18, "f8e4m3fnuz", 8)
    FLOAT8E5M2 = (19, "f8e5m2", 8)
    FLOAT8E5M2FNUZ = (20, "f8e5m2fnuz", 8)
    UINT4 = (21, "u4", 4)
    INT4 = (22, "i4", 4)
    FLOAT4E2M1 = (23, "f4e2m1", 4)
    FLOAT8E8M0 = (24, "f8e8m0", 8)
    UINT2 = (25, "u2", 2)
    INT2 = (26, "i2", 2)
    FLOAT6E2M3 = (27, "f6e2m3", 6)
    FLOAT6E3M2 = (28, "f6e3m2", 6)

    code: int
    short: str
    bits: int

    def __init__(self, code: int, short: str, bits: int) -> None:
        self.code = code
        self.short = short
        self.bits = bits

    __hash__ = object.__hash__  # members are singletons; Enum's own hash is slow in hot dictionaries

    def __str__(self) -> str:
        return self.short

    @property
    def is_float(self) -> bool:
        """Whether this is a real floating-point type of any width."""
        return self in _FLOATS

    @property
    def is_integer(self) -> bool:
        """Whether this is a signed or unsigned integer type (bool is not)."""
        return self in _SIGNED or self in _UNSIGNED

    @property
    def is_signed_integer(self) -> bool:
        return self in _SIGNED

    @property
    def is_unsigned_integer(self) -> bool:
        return self in _UNSIGNED

    @property
    def is_complex(self) -> bool:
        return self in (DType.COMPLEX64, DType.COMPLEX128)

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy type that holds one element (sub-byte types use ml_dtypes, one element per byte)."""
        return _numpy_type(self)

    def nbytes(self, elements: int) -> int:
        """Bytes that ``elements`` packed elements take in a file (sub-byte types are packed)."""
        return (elements * self.bits + 7) // 8

    @staticmethod
    def from_code(code: int) -> DType:
        """The type with this ONNX code; KeyError if there is none."""
        return _BY_CODE[code]

    @staticmethod
    def from_short(short: str) -> DType:
        """The type with this short name, such as ``f32``; KeyError if there is none."""
        return _BY_SHORT[short]

    @staticmethod
    def from_numpy(dtype: np.dtype[Any]) -> DType:
        """The type of a numpy array's elements; KeyError if ONNX has none. Object and text arrays are strings."""
        if dtype.kind in "OUS":
            return DType.STRING
        found = _BY_NUMPY.get(dtype)
        return found if found is not None else _BY_NUMPY_NAME[dtype.name]


_FLOATS = frozenset(t for t in DType if t.short.startswith(("f", "bf")))
_SIGNED = frozenset(t for t in DType if t.short[0] == "i")
_UNSIGNED = frozenset(t for t in DType if t.short[0] == "u")
_BY_CODE = {t.code: t for t in DType}
_BY_SHORT = {t.short: t for t in DType}
_NATIVE: dict[DType, type[Any]] = {
    DType.FLOAT: np.float32,
    DType.UINT8: np.uint8,
    DType.INT8: np.int8,
    DType.UINT16: np.uint16,
    DType.INT16: np.int16,
    DType.INT32: np.int32,
    DType.INT64: np.int64,
    DType.STRING: np.object_,
    DType.BOOL: np.bool_,
    DType.FLOAT16: np.float16,
    DType.DOUBLE: np.float64,
    DType.UINT32: np.uint32,
    DType.UINT64: np.uint64,
    DType.COMPLEX64: np.complex64,
    DType.COMPLEX128: np.complex128,
}
_ML_NAMES = {
    DType.BFLOAT16: "bfloat16",
    DType.FLOAT8E4M3FN: "float8_e4m3fn",
    DType.FLOAT8E4M3FNUZ: "float8_e4m3fnuz",
    DType.FLOAT8E5M2: "float8_e5m2",
    DType.FLOAT8E5M2FNUZ: "float8_e5m2fnuz",
    DType.UINT4: "uint4",
    DType.INT4: "int4",
    DType.FLOAT4E2M1: "float4_e2m1fn",
    DType.FLOAT8E8M0: "float8_e8m0fnu",
    DType.UINT2: "uint2",
    DType.INT2: "int2",
    DType.FLOAT6E2M3: "float6_e2m3fn",
    DType.FLOAT6E3M2: "float6_e3m2fn",
}
_BY_NUMPY: dict[np.dtype[Any], DType] = {np.dtype(v): k for k, v in _NATIVE.items()}
_BY_NUMPY_NAME = {name: dtype for dtype, name in _ML_NAMES.items()}


@cache
def _numpy_type(dtype: DType) -> np.dtype[Any]:
    native = _NATIVE.get(dtype)
    if native is not None:
        return np.dtype(native)
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, _ML_NAMES[dtype]))
