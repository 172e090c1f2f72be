"""Activations in the words of many exporters become one operator; what only looks like them stays."""

import math

import numpy as np
import pytest

from edgec.ir.dtypes import DType
from edgec.ir.graph import constant
from edgec.ir.ops.activation import Clip, HardSigmoid, Sigmoid
from edgec.ir.ops.binary import Add, Mul
from edgec.ir.ops.unary import Erf, Exp, Neg, Tanh
from edgec.passes.context import Context
from tests import spellings
from tests.passes.recognition import CLEAN, assert_equal, feeds_of, graph_of, names, only, transformed

RECOGNIZE = f"{CLEAN},recognize-activations,dead-code"
WIDE = {"x": np.linspace(-8, 8, 321, dtype=np.float32).reshape(3, 107)}


def table(spelled):
    return pytest.mark.parametrize("spelling", list(spelled.values()), ids=list(spelled))


def check(spelling, name, dtype=DType.FLOAT, tolerance=1e-6, pipeline=RECOGNIZE):
    graph = graph_of(spelling, (3, 107), dtype=dtype)
    found = transformed(graph, pipeline)
    op = only(found, name)
    assert_equal(graph, found, {"x": WIDE["x"].astype(dtype.numpy)}, tolerance=tolerance)
    return op


def declined(spelling, *forbidden, shape=(3, 107), dtype=DType.FLOAT, pipeline=RECOGNIZE):
    graph = graph_of(spelling, shape, dtype=dtype)
    found = transformed(graph, pipeline)
    assert not set(forbidden) & set(names(found)), names(found)
    feeds = feeds_of(graph, {"n": 3})
    assert_equal(graph, found, feeds, tolerance=1e-12 if dtype is DType.DOUBLE else 1e-6)
    return found


# -- GELU ------------------------------------------------------------------------------------------------------------------
@table(spellings.GELU_ERF)
def test_gelu_with_erf(spelling):
    assert check(spelling, "Gelu").approximate == "none"


@table(spellings.GELU_TANH)
def test_gelu_with_tanh(spelling):
    assert check(spelling, "Gelu").approximate == "tanh"


def test_there_are_enough_spellings():
    assert len(spellings.GELU_ERF) + len(spellings.GELU_TANH) >= 12


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.BFLOAT16])
@pytest.mark.parametrize("spelled", [spellings.GELU_ERF, spellings.GELU_TANH], ids=["erf", "tanh"])
def test_gelu_in_a_narrow_type(spelled, dtype):
    """The constants are rounded to the type."""
    for spelling in spelled.values():
        check(spelling, "Gelu", dtype, tolerance=3e-3 if dtype is DType.FLOAT16 else 2e-2)


def test_gelu_without_any_cleanup():
    for spelled in (spellings.GELU_ERF, spellings.GELU_TANH):
        for spelling in spelled.values():
            check(spelling, "Gelu", pipeline="recognize-activations,dead-code")


def test_gelu_of_a_symbolic_shape():
    graph = graph_of(spellings.GELU_ERF["(x·½)·(1+erf)"], ("n", 8))
    assert names(transformed(graph, RECOGNIZE)) == ["Gelu"]


def gelu(s, x, *, root=spellings.ROOT2, one=1.0, half=0.5, gate=None):
    return s.mul(s.mul(x, half), s.add(s.apply(Erf(), s.div(x if gate is None else gate, root)), one))


@pytest.mark.parametrize(
    "wrong",
    [{"root": 1.5}, {"root": -math.sqrt(2)}, {"one": 1.1}, {"half": 0.6}, {"half": -0.5}, {"root": 1.0}],
    ids=str,
)
def test_gelu_with_a_wrong_constant(wrong):
    declined(lambda s, x: gelu(s, x, **wrong), "Gelu")


def test_gelu_with_a_constant_that_is_slightly_off():
    declined(lambda s, x: gelu(s, x, half=0.5005), "Gelu")
    declined(lambda s, x: gelu(s, x, root=1.4130), "Gelu")


def test_gelu_with_a_wrong_cubic_term():
    def spelling(s, x):
        inner = s.mul(s.add(x, s.mul(s.pow(x, 3.0), 0.05)), 0.7978845608)
        return s.mul(s.mul(x, 0.5), s.add(s.apply(Tanh(), inner), 1.0))

    declined(spelling, "Gelu")


def test_gelu_with_the_gate_of_another_value():
    declined(lambda s, x: gelu(s, x, gate=s.apply(Exp(), x)), "Gelu")


