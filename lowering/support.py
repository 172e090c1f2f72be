"""Support of nodes by targets: the rows of a capability matrix, verdicts, and why a node cannot go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from ..ir.dtypes import DType
from ..ir.graph import Node
from ..ir.op import Op

Level = Literal["native", "decomposed", "partial", "none"]
LEVELS: tuple[Level, ...] = ("native", "decomposed", "partial", "none")
EvidenceKind = Literal["probe", "document", "schema"]

REASON_CODES = {
    "operator": "the target has no such operator and no decomposition is known",
    "attribute": "the operator exists, but not with these attributes",
    "dtype": "the target has no kernel for this element type",
    "rank": "the target's kernel takes fewer dimensions",
    "dynamic-rank": "the number of dimensions is not known",
    "dynamic-shape": "a size that the target needs is not known before the run",
    "dynamic-parameter": "an operand that the target wants as a constant is computed at run time",
    "int64-range": "an integer lies beyond what the target's 32-bit integers hold",
    "zero-size": "a tensor has no elements",
    "not-finite": "a constant holds NaN or infinity where the target cannot have it",
    "string": "the target has no texts",
    "sequence": "the target has no sequences or optional values",
    "control-flow": "the target cannot branch or loop in this way",
    "random": "the numbers that the target draws cannot be relied on",
    "size-limit": "the artifact would be larger than its format allows",
    "precision": "the target's arithmetic is not precise enough for the result to be verified",
    "custom": "the operator is a custom one without a route for this target",
}
"""The kinds of obstacles, by the code that refusals carry."""

REMEDIES = {
    "operator": "give a decomposition with a plugin, or choose another target",
    "attribute": "export the model with attributes that the reason permits, or choose another target",
    "dtype": "convert its element type, or choose another target",
    "rank": "reshape its operands to fewer dimensions, or choose another target",
    "dynamic-rank": "give the model's inputs a number of dimensions when it is exported",
    "dynamic-shape": "bind the dimension: --dim NAME=SIZE",
    "dynamic-parameter": "bind dimensions (--dim NAME=SIZE), so that the operand can be computed beforehand, or make it a constant",
    "int64-range": "keep the integers within 32 bits",
    "zero-size": "bind the dimension to at least one (--dim NAME=SIZE), or take the empty tensor out of the model",
    "not-finite": "replace the NaN or infinity by a large finite number, as masks of attention permit",
    "string": "process texts before the model, and feed it numbers",
    "sequence": "export the model with tensors in place of sequences and optional values",
    "control-flow": "bind dimensions and trip counts (--dim NAME=SIZE), so that branches and loops can be resolved beforehand",
    "random": "take the random operator out, or feed its numbers as an input",
    "size-limit": "store the weights in fewer bits (quantise), or split the model",
    "precision": "compute it in a wider element type, or choose another target",
    "custom": "register a decomposition: edgec.register_op(NAME, route='decompose', decompose=FUNCTION)",
}
"""What a user can do about each kind of obstacle."""


class Obstacle(NamedTuple):
    """Why something cannot go.

    Attributes:
        code: one of `REASON_CODES`.
        reason: what is in the way.
    """

    code: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What a backend says of one node.

    Attributes:
        level: ``native``, ``decomposed`` (runs, but in smaller pieces), ``partial`` (runs with a stated restriction) or ``none``.
        reason: why not, or what the restriction is; empty for ``native``.
        evidence: where that is known from.
        code: for ``none``, the kind of obstacle, one of `REASON_CODES`.
    """

    level: Level
    reason: str = ""
    evidence: str = ""
    code: str = ""

    def __post_init__(self) -> None:
        if self.code and self.code not in REASON_CODES:
            raise ValueError(f"'{self.code}' is no reason code")

    @property
    def runs(self) -> bool:
        """Whether the backend can execute the node at all."""
        return self.level != "none"


@dataclass(frozen=True)
class Condition:
    """A condition on nodes that knows its kind; it is called like a plain function.

    Attributes:
        code: the kind of obstacle where it does not hold, one of `REASON_CODES`.
        problem: gives the reason why a node is not covered, or None when it is.
        text: the condition in words, for listings.
    """

    code: str
    problem: Callable[[Node], str | None]
    text: str = ""

    def __call__(self, node: Node) -> str | None:
        return self.problem(node)

    def obstacle(self, node: Node) -> Obstacle | None:
        """What is in the way of a node, None when nothing is."""
        reason = self.problem(node)
        return None if reason is None else Obstacle(self.code, reason)


