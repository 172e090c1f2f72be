"""Constants that float32 kernels read, dequantised before the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ....ir.graph import Graph, Node, constant
from ....ir.ops.quantize import DequantizeLinear
from ....passes.base import Change, Pass
from ....passes.context import Context
from ..quantized import plan_of
from ..registry import load_emitters


@dataclass(frozen=True)
class SettleQuantization(Pass):
    """Replace dequantised constants by float32 constants where no integer kernel reads them.

    Kernels lay out and merge weights that are constants; those that are dequantised at run time they would have to transpose there.
    """

    name: ClassVar[str] = "settle-quantization"
    idempotent: ClassVar[bool] = True

    def run(self, graph: Graph, context: Context) -> Change:
        load_emitters()
        change = Change()
        for inner in list(graph.graphs()):
            self._settle(inner, context, change)
        return change

    def _settle(self, graph: Graph, context: Context, change: Change) -> None:
        plan = plan_of(graph)
        for value, stored in plan.stored.items():
            uses = [(user, index) for user, index in value.uses if isinstance(user, Node) and user not in plan.whole]
            uses = [(user, index) for user, index in uses if not isinstance(user.op, DequantizeLinear)]
            if not uses or not context.permit("settle-quantization"):
                continue
            real = constant(stored.real(), value.name)
            for user, index in uses:
                user.set_operand(index, real)
            change.record("constant")
