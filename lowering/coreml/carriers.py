"""Element types of ONNX in a program whose integers have 32 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ..backend import refuse_model
from ..wide_floats import narrowed

INT32_MAX = 2**31 - 1
CARRIERS: dict[DType, str] = {
    DType.FLOAT: "fp32",
    DType.DOUBLE: "fp32",
    DType.FLOAT16: "fp16",
    DType.INT32: "int32",
    DType.INT64: "int32",
    DType.INT16: "int32",
    DType.INT8: "int32",
    DType.UINT8: "int32",
    DType.UINT16: "int32",
    DType.UINT32: "int32",
    DType.UINT64: "int32",
    DType.INT4: "int32",
    DType.UINT4: "int32",
    DType.INT2: "int32",
    DType.UINT2: "int32",
    DType.BOOL: "bool",
    DType.BFLOAT16: "fp32",
    DType.FLOAT8E4M3FN: "fp32",
    DType.FLOAT8E5M2: "fp32",
    DType.FLOAT8E4M3FNUZ: "fp32",
    DType.FLOAT8E5M2FNUZ: "fp32",
}
"""The MIL element type that holds the elements of each ONNX type."""
NUMPY = {"fp32": np.float32, "fp16": np.float16, "int32": np.int32, "bool": np.bool_}
WIDE = frozenset((DType.INT64, DType.UINT32, DType.UINT64))
"""Types with values that int32 does not hold."""


def carried(array: Any, dtype: DType, where: str = "") -> Any:
    """The elements in the carrier of their type; `Diagnostic` E0501 for what it cannot hold."""
    if dtype in WIDE and array.size and (int(array.max()) > INT32_MAX or int(array.min()) < -INT32_MAX - 1):
        worst = max(int(array.max()), -int(array.min()))
        raise refuse_model("coreml", "int64-range", f"ML programs compute integers in 32 bits, which do not hold {worst}", where)
    if dtype is DType.DOUBLE:
        array = narrowed(np.asarray(array))
        if array is None:
            raise refuse_model("coreml", "precision", "ML programs have no float64, and float32 cannot hold the constant", where)
    return np.ascontiguousarray(array, NUMPY[CARRIERS[dtype]]).reshape(array.shape)


def mil_type(dtype: DType) -> Any:
    """The MIL type of the carrier of an element type."""
    from coremltools.converters.mil.mil import types

    return getattr(types, CARRIERS[dtype])
