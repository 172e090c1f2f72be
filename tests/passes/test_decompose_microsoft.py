"""Decompositions of com.microsoft operators against the evaluation of the operators themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.op import Op
from edgec.ir.ops.microsoft_attention import MsAttention, MsRotaryEmbedding, MultiHeadAttention
from edgec.ir.ops.microsoft_dynamic import DynamicQuantizeLSTM
from edgec.ir.ops.microsoft_elementwise import BiasAdd, BiasGelu, FastGelu, FusedConv, FusedGemm, FusedMatMul, MsGelu, QuickGelu
from edgec.ir.ops.microsoft_grouped import GroupQueryAttention
from edgec.ir.ops.microsoft_normalization import (
    EmbedLayerNormalization,
    MsSimplifiedLayerNormalization,
    SimplifiedLayerNormalization,
    SkipLayerNormalization,
    SkipSimplifiedLayerNormalization,
)
from edgec.ir.ops.microsoft_products import DynamicQuantizeMatMul, MatMulIntegerToFloat, QGemm
from edgec.ir.ops.microsoft_quantized import (
    QLinearAdd,
    QLinearAveragePool,
    QLinearConcat,
    QLinearGlobalAveragePool,
    QLinearLeakyRelu,
    QLinearMul,
    QLinearSigmoid,
    QLinearSoftmax,
)
from edgec.ir.ops.microsoft_weights import MatMulNBits
from tests.passes.decomposing import check

Array = np.ndarray[Any, Any]


def reals(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def codes(*shape: int, low: int = 0, high: int = 255, dtype: Any = np.uint8, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(low, high, shape, endpoint=True).astype(dtype)


def one(number: float) -> Array:
    return np.array(number, np.float32)


def zero(number: int, dtype: Any = np.uint8) -> Array:
    return np.array(number, dtype)


@pytest.mark.parametrize(
    ("rule", "op", "operands"),
    [
        ("gelu-erf", MsGelu(), [reals(3, 5)]),
        ("gelu-erf", BiasGelu(), [reals(3, 5), reals(5)]),
        ("gelu-tanh-exact", FastGelu(), [reals(3, 5)]),
        ("gelu-tanh-exact", FastGelu(), [reals(3, 5), reals(5)]),
        ("quick-gelu", QuickGelu(), [reals(3, 5)]),
        ("quick-gelu", QuickGelu(alpha=1.0), [reals(3, 5)]),
        ("decompose-bias-add", BiasAdd(), [reals(2, 3, 4), reals(4), reals(2, 3, 4, seed=1)]),
        ("decompose-fused-matmul", FusedMatMul(alpha=0.5, transA=1), [reals(2, 4, 3), reals(2, 4, 5)]),
        ("decompose-fused-matmul", FusedMatMul(transB=1, transBatchA=1), [reals(4, 2, 3), reals(2, 5, 3)]),
        ("decompose-fused-gemm", FusedGemm(activation="Relu", transB=1), [reals(2, 3), reals(4, 3), reals(4)]),
        ("decompose-fused-gemm", FusedGemm(activation="LeakyRelu", activation_alpha=0.2), [reals(2, 3), reals(3, 4), reals(4)]),
        (
            "decompose-fused-conv",
            FusedConv(activation="Clip", activation_params=(-0.5, 0.5), pads=(1, 1, 1, 1)),
            [reals(1, 2, 5, 5), reals(3, 2, 3, 3), reals(3), reals(1, 3, 5, 5)],
        ),
    ],
)
def test_elementwise_and_products(rule: str, op: Op, operands: list[Array]) -> None:
    check(rule, op, *operands)


@pytest.mark.parametrize("bias", [None, reals(8, seed=3)])
def test_skip_normalisations(bias: Array | None) -> None:
    x, skip, gamma = reals(2, 3, 8), reals(2, 3, 8, seed=1), reals(8, seed=2)
    check("decompose-skip-layer-normalization", SkipLayerNormalization(), x, skip, gamma, reals(8), bias, outputs=4)
    check("decompose-skip-layer-normalization", SkipLayerNormalization(epsilon=1e-5), x, skip, gamma, None, bias, symbolic=("0.0", "0.1"))
    half = [a.astype(np.float16) for a in (x, skip, gamma)]
    check("decompose-skip-rms-normalization", SkipSimplifiedLayerNormalization(), *half, rtol=2e-3, atol=2e-3)
    check("decompose-skip-rms-normalization", SkipSimplifiedLayerNormalization(), x, skip, gamma, bias)


def test_simplified_layer_normalisation() -> None:
    for op in (SimplifiedLayerNormalization(), MsSimplifiedLayerNormalization(axis=1)):
        scale = reals(8) if op.axis == -1 else reals(3, 8)
        check("decompose-simplified-layer-normalization", op, reals(2, 3, 8), scale)
        check("decompose-simplified-layer-normalization", op, reals(2, 3, 8), scale, outputs=2)


def test_embeddings() -> None:
    ids, segments = codes(2, 4, high=9, dtype=np.int32), codes(2, 4, high=1, dtype=np.int32)
    mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], np.int32)
    tables = (reals(10, 8), reals(6, 8), reals(2, 8), reals(8), reals(8, seed=1))
    op, rule = EmbedLayerNormalization(), "decompose-embed-layer-normalization"
    check(rule, op, ids, segments, *tables, mask, outputs=3, symbolic=("0.0", "1.0", "7.0"))
    check(rule, op, ids, None, tables[0], tables[1], None, *tables[3:], outputs=2)


MHA = "decompose-multi-head-attention"


def test_multi_head_attention() -> None:
    q, k, v = reals(2, 3, 8), reals(2, 5, 8, seed=1), reals(2, 5, 12, seed=2)
    check(MHA, MultiHeadAttention(num_heads=2), q, k, v, outputs=3)
    check(MHA, MultiHeadAttention(num_heads=2, scale=0.3), q, k, v, reals(28), symbolic=("0.0", "1.0", "2.0", "0.1"))
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    check(MHA, MultiHeadAttention(num_heads=2), q, k, v, None, mask)
    check(MHA, MultiHeadAttention(num_heads=2), q, k, v, None, mask, reals(1, 2, 3, 5))
    check(MHA, MultiHeadAttention(num_heads=2), q, k, v, None, np.array([3, 5], np.int32))
    check(MHA, MultiHeadAttention(num_heads=2), q, reals(2, 2, 5, 4), reals(2, 2, 5, 4, seed=4))


@pytest.mark.parametrize("symbolic", [(), ("0.0", "1.0", "2.0", "6.0", "6.2", "7.0", "7.2", "0.1", "1.1", "2.1")])
def test_multi_head_attention_with_cache(symbolic: tuple[str, ...]) -> None:
    q, k, v = (reals(2, 3, 8, seed=i) for i in range(3))
    past = [reals(2, 2, 4, 4, seed=i) for i in range(2)]
    op = MultiHeadAttention(num_heads=2, unidirectional=1)
    check(MHA, op, q, k, v, None, None, None, *past, outputs=3, symbolic=symbolic)


def test_packed_attention() -> None:
    x, weights, bias = reals(2, 3, 8), reals(8, 24), reals(24)
    rule = "decompose-packed-attention"
    check(rule, MsAttention(num_heads=2), x, weights, bias, outputs=2)
    check(rule, MsAttention(num_heads=2, unidirectional=1), x, weights, bias, symbolic=("0.0", "0.1"))
    mask = np.array([[1, 1, 0], [1, 0, 0]], np.int32)
    check(rule, MsAttention(num_heads=2, mask_filter_value=-50.0), x, weights, bias, mask)
    check(rule, MsAttention(num_heads=2, unidirectional=1), x, weights, bias, None, reals(2, 2, 2, 4, 4), outputs=2)
    check(rule, MsAttention(num_heads=2, qkv_hidden_sizes=(8, 8, 4)), x, reals(8, 20), reals(20))


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(interleaved: int) -> None:
    cos, sin = np.cos(reals(9, 2)), np.sin(reals(9, 2))
    rule = "decompose-microsoft-rotary-embedding"
    positions = codes(2, 3, high=8, dtype=np.int64)
    check(rule, MsRotaryEmbedding(interleaved=interleaved), reals(2, 3, 8), positions, cos, sin)
    check(rule, MsRotaryEmbedding(interleaved=interleaved), reals(2, 2, 3, 4), np.array([2]), cos, sin)
    part = MsRotaryEmbedding(interleaved=interleaved, num_heads=2, rotary_embedding_dim=4)
    check(rule, part, reals(2, 3, 16), positions, cos, sin, symbolic=("0.0", "0.1", "1.0", "1.1"))


GQA = "decompose-group-query-attention"


@pytest.mark.parametrize("options", [{}, {"local_window_size": 2}, {"softcap": 5.0}, {"smooth_softmax": 1}, {"scale": 0.2}])
def test_group_query_attention_prompt(options: dict[str, Any]) -> None:
    op = GroupQueryAttention(num_heads=4, kv_num_heads=2, **options)
    lengths, total = np.array([2, 2], np.int32), np.array(3, np.int32)
    q, k, v = reals(2, 3, 16), reals(2, 3, 8), reals(2, 3, 8, seed=1)
    check(GQA, op, q, k, v, None, None, lengths, total, outputs=3, constants=(6,))
    check(GQA, op, np.concatenate([q, k, v], 2), None, None, None, None, lengths, total, outputs=3, constants=(6,))


@pytest.mark.parametrize("rotary", [0, 1])
@pytest.mark.parametrize("lengths", [[4, 4], [4, 2]])
def test_group_query_attention_decode(rotary: int, lengths: list[int]) -> None:
    op = GroupQueryAttention(num_heads=4, kv_num_heads=2, do_rotary=rotary)
    cos, sin = (np.cos(reals(9, 2)), np.sin(reals(9, 2))) if rotary else (None, None)
    past = [reals(2, 2, 4, 4, seed=i) for i in range(2)]
    ends, total = np.array(lengths, np.int32), np.array(5, np.int32)
    q, k, v = reals(2, 1, 16), reals(2, 1, 8), reals(2, 1, 8, seed=1)
    symbolic = ("3.2", "4.2", "0.0", "1.0", "2.0", "3.0", "4.0", "5.0")
    for dims in ((), symbolic):
        check(GQA, op, q, k, v, *past, ends, total, cos, sin, outputs=3, symbolic=dims)


def test_quantised_operators() -> None:
    a, b = codes(2, 3, 4, 4), codes(2, 3, 4, 4, seed=1)
    scales = (one(0.02), zero(100))
    close: dict[str, Any] = {"atol": 1.0, "rtol": 0}  # rounding of ties may differ by one step
    for op in (QLinearAdd(), QLinearMul()):
        check("decompose-qlinear-binary", op, a, *scales, b, one(0.03), zero(120), one(0.05), zero(128), **close)
    for unary in (QLinearSigmoid(), QLinearLeakyRelu(alpha=0.1), QLinearSoftmax(opset=13)):
        check("decompose-qlinear-unary", unary, a, *scales, one(1 / 256), zero(0), **close)
    parts = [a, *scales, b, one(0.03), zero(120)]
    check("decompose-qlinear-concat", QLinearConcat(axis=1), one(0.04), zero(128), *parts, **close)
    check("decompose-qlinear-pool", QLinearGlobalAveragePool(), a, *scales, one(0.01), zero(110), **close)
    check("decompose-qlinear-pool", QLinearAveragePool(kernel_shape=(2, 2)), a, *scales, one(0.02), zero(110), **close)


def test_quantised_products() -> None:
    a, b = codes(3, 4), codes(4, 5, low=-127, high=127, dtype=np.int8)
    per_column = np.linspace(0.01, 0.05, 5).astype(np.float32)
    points = codes(5, low=-5, high=5, dtype=np.int8)
    rule = "decompose-matmul-integer-to-float"
    check(rule, MatMulIntegerToFloat(), a, b, one(0.02), per_column, zero(120), points, reals(5), rtol=1e-4, atol=1e-3)
    rule = "decompose-dynamic-quantize-matmul"
    check(rule, DynamicQuantizeMatMul(), reals(3, 4), b, per_column, None, reals(5), rtol=1e-4, atol=1e-4)
    quantised = (a, one(0.02), zero(120), b.T.copy(), per_column, points)
    check("decompose-qgemm", QGemm(transB=1), *quantised, codes(5, dtype=np.int32), rtol=1e-4, atol=1e-3)
    out = (one(0.3), zero(128))
    check("decompose-qgemm", QGemm(transB=1, alpha=0.5), *quantised, codes(5, dtype=np.int32), *out, atol=1.0, rtol=0)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("with_zeros", [False, True])
def test_low_bit_weights(bits: int, with_zeros: bool) -> None:
    blocks, columns, size = 2, 6, 16
    packed = codes(columns, blocks, size * bits // 8)
    zeros = codes(columns, -(-blocks * bits // 8), seed=2) if with_zeros else None
    op = MatMulNBits(K=blocks * size - 3, N=columns, block_size=size, bits=bits)
    scales = np.abs(reals(columns, blocks)) + np.float32(0.1)
    graph = check(
        "decompose-matmul-nbits", op, reals(2, 3, blocks * size - 3), packed, scales, zeros, None, reals(columns),
        constants=(1, 2, 3, 5), rtol=1e-4, atol=1e-3,
    )  # fmt: skip
    weight = next(v for v in graph.constants() if v.dtype is not None and v.dtype.short in ("u4", "u8") and v.rank == 2)
    assert weight.shape is not None and weight.shape[0] == columns


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_lstm_with_8_bit_weights(direction: str) -> None:
    n, hidden, size = (2 if direction == "bidirectional" else 1), 4, 3
    weights = [codes(n, rows, 4 * hidden, low=-127, high=127, dtype=np.int8) for rows in (size, hidden)]
    scales = [np.full(n, 0.01, np.float32), np.full(n, 3, np.int8)]
    operands = [reals(5, 2, size), *weights, reals(n, 8 * hidden), None, reals(n, 2, hidden), None, None, *scales, *scales]
    op = DynamicQuantizeLSTM(hidden_size=hidden, direction=direction)
    graph = check("dynamic-lstm-to-float", op, *operands, outputs=3, constants=(1, 2, 8, 9, 10, 11), symbolic=("0.0",))
    assert [node.op.op_name for node in graph] == ["LSTM"]
