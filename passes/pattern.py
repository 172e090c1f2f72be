"""Patterns that read like applications of operators.

``P(Relu)(P(Conv, "conv", group=1)("x", "w"))`` matches a Relu of a Conv with two operands whose group is 1, and names the
parts. Operands of a pattern are

- ``"x"``: any value, bound to a name; the same name must meet the same value again,
- ``C("c")``, ``C(0.5)``, ``C(0.5, "half")``, ``C(pred=…)``: a constant, perhaps with one number in all its elements,
- ``P(…)(…)``: the result of a node; ``P(…)`` without operands accepts any operands; several classes as a tuple,
- ``optional("b")``: a value or an absent operand, ``None``: an absent operand, ``ANY``: whatever there is,
- ``…`` (Ellipsis) as the last operand: any further operands,
- ``A | B``: one or the other, tried in this order.

Commutative operators are matched in both orders. The results of inner nodes may be used by nothing outside the match, unless the
pattern says ``.shared()``. ``.where(condition)`` adds a condition on the whole match: True accepts, a string is the reason of refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..ir.graph import Value
from ..ir.op import Op, attribute_names

if TYPE_CHECKING:
    from .match import Match

Condition = Callable[["Match"], bool | str]
TOLERANCE = 1e-4


class Pattern:
    """The base of everything that can stand for a value."""

    def __or__(self, other: Operand) -> Alternatives:
        return Alternatives((*_choices(self), *_choices(as_pattern(other))))

    def __ror__(self, other: Operand) -> Alternatives:
        return Alternatives((*_choices(as_pattern(other)), *_choices(self)))

    def depth(self) -> int:
        """The number of nodes on the longest way from the root."""
        return 0


Operand = Pattern | str | None


@dataclass(frozen=True)
class Variable(Pattern):
    """Any value; the same name must meet the same value again."""

    name: str


@dataclass(frozen=True)
class Anything(Pattern):
    """Any value, or an absent operand."""


@dataclass(frozen=True)
class Absent(Pattern):
    """No operand."""


@dataclass(frozen=True)
class Optional(Pattern):
    """An absent operand, or one that matches ``inner``."""

    inner: Pattern

    def depth(self) -> int:
        return self.inner.depth()


@dataclass(frozen=True)
class Alternatives(Pattern):
    """The first of several patterns that leads to a match."""

    choices: tuple[Pattern, ...]

    def depth(self) -> int:
        return max(choice.depth() for choice in self.choices)


@dataclass(frozen=True)
class Constant(Pattern):
    """A constant.

    Attributes:
        number: what every element must equal, within ``tolerance`` times its magnitude; None accepts any elements.
        name: what it is bound to, if anything.
        pred: a further condition on the value.
    """

    number: float | None = None
    name: str = ""
    pred: Callable[[Value], bool] | None = None
    tolerance: float = TOLERANCE


@dataclass(frozen=True, eq=False)
class NodePattern(Pattern):
    """The result of a node.

    Attributes:
        classes: the operator classes, one of which the node's operator is an instance of.
        name: what its result is bound to, if anything.
        attributes: attribute names with the value they must have, or with a condition on it.
        operands: patterns of the operands, None for any operands at all.
        open: whether further operands may follow.
        index: which result of the node is meant.
        is_shared: whether its results may have uses outside the match.
        conditions: conditions on the whole match.
    """

    classes: tuple[type[Op], ...]
    name: str = ""
    attributes: tuple[tuple[str, Any], ...] = ()
    operands: tuple[Pattern, ...] | None = None
    open: bool = False
    index: int = 0
    is_shared: bool = False
    conditions: tuple[Condition, ...] = ()

    def __call__(self, *operands: Any) -> NodePattern:
        """The pattern with patterns for the operands."""
        is_open = bool(operands) and operands[-1] is Ellipsis
        given = operands[:-1] if is_open else operands
        return replace(self, operands=tuple(as_pattern(o) for o in given), open=is_open)

    def where(self, condition: Condition) -> NodePattern:
        """The pattern with one more condition; it gets the whole match."""
        return replace(self, conditions=(*self.conditions, condition))

    def shared(self) -> NodePattern:
        """The pattern for a node whose results may be used elsewhere too."""
        return replace(self, is_shared=True)

    def result(self, index: int) -> NodePattern:
        """The pattern for another result of the node than the first."""
        return replace(self, index=index)

    @property
    def commutative(self) -> bool:
        """Whether the first two operands may be met in either order."""
        return self.operands is not None and len(self.operands) >= 2 and all(c.commutative for c in self.classes)

    def depth(self) -> int:
        return 1 + max((operand.depth() for operand in self.operands or ()), default=0)

    def __str__(self) -> str:
        return "|".join(c.op_name for c in self.classes)


def P(classes: type[Op] | Sequence[type[Op]], name: str = "", /, **attributes: Any) -> NodePattern:
    """A pattern for the result of a node: see the module's description.

    Args:
        classes: one operator class or several.
        name: what the result is bound to.
        attributes: for attributes of the operator the value they must have, or a condition on it.
    """
    found = (classes,) if isinstance(classes, type) else tuple(classes)
    for cls in found:
        unknown = [a for a in attributes if a not in attribute_names(cls)]
        if unknown:
            raise TypeError(f"{cls.__name__} has no attribute {unknown[0]!r}")
    return NodePattern(found, name, tuple(attributes.items()))


def C(
    number: float | str | None = None,
    name: str = "",
    *,
    pred: Callable[[Value], bool] | None = None,
    tolerance: float = TOLERANCE,
) -> Constant:
    """A pattern for a constant: ``C()``, ``C("name")``, ``C(number)``, ``C(number, "name")``, each with a condition ``pred``."""
    if isinstance(number, str):
        number, name = None, number
    return Constant(number, name, pred, tolerance)


def optional(operand: Operand) -> Optional:
    """A pattern for an operand that may be absent."""
    return Optional(as_pattern(operand))


ANY = Anything()
_ABSENT = Absent()


def as_pattern(operand: Operand) -> Pattern:
    """What an operand of a pattern means: names stand for variables, None for an absent operand."""
    if operand is None:
        return _ABSENT
    if isinstance(operand, str):
        return Variable(operand)
    if isinstance(operand, Pattern):
        return operand
    raise TypeError(f"{operand!r} cannot stand for an operand in a pattern")


def roots(pattern: Pattern) -> tuple[NodePattern, ...]:
    """The node patterns that a pattern's root can be."""
    choices = _choices(pattern)
    found = tuple(choice for choice in choices if isinstance(choice, NodePattern))
    if len(found) != len(choices):
        raise TypeError("the root of a rule's pattern must be a node")
    return found


def _choices(pattern: Pattern) -> tuple[Pattern, ...]:
    return pattern.choices if isinstance(pattern, Alternatives) else (pattern,)
