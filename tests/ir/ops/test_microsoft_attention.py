"""Attention operators of com.microsoft against onnxruntime's CPU kernels, and their shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.op import infer_types
from edgec.ir.ops.microsoft_attention import MsAttention, MsRotaryEmbedding, MultiHeadAttention
from edgec.ir.ops.microsoft_dynamic import QAttention
from edgec.ir.ops.microsoft_grouped import GroupQueryAttention
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats

BATCH, TOKENS, HEADS, SIZE = 2, 5, 4, 16
HIDDEN = HEADS * SIZE
PAST = 3


def _ints(*values: Any) -> Any:
    return np.asarray(values, np.int32)


def _masks(keys: int) -> dict[str, Any]:
    flags = np.ones((BATCH, keys), np.int32)
    flags[0, -2:] = 0
    flags[1, :1] = 0
    cube = np.ones((BATCH, TOKENS, keys), np.int32)
    cube[:, 1, 2:] = 0
    return {"none": None, "lengths": _ints(keys - 2, keys), "flags": flags, "cube": cube}


@pytest.mark.parametrize("mask", ["none", "lengths", "flags", "cube", "ends and starts"])
@pytest.mark.parametrize("unidirectional", [0, 1])
@pytest.mark.parametrize("cached", [False, True])
def test_attention(mask: str, unidirectional: int, cached: bool) -> None:
    r = np.random.default_rng(0)
    keys = TOKENS + PAST * cached
    held = _ints(keys - 1, keys, 1, 0) if mask == "ends and starts" else _masks(keys)[mask]
    operands = [floats(r, BATCH, TOKENS, 16), floats(r, 16, 3 * HIDDEN) / 4, floats(r, 3 * HIDDEN), held]
    operands.append(floats(r, 2, BATCH, HEADS, PAST, SIZE) if cached else None)
    operands.append(None if cached else floats(r, BATCH, HEADS, TOKENS, keys))  # onnxruntime refuses both
    check_against_onnxruntime(MsAttention(HEADS, unidirectional=unidirectional), operands, 2)


def test_attention_with_wider_values_and_scale() -> None:
    r = np.random.default_rng(1)
    op = MsAttention(HEADS, qkv_hidden_sizes=(HIDDEN, HIDDEN, 2 * HIDDEN), scale=0.5, mask_filter_value=-100.0)
    operands = [floats(r, BATCH, TOKENS, 16), floats(r, 16, 4 * HIDDEN) / 4, floats(r, 4 * HIDDEN), _masks(TOKENS)["flags"]]
    check_against_onnxruntime(op, operands)


@pytest.mark.parametrize("mask", ["none", "lengths", "flags", "cube"])
@pytest.mark.parametrize("unidirectional", [0, 1])
@pytest.mark.parametrize("cached", [False, True])
def test_multi_head_attention(mask: str, unidirectional: int, cached: bool) -> None:
    r = np.random.default_rng(2)
    keys = TOKENS + PAST * cached
    operands = [floats(r, BATCH, TOKENS, HIDDEN), floats(r, BATCH, TOKENS, HIDDEN), floats(r, BATCH, TOKENS, 2 * HIDDEN)]
    operands += [floats(r, 4 * HIDDEN), _masks(keys)[mask], floats(r, 1, HEADS, TOKENS, keys)]
    if cached:
        operands[2], operands[3] = floats(r, BATCH, TOKENS, HIDDEN), floats(r, 3 * HIDDEN)
        operands += [floats(r, BATCH, HEADS, PAST, SIZE) for _ in range(2)]
    check_against_onnxruntime(MultiHeadAttention(HEADS, unidirectional=unidirectional), operands, 3)


def test_multi_head_attention_to_given_heads() -> None:
    r = np.random.default_rng(3)
    operands = [floats(r, BATCH, TOKENS, HIDDEN), *(floats(r, BATCH, HEADS, 7, SIZE) for _ in range(2))]
    check_against_onnxruntime(MultiHeadAttention(HEADS), operands)


def test_multi_head_attention_packed() -> None:
    r = np.random.default_rng(4)
    query, key, value = (floats(r, BATCH, TOKENS, HEADS, SIZE) for _ in range(3))
    flat = [x.reshape(BATCH, TOKENS, HIDDEN) for x in (query, key, value)]
    op = MultiHeadAttention(HEADS)
    expected = op.evaluate(*flat)[0]
    np.testing.assert_array_equal(op.evaluate(np.stack((query, key, value), axis=3))[0], expected)
    np.testing.assert_array_equal(op.evaluate(flat[0], np.stack((key, value), axis=3))[0], expected)


def _grouped(cached: bool, *, packed: bool = False, rotary: bool = True, tokens: int = TOKENS, kept: int = PAST) -> list[Any]:
    r = np.random.default_rng(5)
    shared = 2 * SIZE
    widths = (HIDDEN + 2 * shared,) if packed else (HIDDEN, shared, shared)
    operands: list[Any] = [floats(r, BATCH, tokens, w) for w in widths] + [None] * (3 - len(widths))
    operands += [floats(r, BATCH, 2, kept, SIZE) if cached else None for _ in range(2)]
    total = tokens + kept if cached else tokens
    operands += [_ints(total - 1, total - 1), np.asarray([total], np.int32)]
    angles = r.uniform(0, 6, (32, SIZE // 2)).astype(np.float32)
    return operands + ([np.cos(angles), np.sin(angles)] if rotary else [])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("window", [-1, 3])
@pytest.mark.parametrize("tokens,cached", [(TOKENS, False), (1, True)])
def test_grouped_query_attention(packed: bool, interleaved: int, window: int, tokens: int, cached: bool) -> None:
    op = GroupQueryAttention(HEADS, 2, do_rotary=1, rotary_interleaved=interleaved, local_window_size=window, softcap=5.0, scale=0.4)
    check_against_onnxruntime(op, _grouped(cached, packed=packed, tokens=tokens), 3)


def test_grouped_query_attention_with_sinks_and_bias() -> None:
    r = np.random.default_rng(6)
    operands = _grouped(False) + [None, floats(r, 1, HEADS, TOKENS, TOKENS), floats(r, HEADS)]
    check_against_onnxruntime(GroupQueryAttention(HEADS, 2, do_rotary=1), operands, 3)
    check_against_onnxruntime(GroupQueryAttention(HEADS, 2, smooth_softmax=1), _grouped(False, rotary=False), 3)


def test_grouped_query_attention_of_padded_prompts() -> None:
    operands = _grouped(False, rotary=False)
    operands[5] = _ints(TOKENS - 3, TOKENS - 1)
    expected = check_against_onnxruntime(GroupQueryAttention(HEADS, 2), operands, 3)
    assert expected[0].shape == (BATCH, TOKENS, HIDDEN)


def test_grouped_query_attention_continues_unequal_lengths() -> None:
    operands = _grouped(True, tokens=1, kept=6)
    operands[5], operands[6] = _ints(3, 6), np.asarray([7], np.int32)
    check_against_onnxruntime(GroupQueryAttention(HEADS, 2, do_rotary=1), operands, 3)


def test_grouped_query_attention_extends_by_several_tokens() -> None:
    operands = _grouped(True, tokens=3)
    operands[:5] = [o[:1] for o in operands[:5]]
    operands[5] = operands[5][:1]
    check_against_onnxruntime(GroupQueryAttention(HEADS, 2, do_rotary=1), operands, 3)


@pytest.mark.parametrize("shape,heads,partial", [((2, 5, 64), 0, 0), ((2, 4, 5, 16), 0, 0), ((2, 5, 64), 4, 8)])
@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("offset", [False, True])
def test_rotary_embedding(shape: tuple[int, ...], heads: int, partial: int, interleaved: int, offset: bool) -> None:
    r = np.random.default_rng(7)
    angles = r.uniform(0, 6, (20, (partial or SIZE) // 2)).astype(np.float32)
    places = np.asarray([3], np.int64) if offset else r.integers(0, 20, (2, 5))
    op = MsRotaryEmbedding(interleaved=interleaved, num_heads=heads, rotary_embedding_dim=partial)
    check_against_onnxruntime(op, [floats(r, *shape), places, np.cos(angles), np.sin(angles)])


@pytest.mark.parametrize("unidirectional", [0, 1])
def test_quantized_attention(unidirectional: int) -> None:
    r = np.random.default_rng(8)
    operands = [
        r.integers(0, 255, (BATCH, TOKENS, 16), dtype=np.uint8),
        r.integers(-127, 127, (16, 3 * HIDDEN), dtype=np.int8),
        floats(r, 3 * HIDDEN),
        np.asarray(0.02, np.float32),
        np.asarray(0.01, np.float32),
        _ints(4, 5),
        np.asarray(120, np.uint8),
        np.asarray(0, np.int8),
        floats(r, 2, BATCH, HEADS, PAST, SIZE),
    ]
    check_against_onnxruntime(QAttention(HEADS, unidirectional=unidirectional), operands, 2)


def test_symbolic_shapes() -> None:
    b, s, p = symbol("batch"), symbol("tokens"), symbol("past")
    x = TensorType(DType.FLOAT, (b, s, HIDDEN))
    cache = TensorType(DType.FLOAT, (b, HEADS, p, SIZE))
    types = infer_types(MultiHeadAttention(HEADS), [x, x, x, None, None, None, cache, cache], 3)
    assert [str(t) for t in types] == ["f32[batch, tokens, 64]", *["f32[batch, 4, past + tokens, 16]"] * 2]
    lengths, total = TensorType(DType.INT32, (b,)), TensorType(DType.INT32, (), (symbol("total"),))
    narrow = TensorType(DType.FLOAT, (b, s, 2 * SIZE))
    kept = TensorType(DType.FLOAT, (b, 2, 64, SIZE))
    types = infer_types(GroupQueryAttention(HEADS, 2), [x, narrow, narrow, kept, kept, lengths, total], 3)
    assert str(types[1]) == "f32[batch, 2, max(64, total), 16]"


def test_errors() -> None:
    x = TensorType(DType.FLOAT, (2, 5, 30))
    with pytest.raises(Diagnostic, match="30 is not divisible by 4"):
        infer_types(MultiHeadAttention(HEADS), [x, x, x], 1)
    with pytest.raises(Diagnostic, match="multiple of 3 key heads"):
        infer_types(GroupQueryAttention(HEADS, 3), [x, x, x, None, None, TensorType(DType.INT32, (2,)), x], 1)
    with pytest.raises(Diagnostic, match="30 and 16 must be equal"):
        infer_types(MsAttention(HEADS), [x, TensorType(DType.FLOAT, (16, 96))], 1)
