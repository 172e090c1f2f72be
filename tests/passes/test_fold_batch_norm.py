"""Batch normalisation, scales and biases move into constant weights; |Δ| stays below 1e-5 of the largest result."""

import numpy as np
import pytest

from edgec.ir.dtypes import DType
from edgec.ir.graph import constant
from edgec.ir.ops.activation import Relu
from edgec.ir.ops.binary import Add, Div, Mul, Sub
from edgec.ir.ops.concat import Pad
from edgec.ir.ops.conv import Conv, ConvTranspose
from edgec.ir.ops.matmul import Gemm, MatMul
from edgec.ir.ops.normalization import BatchNormalization
from edgec.ir.ops.pooling import AveragePool
from edgec.ir.ops.reshape import Reshape
from edgec.ir.ops.unary import Neg
from edgec.passes.context import Context
from tests.passes.recognition import assert_equal, constants_of, feeds_of, graph_of, names, transformed

FOLD = "fold-batch-norm,dead-code"
SCALES = "fold-scale-bias,dead-code"


def weights(s, x, *shape, seed=0, low=-1.0, high=1.0):
    return s.array(np.random.default_rng(seed).uniform(low, high, shape), x)


def batch_norm(s, x, channels, **attributes):
    parameters = [weights(s, x, channels, seed=i, low=low) for i, low in ((1, 0.5), (2, -1.0), (3, -1.0))]
    variance = weights(s, x, channels, seed=4, low=0.3, high=2.0)
    return s.apply(BatchNormalization(epsilon=1e-3, **attributes), x, *parameters, variance)


