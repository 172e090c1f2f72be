"""The pass that makes a graph acceptable to TensorRT's parser: what it objects to is decomposed, or computed in another element type."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

from ...ir.graph import Graph, Node
from ...ir.ops.quantize import DequantizeLinear, QuantizeLinear
from ...passes import decompose as _decompose  # noqa: F401  (registers the rules)
from ...passes.base import Change, Pass
from ...passes.context import Context
from ...passes.driver import RuleIndex, apply_rules
from ...passes.legalize import SUPPORT, Legalize
from ...passes.registry import find_rule, rules_in
from ...passes.rewriter import Result, Rewriter, Rule
from ..openvino import rewrites as _borrowed  # noqa: F401  (registers the rules)
from . import rewrites
from .trial import objection

NAME = "tensorrt-rewrites"


@dataclass(frozen=True)
class TensorRtRewrites(Pass):
    """Take apart, or respell, what TensorRT's parser or builder refuses; ``capabilities`` are those of the engines to be built."""

    name: ClassVar[str] = NAME
    idempotent: ClassVar[bool] = True
    capabilities: tuple[str, ...] = ()

    def run(self, graph: Graph, context: Context) -> Change:
        outer = context.extras.get(SUPPORT)
        context.extras[SUPPORT] = lambda node, opset: illegality(node, self.capabilities)
        try:
            change = apply_rules(graph, _spelling(self.capabilities), context) | Legalize().run(graph, context)
            return change | apply_rules(graph, _spelling(self.capabilities), context)
        finally:
            context.extras.pop(SUPPORT)
            if outer is not None:
                context.extras[SUPPORT] = outer


def illegality(node: Node, capabilities: tuple[str, ...] = ()) -> str | None:
    """Why TensorRT does not take a node as it stands; quantisation is respelled later and never objected to here."""
    if isinstance(node.op, QuantizeLinear | DequantizeLinear):
        return None
    found = objection(node, capabilities)
    return None if found is None else found.reason


@cache
def _spelling(capabilities: tuple[str, ...]) -> RuleIndex:
    """The respellings, for refused nodes only."""
    rules = [*rules_in(rewrites.GROUP), *(find_rule(name) for name in rewrites.BORROWED)]
    return RuleIndex([_guarded(rule, capabilities) for rule in rules])


def _guarded(rule: Rule, capabilities: tuple[str, ...]) -> Rule:
    def function(node: Node, b: Rewriter) -> Result:
        return rule.function(node, b) if illegality(node, capabilities) is not None else None

    return replace(rule, name="tensorrt-" + rule.name.split("-", 1)[1], function=function)
