"""Attention, rotary embedding and linear attention of ai.onnx: against onnxruntime, symbolic shapes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.op import infer_types
from edgec.ir.ops.attention import Attention, LinearAttention, RotaryEmbedding
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats

F32 = DType.FLOAT
BATCH, HEADS, SHARED, QUERIES, KEYS, SIZE, PAST = 2, 4, 2, 3, 5, 8, 2


def _operands(flat: bool, heads: int = SHARED) -> list[Any]:
    r = np.random.default_rng(0)
    shapes = ((HEADS, QUERIES, SIZE), (heads, KEYS, SIZE), (heads, KEYS, SIZE))
    if flat:
        shapes = tuple((t, h * s) for h, t, s in shapes)
    return [floats(r, BATCH, *s) for s in shapes]


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("mask", ["none", "bool", "float"])
@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_attention(flat: bool, cached: bool, mask: str, softcap: float) -> None:
    r = np.random.default_rng(1)
    total = KEYS + PAST * cached
    held = {"none": None, "bool": r.uniform(size=(QUERIES, total)) < 0.8, "float": floats(r, BATCH, 1, QUERIES, total)}[mask]
    operands = [*_operands(flat), held]
    if cached:
        operands += [floats(r, BATCH, SHARED, PAST, SIZE) for _ in range(2)]
    heads = {"q_num_heads": HEADS, "kv_num_heads": SHARED} if flat else {}
    op = Attention(softcap=softcap, scale=0.3, qk_matmul_output_mode=0, **heads)
    check_against_onnxruntime(op, operands, 4, opset=23, wanted=None if cached else (0,))


@pytest.mark.parametrize("cached", [False, True])
def test_causal(cached: bool) -> None:
    r = np.random.default_rng(2)
    operands: list[Any] = [floats(r, BATCH, HEADS, QUERIES, SIZE) for _ in range(3)]
    if cached:
        operands += [None, *(floats(r, BATCH, HEADS, PAST, SIZE) for _ in range(2))]
    check_against_onnxruntime(Attention(is_causal=1), operands, 3, opset=24, wanted=None if cached else (0,))


def test_windows_restrict_the_visible_keys() -> None:
    r = np.random.default_rng(3)
    q, k, v = (floats(r, 1, 1, 6, 4) for _ in range(3))
    distance = np.arange(6) - np.arange(6)[:, None]
    expected = Attention().evaluate(q, k, v, (distance >= -2) & (distance <= 1))[0]
    result = Attention(left_window_size=2, right_window_size=1).evaluate(q, k, v)[0]
    np.testing.assert_array_equal(result, expected)
    causal = Attention(left_window_size=2, right_window_size=1, is_causal=1).evaluate(q, k, v)[0]
    np.testing.assert_array_equal(causal, Attention().evaluate(q, k, v, (distance >= -2) & (distance <= 0))[0])


def test_fully_masked_rows_give_zeros() -> None:
    r = np.random.default_rng(4)
    q, k, v = (floats(r, 1, 1, 3, 4) for _ in range(3))
    y = Attention().evaluate(q, k, v, np.asarray([[True] * 3, [False] * 3, [True] * 3]))[0]
    assert np.all(y[0, 0, 1] == 0) and np.all(np.isfinite(y))


def test_attention_shapes() -> None:
    b, s, p = symbol("batch"), symbol("tokens"), symbol("past")
    q, k = TensorType(F32, (b, s, 64)), TensorType(F32, (b, s, 32))
    cache = TensorType(F32, (b, 2, p, 16))
    types = infer_types(Attention(q_num_heads=4, kv_num_heads=2), [q, k, k, None, cache, cache], 4)
    expected = ["f32[batch, tokens, 64]", *["f32[batch, 2, past + tokens, 16]"] * 2, "f32[batch, 4, tokens, past + tokens]"]
    assert [str(t) for t in types] == expected


def test_attention_errors() -> None:
    q, k = TensorType(F32, (2, 3, 64)), TensorType(F32, (2, 5, 32))
    with pytest.raises(Diagnostic, match="q_num_heads and kv_num_heads are needed"):
        Attention().infer(q, k, k)
    with pytest.raises(Diagnostic, match="head sizes of Q and K: 16 and 32"):
        Attention(q_num_heads=4, kv_num_heads=1).infer(q, k, k)
    with pytest.raises(Diagnostic, match="4 query heads are not a multiple of 3"):
        Attention().infer(TensorType(F32, (1, 4, 5, 8)), *(TensorType(F32, (1, 3, 5, 8)),) * 2)
    with pytest.raises(Diagnostic, match="must be given together"):
        Attention(q_num_heads=4, kv_num_heads=2).infer(q, k, k, None, TensorType(F32, (2, 2, 1, 16)))
    with pytest.raises(Diagnostic, match="does not broadcast"):
        Attention(q_num_heads=4, kv_num_heads=2).infer(q, k, k, TensorType(F32, (2, 5)))


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("partial", [0, 4])
@pytest.mark.parametrize("placed", [False, True])
def test_rotary_embedding(interleaved: int, partial: int, placed: bool) -> None:
    r = np.random.default_rng(5)
    angles = r.uniform(0, 6, (20, (partial or SIZE) // 2) if placed else (BATCH, QUERIES, (partial or SIZE) // 2))
    caches = [np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)]
    places = [r.integers(0, 20, (BATCH, QUERIES))] if placed else []
    op = RotaryEmbedding(interleaved=interleaved, rotary_embedding_dim=partial, num_heads=HEADS)
    check_against_onnxruntime(op, [floats(r, BATCH, QUERIES, HEADS * SIZE), *caches, *places])
    check_against_onnxruntime(op, [floats(r, BATCH, HEADS, QUERIES, SIZE), *caches, *places])


def test_rotary_errors() -> None:
    x, cache = TensorType(F32, (2, 3, 32)), TensorType(F32, (20, 4))
    places = TensorType(DType.INT64, (2, 3))
    with pytest.raises(Diagnostic, match="half the rotated elements: 4 and 2"):
        RotaryEmbedding(num_heads=8).infer(x, cache, cache, places)
    with pytest.raises(Diagnostic, match="cos_cache must have rank 3, not 2"):
        RotaryEmbedding(num_heads=4).infer(x, cache, cache)


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
def test_linear_attention_continues_from_its_state(rule: str) -> None:
    r = np.random.default_rng(6)
    op = LinearAttention(kv_num_heads=2, q_num_heads=4, update_rule=rule)
    operands = [floats(r, 1, 6, w) for w in (32, 16, 12)]
    extras = [-np.abs(floats(r, 1, 6, 2)), np.abs(floats(r, 1, 6, 2)) / 4]
    whole, state = op.evaluate(*operands, None, *extras)
    first, carried = op.evaluate(*(x[:, :2] for x in operands), None, *(x[:, :2] for x in extras))
    second, final = op.evaluate(*(x[:, 2:] for x in operands), carried, *(x[:, 2:] for x in extras))
    np.testing.assert_allclose(np.concatenate((first, second), axis=1), whole, atol=1e-6)
    np.testing.assert_allclose(final, state, atol=1e-6)
    types = op.infer(*(TensorType(F32, x.shape) for x in operands), None, *(TensorType(F32, x.shape) for x in extras))
    assert [str(t) for t in types] == ["f32[1, 6, 24]", "f32[1, 2, 8, 6]"]


def test_linear_attention_errors() -> None:
    x = TensorType(F32, (1, 6, 16))
    with pytest.raises(Diagnostic, match="'gated' needs the operand decay"):
        LinearAttention(2, 2, update_rule="gated").infer(x, x, x)
    with pytest.raises(Diagnostic, match="3 query heads are not a multiple of 2"):
        LinearAttention(2, 3).infer(x, x, x)
