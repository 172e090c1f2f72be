"""Convolutions: precision, symbolic shapes, relatives, errors (random geometry is in test_conv_property)."""

from __future__ import annotations

import time

import ml_dtypes
import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.ops.conv import Conv, ConvTranspose
from edgec.ir.ops.conv_special import CausalConvWithState, Col2Im, DeformConv
from edgec.ir.types import UNKNOWN, TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats, types_of

F32 = DType.FLOAT


def test_dilated_same_padding_equals_explicit_pads() -> None:
    r = np.random.default_rng(0)
    x, w = floats(r, 1, 2, 9), floats(r, 3, 2, 3)
    upper = Conv(auto_pad="SAME_UPPER", dilations=(2,), strides=(2,)).evaluate(x, w)
    np.testing.assert_array_equal(upper, Conv(pads=(2, 2), dilations=(2,), strides=(2,)).evaluate(x, w))
    assert upper.shape[2] == 5


def test_narrow_types_are_computed_in_float32() -> None:
    r = np.random.default_rng(1)
    x, w = floats(r, 1, 64, 8, 8), floats(r, 8, 64, 3, 3)
    exact = Conv().evaluate(x.astype(np.float16).astype(np.float32), w.astype(np.float16).astype(np.float32))
    half = Conv().evaluate(x.astype(np.float16), w.astype(np.float16))
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, exact.astype(np.float16))
    brain = Conv().evaluate(x.astype(ml_dtypes.bfloat16), w.astype(ml_dtypes.bfloat16))
    assert brain.dtype == ml_dtypes.bfloat16
    wide = Conv().evaluate(x.astype(np.float64), w.astype(np.float64))
    assert wide.dtype == np.float64
    np.testing.assert_allclose(Conv().evaluate(x, w), wide, atol=1e-4)


