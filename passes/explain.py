"""Why a rule applies to a model, or why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..ir.graph import Graph, Node
from ..ir.model import Model
from .context import Context
from .registry import find_rule
from .rewriter import Attempt, Rule


@dataclass(frozen=True)
class Finding:
    """One place where a rule matched, nearly matched or declined.

    Attributes:
        root: the root node, as diagnostics name it.
        nodes: names of all nodes of the match.
        reason: why it did not match, or why the rule declined.
        culprit: the node to blame.
        depth: the number of nodes that matched.
    """

    root: str
    nodes: tuple[str, ...] = ()
    reason: str = ""
    culprit: str = ""
    depth: int = 0


@dataclass(frozen=True)
class Explanation:
    """What a rule makes of a model; nothing was changed.

    Attributes:
        candidates: the number of nodes that could be a root.
        matches: where it would rewrite.
        declines: where it matched and decided against the rewrite.
        near_misses: where it did not match, those that got furthest first.
    """

    rule: str
    doc: str
    candidates: int = 0
    matches: list[Finding] = field(default_factory=list)
    declines: list[Finding] = field(default_factory=list)
    near_misses: list[Finding] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {
            "rule": self.rule,
            "doc": self.doc,
            "candidates": self.candidates,
            **{
                kind: [{key: value for key, value in vars(f).items() if value} for f in getattr(self, kind)]
                for kind in ("matches", "declines", "near_misses")
            },
        }

    def __str__(self) -> str:
        lines = [f"{self.rule}: {self.doc.splitlines()[0] if self.doc else ''}", f"  candidates: {self.candidates}"]
        lines += [f"  match at {f.root}: {', '.join(f.nodes)}" for f in self.matches]
        for label, findings in (("declined at", self.declines), ("near miss at", self.near_misses)):
            for f in findings:
                blame = f" [{f.culprit}]" if f.culprit and f.culprit != f.root else ""
                lines.append(f"  {label} {f.root}: {f.reason}{blame}")
        return "\n".join(lines)


def explain_rule(name: str, subject: Model | Graph, context: Context | None = None, limit: int = 20) -> Explanation:
    """Try a rule on every node of a model without rewriting anything.

    Args:
        limit: how many near misses to keep; those that matched nothing beyond the root are only kept when nothing better exists.

    Raises:
        Diagnostic: no rule has this name.
    """
    rule = find_rule(name)
    graph = subject.graph if isinstance(subject, Model) else subject
    context = context if context is not None else Context()
    candidates = [node for node in graph.walk() if isinstance(node.op, rule.roots)]
    explanation = Explanation(rule.name, rule.doc, len(candidates))
    misses: list[Finding] = []
    for node in candidates:
        attempt = rule.attempt(node, context, explain=True)
        _file(rule, node, attempt, explanation, misses)
        if attempt.builder is not None:
            attempt.builder.discard()
    misses.sort(key=lambda finding: -finding.depth)  # stable: equal depths stay in graph order
    best = [f for f in misses if f.depth > 1] or misses
    explanation.near_misses.extend(best[:limit])
    return explanation


def _file(rule: Rule, node: Node, attempt: Attempt, explanation: Explanation, misses: list[Finding]) -> None:
    names = tuple(_label(n) for n in attempt.nodes)
    if attempt.decline is not None:
        culprit = attempt.decline.culprit
        blamed = culprit.where if culprit is not None else ""
        explanation.declines.append(Finding(node.where, names, attempt.decline.reason, blamed, len(names)))
    elif attempt.builder is not None:
        explanation.matches.append(Finding(node.where, names, depth=len(names)))
    elif attempt.mismatch is not None:
        miss = attempt.mismatch
        misses.append(Finding(node.where, (), miss.reason, miss.node.where if miss.node is not None else "", miss.depth))


def _label(node: Node) -> str:
    return node.name or (node.outputs[0].name if node.outputs else node.op.qualified_name)
