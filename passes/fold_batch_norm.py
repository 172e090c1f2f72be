"""Folds batch normalisation, scales and biases into the weights of the product before (or after) them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..ir.graph import Node, Value
from ..ir.ops.binary import Add, Div, Mul, Sub
from ..ir.ops.conv import Conv, ConvTranspose
from ..ir.ops.matmul import Gemm, MatMul
from ..ir.ops.normalization import BatchNormalization
from ..ir.ops.reshape import Reshape
from ..ir.ops.unary import Neg
from .algebra import exclusive, scalar
from .channel_parameters import Array, Weights, fits, is_tied, per_channel, weights_of
from .driver import RulePass
from .match import Match
from .pattern import C, P
from .rewriter import Decline, Result, Rewriter, rewrites, rewrites_op

BATCH_NORM = "fold-batch-norm"
SCALE_BIAS = "fold-scale-bias"
GEMM = "form-gemm"
_TIED = "the weights are large and used elsewhere too: there would be two copies"


@dataclass(frozen=True)
class FoldBatchNorm(RulePass):
    """Fold BatchNormalization into Conv, ConvTranspose, Gemm or MatMul before it, or into an unpadded Conv after it."""

    name: ClassVar[str] = BATCH_NORM
    groups: ClassVar[tuple[str, ...]] = (BATCH_NORM,)


@dataclass(frozen=True)
class FoldScaleBias(RulePass):
    """Fold constant factors and summands per channel into the weights and the bias of Conv, ConvTranspose, Gemm and MatMul."""

    name: ClassVar[str] = SCALE_BIAS
    groups: ClassVar[tuple[str, ...]] = (SCALE_BIAS,)


@dataclass(frozen=True)
class FormGemm(RulePass):
    """Write a two-dimensional MatMul with a bias as Gemm, and a Gemm between two Reshapes as MatMul with a bias."""

    name: ClassVar[str] = GEMM
    groups: ClassVar[tuple[str, ...]] = (GEMM,)


def _refined(b: Rewriter, weights: Weights, weight: Array | None, bias: Array) -> Value | Decline:
    """The product again with other weights and bias."""
    node = weights.node
    dtype = node.output.tensor.dtype.numpy
    if weight is not None and is_tied(node.inputs[1], b.context.fold_bytes):
        return Decline(_TIED, node)
    if not fits(bias, dtype) or weight is not None and not fits(weight, dtype):
        return Decline("the folded weights overflow", node)
    operand = node.inputs[1] if weight is None else b.constant(weight.astype(dtype))
    b.credit(node)
    x = node.inputs[0]
    if isinstance(node.op, MatMul):
        product = b.add(node.op, x, operand)
        return b.add(Add(), product, b.constant(bias.astype(dtype))) if bias.any() else product
    if not bias.any() and node.operand(2) is None:
        return b.add(node.op, x, operand)
    return b.add(node.op, x, operand, b.constant(bias.astype(dtype)))


# -- batch normalisation ---------------------------------------------------------------------------------------------------
def _affine(norm: Node) -> tuple[Array, Array] | str:
    """Batch normalisation as factor and summand per channel."""
    op = norm.op
    assert isinstance(op, BatchNormalization)
    if op.training_mode:
        return "it is in training mode"
    held = [v.data for v in norm.inputs[1:5] if v is not None and v.data is not None]
    if len(held) != 4:
        return "its statistics are not constant"
    scale, bias, mean, variance = (d.numpy().astype(np.float64) for d in held)
    factor = scale / np.sqrt(variance + op.epsilon)
    return factor, bias - mean * factor


@rewrites_op(BatchNormalization, name="fold-batch-norm-back", group=BATCH_NORM)
def fold_back(node: Node, b: Rewriter) -> Result:
    """bn(conv(x)) is a convolution with other weights."""
    x = node.inputs[0]
    if x is None or x.producer is None or not isinstance(x.producer.op, Conv | ConvTranspose | Gemm | MatMul):
        return None
    if not exclusive(x, node):
        return Decline("the product is used elsewhere too", x.producer)
    if isinstance(x.producer.op, Gemm | MatMul) and x.rank != 2:
        return Decline("the channels of the product are not those of the normalisation", x.producer)
    affine, weights = _affine(node), weights_of(x.producer)
    if isinstance(affine, str):
        return Decline(affine, node)
    if weights is None:
        return Decline("the weights of the product are not constant", x.producer)
    factor, offset = affine
    return _refined(b, weights, weights.scaled(factor), weights.bias * factor + offset)


@rewrites_op(Conv, name="fold-batch-norm-forward", group=BATCH_NORM)
def fold_forward(node: Node, b: Rewriter) -> Result:
    """conv(bn(x)) is a convolution with other weights, unless padding brings in zeros that were not normalised."""
    x = node.inputs[0]
    norm = x.producer if x is not None else None
    if norm is None or x is None or not isinstance(norm.op, BatchNormalization) or norm.inputs[0] is None:
        return None
    if not exclusive(x, node):
        return Decline("the normalised value is used elsewhere too", norm)
    op = node.op
    assert isinstance(op, Conv)
    if op.auto_pad not in ("NOTSET", "VALID") or any(op.pads or ()):
        return Decline("the convolution pads with zeros", node)
    affine, weights = _affine(norm), weights_of(node)
    if is_tied(node.inputs[1], b.context.fold_bytes):
        return Decline(_TIED, node)
    if isinstance(affine, str) or weights is None:
        return Decline(affine if isinstance(affine, str) else "the weights are not constant", norm)
    factor, offset = affine
    weight = weights.weight  # [outputs, inputs / group, …]
    groups = weight.reshape(op.group, weight.shape[0] // op.group, *weight.shape[1:])
    spread = (op.group, 1, -1, *(1,) * (weight.ndim - 2))
    scaled = (groups * factor.reshape(spread)).reshape(weight.shape)
    shift = (groups * offset.reshape(spread)).reshape(weight.shape[0], -1).sum(axis=1)
    dtype, bias = node.output.tensor.dtype.numpy, weights.bias + shift
    if not fits(scaled, dtype) or not fits(bias, dtype):
        return Decline("the folded weights overflow", node)
    b.credit(norm)
    return b.add(op, norm.inputs[0], b.constant(scaled.astype(dtype)), b.constant(bias.astype(dtype)))


# -- scales and biases -------------------------------------------------------------------------------------------------------
def _product_and_constant(node: Node) -> tuple[Value, Value, int] | None:
    """An exclusive product among two operands, the constant other one, and the product's position."""
    for index in (0, 1):
        value, other = node.inputs[index], node.inputs[1 - index]
        if value is None or other is None or other.data is None or value.producer is None:
            continue
        if isinstance(value.producer.op, Conv | ConvTranspose | Gemm | MatMul) and value.shape is not None:
            if len(value.shape) >= (other.rank or 0):
                return value, other, index
    return None


