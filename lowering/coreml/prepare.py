"""What a model has to be before it is translated."""

from __future__ import annotations

import numpy as np

from ...ir.graph import Value
from ...ir.model import Model
from ...ir.types import TensorType
from ..backend import refuse_model
from .carriers import CARRIERS
from .emit.dispatch import MAX_RANK

_NAME = "coreml"


def prepare(model: Model) -> None:
    """Check interface and constants; `Diagnostic` E0501 for what an ML program cannot have."""
    graph = model.graph
    for value in graph.inputs:
        if value.uses:
            _require(value, f"input '{value.name}'")
    for value, name in zip(graph.outputs, graph.output_names, strict=True):
        _require(value, f"output '{name}'")
    for value in graph.constants():
        data = value.data
        if data is not None and data.dtype.is_float and data.dtype in CARRIERS and bool(np.isnan(data.numpy()).any()):
            reason = f"the constant '{value.name}' holds NaN, which operators treat differently from device to device"
            raise refuse_model(_NAME, "not-finite", reason, f"value '{value.name}'")


def _require(value: Value, where: str) -> None:
    type_ = value.type
    if not isinstance(type_, TensorType):
        raise refuse_model(_NAME, "sequence", "ML programs take and give tensors only", where)
    if type_.dtype not in CARRIERS:
        code = "string" if type_.dtype.short == "str" else "dtype"
        raise refuse_model(_NAME, code, f"ML programs have no elements of type {type_.dtype}", where)
    if type_.shape is None:
        raise refuse_model(_NAME, "dynamic-rank", "the number of dimensions has to be known", where)
    if len(type_.shape) > MAX_RANK:
        raise refuse_model(_NAME, "rank", f"ML programs have at most {MAX_RANK} dimensions, here are {len(type_.shape)}", where)
    if 0 in type_.shape:
        raise refuse_model(_NAME, "zero-size", "ML programs have no tensors without elements", where)
