"""x·cos + rotate_half(x)·sin becomes RotaryEmbedding where cos and sin have two equal halves."""

import numpy as np
import pytest

from edgec.ir.dtypes import DType
from edgec.ir.ops.attention import RotaryEmbedding
from edgec.ir.ops.concat import Concat
from edgec.ir.ops.reshape import Unsqueeze
from edgec.ir.ops.slice import Slice
from edgec.ir.ops.transpose import Transpose
from edgec.ir.ops.unary import Cos, Neg, Sin
from tests import spellings
from tests.passes.recognition import CLEAN, assert_equal, feeds_of, graph_of, names, transformed

RECOGNIZE = f"{CLEAN},fix(recognize-rotary-embedding,{CLEAN})"
SHAPE = (2, 3, 5, 8)


def check(build, *shapes, left=("RotaryEmbedding",), sizes=None, on_onnxruntime=True, dtype=DType.FLOAT, tolerance=1e-5):
    graph = graph_of(build, *shapes, dtype=dtype)
    found = transformed(graph, RECOGNIZE)
    assert names(found) == list(left)
    assert_equal(graph, found, feeds_of(graph, sizes), tolerance=tolerance, on_onnxruntime=on_onnxruntime)
    return found


def declined(build, *shapes, sizes=None, dtype=DType.FLOAT):
    graph = graph_of(build, *shapes, dtype=dtype)
    found = transformed(graph, RECOGNIZE)
    assert "RotaryEmbedding" not in names(found)
    assert_equal(graph, found, feeds_of(graph, sizes), on_onnxruntime=True)


@pytest.mark.parametrize("by_split", [False, True], ids=["Slice", "Split"])
def test_constant_tables(by_split):
    check(lambda s, x: spellings.rotated(s, x, *spellings.rotary_tables(s, x), by_split=by_split), SHAPE)


def test_constant_tables_for_any_batch():
    check(
        lambda s, x: spellings.rotated(s, x, *spellings.rotary_tables(s, x)),
        ("n", 3, 5, 8),
        left=("Shape", "Concat", "Expand", "Expand", "RotaryEmbedding"),
        sizes={"n": 2},
    )


def test_half_precision():
    check(lambda s, x: spellings.rotated(s, x, *spellings.rotary_tables(s, x)), SHAPE, dtype=DType.FLOAT16, tolerance=2e-3)


def test_tables_computed_from_angles():
    """Angles are concatenated with themselves before the cosine and the sine, as Llama's exporters write it."""

    def build(s, x, angles):
        double = s.apply(Concat(axis=-1), angles, angles)
        cosine, sine = (s.apply(Unsqueeze(), s.apply(op, double), s.ints(1)) for op in (Cos(), Sin()))
        return spellings.rotated(s, x, cosine, sine)

    found = check(build, ("n", 3, "m", 8), ("n", "m", 4), left=("Cos", "Sin", "RotaryEmbedding"), sizes={"n": 2, "m": 5})
    assert found.last is not None and found.last.inputs[1].shape == found.inputs[1].shape


def test_scaled_tables():
    def build(s, x, angles):
        double = s.apply(Concat(axis=-1), angles, angles)
        cosine, sine = (s.apply(Unsqueeze(), s.mul(s.apply(op, double), 0.9), s.ints(1)) for op in (Cos(), Sin()))
        return spellings.rotated(s, x, cosine, sine)

    check(build, SHAPE, (2, 5, 4), left=("Cos", "Mul", "Sin", "Mul", "RotaryEmbedding"))


def test_heads_are_transposed_afterwards():
    def build(s, x):
        y = spellings.heads_of(s, x, 3)
        return spellings.rotated(s, y, *spellings.rotary_tables(s, y))

    check(build, (2, 5, 24), left=("Reshape", "Transpose", "RotaryEmbedding"))


