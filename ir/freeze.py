"""Inputs frozen to constants: an artifact for one sampling rate, one mode, one length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .data import ArrayData
from .diagnostics import E_DTYPE, E_SHAPE, Diagnostic, did_you_mean
from .graph import Value, constant
from .model import Model
from .types import TensorType


def freeze_inputs(model: Model, values: Mapping[str, Any]) -> Model:
    """Make constants of some inputs, for example ``{"sr": 16000}``; they are no longer part of the model's interface.

    The types are not inferred again: bind dimensions afterwards, or call `infer_graph`.

    Args:
        model: changed in place and returned.
        values: a number or array per input; one number fills an input whose sizes are all known.

    Raises:
        Diagnostic: there is no such input, it is no tensor, or the value has another shape or does not fit the element type.
    """
    known = {value.name: value for value in model.graph.inputs}
    for name, given in values.items():
        if name not in known:
            raise Diagnostic(E_SHAPE, f"there is no input called '{name}'", model.graph.name, hint=did_you_mean(name, list(known)))
        _freeze(model, known[name], given)
    return model


def _freeze(model: Model, value: Value, given: Any) -> None:
    where, type_ = f"input '{value.name}'", value.type
    if not isinstance(type_, TensorType) or not type_.dtype.bits:
        raise Diagnostic(E_DTYPE, f"an input of type {type_} cannot be frozen", where, hint="only tensors of numbers can")
    asked = np.asarray(given)
    if asked.dtype.kind not in "biuf":
        raise Diagnostic(E_DTYPE, f"{given!r} is not a number or an array of numbers", where)
    array = asked.astype(type_.dtype.numpy)
    if type_.dtype.is_integer and not np.array_equal(array.astype(np.float64), asked.astype(np.float64)):
        raise Diagnostic(E_DTYPE, f"{given!r} does not fit {type_.dtype}", where)
    sizes = type_.shape
    if array.ndim == 0 and sizes and all(isinstance(size, int) for size in sizes):
        array = np.full([int(size) for size in sizes], array)  # type: ignore[arg-type]
    fits = sizes is None or len(sizes) == array.ndim
    if not fits or any(isinstance(a, int) and a != b for a, b in zip(sizes or (), array.shape, strict=False)):
        raise Diagnostic(E_SHAPE, f"a value of shape {list(array.shape)} does not fit {type_}", where)
    frozen = constant(ArrayData(array, type_.dtype), value.name)
    model.graph.replace(value, frozen)
    model.graph.inputs.remove(value)
    for index, left in enumerate(model.graph.inputs):
        left.index = index
    value.graph = None
    model.frozen[value.name] = array.tolist()
