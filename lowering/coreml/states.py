"""Pairs of inputs and outputs that an ML program keeps between runs (iOS18)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...ir.diagnostics import Diagnostic
from ...ir.model import Model
from ..backend import E_OPTION
from ..caches import cache_buffers

AUTOMATIC = "auto"
"""What the option says to have every key-value cache as a state."""


@dataclass(frozen=True)
class State:
    """One state: the input that reads it, the output that writes it, and its static shape."""

    past: str
    present: str
    shape: tuple[int, ...]


def parse_states(given: Mapping[str, str], model: Model) -> dict[str, State]:
    """The states by the name of their input.

    Raises:
        Diagnostic: E0506 when a name does not exist or the pair has not one static floating-point shape.
    """
    inputs = {v.name: v for v in model.graph.inputs}
    outputs = dict(zip(model.graph.output_names, model.graph.outputs, strict=True))
    if AUTOMATIC in given:
        given = cache_buffers(model.graph)
        if not given:
            hint = "give the caches a fixed length (kv_cache=…), or name the pairs: states='INPUT=OUTPUT;…'"
            raise Diagnostic(E_OPTION, "states: no output is an input that was written into", hint=hint)
    found = {}
    for past, present in given.items():
        if past not in inputs or present not in outputs:
            missing = f"input '{past}'" if past not in inputs else f"output '{present}'"
            raise Diagnostic(E_OPTION, f"states: there is no {missing}", hint="write states='INPUT=OUTPUT;…'")
        source, target = inputs[past], outputs[present]
        shape = source.tensor.static_shape
        if shape is None or shape != target.tensor.static_shape:
            message = f"states: '{past}' is {source.type} and '{present}' is {target.type}; a state has one fixed shape"
            raise Diagnostic(E_OPTION, message, hint="export the model with a cache of fixed length, or bind its dimensions")
        if source.dtype is None or not source.dtype.is_float or target.dtype is not source.dtype:
            raise Diagnostic(E_OPTION, f"states: '{past}' and '{present}' have to hold floats of one type")
        found[past] = State(past, present, shape)
    return found
