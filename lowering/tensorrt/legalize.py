"""The pass that makes a graph acceptable to TensorRT's parser: whatever it objects to is decomposed, or computed in another element type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...ir.graph import Graph, Node
from ...ir.ops.quantize import DequantizeLinear, QuantizeLinear
from ...passes import decompose as _decompose  # noqa: F401  (registers the rules)
from ...passes.base import Change, Pass
from ...passes.context import Context
from ...passes.legalize import SUPPORT, Legalize
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
            return Legalize().run(graph, context)
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
