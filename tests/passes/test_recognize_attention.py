"""Scaled dot-product attention in small operators becomes Attention, with masks, grouped heads and packed layouts."""

import math

import numpy as np
import pytest

from edgec.ir.dtypes import DType
from edgec.ir.graph import constant
from edgec.ir.ops.attention import Attention
from edgec.ir.ops.binary import Add
from edgec.ir.ops.concat import Split
from edgec.ir.ops.gather import Gather
from edgec.ir.ops.logical import Where
from edgec.ir.ops.matmul import MatMul
from edgec.ir.ops.reshape import Reshape, Squeeze
from edgec.ir.ops.softmax import Softmax
from edgec.ir.ops.transpose import Transpose
from edgec.passes.context import Context
from tests import spellings
from tests.passes.recognition import CLEAN, assert_equal, feeds_of, graph_of, names, transformed

RECOGNIZE = f"{CLEAN},fix(recognize-rotary-embedding,recognize-attention,{CLEAN})"
HEADS = (2, 3, 5, 4)
SYMBOLIC = ("batch", 3, "tokens", 4)
SIZES = {"batch": 2, "tokens": 5, "past": 7}


def attention_of(graph):
    found = [node for node in graph.walk() if isinstance(node.op, Attention)]
    assert len(found) == 1, names(graph)
    return found[0]


def check(build, *shapes, left=None, sizes=SIZES, dtype=DType.FLOAT, tolerance=1e-5, on_onnxruntime=True, feeds=None):
    graph = graph_of(build, *shapes, dtype=dtype)
    found = transformed(graph, RECOGNIZE)
    if left is not None:
        assert names(found) == left
    assert_equal(graph, found, feeds or feeds_of(graph, sizes), tolerance=tolerance, on_onnxruntime=on_onnxruntime)
    return attention_of(found)


def declined(build, *shapes, sizes=SIZES, on_onnxruntime=True, dtype=DType.FLOAT):
    graph = graph_of(build, *shapes, dtype=dtype)
    found = transformed(graph, RECOGNIZE)
    assert "Attention" not in names(found)
    assert_equal(graph, found, feeds_of(graph, sizes), on_onnxruntime=on_onnxruntime)


def plain(**options):
    return lambda s, q, k, v: spellings.attention(s, q, k, v, **options)


# -- scales ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("scaled", ["scores/", "scores*", "q*", "q/", "both"])
@pytest.mark.parametrize("shape", [HEADS, SYMBOLIC], ids=str)
def test_placements_of_the_scale(scaled, shape):
    node = check(plain(scaled=scaled), shape, shape, shape, left=["Attention"])
    assert node.op.scale is None


def test_another_scale_is_kept():
    assert check(plain(scale=0.3), HEADS, HEADS, HEADS, left=["Attention"]).op.scale == pytest.approx(0.3)
    assert check(plain(scaled="none"), HEADS, HEADS, HEADS, left=["Attention"]).op.scale == 1.0
    tiny = check(plain(scale=1.23456789e-7, scaled="scores*"), HEADS, HEADS, HEADS)
    assert tiny.op.scale == pytest.approx(1.23456789e-7, rel=1e-6)


@pytest.mark.parametrize("scale", [-0.5, 0.0])
def test_a_scale_that_is_not_positive_is_declined(scale):
    """The operator multiplies both operands by the root of the scale."""
    declined(plain(scale=scale, scaled="scores*"), HEADS, HEADS, HEADS)


def test_a_scale_after_the_mask_is_declined():
    def build(s, q, k, v, mask):
        scores = s.add(s.apply(MatMul(), q, s.apply(Transpose(perm=(0, 1, 3, 2)), k)), mask)
        return s.apply(MatMul(), s.apply(Softmax(), s.div(scores, 2.0)), v)

    declined(build, HEADS, HEADS, HEADS, (5, 5))


def test_keys_and_queries_of_different_lengths():
    check(plain(), ("batch", 3, "tokens", 4), ("batch", 3, "past", 4), ("batch", 3, "past", 6), left=["Attention"])


def test_half_precision_only_when_approximation_is_allowed():
    graph = graph_of(plain(), HEADS, HEADS, HEADS, dtype=DType.FLOAT16)
    assert "Attention" not in names(transformed(graph, RECOGNIZE))
    found = transformed(graph, RECOGNIZE, Context(allow_approximate=True))
    assert names(found) == ["Attention"]
    assert_equal(graph, found, feeds_of(graph, SIZES), tolerance=3e-3, on_onnxruntime=True)


def test_f64_is_left_alone():
    """Runtimes compute the operator in f32 at most."""
    declined(plain(), HEADS, HEADS, HEADS, dtype=DType.DOUBLE)