def conv(s, x, out, size, *, group=1, bias=True, kernel=3, **attributes):
    spatial = (kernel,) * (x.rank - 2)
    op = Conv(group=group, **attributes)
    return s.apply(op, x, weights(s, x, out, size // group, *spatial, seed=5), weights(s, x, out, seed=6) if bias else None)


def transposed_conv(s, x, out, size, *, group=1, bias=True, **attributes):
    op = ConvTranspose(group=group, **attributes)
    kernel = weights(s, x, size, out // group, *(3,) * (x.rank - 2), seed=5)
    return s.apply(op, x, kernel, weights(s, x, out, seed=6) if bias else None)


def check(build, *shapes, left, pipeline=FOLD, sizes=None, dtype=DType.FLOAT, tolerance=1e-5):
    graph = graph_of(build, *shapes, dtype=dtype)
    found = transformed(graph, pipeline)
    assert names(found) == left
    assert_equal(graph, found, feeds_of(graph, sizes), tolerance=tolerance, on_onnxruntime=dtype is DType.FLOAT)
    return found


PRODUCTS = {
    "conv": (lambda s, x: conv(s, x, 6, 4, pads=(1, 1, 1, 1)), (2, 4, 7, 7), "Conv"),
    "conv without bias": (lambda s, x: conv(s, x, 6, 4, bias=False), (2, 4, 7, 7), "Conv"),
    "conv with strides and auto_pad": (lambda s, x: conv(s, x, 6, 4, auto_pad="SAME_UPPER", strides=(2, 2)), (2, 4, 7, 7), "Conv"),
    "grouped conv": (lambda s, x: conv(s, x, 6, 4, group=2), (2, 4, 7, 7), "Conv"),
    "depthwise conv": (lambda s, x: conv(s, x, 6, 6, group=6), (2, 6, 7, 7), "Conv"),
    "depthwise conv with a multiplier": (lambda s, x: conv(s, x, 6, 3, group=3), (2, 3, 7, 7), "Conv"),
    "conv of one dimension": (lambda s, x: conv(s, x, 6, 4), (2, 4, 9), "Conv"),
    "conv of three dimensions": (lambda s, x: conv(s, x, 6, 2), (1, 2, 5, 4, 3), "Conv"),
    "transposed conv": (lambda s, x: transposed_conv(s, x, 6, 4), (2, 4, 5, 5), "ConvTranspose"),
    "grouped transposed conv": (lambda s, x: transposed_conv(s, x, 6, 4, group=2, bias=False), (2, 4, 5, 5), "ConvTranspose"),
    "strided transposed conv": (lambda s, x: transposed_conv(s, x, 6, 6, group=3, strides=(2, 2)), (1, 6, 5, 5), "ConvTranspose"),
    "gemm": (lambda s, x: s.apply(Gemm(), x, weights(s, x, 4, 6), weights(s, x, 6)), (3, 4), "Gemm"),
    "gemm with transB": (lambda s, x: s.apply(Gemm(transB=1), x, weights(s, x, 6, 4), weights(s, x, 1, 6)), (3, 4), "Gemm"),
    "gemm without bias": (lambda s, x: s.apply(Gemm(), x, weights(s, x, 4, 6)), (3, 4), "Gemm"),
}


@pytest.mark.parametrize("name", list(PRODUCTS))
def test_batch_norm_after_a_product(name):
    product, shape, kept = PRODUCTS[name]
    check(lambda s, x: s.apply(Relu(), batch_norm(s, product(s, x), 6)), shape, left=[kept, "Relu"])


def test_batch_norm_after_a_product_of_any_batch():
    product, shape, _ = PRODUCTS["conv"]
    check(lambda s, x: batch_norm(s, product(s, x), 6), ("n", *shape[1:]), left=["Conv"], sizes={"n": 3})


def test_batch_norm_after_a_matmul_becomes_a_summand():
    check(lambda s, x: batch_norm(s, s.apply(MatMul(), x, weights(s, x, 4, 6)), 6), (3, 4), left=["MatMul", "Add"])


def test_batch_norm_after_a_matmul_of_rank_three_has_other_channels():
    check(lambda s, x: batch_norm(s, s.apply(MatMul(), x, weights(s, x, 4, 6)), 3), (2, 3, 4), left=["MatMul", "BatchNormalization"])


def test_batch_norm_in_half_precision():
    product, shape, kept = PRODUCTS["conv"]
    check(lambda s, x: batch_norm(s, product(s, x), 6), shape, left=[kept], dtype=DType.FLOAT16, tolerance=1e-2)


@pytest.mark.parametrize("group", [1, 2])
def test_batch_norm_before_a_conv_without_padding(group):
    for attributes in ({}, {"auto_pad": "VALID"}, {"pads": (0, 0, 0, 0)}):
        check(lambda s, x, a=attributes: conv(s, batch_norm(s, x, 4), 6, 4, group=group, **a), (2, 4, 7, 7), left=["Conv"])


@pytest.mark.parametrize("attributes", [{"pads": (1, 0, 0, 0)}, {"auto_pad": "SAME_LOWER"}], ids=str)
def test_batch_norm_before_a_conv_with_padding_is_left_alone(attributes):
    check(lambda s, x: conv(s, batch_norm(s, x, 4), 6, 4, **attributes), (2, 4, 7, 7), left=["BatchNormalization", "Conv"])


def test_batch_norm_between_two_convs_folds_back():
    check(lambda s, x: conv(s, batch_norm(s, conv(s, x, 4, 4), 4), 6, 4, pads=(1,) * 4), (1, 4, 7, 7), left=["Conv", "Conv"])


def test_batch_norm_in_training_mode_is_left_alone():
    graph = graph_of(lambda s, x: s.apply(
        BatchNormalization(training_mode=1), conv(s, x, 6, 4), *(weights(s, x, 6, seed=i, low=0.5) for i in range(4)), outputs=3
    ), (2, 4, 5, 5))  # fmt: skip
    found = transformed(graph, FOLD)
    assert names(found) == ["Conv", "BatchNormalization"]
    assert_equal(graph, found, feeds_of(graph))


def test_a_conv_with_several_readers_is_left_alone():
    def build(s, x):
        y = conv(s, x, 6, 4)
        return batch_norm(s, y, 6), s.apply(Relu(), y)

    check(build, (2, 4, 5, 5), left=["Conv", "BatchNormalization", "Relu"])


def test_a_conv_that_is_an_output_is_left_alone():
    def build(s, x):
        y = conv(s, x, 6, 4)
        return batch_norm(s, y, 6), y

    check(build, (2, 4, 5, 5), left=["Conv", "BatchNormalization"])


def test_computed_weights_and_statistics_are_left_alone():
    def computed_kernel(s, x, w):
        return batch_norm(s, s.apply(Conv(), x, w), 6)

    check(computed_kernel, (2, 4, 5, 5), (6, 4, 3, 3), left=["Conv", "BatchNormalization"])

    def computed_scale(s, x, scale):
        y = conv(s, x, 6, 4)
        return s.apply(BatchNormalization(), y, scale, *(weights(s, x, 6, seed=i, low=0.5) for i in range(3)))

    check(computed_scale, (2, 4, 5, 5), (6,), left=["Conv", "BatchNormalization"])


def test_gemm_with_alpha_is_left_alone():
    check(lambda s, x: batch_norm(s, s.apply(Gemm(alpha=0.5), x, weights(s, x, 4, 6)), 6), (3, 4), left=["Gemm", "BatchNormalization"])


def test_declines_say_why():
    def build(s, x):
        y = conv(s, x, 6, 4)
        return batch_norm(s, y, 6), y

    context = Context(declines=[])
    transformed(graph_of(build, (2, 4, 5, 5)), "fold-batch-norm", context)
    assert [record.reason for record in context.declines or ()] == ["the product is used elsewhere too"]


def test_folding_that_overflows_is_declined():
    """f16 ends at 65504; the original is finite where the sum of products and bias is small."""

    def build(s, x):
        y = s.apply(Gemm(), x, s.array([[-3e4], [1.0]], x), s.array([6e4], x))
        return s.mul(y, 2.0)

    graph = graph_of(build, (1, 2), dtype=DType.FLOAT16)
    found = transformed(graph, SCALES)
    assert names(found) == ["Gemm", "Mul"]
    assert_equal(graph, found, {"x": np.array([[1.0, 0.0]], np.float16)}, tolerance=1e-3)


def test_a_scale_before_a_product_that_overflows_is_declined():
    def build(s, x):
        return s.apply(MatMul(), s.mul(x, 100.0), s.array([[1000.0], [1.0]], x))

    graph = graph_of(build, (1, 2), dtype=DType.FLOAT16)
    assert names(transformed(graph, SCALES)) == ["Mul", "MatMul"]


# -- scales and biases ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", list(PRODUCTS))
@pytest.mark.parametrize("op", [Mul(), Div(), Add(), Sub()], ids=lambda op: op.op_name)
def test_constants_per_channel(name, op):
    product, shape, kept = PRODUCTS[name]
    spread = (6,) if kept == "Gemm" else (6, *(1,) * (len(shape) - 2))
    check(lambda s, x: s.apply(op, product(s, x), weights(s, x, *spread, seed=8, low=0.4)), shape, left=[kept], pipeline=SCALES)


def test_chains_of_scales_and_biases():
    product, shape, _ = PRODUCTS["conv"]

    def build(s, x):
        y = s.mul(product(s, x), weights(s, x, 6, 1, 1, seed=8))
        y = s.add(s.sub(y, 0.5), weights(s, x, 1, 6, 1, 1, seed=9))
        return s.apply(Neg(), s.div(y, 3.0))

    check(build, shape, left=["Conv"], pipeline=SCALES)


def test_a_zero_factor_keeps_zeros_finite():
    product, shape, _ = PRODUCTS["conv"]
    check(lambda s, x: s.mul(product(s, x), 0.0), shape, left=["Conv"], pipeline=SCALES)


@pytest.mark.parametrize("zeros", [[0.0], [1.0, 0.0, 1.0, 1.0, 1.0, 1.0]], ids=str)
def test_division_by_zero_stays(zeros):
    product, shape, _ = PRODUCTS["conv"]
    graph = graph_of(lambda s, x: s.div(product(s, x), s.array(np.reshape(zeros, (-1, 1, 1)), x)), shape)
    assert names(transformed(graph, SCALES)) == ["Conv", "Div"]


def test_constants_that_vary_otherwise_stay():
    product, shape, _ = PRODUCTS["conv"]
    for spread in ((7,), (7, 7), (2, 1, 1, 1), (1, 1, 6, 1, 1)):
        graph = graph_of(lambda s, x, spread=spread: s.mul(product(s, x), weights(s, x, *spread)), shape)
        if spread == (1, 1, 6, 1, 1):
            graph = graph_of(lambda s, x: s.mul(product(s, x), weights(s, x, 1, 1, 6, 1, 1)), shape)
        found = transformed(graph, SCALES)
        assert names(found) == ["Conv", "Mul"]
        assert_equal(graph, found, feeds_of(graph))


def test_a_constant_minus_or_over_a_product():
    """c − conv(x) is not in the table, c / conv(x) cannot be."""
    product, shape, _ = PRODUCTS["conv"]
    for build in (lambda s, x: s.sub(1.0, product(s, x)), lambda s, x: s.div(1.0, s.add(s.apply(Relu(), product(s, x)), 1.0))):
        graph = graph_of(build, shape)
        assert_equal(graph, transformed(graph, f"canonicalize,{SCALES}"), feeds_of(graph))


def test_integer_products_are_left_alone():
    def build(s, x):
        return s.apply(Mul(), s.apply(MatMul(), x, constant(np.arange(12).reshape(4, 3))), constant(np.array(2)))

    check(build, (2, 4), left=["MatMul", "Mul"], dtype=DType.INT64, pipeline=SCALES, tolerance=0)


def test_a_scale_before_a_padded_conv_moves_into_it():
    check(lambda s, x: conv(s, s.mul(x, 0.25), 6, 4, pads=(1,) * 4), (2, 4, 7, 7), left=["Conv"], pipeline=SCALES)
    check(lambda s, x: conv(s, s.div(x, 255.0), 6, 4, pads=(1,) * 4), (2, 4, 7, 7), left=["Conv"], pipeline=SCALES)


def test_a_scale_after_a_batch_norm_moves_into_it():
    def build(s, x):
        y = batch_norm(s, x, 4)
        return s.add(s.mul(y, weights(s, x, 4, 1, 1, seed=8)), weights(s, x, 4, 1, 1, seed=9))

    check(build, (2, 4, 5, 5), left=["BatchNormalization"], pipeline=SCALES)


# -- weights with several readers ------------------------------------------------------------------------------------------------
def tied(use, size=200):
    def build(s, x):
        weight = s.array(np.random.default_rng(0).uniform(-1, 1, (size, size)), x)
        return use(s, x, weight), s.apply(MatMul(), s.apply(Relu(), x), weight)

    return build


TIED = {
    "factor": lambda s, x, w: s.mul(s.apply(MatMul(), x, w), 2.0),
    "factor before": lambda s, x, w: s.apply(MatMul(), s.mul(x, 2.0), w),
    "negation": lambda s, x, w: s.apply(Neg(), s.apply(MatMul(), x, w)),
    "batch norm": lambda s, x, w: batch_norm(s, s.apply(Gemm(), x, w), 200),
    "transposed": lambda s, x, w: s.apply(
        Reshape(), s.apply(Gemm(transB=1), s.apply(Reshape(), x, s.ints(-1, 200)), w, s.array(np.ones(200), x)), s.ints(1, 3, 200)
    ),
}


@pytest.mark.parametrize("name", list(TIED))
def test_large_weights_are_not_stored_twice(name):
    """Changed weights would stand beside the old ones, which something else reads."""
    graph = graph_of(tied(TIED[name]), (1, 3, 200) if name == "transposed" else (3, 200))
    found = transformed(graph, "form-gemm,fold-batch-norm,fold-scale-bias,dead-code")
    assert len([c for c in found.constants() if c.shape == (200, 200)]) == 1
    assert_equal(graph, found, feeds_of(graph))


def test_small_weights_may_be_stored_twice():
    graph = graph_of(tied(TIED["factor"], size=8), (3, 8))
    found = transformed(graph, SCALES)
    assert "Mul" not in names(found)
    assert_equal(graph, found, feeds_of(graph))


# -- Gemm ----------------------------------------------------------------------------------------------------------------------
def test_matmul_and_bias_become_gemm():
    check(lambda s, x: s.add(s.apply(MatMul(), x, weights(s, x, 4, 6)), weights(s, x, 6)), (3, 4), left=["Gemm"], pipeline="form-gemm")


@pytest.mark.parametrize("shape", [(3, 6), (3, 1), (1, 1, 6)], ids=str)
def test_summands_that_are_no_bias(shape):
    check(
        lambda s, x: s.add(s.apply(MatMul(), x, weights(s, x, 4, 6)), weights(s, x, *shape)),
        (3, 4),
        left=["MatMul", "Add"],
        pipeline="form-gemm",
    )


def flattened(summand, *, columns=5, rows=6, target=(2, 3, 5)):
    def build(s, x):
        y = s.apply(Gemm(transB=1), s.apply(Reshape(), x, s.ints(rows, 4)), weights(s, x, columns, 4), weights(s, x, *summand))
        return s.apply(Reshape(), y, s.ints(*target))

    return build


@pytest.mark.parametrize("summand", [(5,), (1, 5), (1,), ()], ids=str)
def test_gemm_of_flattened_rows_is_a_matmul(summand):
    found = check(flattened(summand), (2, 3, 4), left=["MatMul", "Add"], pipeline="form-gemm,dead-code")
    assert found.first is not None and constants_of(found.first.inputs[1]).shape == (4, 5)


@pytest.mark.parametrize("summand", [(6, 5), (6, 1)], ids=str)
def test_gemm_whose_summand_varies_over_the_rows_is_left_alone(summand):
    check(flattened(summand), (2, 3, 4), left=["Reshape", "Gemm", "Reshape"], pipeline="form-gemm,dead-code")


def test_gemm_of_rows_flattened_in_another_way_is_left_alone():
    check(flattened((5,), target=(3, 2, 5)), (2, 3, 4), left=["Reshape", "Gemm", "Reshape"], pipeline="form-gemm,dead-code")


# -- padding --------------------------------------------------------------------------------------------------------------------
def padded(s, x, *pads, value=None, mode="constant"):
    return s.apply(Pad(mode=mode), x, s.ints(*pads), None if value is None else s.number(value, x))


def test_zero_padding_moves_into_the_conv():
    found = check(
        lambda s, x: conv(s, padded(s, x, 0, 0, 1, 2, 0, 0, 0, 1), 6, 4, pads=(1, 0, 0, 0)),
        (2, 4, 6, 6),
        left=["Conv"],
        pipeline="fold-pad,dead-code",
    )
    assert found.first is not None and found.first.op.pads == (2, 2, 0, 1)


@pytest.mark.parametrize(
    "pad",
    [
        lambda s, x: padded(s, x, 0, 0, 1, 1, 0, 0, 1, 1, value=1.0),
        lambda s, x: padded(s, x, 0, 0, 1, 1, 0, 0, 1, 1, mode="edge"),
        lambda s, x: padded(s, x, 0, 0, -1, 1, 0, 0, 1, 1),
        lambda s, x: padded(s, x, 1, 0, 1, 1, 0, 0, 1, 1),
    ],
    ids=["ones", "edge", "negative", "batch"],
)
def test_other_padding_stays(pad):
    check(lambda s, x: conv(s, pad(s, x), 6, 4), (2, 4, 6, 6), left=["Pad", "Conv"], pipeline="fold-pad,dead-code")


def test_padding_moves_into_an_average_that_counts_it():
    def pool(**attributes):
        return lambda s, x: s.apply(AveragePool(kernel_shape=(3, 3), **attributes), padded(s, x, 0, 0, 1, 1, 0, 0, 1, 1))

    shape = (1, 2, 6, 6)
    found = check(pool(), shape, left=["AveragePool"], pipeline="fold-pad,dead-code")
    assert found.first is not None and found.first.op.count_include_pad == 1
    check(pool(strides=(2, 2), count_include_pad=1, pads=(1, 1, 1, 1)), shape, left=["AveragePool"], pipeline="fold-pad,dead-code")
    check(pool(pads=(1, 0, 0, 0)), shape, left=["Pad", "AveragePool"], pipeline="fold-pad,dead-code")


def test_padding_as_wide_as_the_kernel_of_a_pool_stays():
    def build(s, x):
        return s.apply(AveragePool(kernel_shape=(2, 2)), padded(s, x, 0, 0, 2, 2, 0, 0, 2, 2))

    check(build, (1, 2, 6, 6), left=["Pad", "AveragePool"], pipeline="fold-pad,dead-code")
