"""The capability matrix of OpenVINO's ONNX importer and CPU plugin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from ...ir import ops  # noqa: F401  (registers the operator classes)
from ...ir.custom import is_custom
from ...ir.dtypes import DType
from ...ir.graph import Node
from ...ir.op import OPS, Op, Opaque
from ...ir.ops.activation import Celu, Hardmax, SwiGLU
from ...ir.ops.attention import Attention, LinearAttention
from ...ir.ops.binary import BitShift, Mod, Mul
from ...ir.ops.cast import BitCast, Cast, CastLike
from ...ir.ops.concat import Pad
from ...ir.ops.conv_special import CausalConvWithState, DeformConv
from ...ir.ops.detection import NonMaxSuppression, RoiAlign
from ...ir.ops.pooling import AveragePool, MaxPool, MaxUnpool
from ...ir.ops.quantize import DynamicQuantizeLinear
from ...ir.ops.random import Bernoulli, Dropout, Multinomial, RandomNormal, RandomNormalLike, RandomUniform, RandomUniformLike
from ...ir.ops.recurrent import GRU, LSTM, RNN
from ...ir.ops.reduction import CumProd
from ...ir.ops.reshape import Tile
from ...ir.ops.resize import Resize
from ...ir.ops.scatter import TensorScatter
from ...ir.ops.selection import TopK
from ...ir.ops.signal import DFT
from ...ir.ops.training import Adagrad, Adam, Momentum
from ...ir.ops.unary import Det
from ...ir.ops.vision import SpaceToDepth
from ..support import Condition, Level, Support, Verdict, with_substitutes
from .rewrites.functions import attention_problem
from .rewrites.linear_maps import resize_problem
from .rewrites.passes import contributed_rules
from .rewrites.structure import average_problem, pool_problem

SINCE = "2026.4"
SUITE = "ONNX backend suite, OpenVINO 2026.4.1 on the CPU in float32"
PROBE = "probe of OpenVINO 2026.4.1 on the CPU against numpy"
DECOMPOSED = "exact decomposition"
CARRIED = "values of other element types stand in, without rounding"

FOREIGN = frozenset(
    (DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2FNUZ, DType.INT2, DType.UINT2, DType.STRING, DType.COMPLEX64, DType.COMPLEX128,
     DType.FLOAT6E2M3, DType.FLOAT6E3M2)
)  # fmt: skip
"""Element types that OpenVINO lacks."""
KNOWN = frozenset(DType) - FOREIGN

# Operators all of whose cases in the suite pass (but for element types that the importer lacks and refuses itself).
NATIVE = (
    "Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh BatchNormalization BitwiseAnd BitwiseNot BitwiseOr "
    "BitwiseXor BlackmanWindow Ceil CenterCropPad Clip Col2Im Compress Concat ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh "
    "CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND "
    "Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HammingWindow "
    "HannWindow HardSigmoid HardSwish Identity If InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less "
    "LessOrEqual Log LogSoftmax Loop LpNormalization LpPool MatMul MatMulInteger Max Mean MeanVarianceNormalization Min Mish Neg "
    "NegativeLogLikelihoodLoss NonZero Not OneHot Or PRelu Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization Range "
    "Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare "
    "Relu Reshape ReverseSequence RotaryEmbedding Round STFT Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh "
    "Size Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK "
    "Transpose Trilu Unique Unsqueeze Where Xor "
    "ConcatFromSequence SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SplitToSequence"
).split()


def _recurrent(node: Node) -> str | None:
    if getattr(node.op, "layout", 0):
        return "layout=1 is computed wrongly for a batch of more than one"
    if isinstance(node.op, LSTM) and node.operand(7) is not None:
        return "the peephole weights P are ignored"
    return None


def _cast(node: Node) -> str | None:
    op = node.op
    x = node.inputs[0]
    assert isinstance(op, Cast | CastLike) and x is not None
    target = op.to if isinstance(op, Cast) else node.outputs[0].dtype
    if target is DType.FLOAT8E8M0 and op.round_mode == "up" and x.dtype is not DType.FLOAT8E8M0:
        return "round_mode 'up' of casts to float8e8m0 is ignored"
    return None


def _pad(node: Node) -> str | None:
    op, value = node.op, node.operand(2)
    if isinstance(op, Pad) and op.mode == "constant" and value is not None and value.data is None:
        pads = node.operand(1)
        return None if pads is not None and pads.data is None else "a value computed at run time is taken as zero"
    return None


def _product(node: Node) -> str | None:
    x = node.inputs[0]
    return "8-bit products saturate instead of wrapping around" if x is not None and x.dtype in (DType.INT8, DType.UINT8) else None


def _tile(node: Node) -> str | None:
    repeats = node.inputs[1]
    return "repeats computed at run time give other elements" if repeats is not None and repeats.data is None else None


def _top_k(node: Node) -> str | None:
    return None if getattr(node.op, "sorted", 1) else "equal elements are taken in any order unless they are sorted"


def _float_mod(node: Node) -> str | None:
    op, x = node.op, node.inputs[0]
    floats = isinstance(op, Mod) and not op.fmod and x is not None and x.dtype is not None and x.dtype.is_float
    return "the remainder of floats needs fmod=1" if floats else None


def _roi_align(node: Node) -> str | None:
    return "mode 'max' has another formula" if getattr(node.op, "mode", "avg") == "max" else None


def _half_celu(node: Node) -> str | None:
    x = node.inputs[0]
    return None if x is not None and x.dtype is DType.FLOAT else "the importer types the constants as float32"


def _crd(node: Node) -> str | None:
    return None if getattr(node.op, "mode", "DCR") == "DCR" else "the importer ignores mode"


def _training(node: Node) -> str | None:
    mode = node.operand(2)
    return None if mode is None or mode.ints == (0,) else "training mode is random"


def _row(
    op: type[Op], code: str, problem: Callable[[Node], str | None], text: str, level: Level = "partial", evidence: str = SUITE
) -> Support:
    return Support(op, level, KNOWN if level != "none" else frozenset(), Condition(code, problem, text), SINCE, "", evidence, "probe")


def _never(op: type[Op], code: str, reason: str, level: Level = "partial", evidence: str = SUITE) -> Support:
    return _row(op, code, lambda node: reason, f"never as it stands: {reason}", level, evidence)


_FORWARD = "layout=0"
ONCE = "OpenVINO takes equal generators for one, and in some graphs draws numbers once and hands them out again in every inference"
CONDITIONAL = (
    _row(Attention, "attribute", attention_problem, "without sliding windows; scores of causal attention without a mask"),
    _row(AveragePool, "attribute", average_problem, "not ceil_mode with count_include_pad", evidence=PROBE),
    _row(MaxPool, "attribute", pool_problem, "with ceil_mode no window starts behind the input"),
    _never(BitShift, "operator", "counts beyond the width, negative words and words beyond 2^24 are shifted wrongly", evidence=PROBE),
    _never(BitCast, "operator", "the importer does not know it"),
    _row(Cast, "attribute", _cast, "no rounding up to float8e8m0"),
    _row(CastLike, "attribute", _cast, "no rounding up to float8e8m0"),
    _row(Celu, "dtype", _half_celu, "float32"),
    _row(Dropout, "random", _training, "not in training mode"),
    _row(GRU, "attribute", _recurrent, _FORWARD),
    _row(LSTM, "attribute", _recurrent, f"{_FORWARD}, no peephole weights"),
    _row(RNN, "attribute", _recurrent, _FORWARD),
    _row(Mod, "dtype", _float_mod, "floats with fmod=1 only"),
    _row(Mul, "dtype", _product, "not 8-bit integers", evidence=PROBE),
    _row(NonMaxSuppression, "attribute", lambda node: None, "the threshold is raised by one step, so that equal overlaps are kept"),
    _row(Pad, "dynamic-parameter", _pad, "the value is a constant"),
    _row(
        Resize,
        "attribute",
        resize_problem,
        "no antialias, exclude_outside, aspect policy or symmetric half pixels; corners meet whole sizes",
    ),
    _row(Tile, "dynamic-parameter", _tile, "repeats are a constant", evidence=PROBE),
    _row(TopK, "attribute", _top_k, "sorted", evidence=PROBE),
    _row(RoiAlign, "attribute", _roi_align, "mode avg"),
    _row(SpaceToDepth, "attribute", _crd, "mode DCR"),
    _never(DFT, "operator", "the axis is ignored and one-sided results have another shape"),
    *(
        _never(op, "random", ONCE, "none", PROBE)
        for op in (Bernoulli, Multinomial, RandomNormal, RandomNormalLike, RandomUniform, RandomUniformLike)
    ),
)
REWRITTEN = (
    Adagrad, Adam, CausalConvWithState, CumProd, DeformConv, Det, DynamicQuantizeLinear, Hardmax, LinearAttention, MaxUnpool, Momentum,
    SwiGLU, TensorScatter,
)  # fmt: skip


@cache
def rows() -> tuple[Support, ...]:
    """One row per operator class that is known to run, or known not to."""
    stated = {row.op for row in CONDITIONAL}
    contributed = {cls for rule in contributed_rules() for cls in rule.roots}
    found = list(CONDITIONAL)
    for (domain, name), op in sorted(OPS.items()):
        if op in stated:
            continue
        if not domain and name in NATIVE:
            found.append(Support(op, "native", KNOWN, None, SINCE, "", SUITE, "probe"))
        elif op in REWRITTEN:
            found.append(Support(op, "decomposed", KNOWN, None, SINCE, "", SUITE, "probe"))
        elif op in contributed:
            found.append(Support(op, "decomposed", KNOWN, None, SINCE, "", DECOMPOSED, "probe"))
        else:
            found.append(Support(op, "none", frozenset(), None, SINCE, "", SUITE, "probe"))
    return tuple(sorted(found, key=lambda row: (row.op.domain, row.op.op_name)))


@cache
def full_rows() -> tuple[Support, ...]:
    """The rows, with those of element types that OpenVINO lacks where values of other types can stand in."""

    def tried(node: Node) -> Verdict:
        from .trial import judge_rewritten

        verdict = judge(node)
        return verdict if verdict.runs else judge_rewritten(node, verdict)

    random = [row for row in rows() if row.level == "none"]
    known = [row for row in rows() if row.level != "none"]
    return tuple(sorted([*with_substitutes(known, carriers(), tried, CARRIED), *random], key=lambda row: (row.op.domain, row.op.op_name)))


def carriers() -> list[type[Op]]:
    """The operators that only move elements or convert them: they take element types that OpenVINO lacks in wider ones."""
    from .foreign import MOVING

    return [op for (domain, name), op in sorted(OPS.items()) if not domain and (name in MOVING or name in ("CastLike", "DequantizeLinear"))]


@cache
def _by_class() -> dict[type[Op], Support]:
    return {row.op: row for row in rows()}


def judge(node: Node) -> Verdict:
    """How OpenVINO runs a node as it stands, without the rewrites."""
    unknown = "custom" if is_custom(node.op) else "operator"
    if isinstance(node.op, Opaque) and (node.op.domain or node.op.op_name not in NATIVE):
        return Verdict("none", "the operator is not known", SUITE, unknown)
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.dtype is not None and value.dtype in FOREIGN:
            kind = "string" if value.dtype is DType.STRING else "dtype"
            return Verdict("none", f"OpenVINO has no elements of type {value.dtype}", PROBE, kind)
    if isinstance(node.op, Opaque):
        return Verdict("native", "", SUITE)
    row = _by_class().get(type(node.op))
    if row is None or row.level in ("none", "decomposed") and row.when is None:
        return Verdict("none", "the importer has no verified translation", SUITE, unknown)
    condition = row.when
    obstacle = condition.obstacle(node) if isinstance(condition, Condition) else None
    if obstacle is not None:
        return Verdict("none", obstacle.reason, row.evidence, obstacle.code)
    if row.level == "partial" and isinstance(condition, Condition):
        return Verdict("partial", condition.text, row.evidence)
    return Verdict("native", "", row.evidence)


def problems(nodes: Sequence[Node]) -> list[tuple[Node, Verdict]]:
    """The nodes that OpenVINO cannot run, with the reasons."""
    judged = ((node, judge(node)) for node in nodes)
    return [(node, verdict) for node, verdict in judged if not verdict.runs]