def test_intermediate_scores_that_are_read_elsewhere():
    def build(s, q, k, v):
        scores = s.div(s.apply(MatMul(), q, s.apply(Transpose(perm=(0, 1, 3, 2)), k)), 2.0)
        return s.apply(MatMul(), s.apply(Softmax(), scores), v), scores

    declined(build, HEADS, HEADS, HEADS)


def test_weights_that_are_read_elsewhere():
    def build(s, q, k, v):
        weights = s.apply(Softmax(), s.apply(MatMul(), q, s.apply(Transpose(perm=(0, 1, 3, 2)), k)))
        return s.apply(MatMul(), weights, v), weights

    declined(build, HEADS, HEADS, HEADS)


def test_softmax_over_another_axis_is_declined():
    def build(s, q, k, v):
        return s.apply(MatMul(), s.apply(Softmax(axis=2), s.apply(MatMul(), q, s.apply(Transpose(perm=(0, 1, 3, 2)), k))), v)

    declined(build, HEADS, HEADS, HEADS)


def test_other_ranks_are_declined():
    def build(s, q, k, v):
        return s.apply(MatMul(), s.apply(Softmax(), s.apply(MatMul(), q, s.apply(Transpose(perm=(0, 2, 1)), k))), v)

    declined(build, (2, 5, 4), (2, 5, 4), (2, 5, 4))


# -- what broadcasts in products, but not in the operator ---------------------------------------------------------------------------
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("axis", [0, 1])
def test_operands_that_broadcast_are_declined(which, axis):
    shapes = [list(HEADS) for _ in range(3)]
    shapes[which][axis] = 1
    declined(plain(), *shapes)


def test_a_mask_that_multiplies_the_batch_is_declined():
    declined(lambda s, q, k, v, mask: spellings.attention(s, q, k, v, mask=mask), *[(1, 3, 5, 4)] * 3, (4, 1, 5, 5))


def test_a_mask_of_five_dimensions_is_declined():
    def build(s, q, k, v, mask):
        scores = s.add(s.apply(MatMul(), q, s.apply(Transpose(perm=(0, 1, 3, 2)), k)), mask)
        return s.apply(MatMul(), s.apply(Softmax(), scores), v)

    declined(build, HEADS, HEADS, HEADS, (1, 1, 1, 5, 5))


def test_keys_turned_in_another_way_are_not_mistaken():
    """[B, H, S, D] → [B, H·S, D] → turned → [B, H, D, S] has the right shape and other contents."""

    def build(s, q, k, v):
        flat = s.apply(Reshape(), k, s.ints(2, 15, 4))
        keys = s.apply(Reshape(), s.apply(Transpose(perm=(0, 2, 1)), flat), s.ints(2, 3, 4, 5))
        return s.apply(MatMul(), s.apply(Softmax(), s.apply(MatMul(), q, keys)), v)

    check(build, HEADS, HEADS, HEADS, left=["Reshape", "Transpose", "Reshape", "Transpose", "Attention"])


def test_keys_turned_with_batch_and_heads_merged():
    def build(s, q, k, v):
        flat = s.apply(Reshape(), k, s.ints(-1, 5, 4))
        keys = s.apply(Reshape(), s.apply(Transpose(perm=(0, 2, 1)), flat), s.ints(2, 3, 4, 5))
        return s.apply(MatMul(), s.apply(Softmax(), s.apply(MatMul(), q, keys)), v)

    check(build, HEADS, HEADS, HEADS, left=["Attention"])


# -- masks ---------------------------------------------------------------------------------------------------------------------------
MASKS = [(5, 5), (1, 1, 5, 5), (2, 1, 5, 5), (2, 3, 5, 5), (2, 1, 1, 5), (1, 3, 1, 5), (1, 5), (5,)]


@pytest.mark.parametrize("shape", MASKS, ids=str)
def test_a_mask_of_numbers(shape):
    """Kernels broadcast a mask over batch and heads, so one that does not name the queries is spread over them."""
    node = check(lambda s, q, k, v, mask: spellings.attention(s, q, k, v, mask=mask), HEADS, HEADS, HEADS, shape)
    assert node.inputs[3].shape[-2:] == (5, 5)


@pytest.mark.parametrize("shape", [("tokens", "past"), ("batch", 1, "tokens", "past"), ("batch", 1, 1, "past"), ("past",)], ids=str)
def test_a_mask_of_symbolic_size(shape):
    query, keys = ("batch", 3, "tokens", 4), ("batch", 3, "past", 4)
    node = check(lambda s, q, k, v, mask: spellings.attention(s, q, k, v, mask=mask), query, keys, keys, shape)
    assert node.inputs[3].shape[-2] == node.inputs[0].shape[2]


