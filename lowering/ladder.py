"""The fallback ladder: what becomes of every node on a target, and what to do about those that it cannot take.

native → exact decomposition → approximation within the accuracy budget → another engine → refusal. Which decomposition is taken follows
from the price of its nodes, which approximation is permitted from its error at the model's outputs. Nothing happens silently: every step
is recorded with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..ir.diagnostics import Diagnostic
from ..ir.graph import Node
from ..ir.model import Model
from ..passes import decompose as _decompose  # noqa: F401  (registers the decompositions)
from ..passes.context import Context
from ..passes.decompose.base import DECOMPOSITIONS, Decomposition, Error, decompositions_of
from ..passes.legalize import SUPPORT, Cure, Legalizer
from .backend import Backend
from .price import Price, work_price
from .support import Verdict

Rung = Literal["native", "partial", "decomposed", "exact", "approximate", "other-engine", "refused"]
RUNGS: dict[Rung, str] = {
    "native": "the target has it",
    "partial": "the target has it, with a restriction",
    "decomposed": "the target's own passes take it apart, exactly",
    "exact": "an exact decomposition stands in for it",
    "approximate": "an approximation within the accuracy budget stands in for it",
    "other-engine": "only another engine takes it",
    "refused": "nothing takes it",
}
"""What may become of a node, best first."""

Measure = Callable[[Model], float]
"""Gives the greatest relative error at the outputs of a changed model."""


@dataclass(frozen=True)
class Option:
    """One way to do without an operator.

    Attributes:
        rule: the decomposition, or ``compute-in-TYPE``.
        into: the operators that stand in for it.
        price: of these operators, None when it is not known.
        stated: how far an approximation is off; None when it is exact.
    """

    rule: str
    into: tuple[str, ...]
    price: float | None
    stated: Error | None = None


@dataclass(frozen=True)
class Step:
    """What becomes of one node.

    Attributes:
        node: its name; ``where`` describes it, ``op`` is its operator, ``sources`` the nodes of the source model that it stands for.
        rung: how far down the ladder it is.
        reason: why it is not native.
        code: the kind of obstacle, one of `REASON_CODES`; empty where there is none.
        evidence: where that is known from.
        via: the rule that is applied.
        into: the operators that stand in for it.
        price: of what stands in for it.
        error: relative error at the model's outputs that was measured for the approximation, together with those accepted before.
        engines: the other targets that take the node.
        tried: what was considered and not taken, with the reason.
    """

    node: str
    where: str
    op: str
    rung: Rung
    sources: tuple[str, ...] = ()
    reason: str = ""
    code: str = ""
    evidence: str = ""
    via: str = ""
    into: tuple[str, ...] = ()
    price: float | None = None
    error: float | None = None
    engines: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()

    @property
    def goes(self) -> bool:
        """Whether the target gets the node done."""
        return self.rung not in ("other-engine", "refused")

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data, without what is empty."""
        facts = {
            "node": self.node,
            "op": self.op,
            "rung": self.rung,
            "sources": list(self.sources),
            "reason": self.reason,
            "code": self.code,
            "evidence": self.evidence,
            "via": self.via,
            "into": list(self.into),
            "price": self.price,
            "error": self.error,
            "engines": list(self.engines),
            "tried": list(self.tried),
        }
        return {key: value for key, value in facts.items() if value not in ("", [], None)}

    def __str__(self) -> str:
        """What happens, in one line."""
        if self.rung in ("native", "partial", "refused"):
            return self.reason or RUNGS[self.rung]
        if self.rung == "other-engine":
            return f"{self.reason}; {', '.join(self.engines)} would take it"
        if self.rung == "decomposed":
            return self.reason
        error = "" if self.error is None else f", relative error {self.error:.2g}"
        return f"{self.reason}; {self.via}: {', '.join(self.into)}{error}"


