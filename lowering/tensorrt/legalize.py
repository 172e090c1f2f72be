"""The pass that makes a graph acceptable to TensorRT's parser: what it objects to is decomposed, or computed in another element type."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

from ...ir.clone import clone_graph
from ...ir.dtypes import DType
from ...ir.graph import Graph, Node
from ...ir.op import Opaque
from ...ir.ops.quantize import DequantizeLinear, QuantizeLinear
from ...passes import decompose as _decompose  # noqa: F401  (registers the rules)
from ...passes.base import Change, Pass
from ...passes.context import Context
from ...passes.driver import RuleIndex, apply_rules
from ...passes.legalize import SUPPORT, Legalize
from ...passes.registry import find_rule, rules_in
from ...passes.rewriter import Result, Rewriter, Rule
from ..openvino import rewrites as _borrowed  # noqa: F401  (registers the rules)
from . import bits as _bits  # noqa: F401  (registers the rules)
from . import rewrites
from .precision import lower_precision
from .trial import alone, objection

NAME = "tensorrt-rewrites"


@dataclass(frozen=True)
class TensorRtRewrites(Pass):
    """Take apart, or respell, what TensorRT's parser or builder refuses.

    ``capabilities`` are those of the engines to be built, ``precision`` is the type that float32 nodes will be computed in.
    """

    name: ClassVar[str] = NAME
    idempotent: ClassVar[bool] = True
    capabilities: tuple[str, ...] = ()
    precision: str = "f32"

    def run(self, graph: Graph, context: Context) -> Change:
        outer = context.extras.get(SUPPORT)
        context.extras[SUPPORT] = lambda node, opset: illegality(node, self.capabilities, self.precision)
        try:
            rules = _spelling(self.capabilities, self.precision)
            change = apply_rules(graph, rules, context) | Legalize().run(graph, context)
            return change | apply_rules(graph, rules, context)
        finally:
            context.extras.pop(SUPPORT)
            if outer is not None:
                context.extras[SUPPORT] = outer


def illegality(node: Node, capabilities: tuple[str, ...] = (), precision: str = "f32") -> str | None:
    """Why TensorRT does not take a node as it stands; quantisation is respelled later and never objected to here.

    Some nodes are refused in float32 alone, attention for example: in another precision they are judged as they will be then.
    """
    if isinstance(node.op, QuantizeLinear | DequantizeLinear):
        return None
    found = objection(node, capabilities)
    if found is None or precision != "f32" and _goes_narrow(node, capabilities, precision):
        return None
    return found.reason


def _goes_narrow(node: Node, capabilities: tuple[str, ...], precision: str) -> bool:
    if node.regions or isinstance(node.op, Opaque) or any(v is not None and v.shape is None for v in node.inputs):
        return False
    graph = clone_graph(alone(node))
    lower_precision(graph, precision)
    same = [inner for inner in graph if type(inner.op) is type(node.op)]
    narrow = all(v is None or v.dtype is not DType.FLOAT for inner in same for v in inner.inputs)
    return bool(same) and narrow and all(objection(inner, capabilities) is None for inner in same)


@cache
def _spelling(capabilities: tuple[str, ...], precision: str) -> RuleIndex:
    """The respellings, for refused nodes only."""
    rules = [*rules_in(rewrites.GROUP), *(find_rule(name) for name in rewrites.BORROWED)]
    return RuleIndex([_guarded(rule, capabilities, precision) for rule in rules])


def _guarded(rule: Rule, capabilities: tuple[str, ...], precision: str) -> Rule:
    def function(node: Node, b: Rewriter) -> Result:
        return rule.function(node, b) if illegality(node, capabilities, precision) is not None else None

    return replace(rule, name="tensorrt-" + rule.name.split("-", 1)[1], function=function)
