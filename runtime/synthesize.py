"""Plausible made-up inputs for a model: seeded, with integers that stay inside vocabularies and masks that
let something through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic, code
from ..ir.dims import Dim, Expr, substitute
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..ir.model import Model
from ..ir.types import OptionalType, SequenceType, TensorType, Type
from ..lowering.backend import E_LOAD
from ..lowering.signature import Signature

E_SYNTHESIZE = code(
    "E0606",
    "no plausible inputs could be made up",
    "The model did not run with any of the sizes that were tried. Give sample inputs with --data: a folder of .npz files, "
    "one file a sample, whose keys are the names of the model's inputs.",
)
_FORWARDING = ("Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Transpose", "Slice", "Expand", "Clip", "Concat")
_LENGTH = re.compile(r"seq|len|time|token|frame|past|total|steps|samples", re.I)
_BATCH = re.compile(r"batch|^n$|^b$|^bs$", re.I)
_FREE_EXTENT = 4
# Sizes tried in order for (batch, length, other symbols, other symbols of images); later ones serve models with
# strides, windows and downsampling. Tiny images make models ill-conditioned: they come late.
_TRIALS = (
    (2, 8, _FREE_EXTENT, 64), (1, 8, 64, 128), (1, 16, 224, 224), (1, 1, 1, 1), (1, 8, 4, 4), (1, 128, 32, 32), (1, 512, 128, 256),
    (1, 256, 512, 512), (1, 1024, 640, 640), (1, 16000, 320, 320),
)  # fmt: skip
Trial = tuple[int, int, int, int]
_STATE = re.compile(r"state|hidden|cell|memory|cache|past|^[hc]\d*(_?(in|0))?$", re.I)
_TOTAL = re.compile(r"total|full|all", re.I)
_RATE = re.compile(r"^sr$|rate|freq|hertz|hz$", re.I)
_RATES = (16000, 8000)
_COMPARISONS = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def synthesize_feeds(
    model: Model,
    seed: int = 0,
    *,
    count: int = 1,
    dims: Mapping[str, int] | None = None,
    attempt: Callable[[dict[str, Any]], Any] | None = None,
) -> list[dict[str, Any]]:
    """Made-up inputs for a model.

    Args:
        model: the model; its graph tells vocabulary sizes, and what selecting scalars are compared with.
        seed: the same seed gives the same inputs.
        count: how many sets of inputs.
        dims: sizes of symbolic dimensions that are known; the others are tried: small ones first, then those
            that windows, strides and downsampling need.
        attempt: runs the model with some inputs and raises `Diagnostic` when it does not take them; without it the first
            inputs are given.

    Raises:
        Diagnostic: E0606 when every attempt failed; E0504 when the runtime does not even load the model.
    """
    reasons: list[str] = []
    choices = {value.name: scalar_choices(value) for value in model.inputs}
    for turn in range(max((len(found) for found in choices.values()), default=1) or 1):
        scalars = {name: found[turn % len(found)] for name, found in choices.items() if found}
        for trial in _TRIALS:
            bindings = {**_bindings(model, trial), **(dims or {})}
            made = [_feeds(model, np.random.default_rng([seed, i]), bindings, trial, scalars) for i in range(count)]
            if attempt is None:
                return made
            try:
                attempt(made[0])
            except Diagnostic as error:
                if error.code == E_LOAD:
                    raise  # other inputs would not help
                reasons.append(f"{_listed({**bindings, **scalars})}: {error.message}")
                continue
            return made
    takes = ", ".join(f"{spec.name}: {spec}" for spec in Signature.of(model).inputs)
    raise Diagnostic(
        E_SYNTHESIZE,
        f"the model runs with none of the {len(reasons)} sets of sizes that were tried",
        hint=f"give --data: a folder of .npz files, one file a sample, with the arrays {takes}",
        notes=[f"tried {reason}" for reason in dict.fromkeys((reasons[0], reasons[-1]))],
    )


def _listed(values: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={size}" for name, size in values.items()) or "the declared sizes"


def scalar_choices(value: Value) -> list[int]:
    """Plausible values of an integer input with one element: what the graph compares it with, and sampling rates by name."""
    type_ = value.type
    if not isinstance(type_, TensorType) or type_.shape not in ((), (1,)) or not type_.dtype.is_integer:
        return []
    found: dict[int, None] = {}
    for user, _ in value.uses:
        if isinstance(user, Node) and user.op.op_name in _COMPARISONS:
            for operand in user.inputs:
                if operand is not None and operand is not value and operand.ints:
                    found[operand.ints[0]] = None
    if _RATE.search(value.name):
        found.update(dict.fromkeys(_RATES))
    return list(found)


def _bindings(model: Model, trial: Trial) -> dict[str, int]:
    found: dict[str, int] = {}
    past = False
    for value in model.inputs:
        shape = _shape(value.type) or ()
        for axis, dim in enumerate(shape):
            for name in dim.symbols() if isinstance(dim, Expr) else ():
                found.setdefault(name, _size(value.name, name, axis, len(shape), trial))
                past = past or "past" in name.lower()
    for name in found:
        if past and _TOTAL.search(name) and _LENGTH.search(name):
            found[name] = 2 * trial[1]  # what is cached and what is new
    return found


def _size(owner: str, name: str, axis: int, rank: int, trial: Trial) -> int:
    named = not name.startswith(owner + ".")  # the reader names dimensions that have no name after their input
    if named and _BATCH.search(name) and not _LENGTH.search(name):
        return trial[0]
    if named and _LENGTH.search(name):
        return trial[1]
    if axis == 0 or (axis == 1 and rank >= 3 and _STATE.search(owner)):
        return trial[0]
    return trial[1] if rank == 2 else trial[3] if rank == 4 and not _STATE.search(owner) else trial[2]


def _shape(type_: Type) -> tuple[Any, ...] | None:
    while isinstance(type_, SequenceType | OptionalType):
        type_ = type_.element
    return type_.shape if isinstance(type_, TensorType) else None


def _feeds(
    model: Model, generator: np.random.Generator, bindings: Mapping[str, Dim], trial: Trial, scalars: Mapping[str, int]
) -> dict[str, Any]:
    made = {v.name: _value(v, v.type, generator, bindings, trial) for v in model.inputs}
    return {name: np.full_like(value, scalars[name]) if name in scalars else value for name, value in made.items()}


def _value(value: Value, type_: Type, generator: np.random.Generator, bindings: Mapping[str, Dim], trial: Trial) -> Any:
    if isinstance(type_, SequenceType):
        return [_value(value, type_.element, generator, bindings, trial) for _ in range(2)]
    if isinstance(type_, OptionalType):
        return _value(value, type_.element, generator, bindings, trial)
    dtype = type_.dtype if isinstance(type_, TensorType) else DType.FLOAT
    shape = []
    for dim in _shape(type_) or ():
        bound = substitute(dim, bindings) if isinstance(dim, Expr) else dim
        shape.append(bound if isinstance(bound, int) else trial[2])
    return _array(value, dtype, tuple(shape), generator)


def _array(value: Value, dtype: DType, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray[Any, Any]:
    name = value.name.lower()
    if dtype is DType.STRING:
        return np.full(shape, "edgec", dtype=np.object_)
    if dtype is DType.BOOL:
        return np.ones(shape, np.bool_) if "mask" in name else generator.integers(0, 2, shape).astype(np.bool_)
    if dtype.is_complex:
        return (generator.standard_normal(shape) + 1j * generator.standard_normal(shape)).astype(dtype.numpy)
    if dtype.is_float:
        return np.asarray(generator.standard_normal(shape, np.float32)).astype(dtype.numpy)
    if "mask" in name:
        return np.ones(shape, dtype.numpy)
    if "position" in name and shape:
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(dtype.numpy)
    high = min((limit for limit in index_limits(value) if limit > 0), default=0)
    if high == 0:
        high = 256 if dtype in (DType.UINT8, DType.INT8) else 2
    low, high = (-128, 128) if dtype is DType.INT8 and high == 256 else (0, high)
    if dtype.bits < 8:
        high = min(high, 2)
    return np.asarray(generator.integers(low, high, shape)).astype(dtype.numpy)


def index_limits(value: Value) -> Iterator[int]:
    """Sizes of the tables that a value indexes, directly or through operators that only move its elements."""
    seen: set[Value] = set()
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for user, position in current.uses:
            if isinstance(user, Graph):
                continue
            limit = _table_size(user, position)
            if limit is not None:
                yield limit
            elif user.op.op_name in _FORWARDING and (position == 0 or user.op.op_name == "Concat"):
                waiting.extend(user.outputs)


def _table_size(node: Node, position: int) -> int | None:
    name = node.op.op_name
    if name in ("Gather", "GatherElements", "TensorScatter") and position == 1:
        table = node.operand(0)
        shape = table.shape if table is not None else None
        axis = getattr(node.op, "axis", 0)
        size = shape[axis] if shape and -len(shape) <= axis < len(shape) else None
        return size if isinstance(size, int) else None
    if name == "OneHot" and position == 0:
        depth = node.operand(1)
        return depth.ints[0] if depth is not None and depth.ints else None
    if name == "EmbedLayerNormalization" and position in (0, 1):
        table = node.operand(2 if position == 0 else 4)
        size = table.shape[0] if table is not None and table.shape else None
        return size if isinstance(size, int) else None
    return None
