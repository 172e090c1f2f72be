"""Single operators between quantisations: LiteRT's integer kernels against the meaning of the graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from edgec.ir.dtypes import DType
from edgec.ir.graph import constant, int64s
from edgec.ir.model import Model
from edgec.ir.op import Op
from edgec.ir.ops.activation import Clip, HardSwish, LeakyRelu, PRelu, Relu, Sigmoid
from edgec.ir.ops.binary import Add, Div, Max, Min, Mul, Sub
from edgec.ir.ops.concat import Concat, Pad, Split
from edgec.ir.ops.conv import Conv, ConvTranspose
from edgec.ir.ops.gather import Gather
from edgec.ir.ops.matmul import Gemm, MatMul
from edgec.ir.ops.pooling import AveragePool, GlobalAveragePool, MaxPool
from edgec.ir.ops.reduction import ReduceMax, ReduceMean
from edgec.ir.ops.reshape import Flatten, Reshape, Squeeze
from edgec.ir.ops.resize import Resize
from edgec.ir.ops.slice import Slice
from edgec.ir.ops.softmax import Softmax
from edgec.ir.ops.transpose import Transpose
from edgec.ir.ops.unary import Tanh
from tests.lowering.tflite_quantized_graphs import Builder, is_whole, lowered, run, steps_apart

Make = Callable[[Builder], Model]
BYTES = (DType.INT8, DType.UINT8)


def conv(b: Builder) -> Model:
    x = b.input((1, 6, 9, 8))
    w = b.weights((8, 6, 3, 3), 0)
    op = Conv(pads=(1, 0, 2, 1), strides=(2, 1), dilations=(1, 2))
    return b.finish(b.graph.add(op, x, w, b.bias(x, w, 8)))


def conv_of_tensor_scale(b: Builder) -> Model:
    return b.finish(b.graph.add(Conv(pads=(1, 1, 1, 1)), b.input((2, 3, 7, 7)), b.weights((4, 3, 3, 3))))


def conv_with_relu(b: Builder) -> Model:
    x = b.input((1, 4, 8, 8))
    y = b.graph.add(Conv(pads=(1, 1, 1, 1)), x, b.weights((4, 4, 3, 3), 0))
    return b.finish(b.graph.add(Clip(), y, constant(np.float32(0)), constant(np.float32(6))))


def conv_of_line(b: Builder) -> Model:
    x = b.input((1, 4, 20))
    w = b.weights((5, 4, 3), 0)
    return b.finish(b.graph.add(Conv(pads=(1, 1)), x, w, b.bias(x, w, 5)))


def grouped(b: Builder) -> Model:
    x = b.input((1, 6, 8, 8))
    w = b.weights((4, 3, 3, 3), 0)
    return b.finish(b.graph.add(Conv(group=2), x, w, b.bias(x, w, 4)))


def depthwise(b: Builder) -> Model:
    x = b.input((1, 6, 9, 8))
    w = b.weights((12, 1, 3, 3), 0)
    return b.finish(b.graph.add(Conv(pads=(1, 1, 1, 1), strides=(2, 2), group=6), x, w, b.bias(x, w, 12)))


def transposed(b: Builder) -> Model:
    x = b.input((1, 4, 5, 6))
    w = b.weights((4, 6, 3, 3), 1)
    return b.finish(b.graph.add(ConvTranspose(strides=(2, 2), pads=(1, 1, 0, 1)), x, w, b.bias(x, w, 6)))


def gemm(b: Builder) -> Model:
    x = b.input((3, 16))
    w = b.weights((10, 16), 0)
    return b.finish(b.graph.add(Gemm(transB=1), x, w, b.bias(x, w, 10)))


def linear(b: Builder) -> Model:
    return b.finish(b.graph.add(MatMul(), b.input((2, 5, 16)), b.weights((16, 7))))


def linear_per_channel(b: Builder) -> Model:
    return b.finish(b.graph.add(MatMul(), b.input((4, 16)), b.weights((16, 7), 1)))


def product(b: Builder) -> Model:
    return b.finish(b.graph.add(MatMul(), b.input((2, 5, 16)), b.input((2, 16, 6), -1.0, 0.5)))


def add(b: Builder) -> Model:
    return b.finish(b.graph.add(Add(), b.input((2, 5, 6)), b.input((5, 6), -0.3, 1.0)))


def subtract(b: Builder) -> Model:
    return b.finish(b.graph.add(Sub(), b.input((2, 5, 6)), b.input((2, 5, 6), -6.0, 1.0)))


def multiply(b: Builder) -> Model:
    return b.finish(b.graph.add(Mul(), b.input((2, 5, 6)), b.input((1, 5, 1), -0.3, 1.0)))


def multiply_by_number(b: Builder) -> Model:
    return b.finish(b.graph.add(Mul(), b.input((2, 5, 6)), constant(np.float32(-0.37))))


def divide_by_number(b: Builder) -> Model:
    return b.finish(b.graph.add(Div(), b.input((2, 5, 6)), b.weights((1,))))


def max_pool(b: Builder) -> Model:
    chosen = b.parameters(-3.0, -0.2)
    x = b.input((1, 3, 9, 9), -3.0, -0.2, chosen)
    return b.finish(b.graph.add(MaxPool(kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 0, 1)), x), chosen)


def average_pool(b: Builder) -> Model:
    chosen = b.parameters(-2.0, 3.0)
    x = b.input((1, 3, 8, 8), -2.0, 3.0, chosen)
    return b.finish(b.graph.add(AveragePool(kernel_shape=(2, 2), strides=(2, 2)), x), chosen)


def same_average_pool(b: Builder) -> Model:
    chosen = b.parameters(-2.0, 3.0)
    x = b.input((1, 3, 8, 8), -2.0, 3.0, chosen)
    return b.finish(b.graph.add(AveragePool(kernel_shape=(3, 3), pads=(1, 1, 1, 1)), x), chosen)


def global_pool(b: Builder) -> Model:
    return b.finish(b.graph.add(GlobalAveragePool(), b.input((1, 6, 7, 7))))


def mean(b: Builder) -> Model:
    return b.finish(b.graph.add(ReduceMean(keepdims=0), b.input((2, 6, 7)), int64s([1])))


def greatest(b: Builder) -> Model:
    return b.finish(b.graph.add(ReduceMax(), b.input((2, 6, 7)), int64s([2])))


def concat(b: Builder) -> Model:
    return b.finish(b.graph.add(Concat(axis=1), b.input((1, 2, 5)), b.input((1, 3, 5), -0.2, 7.0), b.input((1, 1, 5), 0.0, 1.0)))


def pad(b: Builder) -> Model:
    return b.finish(b.graph.add(Pad(), b.input((1, 3, 5)), int64s([0, 1, 2, 0, 0, 1])))


def moved(b: Builder) -> Model:
    x = b.graph.add(Transpose(perm=(0, 2, 1)), b.input((2, 6, 4)))
    x = b.graph.add(Slice(), x, int64s([1]), int64s([4]), int64s([1]))
    return b.finish(b.graph.add(Reshape(), x, int64s([2, 18])))


def split(b: Builder) -> Model:
    left, right = b.graph.add(Split(axis=1), b.input((1, 6, 4)), int64s([2, 4]), outputs=2)
    scale = b.parameters(-2.0, 3.0)
    parts = [b.quantised(left, 0, 0, scale), b.quantised(right, 0, 0, scale)]
    return b.finish(b.graph.add(Concat(axis=1), *reversed(parts)), scale)


def flat(b: Builder) -> Model:
    chosen = b.parameters(-2.0, 3.0)
    x = b.graph.add(Squeeze(), b.input((1, 4, 3, 2), -2.0, 3.0, chosen), int64s([0]))
    return b.finish(b.graph.add(Flatten(axis=1), b.quantised(x, 0, 0, chosen)), chosen)


def relu(b: Builder) -> Model:
    return b.finish(b.graph.add(Relu(), b.input((2, 40))))


def clip(b: Builder) -> Model:
    return b.finish(b.graph.add(Clip(), b.input((2, 40)), constant(np.float32(-0.7)), constant(np.float32(1.3))), margin=1.5)


def sigmoid(b: Builder) -> Model:
    return b.finish(b.graph.add(Sigmoid(), b.input((2, 200), -6.0, 6.0)), b.parameters(0.0, 1.0))


def tanh(b: Builder) -> Model:
    return b.finish(b.graph.add(Tanh(), b.input((2, 200), -4.0, 4.0)), b.parameters(-1.0, 1.0))


def softmax(b: Builder) -> Model:
    return b.finish(b.graph.add(Softmax(axis=1), b.input((2, 10, 3), -4.0, 4.0)), b.parameters(0.0, 1.0))


def hard_swish(b: Builder) -> Model:
    return b.finish(b.graph.add(HardSwish(), b.input((2, 200), -5.0, 5.0)))


def leaky(b: Builder) -> Model:
    return b.finish(b.graph.add(LeakyRelu(alpha=0.1), b.input((2, 200), -5.0, 5.0)))


def prelu(b: Builder) -> Model:
    return b.finish(b.graph.add(PRelu(), b.input((1, 4, 5, 5)), b.weights((4, 1, 1))))


def resize_bilinear(b: Builder) -> Model:
    chosen = b.parameters(-2.0, 3.0)
    op = Resize(mode="linear", coordinate_transformation_mode="half_pixel")
    return b.finish(
        b.graph.add(op, b.input((1, 3, 5, 6), -2.0, 3.0, chosen), None, constant([1.0, 1.0, 2.0, 2.0], dtype=DType.FLOAT)), chosen
    )


def resize_nearest(b: Builder) -> Model:
    op = Resize(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    return b.finish(b.graph.add(op, b.input((1, 3, 5, 6)), None, constant([1.0, 1.0, 2.0, 2.0], dtype=DType.FLOAT)))


def gather(b: Builder) -> Model:
    return b.finish(b.graph.add(Gather(axis=0), b.weights((20, 6)), constant(np.array([[3, 1], [19, 0]]))))


def maximum(b: Builder) -> Model:
    return b.finish(b.graph.add(Max(), b.input((2, 30)), b.input((2, 30), -1.0, 6.0)))


def minimum(b: Builder) -> Model:
    return b.finish(b.graph.add(Min(), b.input((2, 30)), b.input((2, 30), -1.0, 6.0)))


MAKERS: tuple[Make, ...] = (
    conv, conv_of_tensor_scale, conv_with_relu, conv_of_line, grouped, depthwise, transposed, gemm, linear, linear_per_channel, product,
    add, subtract, multiply, multiply_by_number, divide_by_number, max_pool, average_pool, same_average_pool, global_pool, mean,
    greatest, concat, pad, moved, split, flat, relu, clip, sigmoid, tanh, softmax, hard_swish, leaky, prelu, resize_bilinear,
    resize_nearest, gather, maximum, minimum,
)  # fmt: skip


@pytest.mark.parametrize("xnnpack", [True, False], ids=["xnnpack", "builtin"])
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_within_one_step(make: Make, xnnpack: bool) -> None:
    for seed in range(4):
        b = Builder(seed, BYTES[seed % 2])
        model = make(b)
        artifact, options = lowered(model, xnnpack=xnnpack)
        assert is_whole(artifact), artifact.facts["quantisation"]
        found = run(artifact, options, b.feeds)["y"]
        assert steps_apart(model, b.feeds, found) <= 1.01


WIDE: tuple[Make, ...] = (
    conv, depthwise, transposed, gemm, linear, linear_per_channel, product, add, subtract, multiply, mean, greatest, concat, pad,
    split, relu, clip, sigmoid, softmax, leaky, resize_bilinear, resize_nearest, maximum, minimum, max_pool, average_pool, global_pool,
)  # fmt: skip


@pytest.mark.parametrize("xnnpack", [True, False], ids=["xnnpack", "builtin"])
@pytest.mark.parametrize("make", WIDE, ids=lambda make: make.__name__)
def test_sixteen_bits_within_one_step(make: Make, xnnpack: bool) -> None:
    for seed in range(2):
        b = Builder(seed, DType.INT16)
        model = make(b)
        artifact, options = lowered(model, xnnpack=xnnpack)
        found = run(artifact, options, b.feeds)["y"]
        assert is_whole(artifact), artifact.facts["quantisation"]
        assert steps_apart(model, b.feeds, found) <= 1.01


@pytest.mark.parametrize("dtype", BYTES, ids=["int8", "uint8"])
def test_integers_of_the_interface_change_their_layout(dtype: DType) -> None:
    """The transposition in front of a convolution moves the input's own integers, which have another sign than those of kernels."""
    b = Builder(3, dtype)
    x = b.stored_input((1, 6, 9, 8))
    model = b.finish(b.graph.add(Conv(pads=(1, 1, 1, 1)), x, b.weights((8, 6, 3, 3), 0)))
    artifact, options = lowered(model)
    assert is_whole(artifact) and artifact.signature.inputs[0].dtype is dtype
    assert steps_apart(model, b.feeds, run(artifact, options, b.feeds)["y"]) <= 1.01


