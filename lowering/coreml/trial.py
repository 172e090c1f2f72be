"""What becomes of a single node when the rewrites are applied to it alone."""

from __future__ import annotations

from ...ir.clone import isolated_node
from ...ir.graph import Node
from ...passes.manager import run_passes
from ..backend import Verdict
from ..loops import UNROLL
from .emit.dispatch import value_obstacle
from .emit.translation import DEFINITIONS
from .matrix import problems
from .versions import NEWEST, Release


def judge_rewritten(node: Node, verdict: Verdict, release: Release = NEWEST) -> Verdict:
    """The verdict on a node that has no translation as it stands.

    Args:
        node: the node; it stays as it is.
        verdict: why it has none.
        release: the deployment target.
    """
    graph = isolated_node(node)
    run_passes(graph, f"fix(coreml-rewrites{{target={release.text}}},{UNROLL},fold-constants,fold-if,dead-code)")
    if problems(list(graph.walk()), release) or any(value_obstacle(v, v.data is not None) for v in graph.outputs):
        return verdict
    names = ", ".join(sorted({n.op.op_name for n in graph.walk()}))
    return Verdict("decomposed", f"runs as {names}", DEFINITIONS)
