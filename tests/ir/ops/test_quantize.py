"""Quantisation: granularities, element types, agreement with ONNX Runtime, and diagnostics."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.op import OPS, infer_types
from edgec.ir.ops.quantize import DequantizeLinear, DynamicQuantizeLinear, QuantizeLinear
from edgec.ir.ops.quantized_products import ConvInteger, MatMulInteger, QLinearConv, QLinearMatMul
from edgec.ir.types import UNKNOWN, TensorType
from tests.ir.ops.operator_lists import QUANTISATION

Array = Any
BATCH = symbol("batch")
SCALE = TensorType(DType.FLOAT, ())


def run_runtime(op: Any, operands: list[Array], results: int = 1) -> list[Array]:
    """The results of one node in ONNX Runtime."""
    names = [f"i{i}" for i in range(len(operands))]
    outputs = [f"y{i}" for i in range(results)]
    attributes = {k: v.code if isinstance(v, DType) else v for k, v in op.changed_attributes()}
    node = helper.make_node(op.op_name, names, outputs, **attributes)
    kinds = zip(names, operands, strict=True)
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(o.dtype), o.shape) for n, o in kinds]
    graph = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info(n) for n in outputs])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, operands, strict=True)))


def check(op: Any, *operands: Array, results: int = 1) -> None:
    evaluated = op.evaluate(*operands)
    evaluated = evaluated if isinstance(evaluated, tuple) else (evaluated,)
    for ours, theirs in zip(evaluated, run_runtime(op, list(operands), results), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.mark.parametrize("name", QUANTISATION)
def test_since_and_attributes_are_those_of_the_schema(name: str) -> None:
    history = [s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == name and not s.domain]
    op = OPS[("", name)]()
    assert op.since == min(history)
    assert {n for n, _ in op.attributes()} == set(onnx.defs.get_schema(name).attributes)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
@pytest.mark.parametrize("real", [np.float32, np.float16])
def test_quantize_and_dequantize_like_the_runtime(rng: np.random.Generator, dtype: Any, real: Any) -> None:
    x = (rng.normal(size=(6, 10, 8)) * 4).astype(real)
    scale, zero = np.array(0.037, real), np.array(7, dtype)
    scales, zeros = rng.uniform(0.01, 0.1, 10).astype(real), rng.integers(0, 20, 10).astype(dtype)
    blocks, block_zeros = (
        rng.uniform(0.01, 0.1, (6, 5, 8)).astype(real),
        rng.integers(0, 20, (6, 5, 8)).astype(dtype),
    )
    check(QuantizeLinear(), x, scale, zero)
    check(QuantizeLinear(axis=1), x, scales, zeros)
    check(QuantizeLinear(axis=1, block_size=2), x, blocks, block_zeros)
    stored = QuantizeLinear().evaluate(x, scale, zero)
    check(DequantizeLinear(), stored, scale, zero)
    check(DequantizeLinear(axis=1), stored, scales, zeros)
    check(DequantizeLinear(axis=1, block_size=2), stored, blocks, block_zeros)


def test_extremes_saturate_like_the_runtime() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.5, 1.5, 2.5], np.float32)
    for dtype in (np.uint8, np.int8, np.int16):
        check(QuantizeLinear(), x, np.array(1, np.float32), np.array(3, dtype))


def test_dynamic_quantisation_like_the_runtime(rng: np.random.Generator) -> None:
    for x in (rng.normal(size=100), np.zeros(5), np.abs(rng.normal(size=7)), -np.ones(3)):
        check(DynamicQuantizeLinear(), x.astype(np.float32), results=3)


def test_products_like_the_runtime(rng: np.random.Generator) -> None:
    a, b = rng.integers(0, 256, (3, 7, 16)).astype(np.uint8), rng.integers(-128, 128, (16, 9)).astype(np.int8)
    za, zb = np.array(120, np.uint8), np.arange(9).astype(np.int8)
    scales = rng.uniform(0.01, 0.02, 9).astype(np.float32)
    one, out, zero = np.array(0.02, np.float32), np.array(0.3, np.float32), np.array(100, np.uint8)
    check(MatMulInteger(), a, b, za, zb)
    check(QLinearMatMul(), a, one, za, b, scales, np.zeros(9, np.int8), out, zero)
    x, w = (
        rng.integers(0, 256, (2, 4, 9, 9)).astype(np.uint8),
        rng.integers(-128, 128, (6, 2, 3, 3)).astype(np.int8),
    )
    per_filter, bias = scales[:6], rng.integers(-500, 500, 6).astype(np.int32)
    conv = {"group": 2, "pads": (1, 1, 1, 1), "strides": (2, 1)}
    check(QLinearConv(**conv), x, one, za, w, per_filter, np.zeros(6, np.int8), out, zero, bias)
    check(ConvInteger(**conv), x, w.view(np.uint8), za, np.array(128, np.uint8))


@pytest.mark.parametrize("dtype", [DType.INT4, DType.UINT4, DType.INT2, DType.FLOAT8E4M3FN, DType.FLOAT8E5M2, DType.FLOAT4E2M1])
def test_narrow_types_round_trip(dtype: DType) -> None:
    grid = np.array([0, 1], np.float32)
    op = QuantizeLinear(output_dtype=dtype)
    stored = op.evaluate(grid * 0.5, np.array(0.5, np.float32))
    assert stored.dtype == dtype.numpy
    assert op.infer(TensorType(DType.FLOAT, (2,)), SCALE) == TensorType(dtype, (2,))
    np.testing.assert_array_equal(DequantizeLinear().evaluate(stored, np.array(0.5, np.float32)), grid * 0.5)


def test_shared_exponents_scale_blocks() -> None:
    scales = np.array([0.25, 4], DType.FLOAT8E8M0.numpy)
    x = np.array([1, 0.5, 4, 16], np.float32)
    op = QuantizeLinear(axis=0, block_size=2, output_dtype=DType.FLOAT4E2M1)
    stored = op.evaluate(x, scales)
    assert stored.astype(np.float32).tolist() == [4, 2, 1, 4]
    back = DequantizeLinear(axis=0, block_size=2, output_dtype=DType.FLOAT16)
    assert back.evaluate(stored, scales).tolist() == x.tolist()
    kind = back.infer(TensorType(DType.FLOAT4E2M1, (4,)), TensorType(DType.FLOAT8E8M0, (2,)))
    assert kind == TensorType(DType.FLOAT16, (4,))


def test_symbolic_and_unknown_operands() -> None:
    x = TensorType(DType.FLOAT, (BATCH, 8, 10))
    zero = TensorType(DType.INT8, ())
    assert QuantizeLinear().infer(x, SCALE, zero) == TensorType(DType.INT8, (BATCH, 8, 10))
    blocked = QuantizeLinear(axis=2, block_size=4)
    assert blocked.infer(x, TensorType(DType.FLOAT, (BATCH, 8, 3))).shape == x.shape
    assert QuantizeLinear().infer(UNKNOWN, SCALE, zero) == TensorType(DType.INT8, None)
    assert DequantizeLinear().infer(zero, UNKNOWN) == UNKNOWN
    assert DequantizeLinear(output_dtype=DType.FLOAT).infer(UNKNOWN, UNKNOWN) == TensorType(DType.FLOAT, None)
    a, b = TensorType(DType.UINT8, (BATCH, 4, 8)), TensorType(DType.INT8, (8, 5))
    assert MatMulInteger().infer(a, b) == TensorType(DType.INT32, (BATCH, 4, 5))
    kinds = infer_types(DynamicQuantizeLinear(), [x], 3)
    assert kinds == (TensorType(DType.UINT8, x.shape), SCALE, TensorType(DType.UINT8, ()))
    image, weight = TensorType(DType.UINT8, (BATCH, 3, 32, 32)), TensorType(DType.INT8, (16, 3, 3, 3))
    assert ConvInteger(strides=(2, 2)).infer(image, weight).shape == (BATCH, 16, 15, 15)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: QuantizeLinear().infer(x, TensorType(DType.FLOAT, (7,))), "number of scales and axis 1"),
        (lambda x: QuantizeLinear(axis=3).infer(x, TensorType(DType.FLOAT, (8,))), "axis 3 is out of range"),
        (lambda x: QuantizeLinear().infer(x, TensorType(DType.FLOAT, (2, 8))), "must be a scalar or a list"),
        (
            lambda x: QuantizeLinear(axis=2, block_size=4).infer(x, TensorType(DType.FLOAT, (BATCH, 8, 2))),
            r"axis 2 of the scales for \[batch, 8, 10\] in blocks of 4: 2 and 3",
        ),
        (lambda x: QuantizeLinear(block_size=-1).infer(x, SCALE), "block_size is -1"),
        (
            lambda x: QuantizeLinear(output_dtype=DType.INT8).infer(x, SCALE, TensorType(DType.UINT8, ())),
            "the zero point is u8, output_dtype is i8",
        ),
        (lambda x: QuantizeLinear(output_dtype=DType.INT64).infer(x, SCALE), "not defined for i64"),
        (lambda x: DequantizeLinear().infer(x, SCALE), "not defined for f32"),
        (
            lambda x: DequantizeLinear().infer(x.with_dtype(DType.INT8), SCALE, TensorType(DType.UINT8, ())),
            "i8 and u8",
        ),
        (
            lambda x: DequantizeLinear().infer(x.with_dtype(DType.INT8), SCALE, TensorType(DType.INT8, (8,))),
            r"zero point \[8\] and scale \[\] must agree",
        ),
        (
            lambda x: DequantizeLinear().infer(x.with_dtype(DType.INT8), TensorType(DType.FLOAT8E8M0, ())),
            "f8e8m0",
        ),
        (lambda x: MatMulInteger().infer(x, x), "MatMulInteger is not defined for f32"),
    ],
)
def test_diagnostics(make: Any, message: str) -> None:
    with pytest.raises(Diagnostic, match=message):
        make(TensorType(DType.FLOAT, (BATCH, 8, 10)))
