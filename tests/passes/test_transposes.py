"""Transposes compose, disappear into products and weights, and move through other operators where that leaves fewer of them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.ops.activation import Clip, PRelu, Relu, Sigmoid
from edgec.ir.ops.binary import Add, Div, Mul, Sub
from edgec.ir.ops.concat import Concat, Pad
from edgec.ir.ops.logical import Where
from edgec.ir.ops.matmul import Gemm, MatMul
from edgec.ir.ops.microsoft_elementwise import BiasGelu
from edgec.ir.ops.reduction import ReduceMax, ReduceMean
from edgec.ir.ops.slice import Slice
from edgec.ir.ops.softmax import LogSoftmax, Softmax
from edgec.ir.ops.transpose import Transpose
from edgec.ir.ops.unary import IsNaN, Neg
from edgec.passes.transposes import compose, is_identity
from tests.passes.recognition import assert_equal, feeds_of, graph_of, names, transformed

SINK = "fix(fold-constants,sink-transposes,remove-no-ops,cse,dead-code)"
TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


def turned(s, x, *perm):
    return s.apply(Transpose(perm=perm), x)


def check(build, *shapes, left, sizes=None, dtype=DType.FLOAT, tolerance=1e-6):
    graph = graph_of(build, *shapes, dtype=dtype)
    found = transformed(graph, SINK)
    assert names(found) == left
    assert_equal(graph, found, feeds_of(graph, sizes), tolerance=tolerance)
    return found


# -- composition ------------------------------------------------------------------------------------------------------------------
@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 5).flatmap(lambda rank: st.lists(st.permutations(range(rank)), min_size=1, max_size=4)))
def test_permutations_compose(perms):
    array = np.arange(np.prod(range(2, 2 + len(perms[0])))).reshape(range(2, 2 + len(perms[0])))
    total = tuple(range(array.ndim))
    expected = array
    for perm in perms:
        expected, total = expected.transpose(perm), compose(total, tuple(perm))
    np.testing.assert_array_equal(array.transpose(total), expected)
    assert is_identity(total) == (expected.shape == array.shape and bool((expected == array).all()))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 4).flatmap(lambda rank: st.lists(st.permutations(range(rank)), min_size=1, max_size=5)))
def test_a_chain_of_transposes_is_one_or_none(perms):
    def build(s, x):
        for perm in perms:
            x = turned(s, x, *perm)
        return x

    shape = tuple(range(2, 2 + len(perms[0])))
    graph = graph_of(build, shape)
    found = transformed(graph, SINK)
    total = tuple(range(len(shape)))
    for perm in perms:
        total = compose(total, tuple(perm))
    assert names(found) == ([] if is_identity(total) else ["Transpose"])
    assert_equal(graph, found, feeds_of(graph))


def test_compose_is_associative_and_inverts():
    for p, q in itertools.product(itertools.permutations(range(3)), repeat=2):
        inverse = tuple(int(i) for i in np.argsort(p))
        assert is_identity(compose(p, inverse)) and compose(compose(p, q), inverse) == compose(p, compose(q, inverse))


def test_the_default_permutation_reverses():
    check(lambda s, x: s.apply(Transpose(), s.apply(Transpose(), x)), (2, 3, 4), left=[])


def test_the_inner_of_two_transposes_may_have_other_readers():
    def build(s, x):
        y = turned(s, x, 1, 0, 2)
        return turned(s, y, 1, 0, 2), s.apply(Relu(), y)

    check(build, (2, 3, 4), left=["Transpose", "Relu"])


# -- products -----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("flag_a", "flag_b"), list(itertools.product((0, 1), repeat=2)))
def test_transposed_operands_of_gemm(flag_a, flag_b):
    def build(s, x, y):
        return s.apply(Gemm(transA=flag_a, transB=flag_b, alpha=0.5), turned(s, x, 1, 0), turned(s, y, 1, 0))

    found = check(build, (4, 3) if not flag_a else (3, 4), (5, 4) if not flag_b else (4, 5), left=["Gemm"])
    assert found.first is not None
    assert (found.first.op.transA, found.first.op.transB, found.first.op.alpha) == (1 - flag_a, 1 - flag_b, 0.5)


def test_a_transposed_operand_of_gemm_may_be_read_elsewhere():
    def build(s, x, y):
        t = turned(s, x, 1, 0)
        return s.apply(Gemm(), t, y), s.apply(Relu(), t)

    check(build, (4, 3), (4, 5), left=["Transpose", "Gemm", "Relu"])


def test_a_transposed_matmul_is_a_gemm():
    check(lambda s, x, y: s.apply(MatMul(), x, turned(s, y, 1, 0)), (3, 4), (5, 4), left=["Gemm"])
    check(lambda s, x, y: s.apply(MatMul(), turned(s, x, 1, 0), y), (4, 3), (4, 5), left=["Gemm"])


def test_transposes_of_batches_and_of_integers_stay():
    check(lambda s, x, y: s.apply(MatMul(), x, turned(s, y, 0, 2, 1)), (2, 3, 4), (2, 5, 4), left=["Transpose", "MatMul"])
    check(lambda s, x, y: s.apply(MatMul(), x, turned(s, y, 1, 0)), (3, 4), (5, 4), left=["Transpose", "MatMul"], dtype=DType.INT32)


def test_constant_weights_are_turned_at_compile_time():
    def build(s, x):
        return s.apply(MatMul(), x, turned(s, s.array(np.arange(20).reshape(5, 4), x), 1, 0))

    check(build, (3, 4), left=["MatMul"])


# -- hoisting -----------------------------------------------------------------------------------------------------------------------
def between(*steps):
    """A Transpose to channels last, some steps, and the Transpose back."""

    def build(s, x, *others):
        y = turned(s, x, *TO_NHWC)
        for step in steps:
            y = step(s, y)
        return turned(s, y, *TO_NCHW)

    return build


UNARY = {
    "Relu": lambda s, x: s.apply(Relu(), x),
    "scalar": lambda s, x: s.mul(x, 2.0),
    "Clip": lambda s, x: s.clip(x, -1.0, 1.0),
    "Clip without a bound": lambda s, x: s.apply(Clip(), x, None, s.number(1.0, x)),
    "bias per channel": lambda s, x: s.add(x, s.array(np.arange(4), x)),
    "constant per column and channel": lambda s, x: s.mul(s.array(np.arange(20).reshape(5, 4), x), x),
    "constant of full rank": lambda s, x: s.sub(s.array(np.arange(40).reshape(1, 2, 5, 4), x), x),
    "PRelu": lambda s, x: s.apply(PRelu(), x, s.array(np.arange(4) / 4, x)),
    "Where": lambda s, x: s.apply(Where(), s.apply(IsNaN(), x), s.number(0.0, x), x),
    "Softmax": lambda s, x: s.apply(Softmax(axis=-1), x),
    "Softmax over another axis": lambda s, x: s.apply(LogSoftmax(axis=1), x),
    "ReduceMean": lambda s, x: s.apply(ReduceMean(), x, s.ints(1, -2)),
    "ReduceMax": lambda s, x: s.apply(ReduceMax(), x, s.ints(3)),
    "Pad": lambda s, x: s.apply(Pad(), x, s.ints(0, 1, 0, 2, 0, 0, 3, 0), s.number(1.0, x)),
    "Pad by reflection": lambda s, x: s.apply(Pad(mode="reflect"), x, s.ints(0, 1, 2, 0, 0, 0, 1, 0)),
    "Slice": lambda s, x: s.apply(Slice(), x, s.ints(1, 0), s.ints(4, 9), s.ints(2, -1), s.ints(1, 2)),
}


@pytest.mark.parametrize("name", list(UNARY))
def test_a_pair_of_transposes_around_an_operator(name):
    graph = graph_of(between(UNARY[name]), (3, 4, 2, 5))
    found = transformed(graph, SINK)
    assert "Transpose" not in names(found)
    assert_equal(graph, found, feeds_of(graph))


def test_a_pair_of_transposes_around_a_chain():
    check(between(UNARY["Relu"], UNARY["bias per channel"], UNARY["Slice"]), ("n", 4, 2, 5), left=["Relu", "Add", "Slice"], sizes={"n": 2})


def test_transposes_of_both_operands():
    def build(s, x, y):
        a, b = turned(s, x, *TO_NHWC), turned(s, y, *TO_NHWC)
        return turned(s, s.add(a, s.apply(Sigmoid(), b)), *TO_NCHW)

    check(build, (2, 3, 4, 5), (2, 3, 4, 5), left=["Sigmoid", "Add"])


def test_a_concat_of_transposed_values():
    def build(s, x, y):
        return turned(s, s.apply(Concat(axis=-1), turned(s, x, *TO_NHWC), turned(s, y, *TO_NHWC)), *TO_NCHW)

    found = check(build, (2, 3, 4, 5), (2, 1, 4, 5), left=["Concat"])
    assert found.first is not None and found.first.op.axis % 4 == 1


def test_one_of_two_operands_is_not_transposed():
    """The count stays the same at best, so it is only done when it gets no worse."""

    def build(s, x, y):
        return turned(s, s.add(turned(s, x, *TO_NHWC), y), *TO_NCHW)

    graph = graph_of(build, (2, 3, 4, 5), (2, 4, 5, 3))
    found = transformed(graph, SINK)
    assert names(found).count("Transpose") == 1
    assert_equal(graph, found, feeds_of(graph))


def test_a_value_that_is_also_used_as_it_is():
    def build(s, x):
        y = s.apply(Relu(), turned(s, x, 0, 2, 1))
        return turned(s, y, 0, 2, 1), s.mul(y, y)

    graph = graph_of(build, (2, 3, 4))
    found = transformed(graph, SINK)
    assert names(found).count("Transpose") <= 2
    assert_equal(graph, found, feeds_of(graph))


def test_one_operand_twice():
    check(lambda s, x: turned(s, s.mul(turned(s, x, 1, 0), turned(s, x, 1, 0)), 1, 0), (3, 4), left=["Mul"])
    check(lambda s, x: turned(s, (lambda y: s.mul(y, y))(s.apply(Neg(), turned(s, x, 1, 0))), 1, 0), (3, 4), left=["Neg", "Mul"])


def test_operands_of_lower_rank_are_in_the_way():
    def build(s, x, y):
        return turned(s, s.add(turned(s, x, *TO_NHWC), y), *TO_NCHW)

    check(build, (2, 3, 4, 5), (3,), left=["Transpose", "Add", "Transpose"])


def test_reductions_that_drop_dimensions_are_in_the_way():
    def build(s, x):
        return turned(s, s.apply(ReduceMean(keepdims=0), turned(s, x, *TO_NHWC), s.ints(1)), 0, 2, 1)

    graph = graph_of(build, (2, 3, 4, 5))
    assert_equal(graph, transformed(graph, SINK), feeds_of(graph))


def test_operators_with_operands_of_a_fixed_rank_are_in_the_way():
    """The bias of BiasGelu is a vector along the last axis."""

    def build(s, x):
        return turned(s, s.apply(BiasGelu(), turned(s, x, 0, 2, 1), s.array(np.arange(3), x)), 0, 2, 1)

    check(build, (2, 3, 4), left=["Transpose", "BiasGelu", "Transpose"])


def test_symbolic_shapes_move_with_their_axes():
    graph = graph_of(between(UNARY["Relu"], lambda s, x: s.apply(Softmax(axis=2), x)), ("n", 3, "h", "w"))
    found = transformed(graph, SINK)
    assert "Transpose" not in names(found)
    assert found.outputs[0].shape == (symbol("n"), 3, symbol("h"), symbol("w"))
    assert_equal(graph, found, feeds_of(graph, {"n": 2, "h": 4, "w": 5}))


def test_large_constants_are_not_stored_twice():
    def build(s, x):
        table = s.array(np.random.default_rng(0).uniform(-1, 1, (200, 200)), x)
        return turned(s, s.add(turned(s, x, 1, 0), table), 1, 0), s.mul(x, table)

    check(build, (200, 200), left=["Transpose", "Add", "Transpose", "Mul"])


BINARY = (Add(), Sub(), Mul(), Div())


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.permutations(range(4)), st.lists(st.sampled_from(sorted(UNARY)), max_size=4), st.integers(0, 3))
def test_sinking_never_leaves_more_transposes(perm, steps, binary):
    def build(s, x):
        y = turned(s, x, *perm)
        for name in steps:
            y = UNARY[name](s, y) if name in ("Relu", "scalar", "Clip", "Softmax", "ReduceMax") else s.apply(Neg(), y)
        y = s.apply(BINARY[binary], y, s.number(2.0, y))
        return turned(s, y, *perm)

    graph = graph_of(build, (2, 3, 4, 5))
    found = transformed(graph, SINK)
    assert names(found).count("Transpose") <= 1
    assert_equal(graph, found, feeds_of(graph))