@pytest.mark.parametrize("shape", [(5, 1), (2, 1, 5, 1), ()], ids=str)
def test_a_mask_that_does_not_span_the_keys_is_declined(shape):
    declined(lambda s, q, k, v, mask: spellings.attention(s, q, k, v, mask=mask), HEADS, HEADS, HEADS, shape)


def masked(shape, low=-math.inf, order="where", guard=False, seed=3):
    def build(s, q, k, v):
        allowed = np.random.default_rng(seed).random(shape) > 0.4
        allowed[..., 0] = True
        condition = constant(allowed if order == "where" else ~allowed)
        numbers = (s.number(0.0, q), s.number(low, q))
        mask = s.apply(Where(), condition, *(numbers if order == "where" else numbers[::-1]))
        return spellings.attention(s, q, k, v, mask=mask, guard=guard)

    return build


@pytest.mark.parametrize("shape", [(5, 5), (2, 1, 5, 5), (2, 1, 1, 5)], ids=str)
@pytest.mark.parametrize("low", [-math.inf, -3.4028234663852886e38, -1e4], ids=str)
@pytest.mark.parametrize("order", ["where", "reversed"])
def test_a_constant_mask(shape, low, order):
    check(masked(shape, low, order), HEADS, HEADS, HEADS)


def boolean_input(low, guard=False):
    """A graph whose mask is computed from an input of bools."""
    graph = graph_of(lambda s, q, k, v: (q, k, v), SYMBOLIC, SYMBOLIC, SYMBOLIC)
    from tests.passes.recognition import tensor

    allowed = graph.add_input("allowed", tensor(DType.BOOL, ("batch", 1, "tokens", "tokens")))
    s = spellings.Speller(graph)
    q, k, v = graph.inputs[:3]
    mask = s.apply(Where(), allowed, s.number(0.0, q), s.number(low, q))
    graph.set_outputs([spellings.attention(s, q, k, v, mask=mask, guard=guard)], ["r0"])
    feeds = feeds_of(graph, SIZES)
    feeds["allowed"][..., 0] = True
    return graph, feeds


@pytest.mark.parametrize("guard", [False, True])
def test_a_boolean_mask(guard):
    graph, feeds = boolean_input(-math.inf, guard)
    found = transformed(graph, RECOGNIZE)
    assert names(found) == ["Attention"]
    assert attention_of(found).inputs[3].dtype is DType.BOOL
    assert_equal(graph, found, feeds, on_onnxruntime=True)


@pytest.mark.parametrize("low", [-2.0, -3.4028234663852886e38], ids=str)
def test_a_finite_penalty_is_no_boolean_mask(low):
    """Where all keys of a query are masked, a finite penalty weighs them alike: queries of padding."""
    graph, feeds = boolean_input(low)
    feeds["allowed"][0, 0, 1] = False
    found = transformed(graph, RECOGNIZE)
    assert names(found) == ["Where", "Attention"]
    assert_equal(graph, found, feeds, on_onnxruntime=True)


def test_the_guard_against_undefined_rows():
    check(masked((5, 5), guard=True), HEADS, HEADS, HEADS)
    check(plain(guard=True), HEADS, HEADS, HEADS, left=["Attention"])


# -- grouped heads ----------------------------------------------------------------------------------------------------------------------
def grouped(times=3, values=3):
    def build(s, q, k, v):
        return spellings.attention(s, q, spellings.repeated(s, k, times), spellings.repeated(s, v, values))

    return build


@pytest.mark.parametrize(("batch", "tokens"), [(2, 5), ("batch", "tokens"), (1, "tokens")], ids=str)
def test_grouped_query_attention(batch, tokens):
    """Every key head serves several query heads in a row."""
    node = check(grouped(), (batch, 6, tokens, 4), (batch, 2, tokens, 4), (batch, 2, tokens, 4), left=["Attention"])
    assert node.inputs[1].shape[1] == 2


def test_one_key_head_for_all():
    check(grouped(6, 6), (2, 6, 5, 4), (2, 1, 5, 4), (2, 1, 5, 4), left=["Attention"])


def test_keys_and_values_repeated_differently():
    graph = graph_of(grouped(3, 6), (2, 6, 5, 4), (2, 2, 5, 4), (2, 1, 5, 4))
    found = transformed(graph, RECOGNIZE)
    assert names(found).count("Expand") == 2
    assert_equal(graph, found, feeds_of(graph), on_onnxruntime=True)


def test_heads_repeated_as_a_block_are_not_grouped():
    """h₀ h₁ h₀ h₁ is another assignment than h₀ h₀ h₁ h₁."""
    from edgec.ir.ops.reshape import Tile

    def build(s, q, k, v):
        return spellings.attention(s, q, *(s.apply(Tile(), x, s.ints(1, 2, 1, 1)) for x in (k, v)))

    graph = graph_of(build, (2, 4, 5, 4), (2, 2, 5, 4), (2, 2, 5, 4))
    found = transformed(graph, RECOGNIZE)
    assert names(found).count("Tile") == 2
    assert_equal(graph, found, feeds_of(graph), on_onnxruntime=True)