@dataclass(frozen=True)
class Ladder:
    """The rules of the descent.

    Attributes:
        backend: the target.
        budget: the relative error at the model's outputs that approximations may cause together; None permits none.
        measure: tells that error for a model; needed with a budget.
        price: what nodes cost on the target.
        others: gives the targets that are named where this one cannot take a node; asked when there is such a node.
        opsets: limits of the opset per domain.
    """

    backend: Backend
    budget: float | None = None
    measure: Measure | None = None
    price: Price = work_price
    others: Callable[[], Sequence[Backend]] = tuple
    opsets: Mapping[str, int] = field(default_factory=dict)

    def survey(self, model: Model) -> list[Step]:
        """What becomes of every node, in order; the model stays as it is and nothing is measured.

        An approximation is reported where it is the only way and the budget permits any.
        """
        graph = model.copy().graph
        return [self._surveyed(node) for node in list(graph.walk())]

    def descend(self, model: Model) -> tuple[Model, list[Step]]:
        """Replace the nodes that the target cannot take.

        Without a budget these are the nodes that do not run at all; with one, an approximation also replaces a node that would be
        taken apart into something dearer.

        Returns:
            The changed copy (the model itself when there was nothing to do), and a step for every node that is not native.
        """
        return _Descent(self, model).run()

    def verdict(self, node: Node) -> Verdict:
        """The target's verdict on a node."""
        return self.backend.support(node)

    def options(self, node: Node) -> list[Option]:
        """The ways to do without a node, cheapest first; exact ones first among equally cheap ones."""
        legalizer = self.legalizer()
        found: list[Option] = []
        wider = legalizer.in_wider_type(node)
        if wider is not None:
            found.append(self._option(wider, None))
        for decomposition in decompositions_of(type(node.op)):
            if decomposition.error is None or self.budget is not None:
                cure = legalizer.taken_apart(node, decomposition)
                if cure is not None:
                    found.append(self._option(cure, decomposition.error))
        return sorted(found, key=_order)

    def legalizer(self) -> Legalizer:
        """What makes nodes legal for the target, by exact decompositions within the one that is chosen."""

        def objection(node: Node, opset: int) -> str | None:
            verdict = self.verdict(node)
            return None if verdict.runs else verdict.reason or "it does not run"

        return Legalizer(Context(opsets=dict(self.opsets), extras={SUPPORT: objection}), None)

    def engines(self, node: Node) -> tuple[str, ...]:
        """The other targets that take a node."""
        return tuple(other.name for other in self.others() if other.name != self.backend.name and other.support(node).runs)

    def _option(self, cure: Cure, error: Error | None) -> Option:
        into = tuple(dict.fromkeys(node.op.qualified_name for node in cure.created))
        price = self.price(cure.created)
        cure.discard()
        return Option(cure.name, into, price, error)

    def _surveyed(self, node: Node) -> Step:
        verdict = self.verdict(node)
        if verdict.runs:
            return step_of(node, verdict)
        options = self.options(node)
        best = next((o for o in options if o.stated is None), options[0] if options else None)
        if best is not None:
            return taken(step_of(node, verdict), best)
        return replace(step_of(node, verdict), **self.nowhere(node))

    def nowhere(self, node: Node) -> dict[str, Any]:
        """The rung of a node that neither the target nor a decomposition takes, and the engines that would."""
        engines = self.engines(node)
        return {"rung": "other-engine" if engines else "refused", "engines": engines}


def step_of(node: Node, verdict: Verdict) -> Step:
    """The step of a node about which only the target's verdict is known."""
    rung: Rung = "refused" if verdict.level == "none" else verdict.level
    name = node.name or (node.outputs[0].name if node.outputs else "")
    reason = "" if rung == "native" else verdict.reason
    return Step(name, node.where, node.op.qualified_name, rung, node.sources, reason, verdict.code, verdict.evidence)


def taken(step: Step, option: Option, error: float | None = None, tried: Iterable[str] = ()) -> Step:
    """The step of a node that an option stands in for."""
    rung: Rung = "exact" if option.stated is None else "approximate"
    return replace(step, rung=rung, via=option.rule, into=option.into, price=option.price, error=error, tried=tuple(tried))


def _order(option: Option) -> tuple[bool, float, bool]:
    return option.price is None, option.price or 0.0, option.stated is not None


