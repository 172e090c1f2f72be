"""What becomes of a single node when the rewrites are applied to it alone."""

from __future__ import annotations

from ...ir.clone import isolated_node
from ...ir.graph import Node
from ...passes.manager import run_passes
from ..support import Verdict
from .foreign import carry_foreign
from .matrix import SUITE, problems


def judge_rewritten(node: Node, verdict: Verdict) -> Verdict:
    """The verdict on a node that OpenVINO cannot run as it stands.

    Args:
        node: the node; it stays as it is.
        verdict: why OpenVINO cannot run it.
    """
    graph = isolated_node(node)
    run_passes(graph, "fix(openvino-rewrites,fold-constants,fold-if,dead-code)")
    if problems(list(graph.walk())):
        carry_foreign(graph)
        if problems(list(graph.walk())):
            return verdict
        return Verdict("partial", "values of its element type are stored in a wider one, without rounding", SUITE)
    return Verdict("decomposed", "runs as " + ", ".join(sorted({n.op.op_name for n in graph.walk()})), SUITE)