def tables(s, x, shape, *, equal=True):
    angles = np.random.default_rng(1).uniform(0, 6, shape)
    if equal:
        angles[..., shape[-1] // 2 :] = angles[..., : shape[-1] // 2]
    return s.array(np.cos(angles), x), s.array(np.sin(angles), x)


@pytest.mark.parametrize("shape", [(2, 3, 5, 8), (1, 3, 5, 8), (5, 8), (1, 1, 1, 8), (8,)], ids=str)
def test_tables_of_other_shapes(shape):
    """Tables that vary over the heads, or that broadcast over the positions, are not what the operator takes."""
    declined(lambda s, x: spellings.rotated(s, x, *tables(s, x, shape)), SHAPE)


def test_tables_with_one_number_for_each_position():
    def build(s, x):
        return spellings.rotated(s, x, *(s.array(np.full((1, 1, 5, 1), f), x) for f in (0.6, 0.8)))

    declined(build, SHAPE)
    declined(build, (2, 3, 5, 4))


def test_tables_with_different_halves():
    declined(lambda s, x: spellings.rotated(s, x, *tables(s, x, (1, 1, 5, 8), equal=False)), SHAPE)


def test_tables_that_widen_the_batch():
    declined(lambda s, x: spellings.rotated(s, x, *tables(s, x, (4, 1, 5, 8))), (1, 3, 5, 8))


def rotated(s, x, *, cut=4, sign=-1, order=(1, 0), axis=-1):
    first = s.apply(Slice(), x, s.ints(0), s.ints(cut), s.ints(3))
    second = s.apply(Slice(), x, s.ints(cut), s.ints(99), s.ints(3))
    parts = [first, second]
    turned = s.apply(Neg(), parts[order[0]]) if sign < 0 else parts[order[0]]
    half = s.apply(Concat(axis=axis), turned, parts[order[1]])
    cosine, sine = spellings.rotary_tables(s, x)
    return s.add(s.mul(x, cosine), s.mul(half, sine))


def test_the_plain_form_of_the_near_misses():
    check(rotated, SHAPE)


@pytest.mark.parametrize("changes", [{"cut": 3}, {"sign": 1}, {"order": (0, 1)}, {"cut": 5}, {"cut": 3, "order": (0, 1)}], ids=str)
def test_near_misses(changes):
    declined(lambda s, x: rotated(s, x, **changes), SHAPE)


def test_interleaved_pairs_are_not_halves():
    def build(s, x):
        even = s.apply(Slice(), x, s.ints(0), s.ints(8), s.ints(3), s.ints(2))
        odd = s.apply(Slice(), x, s.ints(1), s.ints(8), s.ints(3), s.ints(2))
        cosine, sine = spellings.rotary_tables(s, x)
        return s.add(s.mul(x, cosine), s.mul(s.apply(Concat(axis=-1), s.apply(Neg(), odd), even), sine))

    declined(build, SHAPE)


def test_f64_and_other_ranks_are_left_alone():
    declined(lambda s, x: spellings.rotated(s, x, *spellings.rotary_tables(s, x)), SHAPE, dtype=DType.DOUBLE)

    def build(s, x):
        y = s.apply(Transpose(perm=(0, 2, 1)), x)
        halves = [s.apply(Slice(), y, s.ints(a), s.ints(a + 4), s.ints(2)) for a in (0, 4)]
        turned = s.apply(Concat(axis=-1), s.apply(Neg(), halves[1]), halves[0])
        return s.add(s.mul(y, tables(s, x, (1, 5, 8))[0]), s.mul(turned, tables(s, x, (1, 5, 8))[1]))

    declined(build, (2, 8, 5))


def test_products_that_are_read_elsewhere_are_declined():
    def build(s, x):
        cosine, sine = spellings.rotary_tables(s, x)
        y = spellings.rotated(s, x, cosine, sine)
        return y, s.mul(x, cosine)

    graph = graph_of(build, SHAPE)
    found = transformed(graph, RECOGNIZE)
    assert not any(isinstance(node.op, RotaryEmbedding) for node in found)
    assert_equal(graph, found, feeds_of(graph))