class _Descent:
    """One descent of a model: decisions by the position of nodes, so that a step back is a decision less."""

    def __init__(self, ladder: Ladder, model: Model) -> None:
        self.ladder, self.model = ladder, model
        self.decisions: dict[int, Option] = {}
        self.errors: dict[int, float] = {}
        self.tried: dict[int, list[str]] = {}
        self.error = 0.0

    def run(self) -> tuple[Model, list[Step]]:
        """Decide for every node, then change a copy."""
        survey = list(self.model.copy().graph.walk())
        steps: dict[int, Step] = {}
        waiting: dict[int, list[Option]] = {}
        for index, node in enumerate(survey):
            verdict = self.ladder.verdict(node)
            if verdict.level == "native":
                continue
            steps[index] = step_of(node, verdict)
            if not verdict.runs:
                waiting[index] = self.ladder.options(node)
            elif verdict.level == "decomposed" and self.ladder.budget is not None:
                waiting[index] = self._cheaper(node)
        self._decide({index: list(options) for index, options in waiting.items() if options})
        for index, step in steps.items():
            tried = tuple(self.tried.get(index, ()))
            if index in self.decisions:
                steps[index] = taken(step, self.decisions[index], self.errors.get(index), tried)
            elif not step.goes:
                steps[index] = replace(step, tried=tried, **self.ladder.nowhere(survey[index]))
            elif tried:
                steps[index] = replace(step, tried=tried)
        changed = self._with(self.decisions) if self.decisions else self.model
        return changed, list(steps.values())

    def _cheaper(self, node: Node) -> list[Option]:
        """The approximations of a node that cost less than its cheapest exact decomposition."""
        options = self.ladder.options(node)
        exact = next((place for place, option in enumerate(options) if option.stated is None), 0)
        return [option for option in options[:exact] if option.stated is not None]

    def _decide(self, waiting: dict[int, list[Option]]) -> None:
        """Let each node take the first of its options whose error stays within the budget, nodes with one rule together."""
        while waiting:
            rule = next(iter(waiting.values()))[0].rule
            group = [index for index, options in waiting.items() if options[0].rule == rule]
            chosen = {index: waiting[index][0] for index in group}
            if next(iter(chosen.values())).stated is None:
                self.decisions |= chosen
                accepted = set(chosen)
            else:
                accepted = self._within_budget(chosen)
            for index in group:
                waiting[index].pop(0)
                if index in accepted or not waiting[index]:
                    del waiting[index]

    def _within_budget(self, chosen: dict[int, Option]) -> set[int]:
        """Accept as many approximations as the budget permits: all, or what is accepted of either half."""
        budget, measure = self.ladder.budget, self.ladder.measure
        assert budget is not None
        trial = {**self.decisions, **chosen}
        try:
            error = measure(self._with(trial)) if measure is not None else 0.0
        except Diagnostic as failure:
            for index, option in chosen.items():
                self.tried.setdefault(index, []).append(f"{option.rule}: its error cannot be measured ({failure.message})")
            return set()
        if error <= budget:
            self.decisions, self.error = trial, error
            if measure is not None:
                self.errors |= dict.fromkeys(chosen, error)
            return set(chosen)
        if len(chosen) == 1:
            ((index, option),) = chosen.items()
            self.tried.setdefault(index, []).append(f"{option.rule}: relative error {error:.2g} exceeds the budget of {budget:g}, reverted")
            return set()
        indices = list(chosen)
        half = len(indices) // 2
        first = self._within_budget({i: chosen[i] for i in indices[:half]})
        return first | self._within_budget({i: chosen[i] for i in indices[half:]})

    def _with(self, decisions: Mapping[int, Option]) -> Model:
        """A copy of the model with some decisions carried out."""
        model = self.model.copy()
        nodes = list(model.graph.walk())
        legalizer = self.ladder.legalizer()
        for index, option in sorted(decisions.items()):
            if nodes[index].graph is not None:  # what went with an earlier decision needs none
                apply_option(legalizer, nodes[index], option)
        return model


def apply_option(legalizer: Legalizer, node: Node, option: Option) -> None:
    """Put what an option names in the place of a node."""
    decomposition: Decomposition | None = DECOMPOSITIONS.get(option.rule)
    cure = legalizer.taken_apart(node, decomposition) if decomposition is not None else legalizer.in_wider_type(node)
    assert cure is not None and cure.name == option.rule, f"{option.rule} does not fit any more"
    cure.apply(node)
