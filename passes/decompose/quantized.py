"""Operators on quantised tensors as DequantizeLinear, the plain operator, QuantizeLinear; low-bit weights dequantised in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.op import Op
from ...ir.ops.activation import LeakyRelu, Sigmoid
from ...ir.ops.binary import Add, Mul
from ...ir.ops.concat import Concat
from ...ir.ops.conv import Conv
from ...ir.ops.matmul import Gemm, MatMul
from ...ir.ops.microsoft_products import DynamicQuantizeMatMul, MatMulIntegerToFloat, QGemm
from ...ir.ops.microsoft_quantized import (
    QLinearAdd,
    QLinearAveragePool,
    QLinearConcat,
    QLinearGlobalAveragePool,
    QLinearLeakyRelu,
    QLinearMul,
    QLinearSigmoid,
    QLinearSoftmax,
)
from ...ir.ops.microsoft_weights import MatMulNBits
from ...ir.ops.pooling import AveragePool, GlobalAveragePool
from ...ir.ops.quantize import (
    DequantizeLinear,
    DynamicQuantizeLinear,
    MsDequantizeLinear,
    MsQuantizeLinear,
    QuantizeLinear,
)
from ...ir.ops.quantized_products import MatMulInteger, QLinearConv, QLinearMatMul
from ...ir.ops.softmax import Softmax
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

GROUP = "decompose-quantized"


def real(t: Terms, node: Node, first: int, axis: int = 1) -> Value:
    """The real numbers of the tensor, scale and zero point at operands ``first`` …"""
    x, scale, zero = node.inputs[first], node.inputs[first + 1], node.operand(first + 2)
    return t.apply(DequantizeLinear(axis=axis), x, _flat(t, scale), _flat(t, zero))


def _flat(t: Terms, parameter: Value | None) -> Value | None:
    """A parameter of one element as a scalar, which no axis applies to."""
    if parameter is None or parameter.shape != (1,):
        return parameter
    return t.reshape(parameter, []) if parameter.data is None else t.constant(parameter.data.numpy().reshape(()), parameter.dtype)


def stored(t: Terms, y: Value, scale: Value | None, zero: Value | None, dtype: DType | None, axis: int = 1) -> Value:
    """The real numbers quantised."""
    if zero is None and dtype is not DType.UINT8:
        return t.apply(QuantizeLinear(axis=axis, output_dtype=dtype), y, _flat(t, scale))
    return t.apply(QuantizeLinear(axis=axis), y, _flat(t, scale), _flat(t, zero))


@decomposes(QLinearMatMul, name="decompose-qlinear-matmul", group=GROUP)
def qlinear_matmul(node: Node, t: Terms) -> Result:
    """MatMul of real numbers between the quantisations."""
    a, b = node.inputs[0], node.inputs[3]
    assert a is not None and b is not None
    if a.rank is None or b.rank is None:
        return Decline("the rank of an operand is not known")
    product = t.apply(MatMul(), real(t, node, 0, a.rank - 2), real(t, node, 3, b.rank - 1))
    return stored(t, product, node.inputs[6], node.inputs[7], node.output.dtype)


@decomposes(QLinearConv, name="decompose-qlinear-conv", group=GROUP)
def qlinear_conv(node: Node, t: Terms) -> Result:
    """Conv of real numbers between the quantisations; the i32 bias is in units of both scales."""
    bias = node.operand(8)
    x_scale, w_scale = node.inputs[1], node.inputs[4]
    assert x_scale is not None and w_scale is not None
    operands = [real(t, node, 0), real(t, node, 3, 0)]
    if bias is not None:
        operands.append(t.mul(t.cast(bias, x_scale.dtype), t.mul(_scalar(t, x_scale), _scalar(t, w_scale))))
    y = t.apply(Conv(**dict(node.op.attributes())), *operands)
    return stored(t, y, node.inputs[6], node.inputs[7], node.output.dtype)


def _scalar(t: Terms, value: Value) -> Value:
    flat = _flat(t, value)
    assert flat is not None
    return flat


@decomposes(QLinearAdd, QLinearMul, name="decompose-qlinear-binary", group=GROUP)
def qlinear_binary(node: Node, t: Terms) -> Result:
    """Add or Mul of real numbers between the quantisations."""
    op: Op = Add() if isinstance(node.op, QLinearAdd) else Mul()
    return stored(t, t.apply(op, real(t, node, 0), real(t, node, 3)), node.inputs[6], node.operand(7), node.output.dtype)


@decomposes(QLinearSigmoid, QLinearLeakyRelu, QLinearSoftmax, name="decompose-qlinear-unary", group=GROUP)
def qlinear_unary(node: Node, t: Terms) -> Result:
    """The function of real numbers between the quantisations."""
    op: Any = node.op
    if isinstance(op, QLinearSoftmax):
        rank = node.inputs[0].rank if node.inputs[0] is not None else None
        if op.opset < 13 and (rank is None or op.axis not in (-1, rank - 1)):
            return Decline("the softmax runs over several dimensions")
        function: Op = Softmax(axis=op.axis)
    else:
        function = LeakyRelu(alpha=op.alpha) if isinstance(op, QLinearLeakyRelu) else Sigmoid()
    return stored(t, t.apply(function, real(t, node, 0)), node.inputs[3], node.operand(4), node.output.dtype)


@decomposes(QLinearConcat, name="decompose-qlinear-concat", group=GROUP)
def qlinear_concat(node: Node, t: Terms) -> Result:
    """Concat of real numbers between the quantisations."""
    op = node.op
    assert isinstance(op, QLinearConcat)
    parts = [real(t, node, first) for first in range(2, len(node.inputs), 3)]
    return stored(t, t.apply(Concat(axis=op.axis), *parts), node.inputs[0], node.inputs[1], node.output.dtype)


@decomposes(QLinearGlobalAveragePool, QLinearAveragePool, name="decompose-qlinear-pool", group=GROUP)
def qlinear_pool(node: Node, t: Terms) -> Result:
    """The pool of real numbers between the quantisations."""
    op: Any = node.op
    if op.channels_last:
        return Decline("channels come last")
    if isinstance(op, QLinearGlobalAveragePool):
        pool: Op = GlobalAveragePool()
    else:
        names = ("kernel_shape", "auto_pad", "ceil_mode", "count_include_pad", "pads", "strides")
        pool = AveragePool(**{name: getattr(op, name) for name in names})
    return stored(t, t.apply(pool, real(t, node, 0)), node.inputs[3], node.operand(4), node.output.dtype)


@decomposes(QGemm, name="decompose-qgemm", group=GROUP)
def qgemm(node: Node, t: Terms) -> Result:
    """Gemm of real numbers; the i32 addend is in units of alpha and both scales."""
    op = node.op
    assert isinstance(op, QGemm)
    a_scale, b_scale, addend = node.inputs[1], node.inputs[4], node.operand(6)
    assert a_scale is not None and b_scale is not None
    operands = [real(t, node, 0), real(t, node, 3, 0 if op.transB else 1)]
    if addend is not None:
        unit = t.mul(t.mul(_scalar(t, a_scale), _scalar(t, b_scale)), op.alpha)
        operands.append(t.mul(t.cast(addend, a_scale.dtype), unit))
    y = t.apply(Gemm(alpha=op.alpha, transA=op.transA, transB=op.transB), *operands)
    return y if node.operand(7) is None else stored(t, y, node.inputs[7], node.operand(8), node.output.dtype)


@decomposes(MatMulIntegerToFloat, name="decompose-matmul-integer-to-float", group=GROUP)
def matmul_integer_to_float(node: Node, t: Terms) -> Result:
    """MatMulInteger, the scales, the bias."""
    a, b, a_scale, b_scale = (node.inputs[i] for i in range(4))
    assert a_scale is not None and b_scale is not None
    total = t.apply(MatMulInteger(), a, b, node.operand(4), node.operand(5))
    return _scaled(t, total, t.mul(a_scale, b_scale), node.operand(6), node.output.dtype)


def _scaled(t: Terms, total: Value, scale: Value, bias: Value | None, dtype: DType | None) -> Value:
    y = t.mul(t.cast(total, DType.FLOAT), t.widen(scale))
    return t.cast(y if bias is None else t.add(y, t.widen(bias)), dtype)


@decomposes(DynamicQuantizeMatMul, name="decompose-dynamic-quantize-matmul", group=GROUP)
def dynamic_quantize_matmul(node: Node, t: Terms) -> Result:
    """DynamicQuantizeLinear, MatMulInteger, the scales, the bias."""
    a, b, b_scale = (node.inputs[i] for i in range(3))
    assert b_scale is not None
    quantised, scale, zero = t.apply(DynamicQuantizeLinear(), a, outputs=3)
    total = t.apply(MatMulInteger(), quantised, b, zero, node.operand(3))
    return _scaled(t, total, t.mul(scale, b_scale), node.operand(4), node.output.dtype)


@decomposes(MsQuantizeLinear, MsDequantizeLinear, name="standard-quantize", group=GROUP)
def standard_quantize(node: Node, t: Terms) -> Result:
    """The com.microsoft form as the form of ai.onnx."""
    op: Any = node.op
    scale, zero = node.inputs[1], node.operand(2)
    axis = 1 if op.axis is None else op.axis
    if isinstance(op, MsQuantizeLinear):
        return t.apply(QuantizeLinear(axis=axis), node.inputs[0], _flat(t, scale), _flat(t, zero))
    return t.apply(DequantizeLinear(axis=axis), node.inputs[0], _flat(t, scale), _flat(t, zero))


@decomposes(MatMulNBits, name="decompose-matmul-nbits", group=GROUP, benefit=1)
def matmul_nbits(node: Node, t: Terms) -> Result:
    """A blocked DequantizeLinear of the unpacked weight, a transpose, and a MatMul."""
    op = node.op
    assert isinstance(op, MatMulNBits)
    a, packed, scales, zeros = node.inputs[0], node.inputs[1], node.inputs[2], node.operand(3)
    assert a is not None and packed is not None and scales is not None
    if packed.data is None or scales.data is None or zeros is not None and zeros.data is None:
        return Decline("the weight is not constant")
    if node.operand(4) is not None or op.weight_prepacked or op.bits == 2:
        return Decline("the blocks are permuted or packed for one machine")
    blocks = -(-op.K // op.block_size)
    codes = _unpacked(packed.data.numpy().reshape(op.N, blocks, -1), op.bits).reshape(op.N, -1)[:, : op.K]
    dtype = DType.UINT4 if op.bits == 4 else DType.UINT8
    steps = t.constant(scales.data.numpy().reshape(op.N, blocks), scales.dtype)
    if zeros is not None and zeros.data is not None and zeros.dtype is not DType.UINT8:
        return Decline("the zero points are no integers")
    if zeros is None:
        points = np.full((op.N, blocks), 1 << (op.bits - 1), np.uint8)
    else:
        assert zeros.data is not None
        points = _unpacked(zeros.data.numpy().reshape(op.N, -1), op.bits)[:, :blocks]
    weight = t.apply(
        DequantizeLinear(axis=1, block_size=op.block_size),
        t.constant(codes.astype(dtype.numpy), dtype),
        steps,
        t.constant(points.astype(dtype.numpy), dtype),
    )
    y = t.matmul(t.widen(a), t.transpose(t.widen(weight), (1, 0)))
    bias = node.operand(5)
    return t.cast(y if bias is None else t.add(y, t.widen(bias)), node.output.dtype)


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Codes of 4 or 8 bits from bytes, the low half first."""
    if bits == 8:
        return packed
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
