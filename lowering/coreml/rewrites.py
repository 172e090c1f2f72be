"""What MIL lacks, said in operators that are translated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...ir.diagnostics import Diagnostic
from ...ir.graph import Graph, Node
from ...ir.op import Op
from ...passes import decompose as _decompose  # noqa: F401  (registers the decompositions)
from ...passes.base import Change, Pass
from ...passes.context import Context
from ...passes.driver import apply_rules
from ...passes.legalize import SUPPORT, Legalize
from ...passes.registry import rules_in
from ..loops import will_unroll
from . import emit as _emit  # noqa: F401  (registers the translations)
from . import float64 as _float64  # noqa: F401  (registers its rule)
from . import integer_products as _integer_products  # noqa: F401  (registers its rule)
from . import stored_weights as _stored_weights  # noqa: F401  (registers its rule)
from .emit.dispatch import judge
from .high_rank import GROUP
from .versions import RELEASES, Release


@dataclass(frozen=True)
class CoreMlRewrites(Pass):
    """Take apart or respell whatever has no translation into MIL for the minimum target."""

    name: ClassVar[str] = "coreml-rewrites"
    idempotent: ClassVar[bool] = True
    target: str = "iOS17"

    def run(self, graph: Graph, context: Context) -> Change:
        release = RELEASES[self.target]
        change = apply_rules(graph, rules_in(GROUP), context)
        outer = context.extras.get(SUPPORT)
        context.extras[SUPPORT] = lambda node, opset: illegality(node, release)
        try:
            return change | Legalize().run(graph, context)
        except Diagnostic as error:
            error.notes.append("while rewriting for Core ML")
            raise
        finally:
            context.extras.pop(SUPPORT)
            if outer is not None:
                context.extras[SUPPORT] = outer


def illegality(node: Node, release: Release) -> str | None:
    """Why a node cannot be translated, None when it can or when it is a loop that is written out."""
    if will_unroll(node):
        return None
    verdict = judge(node, release)
    return None if verdict.runs else verdict.reason


def rewritten_classes() -> frozenset[type[Op]]:
    """The operator classes that rules of this target's own take apart."""
    return frozenset(cls for rule in rules_in(GROUP) for cls in rule.roots)
