"""The passes that apply OpenVINO's rewrites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ....ir.graph import Graph
from ....passes import decompose as _decompose  # noqa: F401  (registers the rules)
from ....passes.base import Change, Pass
from ....passes.context import Context
from ....passes.driver import RuleIndex, apply_rules
from ....passes.registry import find_rule, rules_in
from .functions import EXACT, GROUP

PORTABLE = ("decompose-adagrad", "decompose-adam", "decompose-momentum", "decompose-swiglu", "recurrent-time-first")
"""The portable decompositions of operators that OpenVINO lacks."""


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
        rules = [*rules_in(GROUP, *([EXACT] if self.exact else [])), *(find_rule(name) for name in PORTABLE)]
        return apply_rules(graph, RuleIndex(rules), context)
