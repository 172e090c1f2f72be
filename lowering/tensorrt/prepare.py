"""The last steps before the parser, on a copy of the model: quantisation, element types, precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.graph import Graph
from ...ir.model import Model
from ...ir.ops.unary import Identity
from ...passes.manager import run_passes
from ..artifact import Loss
from .carry import carry
from .matrix import problems
from .precision import lower_precision
from .quantization import listed, make_symmetric

CLEANUP = "fix(fold-constants,remove-no-ops,common-subexpressions,dead-code)"


@dataclass(frozen=True)
class Prepared:
    """A model as the parser gets it, and what was lost on the way to it."""

    model: Model
    losses: tuple[Loss, ...]


def prepare(model: Model, settings: Mapping[str, Any], capabilities: Sequence[str] = ()) -> Prepared:
    """Make the strongly typed model; the given one stays as it is.

    Args:
        model: a model that went through the target's pipeline.
        settings: the target's options.
        capabilities: compute capabilities that engines are built for.

    Raises:
        Diagnostic: E0501 for constants that no element type of TensorRT holds.
    """
    prepared = _prepared(model.copy(), settings, capabilities)
    if settings["precision"] == "f32":
        return prepared
    lacking = dict.fromkeys(node.op.op_name for node, _ in problems(prepared.model.graph.walk(), capabilities))
    return _prepared(model.copy(), settings, capabilities, tuple(lacking)) if lacking else prepared


def _prepared(model: Model, settings: Mapping[str, Any], capabilities: Sequence[str], lacking: Sequence[str] = ()) -> Prepared:
    """See `prepare`; the operators named stay in float32, for TensorRT does not take them otherwise."""
    graph = model.graph
    losses = make_symmetric(graph, capabilities)
    run_passes(graph, CLEANUP)
    carried = carry(graph)
    if carried.doubles:
        losses.append(Loss("precision", listed(carried.doubles), f"{len(carried.doubles)} float64 values are computed in float32"))
    if carried.integers:
        what = f"{len(carried.integers)} integer values are stored in wider types, without rounding"
        losses.append(Loss("storage", listed(carried.integers), what))
    losses += lower_precision(graph, settings["precision"], tuple(settings["keep_f32"]), lacking)
    _separate_outputs(graph)
    return Prepared(model, tuple(losses))


def _separate_outputs(graph: Graph) -> None:
    """Give every output that is an input, a constant or another output a value of its own: bindings of engines have one name each."""
    seen = set()
    for index, value in enumerate(graph.outputs):
        if value.producer is None or value in seen:
            graph.set_output(index, graph.add(Identity(), value))
        seen.add(graph.outputs[index])
