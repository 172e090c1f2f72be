"""What ONNX Runtime has no kernel for, or gets wrong, said in operators that it runs right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...ir.graph import Graph, Node
from ...ir.ops.activation import Sigmoid, Swish
from ...ir.ops.binary import Mul
from ...passes.base import Change, Pass
from ...passes.context import Context
from ...passes.driver import apply_rules, index_of
from ...passes.legalize import SUPPORT, Legalize
from ...passes.rewriter import Result, Rewriter, rewrites_op
from .matrix import PREFERRED, illegality

NAME = "legalize-ort"
GROUP = "ort-cures"


@dataclass(frozen=True)
class LegalizeOrt(Pass):
    """Rewrite what ONNX Runtime has no kernel for, or computes wrongly, by operators that it runs right."""

    name: ClassVar[str] = NAME
    idempotent: ClassVar[bool] = True
    custom_ops: bool = False

    def run(self, graph: Graph, context: Context) -> Change:
        change = apply_rules(graph, index_of(GROUP), context)
        outer = context.extras.get(SUPPORT)
        context.extras[SUPPORT] = lambda node, opset: illegality(node, opset, custom=self.custom_ops)
        try:
            return change | Legalize(opsets=PREFERRED).run(graph, context)
        finally:
            context.extras.pop(SUPPORT)
            if outer is not None:
                context.extras[SUPPORT] = outer


@rewrites_op(Swish, name="ort-spell-swish", group=GROUP)
def spell_swish(node: Node, b: Rewriter) -> Result:
    """x·σ(αx) in two operators, which the runtime fuses; it has no kernel for Swish."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Swish) and x is not None
    scaled = x if op.alpha == 1.0 else b.add(Mul(), x, b.scalar_like(x, op.alpha))
    return b.add(Mul(), x, b.add(Sigmoid(), scaled))
