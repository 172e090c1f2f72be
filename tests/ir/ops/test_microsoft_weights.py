"""Products with block-quantised weights against onnxruntime."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.op import infer_types
from edgec.ir.ops.microsoft_dynamic import DynamicQuantizeLSTM, MsQLinearConv, NhwcMaxPool
from edgec.ir.ops.microsoft_weights import GatherBlockQuantized, MatMulBnb4, MatMulNBits
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats, run_onnxruntime


def _bytes(generator: Any, *shape: int) -> Any:
    return generator.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("k,block", [(64, 16), (80, 32)])
@pytest.mark.parametrize("zeros", ["none", "packed", "float"])
@pytest.mark.parametrize("biased", [False, True])
def test_matmul_n_bits(bits: int, k: int, block: int, zeros: str, biased: bool) -> None:
    if zeros == "float" and bits == 8:
        pytest.skip("onnxruntime takes no floating-point zero points of 8-bit weights")
    r = np.random.default_rng(0)
    n, blocks = 6, -(-k // block)
    points = None
    if zeros == "packed":
        points = _bytes(r, n, -(-blocks * bits // 8))
    elif zeros == "float":
        points = r.uniform(0, 1 << bits, (n, blocks)).astype(np.float32)
    operands = [floats(r, 2, 3, k), _bytes(r, n, blocks, block * bits // 8), floats(r, n, blocks) / (1 << bits), points]
    operands += [None, floats(r, n)] if biased else []
    op = MatMulNBits(K=k, N=n, block_size=block, bits=bits)
    check_against_onnxruntime(op, operands, atol=2e-4)


@pytest.mark.parametrize("kind", [0, 1])
def test_matmul_bnb4(kind: int) -> None:
    r = np.random.default_rng(1)
    n, k, block = 6, 64, 16
    operands = [floats(r, 2, k), _bytes(r, n * k // 2), np.abs(floats(r, n * k // block))]
    check_against_onnxruntime(MatMulBnb4(K=k, N=n, block_size=block, quant_type=kind), operands, atol=1e-4)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_gather_block_quantized(zeros: bool, packed: bool) -> None:
    r = np.random.default_rng(2)
    indices = np.asarray([[0, 4], [-1, 2]], np.int64)
    scales = floats(r, 5, 2)
    if packed:
        operands = [_bytes(r, 5, 16), indices, scales, _bytes(r, 5, 1) if zeros else None]
    else:
        codes = r.integers(0, 16, (5, 32)).astype(ml_dtypes.uint4)
        operands = [codes, indices, scales, r.integers(0, 16, (5, 2)).astype(ml_dtypes.uint4) if zeros else None]
    op = GatherBlockQuantized(block_size=16)
    if packed:
        check_against_onnxruntime(op, operands)
        return
    expanded = [
        op.evaluate(*operands),
        *infer_types(op, [TensorType(DType.UINT4, (5, 32)), TensorType(DType.INT64, (2, 2)), _type(scales)], 1),
    ]
    points = operands[3].astype(np.float32) if zeros else np.zeros((5, 2), np.float32)
    table = (operands[0].astype(np.float32) - np.repeat(points, 16, axis=1)) * np.repeat(scales, 16, axis=1)
    np.testing.assert_allclose(expanded[0], table[indices], rtol=1e-6)
    assert str(expanded[1]) == "f32[2, 2, 32]"


def _type(array: Any) -> TensorType:
    return TensorType(DType.from_numpy(array.dtype), array.shape)


@pytest.mark.parametrize("ceil_mode", [0, 1])
def test_nhwc_max_pool(ceil_mode: int) -> None:
    r = np.random.default_rng(3)
    op = NhwcMaxPool(kernel_shape=(3, 2), strides=(2, 2), pads=(1, 0, 0, 1), ceil_mode=ceil_mode)
    check_against_onnxruntime(op, [_bytes(r, 2, 7, 8, 3)], rtol=0, atol=0)


@pytest.mark.parametrize("last", [0, 1])
def test_quantized_convolution(last: int) -> None:
    r = np.random.default_rng(4)
    x = _bytes(r, 1, 4, 9, 8)
    scalar = [np.asarray(v, np.float32) for v in (0.02, 0.01, 0.5)]
    operands = [
        np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x,
        scalar[0],
        np.asarray(120, np.uint8),
        r.integers(-120, 120, (6, 2, 3, 3), dtype=np.int8),
        scalar[1],
        np.asarray(0, np.int8),
        scalar[2],
        np.asarray(128, np.uint8),
        r.integers(-500, 500, 6, dtype=np.int32),
    ]
    op = MsQLinearConv(channels_last=last, group=2, pads=(1, 1, 1, 1), strides=(2, 1))
    check_against_onnxruntime(op, operands, rtol=0, atol=1)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_dynamically_quantized_lstm(direction: str) -> None:
    r = np.random.default_rng(5)
    n, hidden, size = (2 if direction == "bidirectional" else 1), 4, 3
    weights = [r.integers(-127, 127, (n, rows, 4 * hidden), dtype=np.int8) for rows in (size, hidden)]
    scales = [np.full((n,), 0.01, np.float32), np.zeros((n,), np.int8)]
    operands = [floats(r, 5, 2, size), *weights, floats(r, n, 8 * hidden), None, None, None, None, *scales, *scales]
    op = DynamicQuantizeLSTM(hidden_size=hidden, direction=direction)
    reference = run_onnxruntime(op, operands, 3)
    for result, expected in zip(op.evaluate(*operands), reference, strict=True):
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, atol=0.02)  # activations are quantised to 8 bits there


def test_symbolic_shapes_and_errors() -> None:
    a = TensorType(DType.FLOAT, (symbol("batch"), symbol("tokens"), 64))
    b, scales = TensorType(DType.UINT8, (6, 2, 16)), TensorType(DType.FLOAT, (6, 2))
    op = MatMulNBits(K=64, N=6, block_size=32)
    assert str(infer_types(op, [a, b, scales], 1)[0]) == "f32[batch, tokens, 6]"
    with pytest.raises(Diagnostic, match="the last dimension of A and K: 64 and 32 must be equal"):
        infer_types(MatMulNBits(K=32, N=6, block_size=32), [a, TensorType(DType.UINT8, (6, 1, 16)), TensorType(DType.FLOAT, (6,))], 1)
    with pytest.raises(Diagnostic, match="block_size 12 must be a power of two"):
        infer_types(MatMulNBits(K=64, N=6, block_size=12), [a, b, scales], 1)
    with pytest.raises(Diagnostic, match="B must be u8"):
        infer_types(op, [a, TensorType(DType.INT8, (6, 2, 16)), scales], 1)
