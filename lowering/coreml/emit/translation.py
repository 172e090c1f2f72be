"""Translations of operators into MIL, declared once: they emit, and they are the rows of the capability matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.op import Op
from ...backend import Level
from ..versions import Release

if TYPE_CHECKING:
    from .context import Emission

FLOATS = frozenset((DType.FLOAT, DType.FLOAT16))
INTEGERS = frozenset((DType.INT32, DType.INT64))
NUMBERS = FLOATS | INTEGERS
NARROW = frozenset((DType.INT8, DType.UINT8, DType.INT16, DType.UINT16, DType.INT4, DType.UINT4, DType.INT2, DType.UINT2))
UNSIGNED = frozenset((DType.UINT32, DType.UINT64))
SMALL_FLOATS = frozenset((DType.BFLOAT16, DType.FLOAT8E4M3FN, DType.FLOAT8E5M2, DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2FNUZ))
MOVABLE = NUMBERS | NARROW | UNSIGNED | SMALL_FLOATS | {DType.BOOL}
"""Element types that can be stored: integers are carried as int32, small floats as float32."""
BOOLS = frozenset((DType.BOOL,))

DEFINITIONS = "operator definitions of coremltools 9.0 (MIL), executed by the package evaluator"


@dataclass(frozen=True)
class Obstacle:
    """Why a translation does not serve a node.

    Attributes:
        code: one of `lowering.backend.REASON_CODES`.
        reason: one sentence.
    """

    code: str
    reason: str


Condition = Callable[[Node], "Obstacle | None"]
Emit = Callable[["Emission", Node], None]


@dataclass(frozen=True)
class Translation:
    """How nodes of one operator class become MIL.

    Attributes:
        op: the operator class.
        emit: adds the MIL operators to the program under construction and binds the node's results.
        dtypes: element types of the first operand (None: any that can be stored).
        when: what else stands in the way.
        since: the oldest release whose MIL has the operators used.
        level: ``native`` for one MIL operator, ``decomposed`` for several.
        evidence: where the meaning of the MIL operators is known from.
    """

    op: type[Op]
    emit: Emit
    dtypes: frozenset[DType] | None
    when: Condition | None
    since: Release
    level: Level
    evidence: str


TRANSLATIONS: dict[type[Op], list[Translation]] = {}
"""The translations by operator class, in order of preference."""


def translates(
    *classes: type[Op],
    dtypes: frozenset[DType] | None = FLOATS,
    when: Condition | None = None,
    since: Release = Release.IOS15,
    level: Level = "native",
    evidence: str = DEFINITIONS,
) -> Callable[[Emit], Emit]:
    """Declare that a function translates nodes of some operator classes; of several declarations the first that fits is taken."""

    def register(emit: Emit) -> Emit:
        for op in classes:
            TRANSLATIONS.setdefault(op, []).append(Translation(op, emit, dtypes, when, since, level, evidence))
        return emit

    return register


def constant_operand(index: int, name: str) -> Condition:
    """The condition that an operand is absent or a constant."""

    def condition(node: Node) -> Obstacle | None:
        value = node.operand(index)
        if value is None or value.data is not None or value.ints is not None:
            return None
        return Obstacle("dynamic-parameter", f"MIL wants {name} as a constant")

    return condition


def every(*conditions: Condition) -> Condition:
    """All conditions together; the first obstacle counts."""

    def condition(node: Node) -> Obstacle | None:
        return next((found for c in conditions if (found := c(node)) is not None), None)

    return condition


def static_input(node: Node) -> Obstacle | None:
    """The condition that the first operand's sizes are all known."""
    x = node.inputs[0]
    if x is not None and x.tensor.is_static:
        return None
    return Obstacle("dynamic-shape", "the sizes of its operand have to be known")
