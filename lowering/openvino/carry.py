"""Element types that OpenVINO lacks travel as others: float64 as float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...ir.data import ArrayData
from ...ir.diagnostics import Diagnostic
from ...ir.dtypes import DType
from ...ir.graph import Graph, Value, constant_type
from ...ir.op import Opaque
from ...ir.ops.slice import Slice
from ...ir.serial.attributes import dtype_fields
from ...ir.types import OptionalType, SequenceType, TensorType
from ..backend import E_REFUSED

FLOAT_MAX = float(np.finfo(np.float32).max)
INT32_MAX = 2**31 - 1
SENTINEL = 1e300  # float64 constants beyond this stand for infinity in masks; smaller ones are numbers that float32 cannot hold


def carry_float64(graph: Graph) -> list[str]:
    """Give every float64 value, constant and attribute of a graph the type float32; returns the names of the values.

    Raises:
        Diagnostic: E0501 for a constant that float32 cannot hold.
    """
    change = {DType.DOUBLE: DType.FLOAT}
    changed = [v.name for v in graph.values() if _mentions(v.type, DType.DOUBLE)]
    for value in graph.constants():
        if value.dtype is DType.DOUBLE:
            changed.append(value.name)
            _narrow(value)
    for value in graph.values():
        value.type = retyped(value.type, change)
    for node in graph.walk():
        if not isinstance(node.op, Opaque):
            fields = {name: change[old] for name in sorted(dtype_fields(type(node.op))) if (old := getattr(node.op, name)) in change}
            if fields:
                node.op = replace(node.op, **fields)  # type: ignore[type-var]
    return changed


def retyped(type_: Any, change: Mapping[DType, DType]) -> Any:
    """A type with element types exchanged."""
    if isinstance(type_, TensorType):
        return replace(type_, dtype=change[type_.dtype]) if type_.dtype in change else type_
    if isinstance(type_, SequenceType | OptionalType):
        return replace(type_, element=retyped(type_.element, change))
    return type_


def _mentions(type_: Any, dtype: DType) -> bool:
    if isinstance(type_, TensorType):
        return type_.dtype is dtype
    return isinstance(type_, SequenceType | OptionalType) and _mentions(type_.element, dtype)


def _narrow(value: Value) -> None:
    assert value.data is not None
    array = value.data.numpy()
    finite = array[np.isfinite(array)]
    large = np.abs(finite).max() if finite.size else 0.0
    if FLOAT_MAX < large < SENTINEL:
        raise Diagnostic(E_REFUSED, "OpenVINO computes float64 in float32, which cannot hold this constant", f"constant '{value.name}'")
    if large >= SENTINEL:
        array = np.where(np.isfinite(array), np.clip(array, -FLOAT_MAX, FLOAT_MAX), array)
    _set(value, array.astype(np.float32))


def narrow_integers(graph: Graph) -> None:
    """Clamp the 64-bit ends of slices to 32 bits.

    Raises:
        Diagnostic: E0501 for another 64-bit constant that 32 bits cannot hold.
    """
    for value in graph.constants():
        if value.data is None or value.dtype not in (DType.INT64, DType.UINT64):
            continue
        array = value.data.numpy()
        if not array.size or -INT32_MAX - 1 <= int(array.min()) and int(array.max()) <= INT32_MAX:
            continue
        if all(user is graph for user, _ in value.uses):
            continue  # kept beside the model
        if not all(isinstance(getattr(user, "op", None), Slice) and index in (1, 2) for user, index in value.uses):
            raise Diagnostic(
                E_REFUSED,
                f"OpenVINO computes {value.dtype} in 32 bits, which cannot hold this constant",
                f"constant '{value.name}'",
                "choose the target ort",
            )
        _set(value, np.clip(array, -INT32_MAX, INT32_MAX))


def _set(value: Value, array: Any) -> None:
    value.data = ArrayData(array)
    value.type = constant_type(value.data)
