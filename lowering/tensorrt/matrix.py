"""The capability matrix of TensorRT: rows from documents and probes, and the parser's own word on every node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, partial

from ...ir import ops  # noqa: F401  (registers the operator classes)
from ...ir.clone import clone_graph
from ...ir.dtypes import DType
from ...ir.graph import Graph, Node
from ...ir.op import OPS, Op, Opaque
from ...ir.ops.activation import Gelu
from ...ir.ops.attention import Attention
from ...ir.ops.conv import Conv, ConvTranspose
from ...ir.ops.detection import NonMaxSuppression, RoiAlign
from ...ir.ops.matmul import Gemm, MatMul
from ...ir.ops.normalization import GroupNormalization, InstanceNormalization, LayerNormalization, RMSNormalization
from ...ir.ops.quantize import DequantizeLinear, QuantizeLinear
from ...ir.ops.random import Dropout
from ...ir.ops.selection import NonZero
from ...ir.types import OptionalType, SequenceType
from ...passes.context import Context
from ...passes.manager import run_passes
from ...passes.registry import find_rule, rules_in
from ...passes.values import uniform_number
from ..backend import Condition, Support, Verdict
from ..support import with_substitutes
from .carry import CARRIERS
from .quantization import CARRIED, make_symmetric
from .sdk import load
from .trial import NETWORK_TYPES, alone, objection

HALF = frozenset((DType.FLOAT16, DType.BFLOAT16))
REAL = HALF | {DType.FLOAT}
NEWER = ("SM80", "SM86", "SM87", "SM89", "SM90", "SM120", "SM121")
HELD = NETWORK_TYPES | frozenset(CARRIERS)
"""The element types that values have in TensorRT, or travel in wider ones."""
_API = "TensorRT {} release notes"
PROBE = "engines built ahead of time by TensorRT-RTX 1.7.1"


def _evidence() -> str:
    sdk = load()
    return f"{sdk.name} {sdk.version}"


def _one_output(node: Node) -> str | None:
    return "mean and inverse deviation cannot be returned" if any(v.uses for v in node.outputs[1:]) else None


def _attention(node: Node) -> str | None:
    found = objection(node, ("SM86",))
    return None if found is None else found.reason


def _symmetric(node: Node) -> str | None:
    zero = node.operand(2)
    quantised = node.inputs[0] if isinstance(node.op, DequantizeLinear) else node.outputs[0]
    if quantised is not None and quantised.dtype not in CARRIED:
        return f"{quantised.dtype} values are quantised and dequantised by arithmetic"
    if zero is not None and (zero.data is None or zero.data.numpy().astype("float32").any()):
        return "the zero point is not 0"
    return None


def _sampled(node: Node) -> str | None:
    assert isinstance(node.op, RoiAlign)
    return None if node.op.sampling_ratio > 0 else "how many samples a bin has depends on its region"


def _tensors(node: Node) -> str | None:
    crossing = any(v is not None and isinstance(v.type, SequenceType | OptionalType) for v in (*node.inputs, *node.outputs))
    return "TensorRT has neither sequences nor optional values" if crossing else None


def _training(node: Node) -> str | None:
    mode = node.operand(2)
    return None if mode is None or uniform_number(mode) == 0 else "the parser hands the operand through"


def _spelled_out(node: Node) -> str | None:
    verdict = judge(node, ("SM86",))
    return None if verdict.runs else verdict.reason


ONE_RESULT = Condition("attribute", _one_output, "the normalised tensor is the only result used")
SYMMETRIC = Condition("attribute", _symmetric, "int8, int4 or float8 with zero point 0")
FITTING = Condition("attribute", _attention, "equal head sizes of keys and values, no softcap, one result")
NO_RUNNER = Condition(
    "operator",
    lambda node: "how long its result is depends on the data, and TensorRT-RTX has no kernel that makes such results",
    "none",
)
TENSORS = Condition("sequence", _tensors, "tensors only")
NOT_TRAINING = Condition("attribute", _training, "not in training mode")
ARITHMETIC = Condition("attribute", _spelled_out, "quantised and dequantised by arithmetic")
SAMPLED = Condition("dynamic-shape", _sampled, "a fixed number of samples in a bin")

STATED = (
    Support(LayerNormalization, "decomposed", REAL, None, "7.0", "8.5", _API.format("8.5") + ": no normalisation layer; reductions and "
            "pointwise layers or a plugin take its place", "document"),
    *(
        Support(op, "native", REAL, when, "8.6", "", _API.format("8.6") + ": INormalizationLayer", "document")
        for op, when in ((LayerNormalization, ONE_RESULT), (GroupNormalization, None), (InstanceNormalization, None))
    ),
    *(
        Support(op, "native", REAL, when, "1.0", "1", PROBE, "probe")
        for op, when in ((LayerNormalization, ONE_RESULT), (GroupNormalization, None), (InstanceNormalization, None))
    ),
    Support(RMSNormalization, "native", REAL, None, "", "", PROBE, "probe"),
    Support(Gelu, "native", REAL, None, "", "", PROBE + ": one activation layer, GELU_ERF or GELU_TANH", "probe"),
    Support(QuantizeLinear, "native", REAL, SYMMETRIC, "", "", PROBE, "probe"),
    Support(DequantizeLinear, "native", CARRIED, SYMMETRIC, "", "", PROBE, "probe"),
    Support(DequantizeLinear, "decomposed", HELD - CARRIED, ARITHMETIC, "", "", PROBE, "probe"),
    Support(Attention, "partial", REAL, FITTING, "", "", PROBE, "probe"),
    *(Support(op, "none", frozenset(), NO_RUNNER, "1.0", "1", PROBE, "probe") for op in (NonMaxSuppression, NonZero)),
    Support(NonMaxSuppression, "native", REAL, None, "8.5", "", _API.format("8.5") + ": INMSLayer", "document"),
    Support(NonZero, "native", None, None, "8.5", "", _API.format("8.5") + ": INonZeroLayer", "document"),
    Support(RoiAlign, "decomposed", REAL, SAMPLED, "1.0", "1", PROBE + ": the plugin that the parser asks for is missing", "probe"),
    Support(RoiAlign, "native", REAL, None, "8.5", "", _API.format("8.5") + ": ROIAlign plugin", "document"),
    *(
        Support(op, "native", types, None, "", "", PROBE + ": SM75 builds products in float16 only", "probe", where)
        for op in (Gemm, MatMul, Conv, ConvTranspose)
        for types, where in ((REAL, NEWER), (frozenset((DType.FLOAT16,)), ("SM75",)))
    ),
)  # fmt: skip
"""Rows with versions and conditions. Versions from 7 on are those of TensorRT, 1 is TensorRT-RTX."""


@cache
def rows() -> tuple[Support, ...]:
    """One or more rows per operator class, from the parser's registry where none is stated."""
    sdk = load()
    _, network = sdk.create_network()
    parser = sdk.trt.OnnxParser(network, sdk.logger)
    registry, stated = f"supports_operator of {_evidence()}", {row.op for row in STATED}
    found: list[Support] = []
    for (domain, name), op in sorted(OPS.items()):
        if op in stated:
            continue
        if not domain and parser.supports_operator(name):
            when = NOT_TRAINING if op is Dropout else TENSORS if _takes_more(op) else None
            found.append(Support(op, "native", HELD, when, "", "", registry, "schema"))
        else:
            found.append(Support(op, "none", frozenset(), None, "", "", registry, "schema"))
    replaced = with_substitutes(found, rewritten_classes(), partial(judge, capabilities=("SM86",)), f"rewrites tried with {_evidence()}")
    return tuple(sorted([*STATED, *replaced], key=lambda row: (row.op.domain, row.op.op_name)))


