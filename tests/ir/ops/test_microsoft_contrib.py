"""The contributed (com.microsoft) operators against ONNX Runtime's CPU kernels, and their diagnostics."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from edgec.ir.data import ArrayData
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import constant_type
from edgec.ir.op import MICROSOFT, OPS, infer_types
from edgec.ir.ops.microsoft_elementwise import FastGelu, FusedConv, FusedGemm, FusedMatMul
from edgec.ir.ops.microsoft_products import DynamicQuantizeMatMul, MatMulIntegerToFloat, QGemm
from edgec.ir.ops.microsoft_quantized import (
    QLinearAdd,
    QLinearAveragePool,
    QLinearConcat,
    QLinearGlobalAveragePool,
)
from edgec.ir.ops.quantize import MsQuantizeLinear
from edgec.ir.types import UNKNOWN, TensorType

Array = Any


def run_runtime(name: str, operands: list[Array | None], attributes: dict[str, Any]) -> Array:
    """The first result of one contributed node in ONNX Runtime without graph optimisations."""
    names = ["" if operand is None else f"i{index}" for index, operand in enumerate(operands)]
    node = helper.make_node(name, names, ["y"], domain=MICROSOFT, **attributes)
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(o.dtype), o.shape)
        for n, o in zip(names, operands, strict=True)
        if o is not None
    ]
    graph = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info("y")])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {n: o for n, o in zip(names, operands, strict=True) if o is not None})[0]


def check(name: str, operands: list[Array | None], **attributes: Any) -> None:
    """Inferred type and evaluated result agree with ONNX Runtime; quantised results may differ by one in 1 % of cases.

    (Kernels with and without fused multiply-add instructions round near-ties differently.)
    """
    op = OPS[(MICROSOFT, name)](**attributes)
    wanted = run_runtime(name, operands, attributes)
    types = [None if o is None else constant_type(ArrayData(o)) for o in operands]
    (inferred,) = infer_types(op, types, 1)
    assert isinstance(inferred, TensorType)
    assert inferred.shape == wanted.shape
    assert inferred.dtype.numpy == wanted.dtype
    result = op.evaluate(*operands)
    assert result.shape == wanted.shape
    assert result.dtype == wanted.dtype
    if wanted.dtype.kind in "iu":
        difference = np.abs(result.astype(np.int64) - wanted.astype(np.int64))
        assert difference.max() <= 1
        assert np.mean(difference > 0) < 0.01
        assert len(np.unique(wanted)) > 4
    else:
        np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=2e-6)


def f32(*values: float) -> Array:
    return np.array(values if len(values) > 1 else values[0], np.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_activations(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 5, 32)).astype(np.float32) * 3
    bias = rng.normal(size=32).astype(np.float32)
    check("Gelu", [x])
    check("QuickGelu", [x])
    check("QuickGelu", [x], alpha=0.7)
    check("FastGelu", [x])
    check("FastGelu", [x, bias])
    check("BiasGelu", [x, bias])


QUANTISED = [(np.uint8, 0, 255, (100, 140, 120)), (np.int8, -128, 127, (3, -9, 20))]


@pytest.mark.parametrize(("dtype", "low", "high", "zeros"), QUANTISED)
def test_elementwise_on_quantised(rng: np.random.Generator, dtype: Any, low: int, high: int, zeros: tuple[int, ...]) -> None:
    a, b = (rng.integers(low, high + 1, (40, 60)).astype(dtype) for _ in range(2))
    za, zb, zc = (np.array(z, dtype) for z in zeros)
    for scale in (0.05, 0.0371, 0.11):
        check("QLinearAdd", [a, f32(0.031), za, b, f32(0.047), zb, f32(scale), zc])
        check("QLinearMul", [a, f32(0.031), za, b, f32(0.047), zb, f32(scale), zc])
    check("QLinearAdd", [a, f32(0.031), za, b[:1], f32(0.047), zb, f32(0.06), zc])
    check("QLinearSigmoid", [a, f32(0.031), za, f32(1 / 256), np.array(low, dtype)])
    check("QLinearLeakyRelu", [a, f32(0.031), za, f32(0.033), zb], alpha=0.1)
    check("QLinearConcat", [f32(0.05), zc, a, f32(0.031), za, b, f32(0.05), zc], axis=1)
    for attributes in ({"opset": 13, "axis": -1}, {"opset": 12, "axis": 1}, {"opset": 13, "axis": 0}):
        check("QLinearSoftmax", [a, f32(0.031), za, f32(1 / 256), np.array(low, dtype)], **attributes)


@pytest.mark.parametrize(("dtype", "low", "high", "zeros"), QUANTISED)
def test_pools_on_quantised(rng: np.random.Generator, dtype: Any, low: int, high: int, zeros: tuple[int, ...]) -> None:
    x = rng.integers(low, high + 1, (2, 6, 9, 11)).astype(dtype)
    operands = [x, f32(0.031), np.array(zeros[0], dtype), f32(0.023), np.array(zeros[1], dtype)]
    check("QLinearGlobalAveragePool", operands)
    check("QLinearGlobalAveragePool", operands, channels_last=1)
    check("QLinearAveragePool", operands, kernel_shape=(3, 3))
    check("QLinearAveragePool", operands, kernel_shape=(2, 2), channels_last=1)
    check("QLinearAveragePool", operands, kernel_shape=(3, 3), pads=(1, 1, 1, 1), strides=(2, 2))
    check(
        "QLinearAveragePool",
        operands,
        kernel_shape=(3, 3),
        pads=(1, 1, 1, 1),
        count_include_pad=1,
        ceil_mode=1,
    )


@pytest.mark.parametrize(("left", "right"), [(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.int8)])
def test_products_of_quantised(rng: np.random.Generator, left: Any, right: Any) -> None:
    limits_a, limits_b = np.iinfo(left), np.iinfo(right)
    a = rng.integers(limits_a.min, limits_a.max + 1, (5, 7, 16)).astype(left)
    b = rng.integers(limits_b.min, limits_b.max + 1, (16, 9)).astype(right)
    za, zb = np.array(5, left), rng.integers(0, 20, 9).astype(right)
    scales, bias = rng.uniform(0.01, 0.02, 9).astype(np.float32), rng.normal(size=9).astype(np.float32)
    addend = rng.integers(-5000, 5000, 9).astype(np.int32)
    check("MatMulIntegerToFloat", [a, b, f32(0.02), f32(0.01)])
    check("MatMulIntegerToFloat", [a, b, f32(0.02), scales, za, zb, bias])
    check("QGemm", [a[0], f32(0.02), za, b, scales, zb, addend, f32(0.3), za], alpha=0.7)
    check("QGemm", [a[0], f32(0.02), za, b, scales, zb, addend], alpha=0.7)
    transposed = [a[0].T.copy(), f32(0.02), za, b.T.copy(), scales, zb, None, f32(0.3), za]
    check("QGemm", transposed, transA=1, transB=1)
    real = rng.normal(size=(5, 7, 16)).astype(np.float32)
    check("DynamicQuantizeMatMul", [real, b, f32(0.02)])
    check("DynamicQuantizeMatMul", [real, b, scales, zb, bias])


def test_fused_matrix_products(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 3, 4, 5)).astype(np.float32), rng.normal(size=(2, 3, 5, 6)).astype(np.float32)
    check("FusedMatMul", [a, b], alpha=0.5)
    flipped = [a.swapaxes(2, 3).copy(), b.swapaxes(2, 3).copy()]
    check("FusedMatMul", flipped, alpha=0.5, transA=1, transB=1)
    check("FusedMatMul", [rng.normal(size=(4, 2, 3, 5)).astype(np.float32), b], transBatchA=1)
    batches = [rng.normal(size=s).astype(np.float32) for s in ((4, 2, 3, 5), (5, 2, 3, 6))]
    check("FusedMatMul", batches, transBatchA=1, transBatchB=1)
    check("FusedMatMul", [rng.normal(size=(5, 3, 4)).astype(np.float32), b[0]], transBatchA=1, transA=1)


GEMM_CASES: list[dict[str, Any]] = [
    {"activation": "Relu"},
    {"activation": "Tanh"},
    {"activation": "Sigmoid"},
    {"activation": "Softplus"},
    {"activation": "Softsign"},
    {"activation": "LeakyRelu", "activation_alpha": 0.2},
    {"activation": "Elu", "activation_alpha": 0.3},
    {"activation": "ThresholdedRelu", "activation_alpha": 0.3},
    {"activation": "HardSigmoid", "activation_alpha": 0.2, "activation_beta": 0.5},
    {"activation": "ParametricSoftplus", "activation_alpha": 0.3, "activation_beta": 0.4},
    {"activation": "ScaledTanh", "activation_alpha": 0.3, "activation_beta": 0.4},
]


@pytest.mark.parametrize("attributes", GEMM_CASES, ids=lambda a: a["activation"])
def test_fused_gemm(rng: np.random.Generator, attributes: dict[str, Any]) -> None:
    operands = [rng.normal(size=s).astype(np.float32) for s in ((4, 6), (6, 5), (5,))]
    check("FusedGemm", operands, alpha=0.5, beta=0.25, **attributes)


CONV_CASES: list[dict[str, Any]] = [
    {"activation": "Relu"},
    {"activation": "Tanh"},
    {"activation": "Sigmoid"},
    {"activation": "HardSwish"},
    {"activation": "LeakyRelu", "activation_params": (0.2,)},
    {"activation": "Clip", "activation_params": (-0.5, 0.5)},
    {"activation": "HardSigmoid", "activation_params": (0.2, 0.5)},
]


@pytest.mark.parametrize("attributes", CONV_CASES, ids=lambda a: a["activation"])
def test_fused_conv(rng: np.random.Generator, attributes: dict[str, Any]) -> None:
    x, w, bias, z = (rng.normal(size=s).astype(np.float32) for s in ((1, 4, 8, 8), (6, 2, 3, 3), (6,), (1, 6, 8, 8)))
    check("FusedConv", [x, w, bias], group=2, pads=(1, 1, 1, 1), **attributes)
    check("FusedConv", [x, w, bias, z], group=2, pads=(1, 1, 1, 1), **attributes)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_contributed_quantisation(rng: np.random.Generator, dtype: Any) -> None:
    x = rng.normal(size=(4, 5, 16)).astype(np.float32) * 3
    zero, zeros = np.array(2, dtype), np.arange(5).astype(dtype)
    scales = np.linspace(0.01, 0.1, 5).astype(np.float32)
    check("QuantizeLinear", [x, f32(0.03), zero])
    check("QuantizeLinear", [x, scales, zeros], axis=1)
    stored = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (4, 5, 16)).astype(dtype)
    check("DequantizeLinear", [stored, f32(0.03), zero])
    check("DequantizeLinear", [stored, scales, zeros], axis=1)


def test_bias_add_sums_three_operands() -> None:
    """There is no CPU kernel to compare with; the definition is a sum."""
    op = OPS[(MICROSOFT, "BiasAdd")]()
    x, bias, skip = (
        np.ones((1, 2, 3), np.float32),
        np.arange(3, dtype=np.float32),
        np.full((1, 2, 3), 2, np.float32),
    )
    np.testing.assert_array_equal(op.evaluate(x, bias, skip), [[[3, 4, 5], [3, 4, 5]]])
    n = symbol("n")
    kinds = [TensorType(DType.FLOAT, s) for s in ((n, 2, 3), (3,), (n, 2, 3))]
    assert op.infer(*kinds) == kinds[0]


def test_symbolic_shapes() -> None:
    batch, length = symbol("batch"), symbol("length")
    a = TensorType(DType.FLOAT, (batch, length, 16))
    b = TensorType(DType.FLOAT, (batch, 8, 16))
    assert FusedMatMul(transB=1).infer(a, b).shape == (batch, length, 8)
    x = TensorType(DType.UINT8, (batch, 6, length, 32))
    scale, zero = TensorType(DType.FLOAT, ()), TensorType(DType.UINT8, ())
    assert QLinearAdd().infer(x, scale, zero, x, scale, zero, scale, zero).shape == x.shape
    pooled = QLinearAveragePool(kernel_shape=(2, 2), strides=(2, 2)).infer(x, scale, zero, scale, zero)
    assert pooled.shape == (batch, 6, length // 2, 16)
    assert QLinearGlobalAveragePool().infer(x, scale, zero, scale, zero).shape == (batch, 6, 1, 1)
    joined = QLinearConcat(axis=2).infer(scale, zero, x, scale, zero, x, scale, zero)
    assert joined.shape == (batch, 6, 2 * length, 32)
    weight = TensorType(DType.INT8, (16, 5))
    assert DynamicQuantizeMatMul().infer(a, weight, scale) == TensorType(DType.FLOAT, (batch, length, 5))
    quantised = TensorType(DType.UINT8, (batch, 16))
    assert QGemm().infer(quantised, scale, zero, weight, scale, TensorType(DType.INT8, ())).shape == (
        batch,
        5,
    )


def test_unknown_operands_give_partial_types() -> None:
    known = TensorType(DType.FLOAT, None)
    assert FusedMatMul().infer(UNKNOWN, known) == known
    assert FastGelu().infer(UNKNOWN) == UNKNOWN
    assert FastGelu().infer(known) == known
    bytes_ = TensorType(DType.UINT8, None)
    assert MatMulIntegerToFloat().infer(bytes_, bytes_, known, known) == known
    assert QLinearAdd().infer(UNKNOWN, known, bytes_, bytes_, known, bytes_, known, bytes_) == bytes_


def test_diagnostics() -> None:
    x = TensorType(DType.FLOAT, (2, 3, 4))
    with pytest.raises(Diagnostic, match="bias"):
        FastGelu().infer(x, TensorType(DType.FLOAT, (5,)))
    with pytest.raises(Diagnostic, match="4 and 3"):
        FusedMatMul().infer(x, x)
    matrix = TensorType(DType.FLOAT, (4, 4))
    with pytest.raises(Diagnostic, match="activation is 'Reluu'") as raised:
        FusedGemm(activation="Reluu").infer(matrix, matrix)
    assert "Relu" in raised.value.hint
    with pytest.raises(Diagnostic, match="needs 2 parameters, not 1"):
        image, weight = TensorType(DType.FLOAT, (1, 1, 4, 4)), TensorType(DType.FLOAT, (1, 1, 3, 3))
        FusedConv(activation="Clip", activation_params=(0.0,)).infer(image, weight)
    stored, scale = TensorType(DType.UINT8, (2, 3)), TensorType(DType.FLOAT, ())
    with pytest.raises(Diagnostic, match="needs the operand y_scale"):
        OPS[(MICROSOFT, "QLinearSigmoid")]().infer(stored, scale)
    with pytest.raises(Diagnostic, match="one scale per tensor"):
        OPS[(MICROSOFT, "QLinearSigmoid")]().infer(stored, TensorType(DType.FLOAT, (3,)), None, scale)
    with pytest.raises(Diagnostic, match="without an axis"):
        MsQuantizeLinear().infer(x, TensorType(DType.FLOAT, (3,)))
    with pytest.raises(Diagnostic, match="both the scale and the zero point"):
        zero = TensorType(DType.UINT8, ())
        QGemm().infer(stored, scale, zero, TensorType(DType.UINT8, (3, 2)), scale, zero, None, scale)