@rewrites_op(Mul, Div, name="fold-scale", group=SCALE_BIAS)
def fold_scale(node: Node, b: Rewriter) -> Result:
    """product(x; w, b) · c and product(x; w, b) / c, for c per channel."""
    found = _product_and_constant(node)
    if found is None or isinstance(node.op, Div) and found[2] == 1:
        return None
    value, constant, _ = found
    product = value.producer
    assert product is not None
    if not exclusive(value, node):
        return Decline("the product is used elsewhere too", product)
    weights, factor = weights_of(product), per_channel(constant, product)
    if weights is None or factor is None:
        return Decline("weights or factor are not constant per channel", product)
    if isinstance(node.op, Div):
        if not factor.all():
            return Decline("division by zero", node)
        factor = 1 / factor
    if factor.size == 1:
        factor = np.broadcast_to(factor, weights.bias.shape)
    return _refined(b, weights, weights.scaled(factor), weights.bias * factor)


@rewrites_op(Neg, name="fold-negation", group=SCALE_BIAS)
def fold_negation(node: Node, b: Rewriter) -> Result:
    """−product(x; w, b)."""
    x = node.inputs[0]
    product = x.producer if x is not None else None
    if product is None or x is None or not isinstance(product.op, Conv | ConvTranspose | Gemm | MatMul) or not exclusive(x, node):
        return None
    weights = weights_of(product)
    return None if weights is None else _refined(b, weights, -weights.weight, -weights.bias)