def rewritten_classes() -> list[type[Op]]:
    """The operators that rewrites of this target take apart or respell."""
    from . import legalize, rewrites  # noqa: F401  (registers the rules)

    rules = [*rules_in(rewrites.GROUP), *(find_rule(name) for name in rewrites.BORROWED)]
    return list(dict.fromkeys(root for rule in rules for root in rule.roots))


def _takes_more(op: type[Op]) -> bool:
    """Whether ONNX defines an operator for sequences and optional values too."""
    import onnx.defs

    if not onnx.defs.has(op.op_name):
        return False
    return any(kind.startswith(("seq(", "optional(")) for operand in onnx.defs.get_schema(op.op_name).inputs for kind in operand.types)


def judge(node: Node, capabilities: Sequence[str] = ()) -> Verdict:
    """How a node runs, the rewrites included.

    Args:
        node: the node, with its types; it stays as it is.
        capabilities: compute capabilities that matter, such as ``SM86``.
    """
    evidence = f"parser{' and builder' if capabilities else ''} of {_evidence()}"
    quantised = isinstance(node.op, QuantizeLinear | DequantizeLinear)
    found = None if quantised else objection(node, capabilities)
    if found is None and not quantised:
        carried = sorted(
            {str(v.dtype) for v in (*node.inputs, *node.outputs) if v is not None and v.dtype in CARRIERS and v.content is None}
        )
        if carried:
            return Verdict("partial", f"{', '.join(carried)} values travel in wider types", evidence)
        return Verdict("native", "", evidence)
    if not node.regions and not isinstance(node.op, Opaque):
        rewritten = rewrite_alone(node, capabilities)
        if rewritten is not None:
            names = sorted({n.op.op_name for n in rewritten})
            if quantised and names == [node.op.op_name]:
                return Verdict("native", "", evidence)
            return Verdict("decomposed", "runs as " + ", ".join(names), evidence)
    assert found is not None or quantised
    if found is None:
        return Verdict("none", "the quantisation cannot be spelled out", evidence, "attribute")
    return Verdict("none", found.reason, evidence, found.code)


def rewrite_alone(node: Node, capabilities: Sequence[str] = ()) -> Graph | None:
    """What becomes of a node when it is rewritten alone; None when something stays that TensorRT does not take."""
    graph = clone_graph(alone(node))
    text = ",".join(capabilities)
    run_passes(graph, f"tensorrt-rewrites{{capabilities=[{text}]}}" if capabilities else "tensorrt-rewrites", context=Context())
    make_symmetric(graph, capabilities)
    return None if problems(graph.walk(), capabilities) else graph


def problems(nodes: Iterable[Node], capabilities: Sequence[str] = ()) -> list[tuple[Node, Verdict]]:
    """The nodes that TensorRT does not take as they stand, with the reasons."""
    evidence = f"parser of {_evidence()}"
    judged = ((node, objection(node, capabilities)) for node in list(nodes))
    return [(node, Verdict("none", said.reason, evidence, said.code)) for node, said in judged if said is not None]