def test_symbolic_and_partial_shapes() -> None:
    b, h, w = symbol("batch"), symbol("h"), symbol("w")
    x, weight = TensorType(F32, (b, 3, h, w)), TensorType(F32, (8, 3, 3, 3))
    op = Conv(pads=(1, 1, 1, 1), strides=(2, 2))
    halves = (b, 8, (h + 1) // 2, (w + 1) // 2)
    assert op.infer(x, weight).shape == halves
    assert Conv(auto_pad="SAME_LOWER", strides=(2, 2)).infer(x, weight).shape == halves
    assert str(op.infer(TensorType(F32, None), weight)) == "f32[?, 8, ?, ?]"
    assert str(op.infer(x, TensorType(F32, None))) == "f32[batch, ?, ?, ?]"
    assert op.infer(UNKNOWN, weight) is UNKNOWN  # type: ignore[arg-type]
    transposed = ConvTranspose(strides=(2, 2), pads=(1, 1, 1, 1), output_padding=(1, 1))
    assert str(transposed.infer(x, TensorType(F32, (3, 8, 3, 3)))) == "f32[batch, 8, 2*h, 2*w]"


@pytest.mark.parametrize(
    "op,x,w,message",
    [
        (Conv(), (1, 4, 8, 8), (6, 3, 3, 3), "has 4 channels, weight .* in 1 groups takes 3"),
        (Conv(), (1, 3, 8), (6, 3, 3, 3), "same rank"),
        (Conv(group=4), (1, 4, 8, 8), (6, 1, 3, 3), "6 filters cannot be split into 4 groups"),
        (Conv(kernel_shape=(5, 5)), (1, 3, 8, 8), (6, 3, 3, 3), "kernel_shape and the weight's kernel: 5 and 3"),
        (Conv(), (1, 3, 2, 8), (6, 3, 3, 3), "spans 3 elements along spatial axis 0"),
        (Conv(pads=(1, 1)), (1, 3, 8, 8), (6, 3, 3, 3), "pads .* does not fit 2 spatial dimensions"),
        (Conv(strides=(0, 1)), (1, 3, 8, 8), (6, 3, 3, 3), "strides .* must be positive"),
        (ConvTranspose(), (1, 4, 8, 8), (3, 6, 3, 3), "channels of input and weight: 4 and 3"),
    ],
)
def test_errors(op: Conv, x: tuple[int, ...], w: tuple[int, ...], message: str) -> None:
    with pytest.raises(Diagnostic, match=message):
        op.infer(TensorType(F32, x), TensorType(F32, w))


def test_wrong_types() -> None:
    x, w = TensorType(F32, (1, 3, 8, 8)), TensorType(F32, (6, 3, 3, 3))
    with pytest.raises(Diagnostic, match="f32 and f16 must agree"):
        Conv().infer(x, TensorType(DType.FLOAT16, (6, 3, 3, 3)))
    with pytest.raises(Diagnostic, match="floating-point operand is needed, not i8"):
        Conv().infer(TensorType(DType.INT8, (1, 3, 8, 8)), w)
    with pytest.raises(Diagnostic, match="the bias must have 6 elements, not 5"):
        Conv().infer(x, w, TensorType(F32, (5,)))


def test_static_inference_is_quick() -> None:
    op, x, w = Conv(pads=(1, 1, 1, 1), strides=(2, 2)), TensorType(F32, (1, 3, 224, 224)), TensorType(F32, (64, 3, 3, 3))
    best = min(_seconds(op, x, w) for _ in range(5))
    assert best / 200 < 100e-6


def _seconds(op: Conv, x: TensorType, w: TensorType) -> float:
    start = time.perf_counter()
    for _ in range(200):
        op.infer(x, w)
    return time.perf_counter() - start


@pytest.mark.parametrize("masked", [False, True])
def test_deformable_convolution(masked: bool) -> None:
    r = np.random.default_rng(2)
    op = DeformConv(pads=(1, 0, 1, 2), strides=(2, 1), group=2, offset_group=2, dilations=(1, 2))
    x, w = floats(r, 2, 4, 7, 8), floats(r, 6, 2, 3, 2)
    counts = op.infer(*types_of([x, w]), TensorType(F32, None)).shape[2:]  # type: ignore[misc]
    operands = [x, w, floats(r, 2, 2 * 6 * 2, *counts), floats(r, 6)]
    operands.append(r.uniform(0, 1, (2, 2 * 6, *counts)).astype(np.float32) if masked else None)
    check_against_onnxruntime(op, operands)


def test_deformable_convolution_without_offsets_is_convolution() -> None:
    r = np.random.default_rng(3)
    x, w = floats(r, 1, 4, 6, 6), floats(r, 5, 4, 3, 3)
    y = DeformConv(pads=(1, 1, 1, 1)).evaluate(x, w, np.zeros((1, 18, 6, 6), np.float32))
    np.testing.assert_allclose(y, Conv(pads=(1, 1, 1, 1)).evaluate(x, w), atol=1e-5)


def test_columns_to_image() -> None:
    r = np.random.default_rng(4)
    op = Col2Im(pads=(1, 0, 1, 0), strides=(2, 1), dilations=(1, 2))
    image, block = np.asarray([6, 7], np.int64), np.asarray([2, 3], np.int64)
    check_against_onnxruntime(op, [floats(r, 2, 3 * 6, 12), image, block])
    with pytest.raises(Diagnostic, match="number of blocks"):
        op.infer(*types_of([floats(r, 2, 18, 13), image, block]))  # type: ignore[arg-type]


def test_causal_convolution_carries_its_state() -> None:
    r = np.random.default_rng(5)
    x, w, bias = floats(r, 2, 3, 9), floats(r, 3, 1, 4), floats(r, 3)
    op = CausalConvWithState(activation="silu")
    whole, state = op.evaluate(x, w, bias)
    first, carried = op.evaluate(x[:, :, :4], w, bias)
    second, final = op.evaluate(x[:, :, 4:], w, bias, carried)
    np.testing.assert_allclose(np.concatenate((first, second), axis=2), whole, atol=1e-6)
    np.testing.assert_array_equal(final, state)
    assert str(op.infer(*types_of([x, w, bias]))[1]) == "f32[2, 3, 3]"  # type: ignore[arg-type]
