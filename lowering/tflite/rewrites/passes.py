"""The pass that brings a graph into the forms that LiteRT has kernels for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ....ir.graph import Graph, Node
from ....passes import decompose as _decompose  # noqa: F401  (registers the rules)
from ....passes.base import Change, Pass
from ....passes.context import Context
from ....passes.decompose.quantized import GROUP as QUANTIZED
from ....passes.driver import RuleIndex, apply_rules
from ....passes.layout.spatial import GROUP as CHANNELS_LAST
from ....passes.legalize import SUPPORT, Legalizer
from ....passes.registry import rules_in
from ...loops import will_unroll
from ..matrix import judge
from ..unrolling import SPARING
from .group import GROUP


@dataclass(frozen=True)
class TfLiteRewrites(Pass):
    """Take apart, respell or compute in another element type what LiteRT has no kernel for.

    First the target's own rules apply, operators on quantised tensors are spelled with QuantizeLinear and DequantizeLinear, and spatial
    operators get their channels-last forms; then the portable decompositions take apart
    whatever still has no kernel.
    """

    name: ClassVar[str] = "tflite-rewrites"
    idempotent: ClassVar[bool] = True

    def run(self, graph: Graph, context: Context) -> Change:
        change = apply_rules(graph, RuleIndex(rules_in(GROUP, CHANNELS_LAST, QUANTIZED)), context)
        before = context.extras.get(SUPPORT)
        context.extras[SUPPORT] = _objection
        try:
            legalizer = Legalizer(context, None)
            legalizer.run(graph)
        finally:
            context.extras.pop(SUPPORT)
            if before is not None:
                context.extras[SUPPORT] = before
        return change | legalizer.change


def _objection(node: Node, opset: int) -> str | None:
    if will_unroll(node, SPARING):
        return None
    verdict = judge(node)
    return None if verdict.runs else verdict.reason
