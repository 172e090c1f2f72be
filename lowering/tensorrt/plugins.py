"""Plugin gaps: the operators of a model that TensorRT's parser lacks, where they are, and what removes each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.clone import clone_graph
from ...ir.graph import Node
from ...ir.model import Model
from ...ir.op import Opaque
from ...ir.ops.quantize import DequantizeLinear, QuantizeLinear
from ...passes.manager import run_passes
from .legalize import NAME, illegality
from .quantization import make_symmetric
from .trial import alone, objection


@dataclass(frozen=True)
class Gap:
    """Nodes of one operator that need a plugin for one reason, or a decomposition.

    Attributes:
        op: the operator, with its domain outside of ai.onnx.
        reason: the parser's own.
        code: the kind of obstacle.
        nodes: the names of the nodes.
        removed_by: the rewrites that make a plugin unnecessary, in order; empty when there are none.
        into: the operators that take its place.
    """

    op: str
    reason: str
    code: str
    nodes: tuple[str, ...]
    removed_by: tuple[str, ...]
    into: tuple[str, ...]

    @property
    def needs_plugin(self) -> bool:
        """Whether nothing but a plugin helps."""
        return not self.removed_by

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {
            "op": self.op, "reason": self.reason, "code": self.code, "nodes": list(self.nodes), "needs_plugin": self.needs_plugin,
            "removed_by": list(self.removed_by), "into": list(self.into),
        }  # fmt: skip


def plugin_gaps(model: Model, capabilities: Sequence[str] = (), precision: str = "f32") -> tuple[Gap, ...]:
    """The gaps of a model as it was imported, in the order of their first nodes.

    Args:
        model: the model; it stays as it is.
        capabilities: compute capabilities that matter; without any only the parser is asked.
        precision: the type that float32 nodes will be computed in.
    """
    found: dict[tuple[str, str, str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for node in model.graph.walk():
        said = objection(node, capabilities) if not isinstance(node.op, QuantizeLinear | DequantizeLinear) else None
        if said is None or illegality(node, tuple(capabilities), precision) is None:
            continue
        rules, into = _removal(node, capabilities)
        key = (node.op.qualified_name, said.reason, said.code, rules, into)
        found.setdefault(key, []).append(node.name or node.outputs[0].name)
    return tuple(Gap(op, reason, code, tuple(names), rules, into) for (op, reason, code, rules, into), names in found.items())


def _removal(node: Node, capabilities: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The rewrites that take a node apart into what TensorRT has, and the operators that are left; nothing when none do."""
    if node.regions or isinstance(node.op, Opaque):
        return (), ()
    graph = clone_graph(alone(node))
    text = f"{NAME}{{capabilities=[{','.join(capabilities)}]}}" if capabilities else NAME
    change = run_passes(graph, text)
    make_symmetric(graph, capabilities)
    if any(objection(left, capabilities) is not None for left in graph.walk()):
        return (), ()
    return tuple(sorted(change.counts)), tuple(sorted({left.op.op_name for left in graph.walk()}))
