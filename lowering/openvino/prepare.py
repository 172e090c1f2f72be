"""The last steps before the importer, on a copy: element types, boundary, and adjustments that must happen once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Graph, Node, Value, constant
from ...ir.model import Model
from ...ir.ops.binary import Max, Mul
from ...ir.ops.detection import NonMaxSuppression
from ...ir.types import TensorType
from ..artifact import Loss
from .boundary import EXACT, Boundary, plan_boundary
from .carry import carry_float64, narrow_integers
from .foreign import carry_foreign
from .rewrites.numbers import smallest_above

_WIDE = (DType.INT64, DType.UINT64)


@dataclass(frozen=True)
class Prepared:
    """A model ready for the importer, how its boundary meets the public one, outputs that are constants, and what was lost."""

    model: Model
    boundary: Boundary
    constants: tuple[Any, ...]
    losses: tuple[Loss, ...]


def prepare(model: Model) -> Prepared:
    """Make the model that the importer gets; the given one stays as it is.

    Raises:
        Diagnostic: E0501 for constants and boundaries that OpenVINO cannot hold.
    """
    model = model.copy()
    graph = model.graph
    inputs = [v.dtype for v in graph.inputs]
    outputs = [v.dtype for v in graph.outputs]
    constants = tuple(v.data.numpy() for v in graph.outputs if v.data is not None)  # before any of them is narrowed
    losses = list(_integer_losses(graph))
    doubles = carry_float64(graph)
    if doubles:
        losses.append(Loss("precision", _listed(doubles), f"{len(doubles)} float64 values are computed in float32"))
    foreign = carry_foreign(graph)
    if foreign:
        what = f"{len(foreign)} values of narrow types are stored in wider ones, without rounding"
        losses.append(Loss("precision", _listed(foreign), what))
    narrow_integers(graph)
    for node in list(graph.walk()):
        if isinstance(node.op, NonMaxSuppression):
            _raise_threshold(node)
    if any(n.op.op_name in ("Relu", "Max", "Min", "Clip") for n in graph.walk()):
        losses.append(Loss("precision", "Relu, Max, Min and Clip", "a NaN operand gives the other operand or bound instead of NaN"))
    return Prepared(model, plan_boundary(model, inputs, outputs), constants, tuple(losses))


def _integer_losses(graph: Graph) -> Iterator[Loss]:
    """What happens to integers that are data: those that inference does not know to be shapes."""
    values = [v for v in graph.values() if isinstance(v.type, TensorType) and v.type.content is None]
    wide = [v.name for v in values if v.dtype in _WIDE]
    if wide:
        what = f"{len(wide)} 64-bit integer values are computed in 32 bits; inputs are checked, intermediate values beyond 2^31-1 wrap"
        yield Loss("precision", _listed(wide), what)
    whole = [
        v.name
        for v in values
        if v.producer is not None
        and v.producer.op.op_name not in EXACT
        and any(o is not None and o.dtype in (*_WIDE, DType.INT32, DType.UINT32) and o.content is None for o in v.producer.inputs)
    ]
    if whole:
        what = f"{len(whole)} results of integers are computed in float32; inputs are checked, intermediate values beyond 2^24 are rounded"
        yield Loss("precision", _listed(whole), what)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _raise_threshold(node: Node) -> None:
    """ONNX keeps boxes whose overlap equals the threshold, OpenVINO suppresses them."""
    graph = node.graph
    assert graph is not None
    threshold = node.operand(3)
    raised: Value
    if threshold is None or threshold.data is not None:
        number = 0.0 if threshold is None or threshold.data is None else float(threshold.data.numpy().reshape(-1)[0])
        raised = constant(np.array([smallest_above(number)], np.float32), graph.fresh_name("threshold"))
    else:
        factor = constant(np.float32(1 + 2**-23), graph.fresh_name("factor"), DType.FLOAT)
        least = constant(np.finfo(np.float32).tiny, graph.fresh_name("least"), DType.FLOAT)
        raised = graph.add(Max(), graph.add(Mul(), threshold, factor, before=node), least, before=node)
    operands = [*node.inputs, *(None,) * (4 - len(node.inputs))]
    operands[3] = raised
    node.set_operands(operands)