def test_gelu_whose_product_is_read_elsewhere_is_left_alone():
    """The intermediate x·½ would have to be computed anyway, but the gate may be shared: it is computed for its other reader."""

    def half_is_shared(s, x):
        half = s.mul(x, 0.5)
        return s.mul(half, s.add(s.apply(Erf(), s.div(x, math.sqrt(2))), 1.0)), half

    declined(half_is_shared, "Gelu")

    def gate_is_shared(s, x):
        gate = s.add(s.apply(Erf(), s.div(x, math.sqrt(2))), 1.0)
        return s.mul(s.mul(x, 0.5), gate), gate

    graph = graph_of(gate_is_shared, (3, 107))
    found = transformed(graph, RECOGNIZE)
    assert "Gelu" in names(found) and "Erf" in names(found)
    assert_equal(graph, found, WIDE)


def test_gelu_says_why_it_declined():
    context = Context(declines=[])
    graph = graph_of(lambda s, x: gelu(s, x, half=0.6), (3, 107))
    transformed(graph, "recognize-activations", context)
    assert {record.rule for record in context.declines or ()} == {"recognize-gelu"}
    assert "0.6 are not a GELU" in (context.declines or [])[0].reason


def test_gelu_of_a_broadcast_operand():
    """A constant of a higher rank makes the result larger than x."""

    def spelling(s, x):
        half = constant(np.full((1, 1, 1), 0.5, np.float32))
        return s.mul(s.mul(x, half), s.add(s.apply(Erf(), s.div(x, math.sqrt(2))), 1.0))

    declined(spelling, "Gelu")


def test_composite_operators_are_not_used_for_f64():
    """Runtimes lack them, or compute them in f32."""
    for spelled in (spellings.GELU_ERF, spellings.HARD_SWISH, spellings.HARD_SIGMOID, spellings.MISH, spellings.SOFTPLUS):
        for name, spelling in spelled.items():
            if "HardSigmoid" not in name:
                declined(spelling, "Gelu", "HardSwish", "HardSigmoid", "Mish", dtype=DType.DOUBLE)


# -- SiLU ------------------------------------------------------------------------------------------------------------------
@table(spellings.SILU)
def test_silu(spelling):
    op = check(spelling, "Swish", pipeline=f"{CLEAN},recognize-swish,dead-code")
    assert op.alpha in (1.0, 1.702)


def test_silu_is_kept_by_the_default_recognisers():
    assert names(transformed(graph_of(spellings.SILU["x·σ(x)"], (3, 107)), RECOGNIZE)) == ["Sigmoid", "Mul"]


def test_silu_needs_the_gate_of_its_own_operand():
    other = declined(lambda s, x: s.mul(x, s.apply(Sigmoid(), s.apply(Exp(), x))), "Swish", pipeline="recognize-swish")
    assert "Sigmoid" in names(other)
    declined(lambda s, x: s.mul(s.mul(x, 2.0), s.apply(Sigmoid(), x)), "Swish", pipeline="recognize-swish")
    declined(lambda s, x: s.mul(x, s.apply(Sigmoid(), s.add(x, 1.0))), "Swish", pipeline="recognize-swish")


def test_silu_with_a_tiny_slope_keeps_it():
    graph = graph_of(lambda s, x: s.mul(x, s.apply(Sigmoid(), s.mul(x, 3e-8))), (3, 107))
    found = transformed(graph, "recognize-swish,dead-code")
    assert only(found, "Swish").alpha == pytest.approx(3e-8, rel=1e-6)


# -- clipped lines ---------------------------------------------------------------------------------------------------------
@table(spellings.HARD_SWISH)
def test_hard_swish(spelling):
    check(spelling, "HardSwish")


@table(spellings.HARD_SIGMOID)
def test_hard_sigmoid(spelling):
    op = check(spelling, "HardSigmoid")
    assert op.alpha == pytest.approx(1 / 6, rel=1e-5) or op.alpha == pytest.approx(0.2)
    assert op.beta == pytest.approx(0.5)


@pytest.mark.parametrize("numbers", [(2.0, 0.0, 6.0, 6.0), (3.0, 0.1, 6.0, 6.0), (3.0, 0.0, 5.0, 6.0), (3.0, 0.0, 6.0, 5.0)], ids=str)
def test_hard_swish_with_wrong_numbers(numbers):
    shift, low, high, divisor = numbers
    declined(lambda s, x: s.div(s.mul(x, s.clip(s.add(x, shift), low, high)), divisor), "HardSwish")


def test_hard_swish_of_two_values():
    declined(lambda s, x: s.div(s.mul(s.apply(Neg(), x), s.clip(s.add(x, 3.0), 0.0, 6.0)), 6.0), "HardSwish")
    declined(lambda s, x: s.mul(x, s.apply(HardSigmoid(alpha=0.2), x)), "HardSwish")


