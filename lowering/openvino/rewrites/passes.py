"""The pass that applies OpenVINO's rewrites."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ....ir.graph import Graph
from ....ir.op import MICROSOFT
from ....passes import decompose as _decompose  # noqa: F401  (registers the rules)
from ....passes.base import Change, Pass
from ....passes.context import Context
from ....passes.decompose.base import DECOMPOSITIONS
from ....passes.driver import RuleIndex, apply_rules
from ....passes.registry import find_rule, rules_in
from ....passes.rewriter import Rule
from .functions import EXACT, GROUP

PORTABLE = (
    "decompose-adagrad", "decompose-adam", "decompose-hardmax", "decompose-momentum", "decompose-swiglu", "recurrent-time-first",
)  # fmt: skip
"""The portable decompositions of ai.onnx operators that OpenVINO lacks, or in which it takes any of equal elements."""


@dataclass(frozen=True)
class OpenVinoRewrites(Pass):
    """Take apart or respell what OpenVINO's importer refuses or computes wrongly.

    With ``exact``, quantisation is spelled out too, so that no tie is rounded to the other side; 8-bit kernels are
    not found in that form.
    """

    name: ClassVar[str] = "openvino-rewrites"
    idempotent: ClassVar[bool] = True
    exact: bool = True

    def run(self, graph: Graph, context: Context) -> Change:
        rules = rules_in(GROUP, *([EXACT] if self.exact else []))
        return apply_rules(graph, RuleIndex([*rules, *(find_rule(name) for name in PORTABLE), *contributed_rules()]), context)


def contributed_rules() -> list[Rule]:
    """The exact decompositions of com.microsoft operators, for those operators alone."""
    found = []
    for decomposition in DECOMPOSITIONS.values():
        roots = tuple(cls for cls in decomposition.rule.roots if cls.domain == MICROSOFT)
        if roots and decomposition.error is None:
            found.append(replace(decomposition.rule, roots=roots))
    return found
