"""Matching patterns against the graph, with full backtracking, and with reasons when asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..ir.graph import Node, Value
from ..ir.op import Op
from .pattern import Absent, Alternatives, Anything, Constant, NodePattern, Optional, Pattern, Variable
from .values import Number, uniform_number

Goals = tuple[Any, Any, Any] | None  # (pattern, value, further goals)


class Match:
    """A successful match.

    Attributes:
        root: the node at the root of the pattern.
        nodes: all matched nodes, the root first.
        index: which result of the root matched.
    """

    __slots__ = ("root", "nodes", "index", "_bindings")

    def __init__(self, root: Node, nodes: tuple[Node, ...], index: int, bindings: dict[str, Value]) -> None:
        self.root, self.nodes, self.index, self._bindings = root, nodes, index, bindings

    def __getitem__(self, name: str) -> Value:
        """The value bound to a name (for a named node: its matched result)."""
        return self._bindings[name]

    def __contains__(self, name: str) -> bool:
        """Whether the name is bound: optional operands and alternatives may leave it unbound."""
        return name in self._bindings

    def get(self, name: str) -> Value | None:
        """The value bound to a name, None when the match left it unbound."""
        return self._bindings.get(name)

    @property
    def value(self) -> Value:
        """The result of the root that matched."""
        return self.root.outputs[self.index]

    def node(self, name: str) -> Node:
        """The matched node with this name."""
        node = self._bindings[name].producer
        if node is None:
            raise KeyError(f"'{name}' names a value that no node computes")
        return node

    def op(self, name: str) -> Any:
        """The operator of the matched node with this name."""
        return self.node(name).op

    def scalar(self, name: str) -> Number:
        """The number that all elements of the constant with this name equal."""
        number = uniform_number(self._bindings[name])
        if number is None:
            raise KeyError(f"'{name}' is not a constant with a single number")
        return number


@dataclass(frozen=True)
class Mismatch:
    """How far a match got.

    Attributes:
        reason: why it went no further.
        depth: the number of nodes that had matched; near misses are ranked by it.
        node: the node where it failed, if any.
        progress: the number of values that had matched: ranks misses of equal depth.
    """

    reason: str
    depth: int = 0
    node: Node | None = None
    progress: int = 0

    def __bool__(self) -> bool:
        return False


def match(pattern: Pattern, value: Value) -> Match | Mismatch:
    """Match a pattern against a value; a mismatch tells the reason of the attempt that got furthest."""
    matcher = _Matcher(value, explain=True)
    found = matcher.match(pattern)
    if found is not None:
        return found
    assert matcher.furthest is not None  # a failure always leaves its reason
    return matcher.furthest


def quick_match(pattern: Pattern, value: Value) -> Match | None:
    """Match a pattern against a value without collecting reasons."""
    return _Matcher(value, explain=False).match(pattern)


class _Matcher:
    """One attempt: goals are solved depth first; a trail of bindings is undone on the way back."""

    def __init__(self, value: Value, explain: bool) -> None:
        self.value, self.explain = value, explain
        self.graph = value.producer.graph if value.producer is not None else None
        self.bindings: dict[str, Value] = {}
        self.nodes: dict[Node, NodePattern] = {}
        self.trail: list[tuple[dict[Any, Any], Any]] = []
        self.furthest: Mismatch | None = None
        self.found: Match | None = None

    def match(self, pattern: Pattern) -> Match | None:
        return self.found if self._solve((pattern, self.value, None)) else None

    def _fail(self, reason: str, node: Node | None = None) -> bool:
        depth, progress = len(self.nodes), len(self.trail)
        best = self.furthest
        if best is None or (depth, progress) > (best.depth, best.progress):
            self.furthest = Mismatch(reason, depth, node, progress)
        return False

    def _note(self, table: dict[Any, Any], key: Any, entry: Any) -> None:
        table[key] = entry
        self.trail.append((table, key))

    def _undo(self, mark: int) -> None:
        while len(self.trail) > mark:
            table, key = self.trail.pop()
            del table[key]

    def _solve(self, goals: Goals) -> bool:
        while goals is not None:
            pattern, value, goals = goals
            if isinstance(pattern, Optional):
                if value is None:
                    continue
                pattern = pattern.inner
            if isinstance(pattern, Variable):
                if value is None:
                    return self.explain and self._fail(f"the operand '{pattern.name}' is absent")
                if not self._bind(pattern.name, value):
                    return self.explain and self._fail(
                        f"'{pattern.name}' is %{self.bindings[pattern.name].name} and %{value.name} at once", value.producer
                    )
            elif isinstance(pattern, NodePattern):
                choices = self._enter(pattern, value)
                if not choices:
                    return False
                if len(choices) > 1:
                    return self._try(choices, goals)
                goals = _push(choices[0], goals)
            elif isinstance(pattern, Constant):
                if not self._constant(pattern, value):
                    return False
            elif isinstance(pattern, Alternatives):
                return self._try([[(choice, value)] for choice in pattern.choices], goals)
            elif isinstance(pattern, Absent):
                if value is not None:
                    return self.explain and self._fail(f"the operand %{value.name} should be absent", value.producer)
            elif not isinstance(pattern, Anything):
                raise TypeError(f"{pattern!r} is no pattern")
        return self._finish()

    def _try(self, choices: list[list[tuple[Pattern, Value | None]]], goals: Goals) -> bool:
        mark = len(self.trail)
        for choice in choices:
            if self._solve(_push(choice, goals)):
                return True
            self._undo(mark)
        return False

    def _bind(self, name: str, value: Value) -> bool:
        bound = self.bindings.get(name)
        if bound is None:
            self._note(self.bindings, name, value)
            return True
        return bound is value

    def _constant(self, pattern: Constant, value: Value | None) -> bool:
        if value is None:
            return self.explain and self._fail("a constant operand is absent")
        if value.data is None:
            return self.explain and self._fail(f"%{value.name} is not a constant", value.producer)
        if pattern.number is not None:
            number = uniform_number(value)
            if number is None:
                return self.explain and self._fail(f"the constant %{value.name} is not a single number")
            if isinstance(number, complex) or not math.isclose(number, pattern.number, rel_tol=pattern.tolerance):
                return self.explain and self._fail(f"the constant %{value.name} is {number:g}, not {pattern.number:g}")
        if pattern.pred is not None and not pattern.pred(value):
            return self.explain and self._fail(f"the constant %{value.name} does not meet the pattern's condition")
        if pattern.name and not self._bind(pattern.name, value):
            return self.explain and self._fail(f"'{pattern.name}' is two constants at once")
        return True

    def _enter(self, pattern: NodePattern, value: Value | None) -> list[list[tuple[Pattern, Value | None]]]:
        """Check the node itself; gives the ways to pair its operands with patterns, none if the node does not fit."""
        node = value.producer if value is not None else None
        if node is None or value is None:
            if self.explain:
                what = "absent" if value is None else f"%{value.name}, a constant" if value.is_constant else f"%{value.name}, an input"
                self._fail(f"{pattern} expected, the operand is {what}")
            return []
        op = node.op
        if not isinstance(op, pattern.classes):
            if self.explain:
                self._fail(f"{pattern} expected, not {op.qualified_name}", node)
            return []
        if value.index != pattern.index:
            if self.explain:
                self._fail(f"result {pattern.index} of {pattern} expected, not {value.index}", node)
            return []
        if node.graph is not self.graph:
            if self.explain:
                self._fail(f"the {op.op_name} stands outside the region of the root", node)
            return []
        if not self._attributes_fit(pattern, op, node):
            return []
        inputs = node.inputs
        if pattern.operands is not None and not pattern.open and len(inputs) > len(pattern.operands):
            if any(v is not None for v in inputs[len(pattern.operands) :]):
                if self.explain:
                    self._fail(f"{op.op_name} has {len(inputs)} operands, not {len(pattern.operands)}", node)
                return []
        if pattern.name:
            bound = self.bindings.get(pattern.name)
            if bound is not None and bound.producer is not node:
                if self.explain:
                    self._fail(f"'{pattern.name}' is two nodes at once", node)
                return []
            if bound is None:
                self._note(self.bindings, pattern.name, value)
        known = self.nodes.get(node)
        if known is None:
            self._note(self.nodes, node, pattern)
        elif known is pattern:
            return [[]]
        if pattern.operands is None:
            return [[]]
        padded = inputs + (None,) * (len(pattern.operands) - len(inputs))
        pairs = list(zip(pattern.operands, padded, strict=False))
        if pattern.commutative and op.commutative:
            first, second = pattern.operands[:2]
            return [pairs, [(first, padded[1]), (second, padded[0]), *pairs[2:]]]
        return [pairs]

    def _attributes_fit(self, pattern: NodePattern, op: Op, node: Node) -> bool:
        for name, wanted in pattern.attributes:
            actual = getattr(op, name)
            if not (wanted(actual) if callable(wanted) else actual == wanted):
                what = "" if callable(wanted) else f", not {wanted!r}"
                return self.explain and self._fail(f"{name} of {op.op_name} is {actual!r}{what}", node)
        return True

    def _finish(self) -> bool:
        """All parts fit: check the uses of intermediates, then the conditions."""
        root = self.value.producer
        assert root is not None
        for node, pattern in self.nodes.items():
            if node is root or pattern.is_shared:
                continue
            for result in node.outputs:
                for user, _ in result.uses:
                    if user not in self.nodes:
                        who = user.where if isinstance(user, Node) else "the outputs"
                        return self.explain and self._fail(f"the intermediate %{result.name} is also used by {who}", node)
        found = Match(root, tuple(self.nodes), self.value.index, dict(self.bindings))
        for node, pattern in self.nodes.items():
            for condition in pattern.conditions:
                verdict = condition(found)
                if verdict is not True:
                    reason = verdict if isinstance(verdict, str) else "a condition of the pattern is not met"
                    return self.explain and self._fail(reason, node)
        self.found = found
        return True


def _push(pairs: list[tuple[Pattern, Value | None]], goals: Goals) -> Goals:
    for pattern, value in reversed(pairs):
        goals = (pattern, value, goals)
    return goals
