"""Rewrite rules: declaring them, and what they build with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.diagnostics import Diagnostic, code
from ..ir.dtypes import DType
from ..ir.graph import Graph, Node, Value, constant, int64s
from ..ir.op import Op
from .context import Context
from .match import Match, Mismatch, match, quick_match
from .mutation import combined_type
from .pattern import Pattern, roots
from .registry import RULES

E_RULE = code(
    "E0407",
    "a rewrite rule gave a result that does not fit",
    "The replacement has another element type, rank or static dimension than the value it replaces. This is a defect of the rule; "
    "leave it out of the pipeline, or use `--bisect-limit` to see the single rewrite.",
)


@dataclass(frozen=True)
class Decline:
    """A rule's decision against a rewrite that it could have made.

    Attributes:
        reason: why, for `edgec explain`.
        culprit: the node that is to blame.
    """

    reason: str
    culprit: Node | None = None


Result = Value | tuple[Value | None, ...] | Decline | None


class Rewriter:
    """Builds the replacement of a root node: new nodes stand before it and inherit the debug handles of what they replace.

    Attributes:
        root: the node at the root of the match.
        context: the surroundings of the pipeline.
        created: the nodes built so far.
    """

    def __init__(self, root: Node, context: Context, nodes: Sequence[Node] = ()) -> None:
        assert root.graph is not None
        self.root, self.context = root, context
        self.graph: Graph = root.graph
        self.created: list[Node] = []
        self._origin_nodes = list(nodes) or [root]

    def add(self, op: Op, *operands: Value | None, outputs: int | None = None, regions: Sequence[Graph] = (), name: str = "") -> Any:
        """Apply an operator; gives its result, or the tuple of results when there are several."""
        node = self.graph.insert(op, operands, before=self.root, outputs=outputs, regions=regions, name=name)
        self.created.append(node)
        return node.outputs[0] if len(node.outputs) == 1 else node.outputs

    def constant(self, data: Any, dtype: DType | None = None) -> Value:
        """A constant from an array, a number, nested numbers (with ``dtype``) or `TensorData`."""
        return constant(data, self.graph.fresh_name("constant"), dtype)

    def ints(self, values: Sequence[int]) -> Value:
        """A one-dimensional int64 constant: a shape, axes, pads."""
        return int64s(values, self.graph.fresh_name("constant"))

    def scalar_like(self, value: Value, number: float) -> Value:
        """A scalar constant of the element type of ``value``."""
        return self.constant(number, value.tensor.dtype)

    def credit(self, *nodes: Node) -> None:
        """Name further nodes that the new nodes replace."""
        self._origin_nodes.extend(nodes)

    def finish(self) -> None:
        """Hand the debug handles of the replaced nodes on to the new ones."""
        sources = tuple(dict.fromkeys(s for node in self._origin_nodes for s in node.sources))
        for node in self.created:
            node.sources = sources
        if self.created and not self.created[-1].name:
            self.created[-1].name = self.root.name

    def discard(self) -> None:
        """Remove the nodes built so far again."""
        for node in reversed(self.created):
            if node.graph is not None:
                node.graph.remove(node)
        self.created.clear()


@dataclass(frozen=True)
class Attempt:
    """What came of trying a rule on a node: a mismatch, a decline, or the results that replace those of the root."""

    results: tuple[Value | None, ...] = ()
    nodes: tuple[Node, ...] = ()
    decline: Decline | None = None
    mismatch: Mismatch | None = None
    builder: Rewriter | None = None


_NOTHING = Attempt()


@dataclass(frozen=True, eq=False)
class Rule:
    """A registered rewrite rule.

    Attributes:
        name: kebab-case.
        doc: the docstring of its function.
        roots: operator classes of the root node.
        group: the rules that run together.
        benefit: among rules for one root, greater ones are tried first.
        pattern: what it matches; None for imperative rules.
        function: builds the replacement.
    """

    name: str
    doc: str
    roots: tuple[type[Op], ...]
    group: str
    benefit: int
    pattern: Pattern | None
    function: Callable[..., Result]

    @property
    def depth(self) -> int:
        """How many nodes deep it looks above its root."""
        return self.pattern.depth() if self.pattern is not None else 2

    def attempt(self, root: Node, context: Context, explain: bool = False) -> Attempt:
        """Try the rule on a node: builds the replacement, if any, but does not put it in place."""
        try:
            if self.pattern is None:
                builder = Rewriter(root, context)
                return self._outcome(self.function(root, builder), 0, (root,), builder)
            return self._attempt_pattern(root, context, explain)
        except Diagnostic as error:
            error.notes.append(f"while applying the rule {self.name} at {root.where}")
            raise

    def _attempt_pattern(self, root: Node, context: Context, explain: bool) -> Attempt:
        assert self.pattern is not None
        furthest: Mismatch | None = None
        for index in sorted({choice.index for choice in roots(self.pattern)}):
            if index >= len(root.outputs):
                continue
            value = root.outputs[index]
            found = match(self.pattern, value) if explain else quick_match(self.pattern, value)
            if isinstance(found, Match):
                builder = Rewriter(root, context, found.nodes)
                return self._outcome(self.function(found, builder), index, found.nodes, builder)
            if found is not None and (furthest is None or found.depth > furthest.depth):
                furthest = found
        return Attempt(mismatch=furthest) if explain else _NOTHING

    def _outcome(self, result: Result, index: int, nodes: tuple[Node, ...], builder: Rewriter) -> Attempt:
        if result is None or isinstance(result, Decline):
            builder.discard()
            return Attempt(nodes=nodes, decline=result) if result is not None else _NOTHING
        results = result if isinstance(result, tuple) else (*(None,) * index, result)
        root = builder.root
        results = tuple(None if new is old else new for new, old in zip(results, root.outputs, strict=False))
        if all(new is None for new in results):
            builder.discard()
            return _NOTHING
        late = next((n for n in builder.created if not builder.context.admits(n.op.domain, n.op.since)), None)
        if late is not None:
            builder.discard()
            return Attempt(nodes=nodes, decline=Decline(f"{late.op.op_name} needs opset {late.op.since}", root))
        for new, old in zip(results, root.outputs, strict=False):
            if new is not None:
                self._check(new, old, root)
        return Attempt(results, nodes, builder=builder)

    def _check(self, new: Value, old: Value, root: Node) -> None:
        ranks = (new.rank, old.rank)
        contradiction = combined_type(new.type, old.type) is None or None not in ranks and ranks[0] != ranks[1]
        if contradiction:
            raise Diagnostic(E_RULE, f"the rule {self.name} replaced %{old.name} of type {old.type} by {new.type}", root.where)


def rewrites(pattern: Pattern, *, name: str, group: str = "", benefit: int = 1) -> Callable[[Callable[[Match, Rewriter], Result]], Rule]:
    """Declare a rule for everything that a pattern matches.

    The decorated function gets the match and a `Rewriter`; it returns the value that replaces the matched result, a tuple for all
    results of the root (None leaves one as it is), or a `Decline`.
    """
    classes = tuple(dict.fromkeys(cls for root in roots(pattern) for cls in root.classes))
    return lambda function: _register(function, name, classes, group, benefit, pattern)


def rewrites_op(*classes: type[Op], name: str, group: str = "", benefit: int = 1) -> Callable[[Callable[[Node, Rewriter], Result]], Rule]:
    """Declare an imperative rule for nodes of some operator classes.

    The decorated function gets the node and a `Rewriter`; it returns what `rewrites` says, or None when it does not apply at all.
    """
    return lambda function: _register(function, name, classes, group, benefit, None)


def _register(
    function: Callable[..., Result], name: str, classes: tuple[type[Op], ...], group: str, benefit: int, pattern: Pattern | None
) -> Rule:
    present = RULES.get(name)
    if present is not None and present.function.__module__ != function.__module__:
        raise ValueError(f"rule '{name}' is registered twice: by {present.function.__module__} and by {function.__module__}")
    rule = Rule(name, (function.__doc__ or "").strip(), classes, group, benefit, pattern, function)
    RULES[name] = rule
    return rule
