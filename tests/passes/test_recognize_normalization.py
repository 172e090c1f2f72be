"""Normalisations and softmax in small operators become one operator; parameters are absorbed where they fit."""

import numpy as np
import pytest

from edgec.ir.dtypes import DType
from edgec.ir.graph import constant
from edgec.ir.ops.binary import Add
from edgec.ir.ops.normalization import InstanceNormalization, LayerNormalization
from edgec.ir.ops.reduction import ReduceMax, ReduceMean, ReduceSum
from edgec.ir.ops.reshape import Reshape
from edgec.ir.ops.unary import Exp, Log, Sqrt
from edgec.passes.context import Context
from tests import spellings
from tests.passes.recognition import CLEAN, assert_equal, constants_of, feeds_of, graph_of, names, only, transformed

ALL = "recognize-normalization,recognize-rms-normalization,recognize-group-normalization"
RECOGNIZE = f"{CLEAN},fix({ALL},{CLEAN})"
NORMS = {"LayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization", "Softmax"}


def table(spelled):
    return pytest.mark.parametrize("spelling", list(spelled.values()), ids=list(spelled))


def check(spelling, name, *shape, sizes=None, tolerance=1e-5, dtype=DType.FLOAT, pipeline=RECOGNIZE, on_onnxruntime=False):
    graph = graph_of(spelling, shape, dtype=dtype)
    found = transformed(graph, pipeline)
    assert_equal(graph, found, feeds_of(graph, sizes), tolerance=tolerance, on_onnxruntime=on_onnxruntime)
    return only(found, name), found


def declined(spelling, *shape, forbidden=NORMS, dtype=DType.FLOAT, sizes=None):
    graph = graph_of(spelling, shape, dtype=dtype)
    found = transformed(graph, RECOGNIZE)
    assert not set(forbidden) & set(names(found)), names(found)
    assert_equal(graph, found, feeds_of(graph, sizes))
    return found


# -- LayerNorm --------------------------------------------------------------------------------------------------------------
@table(spellings.LAYER_NORM)
def test_layer_norm(spelling):
    op, _ = check(spelling, "LayerNormalization", 2, 3, 8, on_onnxruntime=True)
    assert op.axis == -1 and op.epsilon == pytest.approx(1e-5)


@table(spellings.LAYER_NORM)
def test_layer_norm_without_cleanup(spelling):
    graph = graph_of(spelling, ("n", 8))
    found = transformed(graph, "recognize-normalization,dead-code")
    assert names(found) == ["LayerNormalization"]
    assert_equal(graph, found, feeds_of(graph, {"n": 5}))


def test_there_are_enough_spellings():
    assert len(spellings.LAYER_NORM) >= 8 and len(spellings.RMS_NORM) >= 5


def over(*axes, epsilon=1e-5, variance_axes=None):
    def spelling(s, x):
        d = s.sub(x, s.mean(x, *axes))
        return s.div(d, s.apply(Sqrt(), s.add(s.mean(s.mul(d, d), *(variance_axes or axes)), epsilon)))

    return spelling


def test_layer_norm_over_two_axes():
    op, _ = check(over(1, 2), "LayerNormalization", 2, 3, 8)
    assert op.axis == -2
    op, _ = check(over(-1, -2), "LayerNormalization", "n", 3, 8, sizes={"n": 2})
    assert op.axis == -2


def test_layer_norm_over_other_axes_is_left_alone():
    declined(over(1), 2, 3, 8)
    declined(over(0, 2), 2, 3, 8)
    declined(over(2, variance_axes=(1,)), 2, 3, 3)


def test_layer_norm_needs_static_dimensions():
    declined(over(-1), 2, "n", sizes={"n": 4})


def test_layer_norm_of_two_values():
    def spelling(s, x):
        d = s.sub(x, s.mean(s.apply(Exp(), x), -1))
        return s.div(d, s.apply(Sqrt(), s.add(s.mean(s.mul(d, d), -1), 1e-5)))

    declined(spelling, 2, 3, 8, forbidden={"LayerNormalization"})