@rewrites_op(Add, Sub, name="fold-bias", group=SCALE_BIAS)
def fold_bias(node: Node, b: Rewriter) -> Result:
    """product(x; w, b) + c, for c per channel; a MatMul has no bias to take it."""
    found = _product_and_constant(node)
    if found is None or isinstance(node.op, Sub) and found[2] == 1:
        return None
    value, constant, _ = found
    product = value.producer
    assert product is not None
    if isinstance(product.op, MatMul):
        return None
    if not exclusive(value, node):
        return Decline("the product is used elsewhere too", product)
    weights, offset = weights_of(product), per_channel(constant, product)
    if weights is None or offset is None:
        return Decline("weights or summand are not constant per channel", product)
    return _refined(b, weights, None, weights.bias - offset if isinstance(node.op, Sub) else weights.bias + offset)


@rewrites_op(MatMul, Gemm, Conv, name="fold-input-scale", group=SCALE_BIAS)
def fold_input_scale(node: Node, b: Rewriter) -> Result:
    """product(x · c; w) for one number c: padding zeros stay zeros, so convolutions take it up too."""
    x = node.inputs[0]
    scaling = x.producer if x is not None else None
    if scaling is None or x is None or not isinstance(scaling.op, Mul | Div) or not exclusive(x, node):
        return None
    number, rest = scalar(scaling.inputs[1]), scaling.inputs[0]
    if number is None and isinstance(scaling.op, Mul):
        number, rest = scalar(scaling.inputs[0]), scaling.inputs[1]
    if number is None or rest is None or number == 0 or rest.rank != x.rank:
        return None
    weights = weights_of(node)
    if weights is None:
        return None
    if is_tied(node.inputs[1], b.context.fold_bytes):
        return Decline(_TIED, node)
    scaled = weights.weight / number if isinstance(scaling.op, Div) else weights.weight * number
    dtype = node.output.tensor.dtype.numpy
    if not fits(scaled, dtype):
        return Decline("the folded weights overflow", node)
    b.credit(scaling)
    return b.add(node.op, rest, b.constant(scaled.astype(dtype)), *node.inputs[2:])


# -- Gemm --------------------------------------------------------------------------------------------------------------------
@rewrites(P(Add)(P(MatMul, "product")("a", "b"), C("c")), name="matmul-add-to-gemm", group=GEMM)
def matmul_add(m: Match, b: Rewriter) -> Result:
    """a·b + c of matrices."""
    first, second, c = m["a"], m["b"], m["c"]
    if first.rank != 2 or second.rank != 2 or m.value.rank != 2 or c.shape is None or len(c.shape) > 2:
        return None
    if c.dtype is None or not c.dtype.is_float:
        return Decline("Gemm with integers is rarely implemented", m.root)
    columns = m.value.shape[1] if m.value.shape else None
    if c.shape not in ((), (1,), (columns,), (1, 1), (1, columns)):
        return Decline(f"a summand of shape {list(c.shape)} is not a bias", m.root)
    return b.add(Gemm(), first, second, c)


@rewrites(
    P(Reshape)(P(Gemm, "gemm", transA=0)(P(Reshape, "flat")("x", ...), C("w"), C("c")), ...),
    name="unflatten-gemm",
    group=GEMM,
)
def unflatten_gemm(m: Match, b: Rewriter) -> Result:
    """Rows flattened for a Gemm and unflattened after it: MatMul works on any number of leading dimensions."""
    x, op, result = m["x"], m.op("gemm"), m.value
    if x.shape is None or result.shape is None or op.alpha != 1.0 or op.beta != 1.0:
        return None
    if x.shape[:-1] != result.shape[:-1] or m["flat"].shape is None or m["flat"].shape[1] != x.shape[-1] or len(x.shape) < 3:
        return Decline("the leading dimensions before and after differ", m.root)
    columns = result.shape[-1]
    if m["c"].shape not in ((), (1,), (columns,), (1, 1), (1, columns)):
        return Decline("the summand varies over the rows", m.root)
    weight = m["w"]
    if op.transB:
        if is_tied(weight, b.context.fold_bytes):
            return Decline(_TIED, m.node("gemm"))
        assert weight.data is not None
        weight = b.constant(np.ascontiguousarray(weight.data.numpy().T))
    return b.add(Add(), b.add(MatMul(), x, weight), m["c"])
