"""Decompositions: rewrite rules that replace one operator by smaller ones, each with the error that it causes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from ...ir.graph import Node
from ...ir.op import Op
from ..rewriter import Result, Rewriter, Rule, rewrites_op
from .terms import Terms

Body = Callable[[Node, Terms], Result]


@dataclass(frozen=True)
class Error:
    """How far an approximate decomposition is off, compared with the operator that it replaces.

    Attributes:
        max_abs: the greatest absolute difference over all real operands.
        at: the operand where it occurs (the difference is symmetric or the one named is the worst).
        relative_l2: norm of the difference over norm of the exact results for operands drawn from the standard normal distribution.
        comment: what else is to be known.
    """

    max_abs: float
    at: float
    relative_l2: float
    comment: str = ""


@dataclass(frozen=True)
class Decomposition:
    """One way to take an operator apart.

    Attributes:
        rule: the rewrite rule; its name selects the decomposition.
        error: None when it is exact up to rounding; approximate ones are applied only where they are named or permitted.
        targeted: whether it serves only nodes that a target cannot take although the operator itself exists there.
    """

    rule: Rule
    error: Error | None = None
    targeted: bool = False


DECOMPOSITIONS: dict[str, Decomposition] = {}


def decomposes(
    *classes: type[Op], name: str, group: str, error: Error | None = None, targeted: bool = False, benefit: int = 1
) -> Callable[[Body], Rule]:
    """Declare a decomposition of nodes of some operator classes.

    The function gets the node and a `Terms` to build with, and returns what a rewrite rule returns. Of several decompositions of one
    operator the one with the greatest benefit is tried first.

    Args:
        name: the rule's name.
        group: the rules of one operator family, ``decompose-…``.
        error: the error of an approximation.
        targeted: whether `decompose` without names leaves it out: it changes a form, not the operator.
    """

    def register(function: Body) -> Rule:
        @wraps(function)
        def body(node: Node, b: Rewriter) -> Result:
            return function(node, Terms(b))

        rule = rewrites_op(*classes, name=name, group=group, benefit=benefit)(body)
        DECOMPOSITIONS[name] = Decomposition(rule, error, targeted)
        return rule

    return register


def decompositions_of(cls: type[Op]) -> list[Decomposition]:
    """The decompositions of an operator class, best first."""
    found = [d for d in DECOMPOSITIONS.values() if issubclass(cls, d.rule.roots)]
    return sorted(found, key=lambda d: -d.rule.benefit)