def test_layer_norm_with_an_intermediate_that_is_read_elsewhere():
    """The difference stays for its other reader, the normalisation is recognised all the same."""

    def spelling(s, x):
        d = s.sub(x, s.mean(x, -1))
        return s.div(d, s.apply(Sqrt(), s.add(s.mean(s.mul(d, d), -1), 1e-5))), d

    graph = graph_of(spelling, (2, 8))
    found = transformed(graph, RECOGNIZE)
    assert sorted(names(found)) == ["LayerNormalization", "ReduceMean", "Sub"]
    assert_equal(graph, found, feeds_of(graph))


def test_layer_norm_with_an_epsilon_of_a_higher_rank_is_left_alone():
    def spelling(s, x):
        d = s.sub(x, s.mean(x, -1))
        epsilon = constant(np.full((1, 1, 1), 1e-5, np.float32))
        return s.div(d, s.apply(Sqrt(), s.apply(Add(), s.mean(s.mul(d, d), -1), epsilon)))

    declined(spelling, 2, 8)


def test_normalisation_in_f64_is_left_alone():
    """The operators compute in f32."""
    declined(spellings.LAYER_NORM["Pow 2, Sqrt, Div"], 2, 8, dtype=DType.DOUBLE)
    declined(spellings.RMS_NORM["x·1/√"], 2, 8, dtype=DType.DOUBLE)


def test_a_sum_is_not_a_mean():
    def spelling(s, x):
        d = s.sub(x, s.apply(ReduceSum(), x, s.ints(-1)))
        return s.div(d, s.apply(Sqrt(), s.add(s.mean(s.mul(d, d), -1), 1e-5)))

    declined(spelling, 2, 8, forbidden={"LayerNormalization"})


# -- scale and bias ---------------------------------------------------------------------------------------------------------
def scaled(weight, bias=None):
    def spelling(s, x):
        y = s.mul(over(-1)(s, x), constant(np.asarray(weight, np.float32)))
        return y if bias is None else s.add(y, constant(np.asarray(bias, np.float32)))

    return spelling


def test_scale_and_bias_are_absorbed():
    weight, bias = np.arange(1, 9), np.arange(8) - 3
    _, found = check(scaled(weight, bias), "LayerNormalization", 2, 3, 8)
    assert found.first is not None
    np.testing.assert_array_equal(constants_of(found.first.inputs[1]), weight)
    np.testing.assert_array_equal(constants_of(found.first.inputs[2]), bias)


@pytest.mark.parametrize("shape", [(), (1,), (1, 8), (1, 1, 8)], ids=str)
def test_scales_that_broadcast_are_spread_out(shape):
    _, found = check(scaled(np.full(shape, 2.0)), "LayerNormalization", 2, 3, 8)
    assert found.first is not None and found.first.inputs[1] is not None
    assert found.first.inputs[1].shape == (8,)


@pytest.mark.parametrize("shape", [(3, 1), (3, 8), (2, 1, 1), (1, 1, 1, 8), (1, 1, 1, 1)], ids=str)
def test_scales_that_vary_over_rows_or_add_dimensions_stay(shape):
    graph = graph_of(scaled(np.full(shape, 2.0) + np.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1))), (2, 3, 8))
    found = transformed(graph, RECOGNIZE)
    assert names(found) == ["LayerNormalization", "Mul"]
    assert_equal(graph, found, feeds_of(graph))


def test_a_second_scale_and_a_scale_after_the_bias_stay():
    graph = graph_of(lambda s, x: s.mul(scaled(np.arange(1, 9), np.ones(8))(s, x), constant(np.arange(8, dtype=np.float32))), (2, 8))
    found = transformed(graph, RECOGNIZE)
    assert names(found) == ["LayerNormalization", "Mul"]
    assert_equal(graph, found, feeds_of(graph))


