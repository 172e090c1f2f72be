"""The registry of emit functions: how an operator is written, and under which conditions, in one place.

The rows of the capability matrix are made from the same entries that emission consults, so that the matrix cannot promise more than
is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from ...ir.dtypes import DType
from ...ir.graph import Node
from ...ir.op import Op
from ..backend import Level, Verdict

if TYPE_CHECKING:
    from .emitter import Emitter

Emit = Callable[["Emitter", Node], None]
Condition = Callable[[Node], "Verdict | str | None"]

SINCE = "2.3"
KERNELS = "probe of LiteRT 2.3 on the CPU against numpy"
FLOAT32 = frozenset((DType.FLOAT,))


@dataclass(frozen=True)
class Emission:
    """One way to write an operator.

    Attributes:
        classes: the operator classes.
        function: appends the operators of a node to the model.
        dtypes: element types of the first operand, None when any will do or the condition tells.
        when: what stands against a node: a reason (then of the kind ``attribute``), a verdict, or None.
        level: ``native`` for one kernel, ``decomposed`` for several, ``partial`` when the condition restricts much.
        evidence: where the row comes from.
    """

    classes: tuple[type[Op], ...]
    function: Emit
    dtypes: frozenset[DType] | None
    when: Condition | None
    level: Level
    evidence: str

    def objection(self, node: Node) -> Verdict | None:
        """Why this entry cannot write a node, None when it can."""
        first = next((v for v in node.inputs if v is not None), None)
        if self.dtypes is not None and first is not None and first.dtype not in self.dtypes:
            return no(f"there is no kernel for elements of type {first.dtype}", "dtype", self.evidence)
        found = self.when(node) if self.when is not None else None
        return no(found, "attribute", self.evidence) if isinstance(found, str) else found


EMISSIONS: dict[type[Op], list[Emission]] = {}


def emits(
    *classes: type[Op],
    dtypes: frozenset[DType] | None = FLOAT32,
    when: Condition | None = None,
    level: Level = "native",
    evidence: str = KERNELS,
) -> Callable[[Emit], Emit]:
    """Declare how operators of some classes are written; of several entries for one class the first without objection is taken."""

    def register(function: Emit) -> Emit:
        entry = Emission(classes, function, dtypes, when, level, evidence)
        for cls in classes:
            EMISSIONS.setdefault(cls, []).append(entry)
        return function

    return register


def no(reason: str, code: str = "attribute", evidence: str = KERNELS) -> Verdict:
    """A verdict against a node; ``code`` is one of `REASON_CODES`."""
    return Verdict("none", reason, evidence, code)


def first_of(*conditions: Condition) -> Condition:
    """The first objection of several conditions."""

    def check(node: Node) -> Verdict | str | None:
        for condition in conditions:
            found = condition(node)
            if found is not None:
                return found
        return None

    return check


def emission_of(node: Node) -> Emission | Verdict:
    """The entry that writes a node, or the objection of the last one tried."""
    refusal = no("there is no kernel and no emitter for this operator", "operator", "the schema of LiteRT 2.3")
    for entry in EMISSIONS.get(type(node.op), ()):
        found = entry.objection(node)
        if found is None:
            return entry
        refusal = found
    return refusal


@cache
def load_emitters() -> None:
    """Import every module of ``emit``, which registers its entries; a second call does nothing."""
    package = import_module(f"{__package__}.emit")
    for name in sorted(module.name for module in iter_modules(package.__path__)):
        import_module(f"{package.__name__}.{name}")
