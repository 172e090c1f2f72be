"""Float64 on targets that compute with float32: operators are computed there, and their results widened again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value
from ..ir.op import Opaque
from ..ir.ops.cast import Cast
from ..ir.ops.random import Bernoulli, Draw, DrawLike
from ..ir.serial.attributes import dtype_fields
from ..ir.types import TensorType
from ..passes.legalize import TYPED
from ..passes.rewriter import Decline, Result, Rewriter
from .artifact import Loss
from .backend import E_RUN

MARK = "edgec.float64"  # the metadata key of conversions that lose precision
FLOAT_MAX = float(np.finfo(np.float32).max)
INFINITE = 1e300  # constants beyond this stand for infinity in masks; smaller ones are numbers that float32 cannot hold
LISTED = 5


def computed_in_float32(node: Node, b: Rewriter, runs: Callable[[Node], bool]) -> Result:
    """A node with operands or results of float64 on operands of float32, unless the target runs it as it is."""
    if isinstance(node.op, (*TYPED, Opaque)) or node.regions or not (node.op.pure or isinstance(node.op, Draw | DrawLike | Bernoulli)):
        return None
    if all(v is None or v.dtype is not DType.DOUBLE for v in (*node.inputs, *node.outputs)) or runs(node):
        return None
    if any(not isinstance(v.type, TensorType) for v in (*node.inputs, *node.outputs) if v is not None):
        return Decline("a sequence or optional value of float64", node)
    operands: list[Value | None] = []
    for value in node.inputs:
        if value is None or value.dtype is not DType.DOUBLE:
            operands.append(value)
        elif value.data is not None:
            array = narrowed(value.data.numpy())
            if array is None:
                return Decline(f"float32 cannot hold the constant '{value.name}'", node)
            operands.append(b.constant(array))
        else:
            operands.append(_cast(b, value, DType.FLOAT))
    fields = {name: DType.FLOAT for name in sorted(dtype_fields(type(node.op))) if getattr(node.op, name) is DType.DOUBLE}
    op = replace(node.op, **fields) if fields else node.op  # type: ignore[type-var]
    results = b.add(op, *operands, outputs=len(node.outputs))
    results = results if isinstance(results, tuple) else (results,)
    if any(new.dtype is DType.DOUBLE for new in results):
        return Decline("the result is float64 whatever the operands are", node)
    return tuple(
        (new if new.dtype is old.dtype else _cast(b, new, DType.DOUBLE)) if old.uses else None
        for new, old in zip(results, node.outputs, strict=True)
    )


def _cast(b: Rewriter, value: Value, dtype: DType) -> Value:
    result: Value = b.add(Cast(to=dtype), value)
    assert result.producer is not None
    result.producer.metadata[MARK] = "computed in float32"
    return result


def narrowed(array: Any) -> Any:
    """A float64 array as float32, None when that cannot hold it."""
    large = _greatest(array)
    if FLOAT_MAX < large < INFINITE:
        return None
    if large >= INFINITE:
        array = np.where(np.isfinite(array), np.clip(array, -FLOAT_MAX, FLOAT_MAX), array)
    return array.astype(np.float32)


def _greatest(array: Any) -> float:
    """The greatest magnitude of the finite numbers."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def check_range(array: Any, name: str, engine: str) -> None:
    """Raise `Diagnostic` E0505 for an input with float64 numbers that float32 cannot hold."""
    if array.dtype == np.float64 and _greatest(array) > FLOAT_MAX:
        message = f"{engine} computes float64 in float32, which cannot hold these values"
        raise Diagnostic(E_RUN, message, f"input '{name}'", "choose the target ort")


def losses_of_narrowing(graph: Graph) -> list[Loss]:
    """What a rewritten graph computes less precisely than its source."""
    found = [node.output.name for node in graph.walk() if MARK in node.metadata]
    if not found:
        return []
    listed = ", ".join(found[:LISTED]) + (f" and {len(found) - LISTED} more" if len(found) > LISTED else "")
    return [Loss("precision", listed, "float64 arithmetic runs in float32")]