def test_a_shared_normalisation_does_not_take_a_scale():
    def spelling(s, x):
        y = over(-1)(s, x)
        return s.mul(y, s.array(np.arange(8), x)), s.add(y, 1.0)

    graph = graph_of(spelling, (2, 8))
    found = transformed(graph, RECOGNIZE)
    assert sorted(names(found)) == ["Add", "LayerNormalization", "Mul"]
    assert_equal(graph, found, feeds_of(graph))


def test_the_scale_of_a_normalisation_whose_mean_is_read_is_kept_right():
    def spelling(s, x):
        y, mean = s.apply(LayerNormalization(), x, s.array(np.ones(8), x), None, outputs=2)
        return s.add(s.mul(y, s.array(np.arange(8), x)), s.array(np.arange(8), x)), mean

    graph = graph_of(spelling, (2, 8))
    assert_equal(graph, transformed(graph, RECOGNIZE), feeds_of(graph))


# -- RMSNorm ----------------------------------------------------------------------------------------------------------------
@table(spellings.RMS_NORM)
def test_rms_norm(spelling):
    op, _ = check(spelling, "RMSNormalization", 2, 3, 8, on_onnxruntime=True)
    assert op.axis == -1 and op.epsilon == pytest.approx(1e-6)


def test_rms_norm_is_not_recognised_where_only_opset_17_is_meant():
    graph = graph_of(spellings.RMS_NORM["x/√"], (2, 8))
    assert "RMSNormalization" not in names(transformed(graph, f"{CLEAN},recognize-normalization"))


def test_rms_norm_of_another_value_or_over_other_axes():
    declined(lambda s, x: s.div(x, s.apply(Sqrt(), s.add(s.mean(s.pow(s.apply(Exp(), x), 2.0), -1), 1e-6))), 2, 8)
    declined(lambda s, x: s.div(x, s.apply(Sqrt(), s.add(s.mean(s.pow(x, 3.0), -1), 9.0))), 2, 8)
    declined(lambda s, x: s.div(x, s.apply(Sqrt(), s.add(s.mean(s.mul(x, x), 0), 1e-6))), 2, 8)


@pytest.mark.parametrize("spelled", [spellings.RMS_NORM, spellings.LAYER_NORM], ids=["rms", "layer"])
def test_norm_computed_in_f32_between_casts(spelled):
    """Parameters that f16 can hold move in; the operator computes in f32 by itself."""
    name = "x/√" if spelled is spellings.RMS_NORM else "Pow 2, Sqrt, Div"
    kind = "RMSNormalization" if spelled is spellings.RMS_NORM else "LayerNormalization"
    check(spellings.cast_around(spelled[name]), kind, 2, 8, dtype=DType.FLOAT16, tolerance=2e-3)


def test_casts_stay_around_parameters_that_f16_cannot_hold():
    graph = graph_of(spellings.cast_around(spellings.RMS_NORM["w·(x/√)"]), (2, 8), dtype=DType.FLOAT16)
    found = transformed(graph, RECOGNIZE)
    assert names(found) == ["Cast", "RMSNormalization", "Cast"]
    assert_equal(graph, found, feeds_of(graph), tolerance=2e-3)


# -- InstanceNorm and GroupNorm ------------------------------------------------------------------------------------------------
def test_normalisation_over_the_spatial_axes():
    check(spellings.spatial_norm, "InstanceNormalization", 2, 3, 4, 5, on_onnxruntime=True)
    check(spellings.spatial_norm, "InstanceNormalization", "n", 3, "h", "w", sizes={"n": 2, "h": 4, "w": 5})


def test_instance_norm_absorbs_parameters_per_channel():
    def spelling(s, x):
        weight, bias = (s.array(np.arange(1, 4).reshape(3, 1, 1) * f, x) for f in (1.0, -0.5))
        return s.add(s.mul(spellings.spatial_norm(s, x), weight), bias)

    check(spelling, "InstanceNormalization", 2, 3, 4, 5)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (4, 1), (2, 3, 1, 1), (1, 1, 3, 1, 1)], ids=str)