def test_integers_are_not_clipped_lines():
    """Integer division truncates."""
    for spelled in (spellings.HARD_SIGMOID, spellings.HARD_SWISH):
        for name, spelling in spelled.items():
            if not any(word in name for word in ("HardSigmoid", "⅙", "0.2", "½")):
                graph = graph_of(spelling, (9,), dtype=DType.INT64)
                found = transformed(graph, RECOGNIZE)
                assert not {"HardSigmoid", "HardSwish"} & set(names(found))
                assert_equal(graph, found, {"x": np.arange(-4, 5)}, tolerance=0)


def test_a_clip_whose_bounds_are_reversed_gives_its_maximum():
    declined(lambda s, x: s.div(s.clip(s.add(x, 3.0), 0.0, -6.0), -6.0), "HardSigmoid")


def test_a_hard_sigmoid_with_a_small_slope_keeps_it():
    graph = graph_of(lambda s, x: s.clip(s.add(s.mul(x, 1e-9), 0.5), 0.0, 1.0), (9,))
    found = transformed(graph, RECOGNIZE)
    assert only(found, "HardSigmoid").alpha == pytest.approx(1e-9)
    assert_equal(graph, found, {"x": np.linspace(-2e9, 2e9, 9, dtype=np.float32)})


def test_relu6_is_a_clip():
    graph = graph_of(spellings.relu6, (3, 107))
    found = transformed(graph, RECOGNIZE)
    assert "HardSigmoid" not in names(found)
    assert_equal(graph, found, WIDE)


def test_a_clip_without_bounds_stays():
    declined(lambda s, x: s.apply(Clip(), s.add(x, 3.0), s.number(0.0, x), None), "HardSigmoid")


# -- Mish, Softplus, Sigmoid ----------------------------------------------------------------------------------------------
@table(spellings.MISH)
def test_mish(spelling):
    check(spelling, "Mish")


def test_mish_needs_its_own_softplus():
    declined(lambda s, x: s.mul(s.apply(Neg(), x), spellings.MISH["x·tanh(softplus(x))"](s, x)), "Mish_")
    shared = declined(lambda s, x: s.mul(s.mul(x, 2.0), s.apply(Tanh(), spellings.SOFTPLUS["log(1+exp(x))"](s, x))), "Mish")
    assert "Softplus" in names(shared)


@table(spellings.SOFTPLUS)
def test_softplus(spelling):
    check(spelling, "Softplus")


def test_softplus_does_not_overflow():
    graph = graph_of(spellings.SOFTPLUS["log(1+exp(x))"], (2,))
    from edgec.ir.interpreter import interpret

    (result,) = interpret(transformed(graph, RECOGNIZE), {"x": np.array([-200, 200], np.float32)}).values()
    np.testing.assert_allclose(result, [0, 200])


@table(spellings.SIGMOID)
def test_sigmoid(spelling):
    check(spelling, "Sigmoid")


def test_constants_of_another_shape_are_no_plain_function():
    """[1, 1, 1] as a summand gives the result a dimension more."""
    one = constant(np.ones((1, 1, 1), np.float32))
    declined(lambda s, x: s.div(1.0, s.apply(Add(), one, s.apply(Exp(), s.apply(Neg(), x)))), "Sigmoid")
    declined(lambda s, x: s.apply(spellings.Log(), s.apply(Add(), one, s.apply(Exp(), x))), "Softplus")
    two = constant(np.ones((2, 1), np.float32))
    declined(lambda s, x: s.div(1.0, s.apply(Add(), two, s.apply(Exp(), s.apply(Neg(), x)))), "Sigmoid", shape=(5,))


def test_sigmoid_with_a_wrong_constant():
    declined(lambda s, x: s.div(1.0, s.add(2.0, s.apply(Exp(), s.apply(Neg(), x)))), "Sigmoid")
    declined(lambda s, x: s.div(2.0, s.add(1.0, s.apply(Exp(), s.apply(Neg(), x)))), "Sigmoid")
    declined(lambda s, x: s.div(1.0, s.add(1.0, s.apply(Exp(), x))), "Sigmoid_")


def test_recognised_nodes_inherit_the_debug_handles():
    graph = graph_of(spellings.GELU_ERF["(x·½)·(1+erf)"], (3, 107))
    for index, node in enumerate(graph):
        node.sources = (f"node{index}",)
    found = transformed(graph, "recognize-activations,dead-code")
    assert found.first is not None
    assert set(found.first.sources) >= {"node0", "node4"} and len(found.first.sources) == len(set(found.first.sources))
    assert isinstance(graph.last.op if graph.last else None, Mul)
