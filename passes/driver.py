"""Applies rewrite rules greedily until none applies any more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from ..ir.diagnostics import Diagnostic, code
from ..ir.graph import Graph, Node, Value
from ..ir.op import Op
from .base import Change, Pass
from .context import Context, DeclineRecord
from .mutation import combined_type, propagate_types, remove_dead, same_type
from .registry import rules_in
from .rewriter import Attempt, Rule

E_DIVERGES = code(
    "E0408",
    "rewriting does not come to an end",
    "Some rules undo each other's work, or one applies to its own result. This is a defect of the rules named in the notes; leave one "
    "of them out of the pipeline.",
)

_FEW = 4


class RuleIndex:
    """Rules by the operator class of their root, those with the greatest benefit first."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = sorted(rules, key=lambda rule: -rule.benefit)  # stable: equal benefits keep their order
        self.depth = max((rule.depth for rule in self.rules), default=1)
        self._found: dict[type[Op], tuple[Rule, ...]] = {}

    def of(self, cls: type[Op]) -> tuple[Rule, ...]:
        """The rules whose root can be a node with this operator class."""
        found = self._found.get(cls)
        if found is None:
            found = self._found[cls] = tuple(rule for rule in self.rules if issubclass(cls, rule.roots))
        return found


def apply_rules(graph: Graph, rules: Iterable[Rule] | RuleIndex, context: Context, max_rewrites: int | None = None) -> Change:
    """Rewrite a graph and its regions until no rule applies.

    Args:
        max_rewrites: where to give up (default: 1000 and 20 for each node).

    Raises:
        Diagnostic: the limit was reached, or a rule's result does not fit.
    """
    index = rules if isinstance(rules, RuleIndex) else RuleIndex(rules)
    driver = _Driver(index, context)
    for node in graph.walk():
        driver.push(node)
    limit = max_rewrites if max_rewrites is not None else 1000 + 20 * len(driver.queue)
    driver.run(limit)
    return driver.change


class _Driver:
    def __init__(self, index: RuleIndex, context: Context) -> None:
        self.index, self.context = index, context
        self.queue: deque[Node] = deque()
        self.queued: set[Node] = set()
        self.change = Change()
        self.stopped = False

    def push(self, node: Node) -> None:
        if node not in self.queued and self.index.of(type(node.op)):
            self.queued.add(node)
            self.queue.append(node)

    def run(self, limit: int) -> None:
        done = 0
        while self.queue and not self.stopped:
            node = self.queue.popleft()
            self.queued.discard(node)
            if node.graph is None or not self._visit(node):
                continue
            done += 1
            if done > limit:
                busiest = sorted(self.change.counts.items(), key=lambda item: -item[1])[:3]
                notes = [f"{name} was applied {times} times" for name, times in busiest]
                raise Diagnostic(E_DIVERGES, f"rewriting did not end after {limit} rewrites", node.where, notes=notes)

    def _visit(self, node: Node) -> bool:
        """Try the rules for a node; whether one was applied."""
        for rule in self.index.of(type(node.op)):
            attempt = rule.attempt(node, self.context)
            if attempt.decline is not None:
                if self.context.declines is not None:
                    decline = attempt.decline
                    self.context.declines.append(DeclineRecord(rule.name, decline.reason, node, decline.culprit))
                continue
            if attempt.builder is None:
                continue
            if not self.context.permit(rule.name):
                attempt.builder.discard()
                self.stopped = True
                return False
            self._apply(node, attempt)
            self.change.record(rule.name)
            return True
        return False

    def _apply(self, root: Node, attempt: Attempt) -> None:
        builder, graph = attempt.builder, root.graph
        assert builder is not None and graph is not None
        builder.finish()
        created = set(builder.created)
        changed: list[Value] = []
        for new, old in zip(attempt.results, root.outputs, strict=False):
            if new is None:
                continue
            known = combined_type(new.type, old.type) if new.producer is not None else None  # inputs stay as declared
            if known is not None and not same_type(known, new.type):
                new.type = known
                changed.append(new)
            elif not same_type(new.type, old.type):
                changed.append(new)
            graph.replace(old, new)
            if new.producer in created:
                new.name, old.name = old.name, new.name
        if changed:
            propagate_types(changed)
        lost = remove_dead((root, *attempt.nodes, *builder.created))
        self._requeue(builder.created, [new for new in attempt.results if new is not None], lost)
        self.push_if_alive(root)

    def push_if_alive(self, node: Node) -> None:
        if node.graph is not None:
            self.push(node)

    def _requeue(self, created: list[Node], results: list[Value], lost: list[Value]) -> None:
        """New nodes, what reads the new results, and what can match now that a value lost a use."""
        for node in created:
            self.push_if_alive(node)
        nearly_private = [value for value in lost if len(value.uses) <= _FEW]  # a pattern's inner values have few readers
        frontier = list(dict.fromkeys([*results, *nearly_private]))
        for value in frontier:
            if value.producer is not None:
                self.push_if_alive(value.producer)
        for _ in range(max(self.index.depth - 1, 1)):
            reached: dict[Value, None] = {}
            for value in frontier:
                for user in value.users():
                    if user.graph is not None:
                        self.push(user)
                        reached.update(dict.fromkeys(user.outputs))
            frontier = list(reached)


@dataclass(frozen=True)
class RulePass(Pass):
    """A pass that applies the rules of its groups until none applies.

    Class attributes:
        groups: names of rule groups.
    """

    groups: ClassVar[tuple[str, ...]] = ()
    idempotent: ClassVar[bool] = True

    def run(self, graph: Graph, context: Context) -> Change:
        return apply_rules(graph, index_of(*self.groups), context)


_INDICES: dict[tuple[str, ...], RuleIndex] = {}


def index_of(*groups: str) -> RuleIndex:
    """The index of all rules of some groups; built again only when rules were registered since."""
    rules = rules_in(*groups)
    found = _INDICES.get(groups)
    if found is None or set(found.rules) != set(rules):
        found = _INDICES[groups] = RuleIndex(rules)
    return found
