"""Older operator forms → the newest form: the framework. The rules are in ``upgrade_rules*``.

ONNX operators change meaning between opsets (axes move from attribute to operand, Softmax flattens before opset 13 …). The IR has
one form per operator, the newest; each rule lifts one operator over one change and applies to nodes whose opset is *below* the opset
of the change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..dtypes import DType
from ..graph import Graph, Value, constant, int64s
from ..op import Op

Rule = Callable[["RawNode"], "list[Value] | None"]
_RULES: dict[tuple[str, str], list[tuple[int, Rule]]] = {}


@dataclass
class RawNode:
    """A node as the file has it, while it is being upgraded.

    A rule changes the fields in place and returns None, or builds the results itself and returns them.
    """

    graph: Graph
    domain: str
    op_type: str
    version: int
    inputs: list[Value | None]
    attributes: dict[str, Any]
    outputs: list[str]
    name: str
    where: str
    keep_opaque: bool = False

    def add(self, op: Op, *operands: Value | None) -> Value:
        """Insert an auxiliary node with one result."""
        return self.graph.insert(op, operands).output

    def result(self, op: Op, *operands: Value | None) -> list[Value]:
        """Insert the final node of a replacement; its results carry the file's names."""
        return list(self.graph.insert(op, operands, outputs=len(self.outputs), names=self.outputs, name=self.name).outputs)

    def input(self, index: int) -> Value:
        """A required operand."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            from ..diagnostics import E_OPERANDS, Diagnostic

            raise Diagnostic(E_OPERANDS, f"operand {index} is absent", self.where)
        return value

    def set_input(self, index: int, value: Value | None) -> None:
        """Give an operand that older forms had as an attribute."""
        self.inputs += [None] * (index + 1 - len(self.inputs))
        self.inputs[index] = value

    def attribute_to_ints(self, attribute: str, index: int) -> None:
        """Move an integer-list attribute to an int64 operand."""
        value = self.attributes.pop(attribute, None)
        if value is not None:
            self.set_input(index, int64s(value if isinstance(value, tuple) else (value,)))

    def scalar(self, number: float | int, dtype: DType) -> Value:
        """A constant of rank 0."""
        return constant(number, dtype=dtype)


def below(version: int, *names: str, domain: str = "") -> Callable[[Rule], Rule]:
    """Register a rule for nodes of these operators whose opset is below ``version``."""

    def register(rule: Rule) -> Rule:
        for name in names:
            rules = _RULES.setdefault((domain, name), [])
            rules.append((version, rule))
            rules.sort(key=lambda entry: entry[0])
        return rule

    return register


def upgrade(raw: RawNode) -> list[Value] | None:
    """Lift a node to the newest form. Gives its results when a rule built them, None when ``raw`` is now in the newest form."""
    from . import upgrade_rules, upgrade_rules_early  # noqa: F401  (registers the rules)

    while True:
        kind = (raw.domain, raw.op_type)
        for version, rule in _RULES.get(kind, ()):
            if raw.version < version:
                results = rule(raw)
                if results is not None:
                    return results
                if (raw.domain, raw.op_type) != kind:
                    break
        else:
            return None
