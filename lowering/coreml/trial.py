"""What becomes of a single node when the rewrites are applied to it alone."""

from __future__ import annotations

from ...ir.clone import clone_graph
from ...ir.graph import Graph, Node, Value
from ...passes.manager import run_passes
from ..backend import Verdict
from .emit.translation import DEFINITIONS
from .matrix import problems
from .versions import NEWEST


def judge_rewritten(node: Node, verdict: Verdict) -> Verdict:
    """The verdict on a node that has no translation as it stands.

    Args:
        node: the node; it stays as it is.
        verdict: why it has none.
    """
    graph = Graph("trial")
    copies: dict[Value, Value] = {}
    for index, value in enumerate(node.inputs):
        if value is not None and value not in copies:
            constant = value.data is not None
            copies[value] = Value(value.name, value.type, data=value.data) if constant else graph.add_input(f"x{index}", value.type)
    operands = [None if v is None else copies[v] for v in node.inputs]
    regions = [clone_graph(region) for region in node.regions]
    copy = graph.insert(node.op, operands, outputs=len(node.outputs), regions=regions, types=[v.type for v in node.outputs])
    used = [new for new, old in zip(copy.outputs, node.outputs, strict=True) if old.uses] or list(copy.outputs[:1])
    graph.set_outputs(used, [v.name for v in used])
    run_passes(graph, f"fix(coreml-rewrites{{target={NEWEST.text}}},fold-constants,fold-if,dead-code)")
    if problems(list(graph.walk()), NEWEST):
        return verdict
    names = ", ".join(sorted({n.op.op_name for n in graph.walk()}))
    return Verdict("decomposed", f"runs as {names}", DEFINITIONS)
