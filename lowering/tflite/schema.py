"""LiteRT's flatbuffer schema: element types, operators and their option tables by name."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...ir.dtypes import DType

TENSOR_TYPES: dict[DType, str] = {
    DType.FLOAT: "FLOAT32",
    DType.FLOAT16: "FLOAT16",
    DType.BFLOAT16: "BFLOAT16",
    DType.DOUBLE: "FLOAT64",
    DType.INT8: "INT8",
    DType.INT16: "INT16",
    DType.INT32: "INT32",
    DType.INT64: "INT64",
    DType.UINT8: "UINT8",
    DType.UINT16: "UINT16",
    DType.UINT32: "UINT32",
    DType.UINT64: "UINT64",
    DType.BOOL: "BOOL",
    DType.INT4: "INT4",
    DType.INT2: "INT2",
    DType.COMPLEX64: "COMPLEX64",
}
"""The element types that a tensor may have, by their name in the schema."""

_IRREGULAR_OPTIONS = {
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "L2_POOL_2D": "Pool2DOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "MEAN": "ReducerOptions",
    "SUM": "ReducerOptions",
    "REDUCE_ALL": "ReducerOptions",
    "REDUCE_ANY": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "CONV_3D_TRANSPOSE": "Conv3DOptions",
    "RANDOM_STANDARD_NORMAL": "RandomOptions",
    "RANDOM_UNIFORM": "RandomOptions",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNNOptions",
    "STABLEHLO_COMPOSITE": "StableHLOCompositeOptions",
}
_GREATEST_DEPRECATED_CODE = 127


@cache
def schema() -> Any:
    """The module of generated classes; imported when something is written."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def tensor_type(dtype: DType) -> int:
    """The code of an element type; KeyError when the schema has none."""
    return getattr(schema().TensorType, TENSOR_TYPES[dtype])


@cache
def builtin(name: str) -> int:
    """The code of a builtin operator; AttributeError when there is none."""
    return getattr(schema().BuiltinOperator, name)


def deprecated_code(number: int) -> int:
    """What the one-byte field of old readers holds for an operator code."""
    return min(number, _GREATEST_DEPRECATED_CODE)


@cache
def _option_classes() -> dict[str, str]:
    """The option tables by their names in lower case."""
    unions = (schema().BuiltinOptions, schema().BuiltinOptions2)
    return {name.lower(): name for union in unions for name in vars(union) if name.endswith("Options")}


@cache
def options_class(name: str) -> tuple[Any, int, int] | None:
    """The option table of a builtin operator: its class, its code in the union, and which of the two unions it belongs to.

    None for operators without options.
    """
    found = _IRREGULAR_OPTIONS.get(name) or _option_classes().get(name.lower().replace("_", "") + "options")
    if found is None:
        return None
    first = getattr(schema().BuiltinOptions, found, None)
    code = first if first is not None else getattr(schema().BuiltinOptions2, found)
    return getattr(schema(), found + "T"), code, 1 if first is not None else 2


def enumerator(table: str, name: str) -> int:
    """The number of a name in an enumeration, such as ``Padding`` or ``ActivationFunctionType``."""
    return getattr(getattr(schema(), table), name)
