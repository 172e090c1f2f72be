"""The capability matrix of the TFLite target, made from the registry of emitters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from ...ir import ops  # noqa: F401  (registers the operator classes)
from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.op import EDGEC, OPS, Op, Opaque
from ...ir.types import SequenceType, TensorType
from ...passes.decompose.quantized import GROUP as QUANTIZED
from ...passes.layout.spatial import GROUP as LAYOUT
from ...passes.legalize import TYPED
from ...passes.registry import rules_in
from ..support import Condition, Support, Verdict, defined_dtypes, with_substitutes
from .registry import EMISSIONS, SINCE, emission_of, load_emitters, no
from .schema import TENSOR_TYPES

SCHEMA = "the schema of LiteRT 2.3"
REWRITTEN = "exact rewrites into operators with kernels"
FLOAT64 = "computed in float32, which the loss report says"
GROUP = "tflite"


@cache
def rows() -> tuple[Support, ...]:
    """The rows of all emitters, and one row for each operator class without any."""
    load_emitters()
    found: list[Support] = []
    for key in sorted(OPS):
        cls = OPS[key]
        entries = EMISSIONS.get(cls, ())
        for entry in entries:
            when = None if entry.when is None else _as_text(entry)
            found.append(Support(cls, entry.level, entry.dtypes, when, SINCE, "", entry.evidence, "probe"))
        if not entries:
            found.append(Support(cls, "none", frozenset(), None, SINCE, "", SCHEMA, "schema"))
    return tuple(_with_float64(with_substitutes(found, _rewritten(), _tried, REWRITTEN)))


def _with_float64(rows: list[Support]) -> Iterator[Support]:
    """Rows for operators of float64 after those of the same operator in float32, where nothing else serves them."""
    fits = Condition("attribute", _problem, "where float32 holds its constants")
    groups: dict[type[Op], list[Support]] = {}
    for row in rows:
        groups.setdefault(row.op, []).append(row)
    for op, group in groups.items():
        yield from group
        taken = [row for row in group if row.level != "none"]
        single, double = (any(row.covers(dtype) for row in taken) for dtype in (DType.FLOAT, DType.DOUBLE))
        if single and not double and op.pure and op not in TYPED and DType.DOUBLE in defined_dtypes(op):
            yield Support(op, "partial", frozenset({DType.DOUBLE}), fits, SINCE, "", FLOAT64, "probe")


def _problem(node: Node) -> str | None:
    verdict = _tried(node)
    return None if verdict.runs else verdict.reason


def _rewritten() -> list[type[Op]]:
    """The operators that the target's rules rewrite, or that the assignment of layouts turns into operators on channels-last tensors."""
    from . import rewrites  # noqa: F401  (registers the rules)

    rules = [cls for rule in rules_in(GROUP, LAYOUT, QUANTIZED) for cls in rule.roots]
    layouts = [cls for (domain, name), cls in sorted(OPS.items()) if not domain and (EDGEC, f"ChannelsLast{name}") in OPS]
    return [*rules, *layouts]


def _tried(node: Node) -> Verdict:
    from .backend import TfLiteBackend

    return TfLiteBackend().support(node)


def _as_text(entry: object):  # noqa: ANN202
    def reason(node: Node) -> str | None:
        found = entry.when(node)  # type: ignore[attr-defined]
        return found.reason if isinstance(found, Verdict) else found

    return reason


def judge(node: Node) -> Verdict:
    """How LiteRT runs a node as it stands, without the rewrites."""
    load_emitters()
    if isinstance(node.op, Opaque):
        return no("the operator is not known", "operator", SCHEMA)
    for value in (*node.inputs, *node.outputs):
        if value is not None and (value.uses or value.producer is None):
            problem = foreign(value) or _empty(value)
            if problem is not None:
                return problem
    found = emission_of(node)
    return found if isinstance(found, Verdict) else Verdict(found.level, "", found.evidence)


def foreign(value: Value) -> Verdict | None:
    """Why no tensor of LiteRT can hold a value."""
    type_ = value.type
    if not isinstance(type_, TensorType):
        kind = "a sequence" if isinstance(type_, SequenceType) else "not a tensor"
        return no(f"'{value.name}' is {kind}", "sequence", SCHEMA)
    if type_.dtype not in TENSOR_TYPES:
        return no(f"there are no tensors of type {type_.dtype}", "string" if type_.dtype is DType.STRING else "dtype", SCHEMA)
    if type_.shape is None:
        return no(f"the number of dimensions of '{value.name}' is not known", "dynamic-rank", SCHEMA)
    return None


def _empty(value: Value) -> Verdict | None:
    """Why kernels may fail on a value: those that see no elements divide by zero or stop."""
    if value.data is None and any(type(d) is int and d == 0 for d in value.shape or ()):
        return no(f"'{value.name}' has no elements", "zero-size")
    return None


def problems(nodes: Iterable[Node]) -> list[tuple[Node, Verdict]]:
    """The nodes that LiteRT cannot run, with the reasons."""
    judged = ((node, judge(node)) for node in nodes)
    return [(node, verdict) for node, verdict in judged if not verdict.runs]
