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

E_SYNTHESIZE = code(
    "E0606",
    "no plausible inputs could be made up",
    "The model did not run with any of the sizes that were tried. Give sample inputs with --data, or bind its dimensions with --dim.",
)
_FORWARDING = ("Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Transpose", "Slice", "Expand", "Clip", "Concat")
_LENGTH = re.compile(r"seq|len|time|token|frame|past|total|steps|samples", re.I)
_BATCH = re.compile(r"batch|^n$|^b$|^bs$", re.I)
_FREE_EXTENT = 4
# Sizes tried in order for (batch, length, other symbols); later ones serve models with strides and
# downsampling.
_TRIALS = ((2, 8, _FREE_EXTENT), (1, 8, 64), (1, 16, 224), (1, 1, 1), (1, 128, 32), (1, 16000, 320))


def synthesize_feeds(
    model: Model,
    seed: int = 0,
    *,
    count: int = 1,
    dims: Mapping[str, int] | None = None,
    accepts: Callable[[dict[str, Any]], bool] | None = None,
) -> list[dict[str, Any]]:
    """Made-up inputs for a model.

    Args:
        model: the model; its graph tells vocabulary sizes.
        seed: the same seed gives the same inputs.
        count: how many sets of inputs.
        dims: sizes of symbolic dimensions that are known; the others get small values.
        accepts: tells whether the model runs with some inputs; without it the first attempt is taken.

    Raises:
        Diagnostic: E0606 when ``accepts`` refuses all attempts.
    """
    bindings: dict[str, int] = {}
    for trial in _TRIALS:
        bindings = {**_bindings(model, trial), **(dims or {})}
        made = [_feeds(model, np.random.default_rng([seed, i]), bindings, trial) for i in range(count)]
        if accepts is None or accepts(made[0]):
            return made
    sizes = ", ".join(f"{name}={size}" for name, size in bindings.items())
    raise Diagnostic(E_SYNTHESIZE, "the model runs with none of the sizes that were tried", hint="give inputs with --data",
                     notes=[f"last tried: {sizes}"] if sizes else [])  # fmt: skip


def _bindings(model: Model, trial: tuple[int, int, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for value in model.inputs:
        for axis, dim in enumerate(_shape(value.type) or ()):
            for name in dim.symbols() if isinstance(dim, Expr) else ():
                found.setdefault(name, _size(name, axis, trial))
    return found


def _size(name: str, axis: int, trial: tuple[int, int, int]) -> int:
    if _BATCH.search(name) and not _LENGTH.search(name):
        return trial[0]
    if _LENGTH.search(name):
        return trial[1]
    return trial[0] if axis == 0 else trial[2]


def _shape(type_: Type) -> tuple[Any, ...] | None:
    while isinstance(type_, SequenceType | OptionalType):
        type_ = type_.element
    return type_.shape if isinstance(type_, TensorType) else None


def _feeds(model: Model, generator: np.random.Generator, bindings: Mapping[str, Dim], trial: tuple[int, int, int]) -> dict[str, Any]:
    return {v.name: _value(v, v.type, generator, bindings, trial) for v in model.inputs}


def _value(value: Value, type_: Type, generator: np.random.Generator, bindings: Mapping[str, Dim], trial: tuple[int, int, int]) -> Any:
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
