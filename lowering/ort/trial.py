"""What becomes of a single node that ONNX Runtime has no kernel for when the target's pass is applied to it alone."""

from __future__ import annotations

from ...ir.clone import isolated_node
from ...ir.diagnostics import Diagnostic
from ...ir.graph import Node
from ...passes.context import Context
from ...passes.legalize import ILLEGAL
from ...passes.manager import run_passes
from ..support import Verdict
from .legalize import LegalizeOrt
from .matrix import DECOMPOSED


def judge_rewritten(node: Node, verdict: Verdict) -> Verdict:
    """The verdict on a node that ONNX Runtime cannot run as it stands.

    Args:
        node: the node; it stays as it is.
        verdict: why the runtime cannot run it.
    """
    graph = isolated_node(node)
    context = Context()
    try:
        run_passes(graph, [LegalizeOrt()], context)
    except Diagnostic:
        return verdict
    if context.extras.get(ILLEGAL):
        return verdict
    return Verdict("decomposed", "runs as " + ", ".join(sorted({n.op.qualified_name for n in graph.walk()})), DECOMPOSED)
