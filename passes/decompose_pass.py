"""The pass that takes chosen operators apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from ..ir.diagnostics import Diagnostic, did_you_mean
from ..ir.graph import Graph
from ..ir.op import OPS, Op
from .base import Change, Pass
from .context import Context
from .decompose.base import DECOMPOSITIONS, Decomposition
from .driver import RuleIndex, apply_rules
from .registry import E_UNKNOWN_RULE
from .rewriter import Rule


@dataclass(frozen=True)
class Decompose(Pass):
    """Replace operators by smaller ones: those named in ``ops``, by the decompositions named in ``rules``.

    With ``ops`` alone the exact decompositions of these operators apply; a name in ``rules`` permits an approximate one too. Operators
    outside ai.onnx are written with their domain: ``com.microsoft.FastGelu``.
    """

    name: ClassVar[str] = "decompose"
    idempotent: ClassVar[bool] = True
    ops: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    def run(self, graph: Graph, context: Context) -> Change:
        classes = tuple(_operator(name) for name in self.ops)
        chosen = [_decomposition(name) for name in self.rules]
        if not self.rules:
            chosen = [d for d in DECOMPOSITIONS.values() if d.error is None and not d.targeted]
        if not classes:
            return apply_rules(graph, [d.rule for d in chosen], context) if self.rules else Change()
        index = _Restricted([d.rule for d in chosen], classes)
        return apply_rules(graph, index, context)


class _Restricted(RuleIndex):
    """The rules, for some operator classes only: what a decomposition itself creates is left alone."""

    def __init__(self, rules: Iterable[Rule], classes: tuple[type[Op], ...]) -> None:
        super().__init__(rules)
        self.classes = classes

    def of(self, cls: type[Op]) -> tuple[Rule, ...]:
        return super().of(cls) if issubclass(cls, self.classes) else ()


def _operator(name: str) -> type[Op]:
    domain, _, op_name = name.rpartition(".")
    found = OPS.get((domain, op_name))
    if found is None:
        known = [f"{d}.{n}" if d else n for d, n in OPS]
        raise Diagnostic(E_UNKNOWN_RULE, f"there is no operator '{name}'", hint=did_you_mean(name, known))
    return found


def _decomposition(name: str) -> Decomposition:
    found = DECOMPOSITIONS.get(name)
    if found is None:
        raise Diagnostic(E_UNKNOWN_RULE, f"there is no decomposition '{name}'", hint=did_you_mean(name, list(DECOMPOSITIONS)))
    return found