# -- packed layouts ------------------------------------------------------------------------------------------------------------------------
def block(heads=3, key_heads=None, rotary=False, mask=False):
    """Projections, split heads, attention, merged heads: the block of a transformer on ``[batch, tokens, 12]``."""

    def build(s, x, *rest):
        generator = np.random.default_rng(7)

        def projection(y, size):
            return s.apply(MatMul(), y, s.array(generator.standard_normal((y.shape[-1], size)) / 3, y))

        kv = key_heads or heads
        q = spellings.heads_of(s, projection(x, heads * 4), heads)
        k, v = (spellings.heads_of(s, projection(x, kv * 4), kv) for _ in range(2))
        if rotary:
            tables = spellings.rotary_tables(s, q)
            q, k = (spellings.rotated(s, y, *tables) for y in (q, k))
        if kv != heads:
            k, v = (spellings.repeated(s, y, heads // kv) for y in (k, v))
        y = spellings.merged(s, spellings.attention(s, q, k, v, mask=rest[0] if mask else None))
        return projection(y, 12)

    return build


@pytest.mark.parametrize("shape", [(2, 5, 12), ("batch", "tokens", 12)], ids=str)
def test_packed_attention(shape):
    node = check(block(), shape, left=["MatMul", "MatMul", "MatMul", "Attention", "MatMul"])
    assert (node.op.q_num_heads, node.op.kv_num_heads) == (3, 3) and node.output.rank == 3


def test_packed_grouped_attention():
    node = check(block(6, 2), ("batch", "tokens", 24), left=["MatMul", "MatMul", "MatMul", "Attention", "MatMul"])
    assert (node.op.q_num_heads, node.op.kv_num_heads) == (6, 2)


def test_packed_attention_with_a_mask():
    check(block(mask=True), ("batch", "tokens", 12), ("batch", 1, "tokens", "tokens"), left=["MatMul"] * 3 + ["Attention", "MatMul"])


def test_packed_attention_with_rotary_embedding():
    graph = graph_of(block(rotary=True), (2, 5, 12))
    found = transformed(graph, RECOGNIZE)
    assert names(found).count("RotaryEmbedding") == 2 and "Transpose" not in names(found)
    assert attention_of(found).op.q_num_heads == 3
    assert_equal(graph, found, feeds_of(graph), on_onnxruntime=True)


def stacked(pick):
    """One projection for queries, keys and values, as vision transformers have it."""

    def build(s, x):
        qkv = s.apply(MatMul(), x, s.array(np.random.default_rng(7).standard_normal((12, 36)) / 3, x))
        parts = s.apply(Transpose(perm=(2, 0, 3, 1, 4)), s.apply(Reshape(), qkv, s.ints(0, 0, 3, 3, 4)))
        return spellings.merged(s, spellings.attention(s, *pick(s, parts)))

    return build


PICKS = {
    "Gather": lambda s, x: [s.apply(Gather(axis=0), x, constant(i, dtype=DType.INT64)) for i in range(3)],
    "Split": lambda s, x: [s.apply(Squeeze(), part, s.ints(0)) for part in s.apply(Split(num_outputs=3), x, outputs=3)],
}


@pytest.mark.parametrize("pick", list(PICKS))
@pytest.mark.parametrize("shape", [(2, 5, 12), ("batch", "tokens", 12)], ids=str)
def test_packed_attention_of_one_stacked_projection(pick, shape):
    node = check(stacked(PICKS[pick]), shape, left=["MatMul", "Split", "Attention"])
    assert node.op.q_num_heads == 3


def test_heads_merged_in_another_order_are_not_packed():
    def build(s, x):
        q, k, v = (spellings.heads_of(s, s.mul(x, f), 3) for f in (1.0, 0.5, 2.0))
        return s.apply(Reshape(), spellings.attention(s, q, k, v), s.ints(2, 5, 12))

    graph = graph_of(build, (2, 5, 12))
    found = transformed(graph, RECOGNIZE)
    assert attention_of(found).op.q_num_heads is None
    assert_equal(graph, found, feeds_of(graph), on_onnxruntime=True)


def test_declines_say_why():
    context = Context(declines=[])

    def build(s, q, k, v):
        scores = s.apply(Add(), s.apply(MatMul(), q, s.apply(Transpose(perm=(0, 1, 3, 2)), k)), s.number(1.0, q))
        return s.apply(MatMul(), s.apply(Softmax(), scores), v)

    transformed(graph_of(build, HEADS, HEADS, HEADS), "recognize-attention", context)
    assert "the mask does not span the keys" in {record.reason for record in context.declines or ()}
