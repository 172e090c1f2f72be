"""What becomes of a single node when the rewrites are applied to it alone."""

from __future__ import annotations

from ...ir.clone import isolated_node
from ...ir.graph import Node
from ...passes.manager import run_passes
from ..backend import Verdict
from .matrix import problems

EVIDENCE = "exact rewrites into operators with kernels"


def judge_rewritten(node: Node, verdict: Verdict, pipeline: str) -> Verdict:
    """The verdict on a node that LiteRT cannot run as it stands.

    Args:
        node: the node; it stays as it is.
        verdict: why LiteRT cannot run it.
        pipeline: the passes after which it is judged again.
    """
    graph = isolated_node(node)
    run_passes(graph, pipeline)
    left = problems(graph.walk())
    if left:
        inner, said = left[0]
        return verdict if inner.op == node.op else Verdict("none", f"{verdict.reason}; in pieces: {said.reason}", said.evidence, said.code)
    return Verdict("decomposed", "runs as " + ", ".join(sorted({n.op.op_name for n in graph.walk()})), EVIDENCE)