@dataclass(frozen=True)
class Support:
    """One row of a capability matrix.

    Attributes:
        op: the operator class.
        level: as in `Verdict`.
        dtypes: element types of the first operand, None when the row does not depend on them.
        when: gives the reason why a node is not covered, or None when it is; best a `Condition`.
        since: first backend version for which the row holds.
        until: last backend version, empty when it still holds.
        evidence: where the row comes from.
        kind: what sort of evidence that is: ``probe`` (it was run), ``schema`` (the runtime's own registry or schema) or ``document``.
        hardware: the hardware that the row speaks of, empty for all.
    """

    op: type[Op]
    level: Level
    dtypes: frozenset[DType] | None = None
    when: Callable[[Node], str | None] | None = None
    since: str = ""
    until: str = ""
    evidence: str = ""
    kind: EvidenceKind = "document"
    hardware: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The operator's name, with its domain outside of ai.onnx."""
        return f"{self.op.domain}.{self.op.op_name}" if self.op.domain else self.op.op_name

    def holds_for(self, version: str) -> bool:
        """Whether a backend version lies between ``since`` and ``until``."""
        at = version_key(version)
        if self.since and at < version_key(self.since):
            return False
        last = version_key(self.until)
        return not self.until or at[: len(last)] <= last

    def covers(self, dtype: DType | None = None, version: str = "", hardware: str = "") -> bool:
        """Whether the row speaks of an element type, a backend version and a piece of hardware; empty ones are not asked."""
        if dtype is not None and self.dtypes is not None and self.level != "none" and dtype not in self.dtypes:
            return False
        if hardware and self.hardware and hardware not in self.hardware:
            return False
        return not version or self.holds_for(version)

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        condition = self.when if isinstance(self.when, Condition) else None
        return {
            "op": self.name,
            "level": self.level,
            "dtypes": None if self.dtypes is None else sorted(d.short for d in self.dtypes),
            "conditional": self.when is not None,
            "condition": None if condition is None else {"code": condition.code, "text": condition.text},
            "since": self.since,
            "until": self.until,
            "evidence": self.evidence,
            "kind": self.kind,
            "hardware": list(self.hardware),
        }


def version_key(version: str) -> tuple[int, ...]:
    """The numbers of a version, for comparisons.

    >>> version_key("8.6.1") < version_key("8.10")
    True
    >>> version_key("iOS15")
    (15,)
    """
    return tuple(int(number) for number in re.findall(r"\d+", version))


def with_substitutes(rows: Iterable[Support], roots: Iterable[type[Op]], trial: Callable[[Node], Verdict], evidence: str) -> list[Support]:
    """A matrix with rows for the operators and element types that the target's passes bring into a form that it takes.

    They are added where the given rows do not cover an element type, or say ``none`` of an operator, and something stands in for it: a
    rewrite rule of the target, an exact decomposition, or the same operator in a wider element type. Whether that fits is tried node by
    node.

    Args:
        rows: what the target takes as it stands.
        roots: the operators that rules of the target rewrite.
        trial: the verdict on a node, rewrites included.
        evidence: of the added rows.
    """
    from ..passes import decompose as _decompose  # noqa: F401  (registers the decompositions)
    from ..passes.decompose.base import decompositions_of
    from ..passes.legalize import TYPED, WIDER

    def problem(node: Node) -> str | None:
        verdict = trial(node)
        return None if verdict.runs else verdict.reason

    fits = Condition("attribute", problem, "where the rewriting fits its attributes and element types")
    rewritten = tuple(root for root in dict.fromkeys(roots) if root is not Op)  # rules for any operator say nothing of one
    groups: dict[type[Op], list[Support]] = {}
    for row in rows:
        groups.setdefault(row.op, []).append(row)
    found: list[Support] = []
    for op, group in groups.items():
        taken = [row for row in group if row.level != "none"]
        covered = frozenset(d for row in taken for d in (frozenset(DType) if row.dtypes is None else row.dtypes))
        replaceable = issubclass(op, rewritten) or any(d.error is None for d in decompositions_of(op))
        wider = frozenset(d for d in WIDER if covered.intersection(WIDER[d])) if op not in TYPED and op.pure else frozenset()
        lacking = ((frozenset(DType) if replaceable else wider) - covered) & defined_dtypes(op)
        found += taken if taken or lacking else group
        if lacking:
            dtypes = lacking if taken else None
            found.append(Support(op, "decomposed", dtypes, fits, group[0].since, "", evidence, "probe"))
    return found


@cache
def defined_dtypes(op: type[Op]) -> frozenset[DType]:
    """The element types that ONNX defines an operator for, by its first operand; all where it does not say, or takes sequences."""
    import onnx.defs
    from onnx import TensorProto

    every = frozenset(DType)
    if op.domain or not onnx.defs.has(op.op_name):
        return every
    schema = onnx.defs.get_schema(op.op_name)
    texts = set(schema.inputs[0].types) if schema.inputs else set()
    found = frozenset(d for d in DType if f"tensor({TensorProto.DataType.Name(d.code).lower()})" in texts)  # type: ignore[arg-type]
    return found or every


def query(
    rows: Iterable[Support], op: str = "", dtype: DType | None = None, version: str = "", hardware: str = ""
) -> Iterator[tuple[Support, Level]]:
    """The rows that answer a question, each with the level that follows.

    An operator none of whose rows covers the element type, version and hardware gets its first row with the level ``none``.

    Args:
        rows: a capability matrix.
        op: an operator's name, with its domain outside of ai.onnx; all operators without it.
        dtype: the element type of the first operand.
        version: a backend version.
        hardware: a piece of hardware.
    """
    groups: dict[str, list[Support]] = {}
    for row in rows:
        if not op or row.name == op:
            groups.setdefault(row.name, []).append(row)
    for group in groups.values():
        fitting = [row for row in group if row.covers(dtype, version, hardware)]
        for row in fitting:
            yield row, row.level
        if not fitting:
            yield group[0], "none"
