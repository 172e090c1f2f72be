"""Branches whose condition is known are inlined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Graph, Node, Value
from ..ir.ops.control import If
from .base import Change, Pass
from .context import Context
from .mutation import replace_value


@dataclass(frozen=True)
class FoldIf(Pass):
    """Replace an If whose condition is known by the nodes of the branch that runs."""

    name: ClassVar[str] = "fold-if"
    idempotent: ClassVar[bool] = True

    def run(self, graph: Graph, context: Context) -> Change:
        folded = 0
        pending = [node for node in graph.walk() if isinstance(node.op, If)]
        for node in pending:
            verdict = _known(node.inputs[0])
            if node.graph is None or verdict is None or not context.permit(self.name):
                continue
            _inline(node, node.graph, node.regions[0 if verdict else 1])
            folded += 1
        return Change.of("branch", folded)


def _known(condition: Value | None) -> bool | None:
    known = condition.ints if condition is not None else None
    return bool(known[0]) if known else None


def _inline(node: Node, graph: Graph, branch: Graph) -> None:
    """Move the nodes of a branch in front of the If, which then disappears with the other branch."""
    results = branch.outputs
    branch.set_outputs(())
    for inner in list(branch):
        graph.move_before(inner, node)
        inner.sources += tuple(s for s in node.sources if s not in inner.sources)
    for old, new in zip(node.outputs, results, strict=False):  # the node may leave out results at the end
        replace_value(graph, old, new)
    graph.remove(node)