def test_instance_norm_leaves_other_parameters(shape):
    def spelling(s, x):
        return s.mul(spellings.spatial_norm(s, x), s.array(np.arange(np.prod(shape)).reshape(shape), x))

    graph = graph_of(spelling, (2, 3, 4, 5))
    found = transformed(graph, RECOGNIZE)
    assert names(found) == ["InstanceNormalization", "Mul"]
    assert_equal(graph, found, feeds_of(graph))


@pytest.mark.parametrize("shape", [(2, 4, 5, 5), ("n", 6, 3, 4), (2, 4, 9)], ids=str)
def test_group_norm(shape):
    op, _ = check(spellings.group_norm, "GroupNormalization", *shape, sizes={"n": 2})
    assert op.num_groups == 2


def group_norm(s, x, *, groups=2, inner=1.0, parameters=None):
    channels = x.shape[1]
    split = s.apply(Reshape(), x, s.ints(0, groups, -1))
    norm = s.apply(InstanceNormalization(), split, s.array(np.full(groups, inner), x), s.array(np.zeros(groups), x))
    back = s.apply(Reshape(), norm, s.ints(*x.shape))
    weight = np.linspace(0.5, 2, channels).reshape(channels, 1, 1) if parameters is None else parameters
    return s.add(s.mul(back, s.array(weight, x)), s.array(weight, x))


@pytest.mark.parametrize(
    "changes",
    [{"inner": 2.0}, {"parameters": np.ones((2, 4, 1, 1))}, {"parameters": np.ones((5,))}, {"parameters": np.ones((4, 1, 5))}],
    ids=["inner scale", "parameters per sample", "parameters per column", "parameters per channel and column"],
)
def test_group_norm_near_misses(changes):
    declined(lambda s, x: group_norm(s, x, **changes), 2, 4, 5, 5, forbidden={"GroupNormalization"})


# -- softmax ------------------------------------------------------------------------------------------------------------------
@table(spellings.SOFTMAX)
def test_softmax(spelling):
    op, _ = check(spelling, "Softmax", 2, 3, 8)
    assert op.axis == -1
    op, _ = check(spelling, "Softmax", "n", "m", sizes={"n": 2, "m": 3})
    assert op.axis == -1


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_softmax_over_another_axis(axis):
    def spelling(s, x):
        e = s.apply(Exp(), x)
        return s.div(e, s.apply(ReduceSum(), e, s.ints(axis)))

    op, _ = check(spelling, "Softmax", 2, 3, 8)
    assert op.axis % 3 == axis % 3


def test_log_softmax():
    check(lambda s, x: s.apply(Log(), spellings.SOFTMAX["exp/Σexp"](s, x)), "LogSoftmax", 2, 8)


def test_softmax_near_misses():
    def of_two(s, x):
        return s.div(s.apply(Exp(), x), s.apply(ReduceSum(), s.apply(Exp(), s.mul(x, 2.0)), s.ints(-1)))

    def two_axes(s, x):
        e = s.apply(Exp(), x)
        return s.div(e, s.apply(ReduceSum(), e, s.ints(-1, -2)))

    def mean(s, x):
        e = s.apply(Exp(), x)
        return s.div(e, s.apply(ReduceMean(), e, s.ints(-1)))

    for spelling in (of_two, two_axes, mean):
        declined(spelling, 2, 3, 8)


def test_a_maximum_over_another_axis_stays():
    """It cancels anyway, but it is not what the operator subtracts: the softmax of the difference is right."""

    def spelling(s, x):
        return spellings.SOFTMAX["exp/Σexp"](s, s.sub(x, s.apply(ReduceMax(), x, s.ints(0))))

    graph = graph_of(spelling, (3, 8))
    found = transformed(graph, RECOGNIZE)
    assert names(found) == ["ReduceMax", "Sub", "Softmax"]
    assert_equal(graph, found, feeds_of(graph))


def test_declines_name_the_reason():
    context = Context(declines=[])
    transformed(graph_of(over(1), (2, 3, 8)), "recognize-normalization", context)
    assert [record.reason for record in context.declines or ()] == ["the axes [1] are not the last ones"]
