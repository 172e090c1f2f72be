"""Floating-point operations per node, as expressions over the symbolic dimensions.

Two per multiply-accumulate. Everything else counts operations per element of the result (of the operand for reductions), each division,
root or transcendental function with the number of additions and multiplications that a polynomial evaluation of it takes on a vector
unit: `WEIGHTS`. The weights are a convention: stated here, the same for every target.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir.dims import Dim, product
from ..ir.graph import Node
from ..ir.op import Opaque
from ..ir.types import TensorType
from .attention import attention_shape
from .work import node_macs

DIVIDE, ROOT, EXPONENT, LOGARITHM, TANGENT, ERROR_FUNCTION = 4, 4, 8, 10, 12, 16

# operations per element of the result
WEIGHTS: dict[str, int] = {
    **dict.fromkeys(("Abs", "Neg", "Not", "Relu", "Sign", "Ceil", "Floor", "Round", "IsInf", "IsNaN", "BitwiseNot", "PRelu"), 1),
    **dict.fromkeys(("Add", "Sub", "Mul", "And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift", "BiasAdd"), 1),
    **dict.fromkeys(("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Where", "Cast", "CastLike"), 1),
    **dict.fromkeys(("LeakyRelu", "ThresholdedRelu", "Shrink", "Clip"), 2),
    **dict.fromkeys(("HardSigmoid", "HardSwish"), 4),
    **dict.fromkeys(("Reciprocal", "Div", "Mod"), DIVIDE),
    "Sqrt": ROOT,
    **dict.fromkeys(("Exp", "Elu", "Celu", "Selu"), EXPONENT),
    "Log": LOGARITHM,
    "Pow": EXPONENT + LOGARITHM,
    "Erf": ERROR_FUNCTION,
    **dict.fromkeys(("Sin", "Cos"), TANGENT),
    **dict.fromkeys(("Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Acosh", "Atanh"), TANGENT),
    "Sigmoid": EXPONENT + DIVIDE + 2,
    "Swish": EXPONENT + DIVIDE + 3,
    "SwiGLU": EXPONENT + DIVIDE + 4,
    "Softplus": EXPONENT + LOGARITHM + 1,
    "Softsign": DIVIDE + 2,
    "Mish": EXPONENT + LOGARITHM + TANGENT + 2,
    "Gelu": ERROR_FUNCTION + 4,
    "BiasGelu": ERROR_FUNCTION + 5,
    "FastGelu": TANGENT + 8,
    "QuickGelu": EXPONENT + DIVIDE + 4,
    "QuantizeLinear": DIVIDE + 4,
    "DequantizeLinear": 2,
    "DynamicQuantizeLinear": DIVIDE + 6,
    "QLinearAdd": 6,
    "QLinearMul": 6,
    "QLinearSigmoid": 1,
    "QLinearLeakyRelu": 1,
    "RotaryEmbedding": 3,
    "Softmax": EXPONENT + DIVIDE + 3,
    "LogSoftmax": EXPONENT + 4,
    "QLinearSoftmax": EXPONENT + DIVIDE + 7,
    "BatchNormalization": 2,
    "LayerNormalization": 8,
    "RMSNormalization": 5,
    "SimplifiedLayerNormalization": 5,
    "SkipLayerNormalization": 9,
    "SkipSimplifiedLayerNormalization": 6,
    "EmbedLayerNormalization": 10,
    "InstanceNormalization": 8,
    "GroupNormalization": 8,
    "MeanVarianceNormalization": 8,
    "LpNormalization": 3,
    "LRN": 12,
    "Resize": 1,
    "GridSample": 20,
    "RandomNormal": LOGARITHM + ROOT + TANGENT,
    "RandomNormalLike": LOGARITHM + ROOT + TANGENT,
    "RandomUniform": 4,
    "RandomUniformLike": 4,
    "Bernoulli": 5,
    "Dropout": 0,
}
# operations per element of the first operand
REDUCTIONS: dict[str, int] = {
    **dict.fromkeys(("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ArgMax", "ArgMin", "CumSum", "CumProd"), 1),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceSumSquare"), 2),
    "ReduceLogSum": 1,
    "ReduceLogSumExp": EXPONENT + 2,
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "QLinearGlobalAveragePool", "NonZero", "Compress"), 1),
    "GlobalLpPool": 2,
    "TopK": 8,
    "Unique": 16,
}
_WINDOWS = ("MaxPool", "AveragePool", "LpPool", "QLinearAveragePool", "NhwcMaxPool", "ChannelsLastMaxPool", "ChannelsLastAveragePool")
_VARIADIC = ("Max", "Min", "Sum", "Mean")


def elements(node: Node, operand: int | None = None) -> Dim | None:
    """Elements of the first result, or of an operand; None when the shape is not known."""
    value = node.output if operand is None else node.operand(operand)
    type_ = None if value is None else value.type
    return type_.elements if isinstance(type_, TensorType) else None


def vector_flops(node: Node) -> Dim | None:
    """Operations that are no multiply-accumulate of a contraction; None when they are not known."""
    name = node.op.op_name.removeprefix("ChannelsLast")
    if isinstance(node.op, Opaque) or not node.outputs:
        return None
    special = _SPECIAL.get(node.op.op_name) or _SPECIAL.get(name)
    if special is not None:
        return special(node)
    if name in REDUCTIONS:
        found = elements(node, 0)
        return None if found is None else found * REDUCTIONS[name]
    weight = WEIGHTS.get(name, 1 if node.op.elementwise else 0)
    found = elements(node)
    if found is None:
        return 0 if weight == 0 else None
    return found * weight


def node_flops(node: Node) -> Dim | None:
    """All operations of a node: two per multiply-accumulate and the rest by weight; None when they are not known."""
    macs, rest = node_macs(node), vector_flops(node)
    return None if macs is None or rest is None else macs * 2 + rest


def _window(node: Node) -> Dim | None:
    kernel = dict(node.op.attributes()).get("kernel_shape") or ()
    found = elements(node)
    return None if found is None else found * product(tuple(kernel))


def _variadic(node: Node) -> Dim | None:
    found = elements(node)
    return None if found is None else found * max(len(node.inputs) - 1, 1)


def _gelu(node: Node) -> Dim | None:
    """The exact form, or the one with a hyperbolic tangent."""
    found = elements(node)
    tangent = dict(node.op.attributes()).get("approximate", "none") == "tanh"
    return None if found is None else found * (WEIGHTS["FastGelu"] if tangent else WEIGHTS["Gelu"])


def _bias(position: int) -> Callable[[Node], Dim | None]:
    def count(node: Node) -> Dim | None:
        return elements(node) if node.operand(position) is not None else 0

    return count


def _requantized(node: Node) -> Dim | None:
    found = elements(node)
    return None if found is None else found * 6


def _scores(node: Node) -> Dim | None:
    """The softmax of attention: its weight and a scaling per score. Scores are the products without the head size."""
    shape = attention_shape(node)
    return None if shape is None else shape.scores * (WEIGHTS["Softmax"] + 1)


def _cell(node: Node) -> Dim | None:
    """Gates of a recurrence: a sigmoid or hyperbolic tangent each, and two operations to combine it."""
    data, weight = node.operand(0), node.operand(1)
    if data is None or weight is None or data.shape is None or weight.shape is None:
        return None
    return data.shape[0] * data.shape[1] * weight.shape[0] * weight.shape[1] * (TANGENT + 2)


def _transform(node: Node) -> Dim | None:
    """A Fourier transform of n points as 5 n log2 n, n padded to a power of two when it is known."""
    found = elements(node)
    shape = node.output.shape
    length = shape[-2] if shape is not None and len(shape) > 1 and isinstance(shape[-2], int) else 1024
    return None if found is None else found * 5 * max(length - 1, 1).bit_length()


_SPECIAL: dict[str, Callable[[Node], Dim | None]] = {
    **dict.fromkeys(_WINDOWS, _window),
    **dict.fromkeys(_VARIADIC, _variadic),
    **dict.fromkeys(("Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention"), _scores),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), _cell),
    **dict.fromkeys(("DFT", "STFT"), _transform),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QGemm", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"), _requantized),
    "Gelu": _gelu,
    "Conv": _bias(2),
    "ConvTranspose": _bias(2),
    "FusedConv": _bias(2),
    "Gemm": _bias(2),
    "FusedGemm": _bias(2),
    "Region": lambda node: _region(node),
}


def _region(node: Node) -> Dim | None:
    total: Dim = 0
    for inner in node.regions[0]:
        found = vector_flops(inner)
        if found is None:
            return None
        total = total + found
    return total
