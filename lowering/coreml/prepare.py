"""What a model has to be before it is translated."""

from __future__ import annotations

import numpy as np

from ...ir.diagnostics import Diagnostic
from ...ir.graph import Value
from ...ir.model import Model
from ...ir.types import TensorType
from ..backend import E_REFUSED
from .carriers import CARRIERS
from .emit.dispatch import MAX_RANK

_HINT = "choose another target"


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
            message = f"target 'coreml' cannot take the constant '{value.name}': it holds NaN (not-finite)"
            raise Diagnostic(E_REFUSED, message, f"value '{value.name}'", "replace it: operators treat NaN differently from device to device")


def _require(value: Value, where: str) -> None:
    type_ = value.type
    if not isinstance(type_, TensorType):
        raise Diagnostic(E_REFUSED, "target 'coreml' takes and gives tensors only (sequence)", where, _HINT)
    if type_.dtype not in CARRIERS:
        code = "string" if type_.dtype.short == "str" else "dtype"
        raise Diagnostic(E_REFUSED, f"target 'coreml' has no elements of type {type_.dtype} ({code})", where, _HINT)
    if type_.shape is None:
        raise Diagnostic(E_REFUSED, "target 'coreml' has to know the number of dimensions (dynamic-rank)", where, "state the shape")
    if len(type_.shape) > MAX_RANK:
        raise Diagnostic(E_REFUSED, f"target 'coreml' has at most {MAX_RANK} dimensions, here are {len(type_.shape)} (rank)", where, _HINT)
    if 0 in type_.shape:
        raise Diagnostic(E_REFUSED, "target 'coreml' has no tensors without elements (zero-size)", where, _HINT)