def test_coarse_kernels_stay_float() -> None:
    b = Builder(0, DType.INT16)
    artifact, options = lowered(tanh(b))
    assert [f["operator"] for f in artifact.facts["quantisation"]["float_operators"]] == ["Tanh"]
    assert steps_apart(tanh(Builder(0, DType.INT16)), b.feeds, run(artifact, options, b.feeds)["y"]) <= 1.01


@pytest.mark.parametrize(
    ("left", "right", "result", "whole"),
    [
        (1.0, 1.0, 2.0, False),  # 1/32767 is taken for 1/32768, and no operand has the scale of the result
        (2.0, 1.0, 2.0, False),
        (2.0 * 32767 / 32768, 32767 / 32768, 2.0 * 32767 / 32768, True),  # powers of two that the kernel shifts by
        (1.7, 1.0, 2.6, True),
    ],
)
@pytest.mark.parametrize("op", [Add(), Sub()], ids=["add", "sub"])
def test_sums_of_sixteen_bits_with_scales_near_powers_of_two(op: Op, left: float, right: float, result: float, whole: bool) -> None:
    b = Builder(5, DType.INT16)
    model = b.finish(b.graph.add(op, b.input((3, 40), -left, left), b.input((3, 40), -right, right)), b.parameters(-result, result))
    artifact, options = lowered(model)
    assert is_whole(artifact) == whole
    assert steps_apart(model, b.feeds, run(artifact, options, b.feeds)["y"]) <= 1.01
