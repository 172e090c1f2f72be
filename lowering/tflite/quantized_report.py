"""What the manifest says of a quantised model: what runs in integers, what does not and why, and what is rounded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...ir.graph import Graph, Node
from ..artifact import Loss
from ..signature import Signature
from .quantized import Plan
from .quantized_emitter import quantised_inputs, quantised_outputs


def quantisation_facts(plan: Plan) -> dict[str, Any]:
    """How many nodes run in integers, and those beside them that do not, with the reasons."""
    floats = [{"node": _name(node), "operator": node.op.op_name, "reason": reason} for node, reason in plan.kept.items()]
    return {"integer_operators": len(plan.whole), "float_operators": floats}


def quantisation_losses(plan: Plan) -> list[Loss]:
    """What integer kernels round beyond what the model says."""
    return [Loss("quantisation", _name(node), what) for node, what in plan.roundings.items() if node in plan.whole]


def interface_facts(graph: Graph, plan: Plan) -> dict[str, Any]:
    """How the integers of inputs and outputs stand for real numbers, by public name."""
    values = [(v.name, v) for v in quantised_inputs(graph, plan)]
    outputs = set(quantised_outputs(graph, plan))
    values += [(name, v) for name, v in zip(graph.output_names, graph.outputs, strict=True) if v in outputs]
    return {name: {"scale": plan.grids[v].scale, "zero_point": plan.grids[v].zero_point} for name, v in values}


def integer_signature(signature: Signature, graph: Graph, plan: Plan) -> Signature:
    """The signature with int8 (int16) for the inputs and outputs that integers stand for."""
    inputs, outputs = set(quantised_inputs(graph, plan)), set(quantised_outputs(graph, plan))
    return replace(
        signature,
        inputs=tuple(
            replace(s, dtype=plan.grids[v].dtype) if v in inputs else s for s, v in zip(signature.inputs, graph.inputs, strict=True)
        ),
        outputs=tuple(
            replace(s, dtype=plan.grids[v].dtype) if v in outputs else s for s, v in zip(signature.outputs, graph.outputs, strict=True)
        ),
    )


def _name(node: Node) -> str:
    return node.name or node.outputs[0].name
