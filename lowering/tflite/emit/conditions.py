"""Conditions that several emitters share."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ...backend import Verdict
from ..registry import Condition, no

INTS = frozenset((DType.INT32, DType.INT64))
NUMBERS = frozenset((DType.FLOAT, DType.INT32, DType.INT64))


def fixed(value: Value | None) -> bool:
    """Whether an operand is absent or its elements are known integers or a constant."""
    return value is None or value.data is not None or value.ints is not None


def constant_operand(index: int, name: str) -> Condition:
    """The operand at a position has to be known before the run."""

    def check(node: Node) -> Verdict | None:
        return None if fixed(node.operand(index)) else no(f"{name} is computed at run time", "dynamic-parameter")

    return check


def rank_at_most(limit: int) -> Condition:
    """No operand or result may have more dimensions."""

    def check(node: Node) -> Verdict | None:
        for value in (*node.inputs, *node.outputs):
            if value is not None and (value.rank or 0) > limit:
                return no(f"the kernel takes at most {limit} dimensions, not {value.rank}", "rank")
        return None

    return check


def static_shape(value: Value) -> tuple[int, ...] | None:
    """The sizes of a value when all are known."""
    return value.tensor.static_shape


def sizes(value: Value) -> list[int | None]:
    """The sizes of a value, None where they are known at run time only."""
    shape = value.shape
    assert shape is not None
    return [d if isinstance(d, int) else None for d in shape]


def differing(shapes: Sequence[Sequence[object]]) -> bool:
    """Whether shapes differ, so that operands are broadcast."""
    return any(tuple(shape) != tuple(shapes[0]) for shape in shapes[1:])
