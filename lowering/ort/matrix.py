"""The capability matrix of ONNX Runtime on the CPU, from the library's own kernel registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...ir.custom import is_custom
from ...ir.dtypes import DType
from ...ir.graph import Node
from ...ir.model import Model
from ...ir.op import OPS, Op, Opaque
from ...ir.ops.cast import Cast, CastLike
from ...ir.ops.quantize import QuantizeLinear
from ...ir.serial.forms import cannot_say
from ...passes import decompose as _decompose  # noqa: F401  (registers the decompositions)
from ...passes.decompose.base import decompositions_of
from ...passes.legalize import TYPED, WIDER
from ..support import Condition, Support, Verdict
from .facts import function_problem, kernel_problem, kernels, newest_opset, newest_version, operand_dtypes
from .quirks import quirk
from .restrictions import condition, restriction

# Opsets in order of preference. 21 is the newest at which no operator has lost its kernel; 23 and 24 bring
# Attention,
# RMSNormalization and RotaryEmbedding (from 25 on Attention has no kernel), 25 int2, 26 BitCast and CumProd;
# the older ones serve
# operators whose kernels stopped there.
PREFERRED = (21, 23, 24, 25, 26, 22, 20, 19, 18, 17, 16, 15, 14, 13, 27, 28)
_POORLY_SERVED = frozenset(d for d in DType if d.bits < 16 and d.is_float) | {DType.BFLOAT16, DType.INT16, DType.UINT16}
_EVIDENCE = "kernel registry of onnxruntime {}"
_TRIED = "runs of onnxruntime {} on the ONNX backend tests"
CONVERSIONS = (Cast, CastLike, QuantizeLinear)
DECOMPOSED = "exact decomposition into operators with kernels"
WIDENED = "exact computation in a wider element type"
_FUNCTION = "ONNX function body, inlined by onnxruntime {}"


def judge(node: Node, opset: int, opsets: Mapping[str, int], version: str, custom: bool) -> Verdict:
    """How a node runs when the model is written at an opset.

    Args:
        node: the node.
        opset: ai.onnx opset of the file.
        opsets: opset per domain, for other domains.
        version: of the runtime, for the evidence.
        custom: whether a custom operator library is loaded, which may know operators that the runtime does
            not.
    """
    domain = node.op.domain
    if domain in ("", "ai.onnx"):
        reason = cannot_say(node, opset)
        if reason is not None:
            return Verdict("none", f"it cannot be written at opset {opset}: {reason}", "ONNX operator definitions", "attribute")
        at = opset
    else:
        at = opsets.get(domain, 1)
        if (domain, node.op.op_name) not in kernels() and not _known_domain(domain):
            if custom:
                return Verdict("partial", "left to the custom operator library", "not checked before loading")
            return Verdict("none", f"domain '{domain}' needs a custom operator library", _EVIDENCE.format(version), _missing(node))
    missing = kernel_problem(node, at)
    fault = restriction(node, at) if missing is None else None
    if fault is not None:
        return Verdict("none", fault.reason, _TRIED.format(version), fault.code)
    if missing is None:
        return Verdict("native", "", _EVIDENCE.format(version))
    inlined = function_problem(domain, node.op.op_name, at) or _narrow_body(node)
    if inlined is None:
        return Verdict("decomposed", "runs as the function that ONNX defines it by", _FUNCTION.format(version))
    return Verdict("none", missing.reason, _EVIDENCE.format(version), _missing(node, missing.code))


def _missing(node: Node, otherwise: str = "operator") -> str:
    """The reason code of an operator that the runtime lacks."""
    return "custom" if is_custom(node.op) else otherwise


def _narrow_body(node: Node) -> str | None:
    """Why the runtime could not run a function body on these element types, for which it has next to no
    kernels.
    """
    for value in node.inputs:
        if value is not None and value.dtype in _POORLY_SERVED:
            return f"its function body would compute in {value.dtype}, for which there are few kernels"
    return None


def illegality(node: Node, opset: int, *, custom: bool = False) -> str | None:
    """Why a node does not run, or not right, when the model is written at an opset; None when it does."""
    import onnxruntime

    verdict = judge(node, opset, {}, onnxruntime.__version__, custom)
    return quirk(node) if verdict.runs else verdict.reason


def _known_domain(domain: str) -> bool:
    return any(known == domain for known, _ in kernels())


def support_anywhere(node: Node) -> Verdict:
    """How a node runs at the most favourable opset."""
    import onnxruntime

    first: Verdict | None = None
    opsets = {node.op.domain: newest_version(node.op.domain)}
    for opset in PREFERRED:
        found = judge(node, opset, opsets, onnxruntime.__version__, custom=False)
        if found.runs:
            return found
        first = first or found
    assert first is not None
    return first


def best_opset(model: Model, version: str, custom: bool) -> tuple[int, list[tuple[Node, Verdict]]]:
    """The opset at which the most nodes run, by preference where several serve, and the nodes that do not run
    at it.
    """
    nodes = list(model.graph.walk())
    pinned = [n.op.version for n in nodes if isinstance(n.op, Opaque) and not n.op.domain]
    candidates = pinned[:1] or [opset for opset in PREFERRED if opset <= newest_opset()]
    best: tuple[int, list[tuple[Node, Verdict]]] | None = None
    for opset in candidates:
        problems = _problems(nodes, model, opset, version, custom)
        if not problems:
            return opset, []
        if best is None or len(problems) < len(best[1]):
            best = (opset, problems)
    assert best is not None
    return best


def runs_as_stored(model: Model, version: str) -> bool:
    """Whether there are kernels for all nodes at the opset that a model states."""
    return not _problems(list(model.graph.walk()), model, model.opsets.get("", newest_opset()), version, False)


def _problems(nodes: Sequence[Node], model: Model, opset: int, version: str, custom: bool) -> list[tuple[Node, Verdict]]:
    verdicts = ((node, judge(node, opset, model.opsets, version, custom)) for node in nodes)
    return [(node, verdict) for node, verdict in verdicts if not verdict.runs]


def rows(version: str) -> list[Support]:
    """One row per operator class: how it runs at the preferred opset, or else at any."""
    from ...ir import ops  # noqa: F401

    found = []
    registry = _EVIDENCE.format(version)
    for (domain, name), op in sorted(OPS.items()):
        if (domain, name) in kernels():
            found += _kernel_rows(op, f"{domain}.{name}" if domain else name, operand_dtypes(domain, name), version)
        elif any(function_problem(domain, name, opset) is None for opset in PREFERRED):
            found.append(Support(op, "decomposed", None, _FITTING, since=version, evidence=_FUNCTION.format(version), kind="schema"))
        elif any(d.error is None for d in decompositions_of(op)):
            found.append(Support(op, "decomposed", None, _FITTING, since=version, evidence=DECOMPOSED, kind="probe"))
        else:
            found.append(Support(op, "none", frozenset(), since=version, evidence=registry, kind="schema"))
    return found


def _kernel_rows(op: type[Op], name: str, dtypes: frozenset[DType] | None, version: str) -> list[Support]:
    """The row of the kernel, and rows of the element types that it lacks where something stands in for it."""
    when = condition(name, PREFERRED[0]) or (_CONVERTING if issubclass(op, CONVERSIONS) else None)
    level = "native" if when is None else "partial"
    found = [Support(op, level, dtypes, when, since=version, evidence=_EVIDENCE.format(version), kind="schema")]
    if dtypes is None:
        return found
    wider = frozenset(d for d in WIDER if d not in dtypes and dtypes.intersection(WIDER[d])) if op not in TYPED and op.pure else frozenset()
    others = frozenset(DType) - dtypes - wider if any(d.error is None for d in decompositions_of(op)) else frozenset()
    for lacking, evidence in ((wider, WIDENED), (others, DECOMPOSED)):
        if lacking:
            found.append(Support(op, "decomposed", lacking, _FITTING, since=version, evidence=evidence, kind="probe"))
    return found


def _unfit(node: Node) -> str | None:
    from .trial import judge_rewritten

    verdict = support_anywhere(node)
    verdict = verdict if verdict.runs else judge_rewritten(node, verdict)
    return None if verdict.runs else verdict.reason


_FITTING = Condition("attribute", _unfit, "where the decomposition fits its attributes and element types")
_CONVERTING = Condition("dtype", _unfit, "where there is a kernel for the other element types too")
