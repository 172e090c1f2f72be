"""What the rewrites for OpenVINO compute, against numpy and ml_dtypes, where OpenVINO alone is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("openvino")

import edgec
from edgec.ir.dtypes import DType
from edgec.ir.ops.cast import cast_array
from edgec.ir.serial.reader import read_model_bytes

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs one node at an opset through a bundle and gives its first result."""

    def once(node: onnx.NodeProto, feeds: dict[str, Any], constants: dict[str, Any] | None = None, opset: int = 23) -> Any:
        inputs = [helper.make_tensor_value_info(k, DType.from_numpy(v.dtype).code, v.shape) for k, v in feeds.items()]
        initializers = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
        graph = helper.make_graph([node], "main", inputs, outputs, initializers)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        model = read_model_bytes(inferred.SerializeToString())
        bundle = edgec.compile(model, target="openvino", output=tmp_path / "bundle", options={"threads": 1})
        return bundle.run(feeds)[node.output[0]]

    return once


@pytest.mark.parametrize("saturate", [0, 1])
@pytest.mark.parametrize("dtype", [DType.FLOAT8E4M3FN, DType.FLOAT8E5M2, DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2FNUZ])
def test_casts_to_float8_are_exact(run: Run, dtype: DType, saturate: int) -> None:
    rng = np.random.default_rng(1)
    drawn = np.exp2(rng.uniform(-22, 19, 4000)) * rng.choice([-1.0, 1.0], 4000)
    x = np.concatenate([drawn, np.arange(-2048, 2048) * 2.0**-18, np.arange(0, 600, 0.5), [np.inf, -np.inf, np.nan]]).astype(np.float32)
    found = run(helper.make_node("Cast", ["x"], ["y"], to=dtype.code, saturate=saturate), {"x": x})
    expected = cast_array(x, dtype, bool(saturate))
    assert found.dtype == dtype.numpy
    np.testing.assert_array_equal(found.astype(np.float32), expected.astype(np.float32))


def test_the_importer_alone_rounds_float8_twice() -> None:
    """Why `on_grid` exists: 1.4373873 lies below the tie 1.4375, float16 rounds it up to the tie."""
    import openvino

    cast = [helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT8E4M3FN), helper.make_node("Cast", ["a"], ["y"], to=1)]
    sides = [helper.make_tensor_value_info(name, 1, [1]) for name in ("x", "y")]
    graph = helper.make_graph(cast, "g", sides[:1], sides[1:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    compiled = openvino.Core().compile_model(openvino.Core().read_model(proto.SerializeToString()), "CPU")
    assert float(next(iter(compiled([np.array([1.4373873], np.float32)]).values()))[0]) == 1.5


@pytest.mark.parametrize("op", ["Floor", "Round", "Ceil"])
def test_quotients_are_exact_before_rounding(run: Run, tmp_path: Path, op: str) -> None:
    rng = np.random.default_rng(2)
    whole, divisor = rng.integers(0, 5000, 4000), rng.integers(1, 200, 4000)
    x, y = (whole * divisor).astype(np.float32), divisor.astype(np.float32)
    sides = [helper.make_tensor_value_info(name, 1, [4000]) for name in ("x", "d", "y")]
    nodes = [helper.make_node("Div", ["x", "d"], ["q"]), helper.make_node(op, ["q"], ["y"])]
    graph = helper.make_graph(nodes, "g", sides[:2], sides[2:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    bundle = edgec.compile(read_model_bytes(proto.SerializeToString()), target="openvino", output=tmp_path / "q")
    np.testing.assert_array_equal(bundle.run({"x": x, "d": y})["y"], whole)


@pytest.mark.parametrize("zero_point", [0, 3, 128])
def test_quantisation_rounds_ties_before_the_zero_point(run: Run, zero_point: int) -> None:
    x = (np.arange(-600, 600) / 2 * 0.0625).astype(np.float32)
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    found = run(node, {"x": x}, {"s": np.float32(0.0625), "z": np.uint8(zero_point)})
    np.testing.assert_array_equal(found, np.clip(np.rint(x / np.float32(0.0625)) + zero_point, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_narrow_products_wrap_around(run: Run, dtype: Any) -> None:
    values = np.arange(256).astype(dtype)
    x, y = np.repeat(values, 256), np.tile(values, 256)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(run(helper.make_node("Mul", ["x", "y"], ["z"]), {"x": x, "y": y}), x * y)


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_shifts_of_all_counts(run: Run, dtype: Any, direction: str) -> None:
    bits = np.dtype(dtype).itemsize * 8
    rng = np.random.default_rng(3)
    x = np.repeat(rng.integers(0, 2**bits, 40, np.uint64).astype(dtype), bits)
    y = np.tile(np.arange(bits), 40).astype(dtype)
    expected = np.left_shift(x, y) if direction == "LEFT" else np.right_shift(x, y)
    if dtype is np.uint32:
        x = x & np.uint32(0x7FFFFFFF)  # larger ones are refused when fed
        expected = np.left_shift(x, y) if direction == "LEFT" else np.right_shift(x, y)
    np.testing.assert_array_equal(run(helper.make_node("BitShift", ["x", "y"], ["z"], direction=direction), {"x": x, "y": y}), expected)


def test_attention_with_a_window(run: Run) -> None:
    rng = np.random.default_rng(4)
    q, k, v = (rng.standard_normal((1, 2, 6, 8), np.float32) for _ in range(3))
    node = helper.make_node("Attention", ["q", "k", "v"], ["y"], is_causal=1, left_window_size=2)
    found = run(node, {"q": q, "k": k, "v": v}, opset=25)
    scores = q @ k.swapaxes(2, 3) / np.sqrt(np.float32(8))
    row, column = np.indices((6, 6))
    scores = np.where((column <= row) & (row - column <= 2), scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    np.testing.assert_allclose(found, weights / weights.sum(-1, keepdims=True) @ v, rtol=1e-4, atol=1e-5)


def test_masked_rows_are_seen_through_their_greatest_score(run: Run, tmp_path: Path) -> None:
    x = np.array([[-np.inf, -np.inf], [0, -np.inf]], np.float32)
    nodes = [helper.make_node("ReduceMax", ["x", "a"], ["m"]), helper.make_node("Equal", ["m", "i"], ["y"])]
    constants = {"a": np.array([1]), "i": np.float32(-np.inf)}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, [2, 2])], [helper.make_tensor_value_info("y", 9, [2, 1])],
        [onnx.numpy_helper.from_array(np.asarray(c), n) for n, c in constants.items()],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    bundle = edgec.compile(read_model_bytes(proto.SerializeToString()), target="openvino", output=tmp_path / "m")
    assert bundle.run({"x": x})["y"].tolist() == [[True], [False]]


def test_padding_with_a_computed_value(run: Run) -> None:
    node = helper.make_node("Pad", ["x", "p", "v"], ["y"])
    found = run(node, {"x": np.ones((2, 2), np.float32), "v": np.array(7, np.float32)}, {"p": np.array([0, 1, 0, 2])})
    assert found.tolist() == [[7, 1, 1, 7, 7]] * 2


def test_one_sided_fourier_transform_along_an_inner_axis(run: Run) -> None:
    x = np.random.default_rng(5).standard_normal((2, 9, 3, 1)).astype(np.float32)
    found = run(helper.make_node("DFT", ["x", "", "axis"], ["y"], onesided=1), {"x": x}, {"axis": np.array(1)})
    expected = np.fft.rfft(x[..., 0].astype(np.float64), axis=1)
    np.testing.assert_allclose(found, np.stack([expected.real, expected.imag], -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_determinants(run: Run, size: int) -> None:
    x = np.random.default_rng(size).standard_normal((5, size, size)).astype(np.float32)
    np.testing.assert_allclose(run(helper.make_node("Det", ["x"], ["y"]), {"x": x}), np.linalg.det(x), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("trial", range(12))
def test_average_pools_with_overhang(run: Run, trial: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(trial)
    kernel, stride, size = (int(rng.integers(low, high)) for low, high in ((2, 4), (1, 5), (4, 10)))
    pads = [int(p) for p in rng.integers(0, kernel, 4)]
    attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": pads, "ceil_mode": 1, "count_include_pad": trial % 2}
    node = helper.make_node("AveragePool", ["x"], ["y"], **attributes)
    x = rng.standard_normal((1, 2, size, size)).astype(np.float32)
    from edgec.ir.ops.pooling import AveragePool

    fields = {name: tuple(v) if isinstance(v, list) else v for name, v in attributes.items()}
    np.testing.assert_allclose(run(node, {"x": x}), AveragePool(**fields).evaluate(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sorted_", [0, 1])
@pytest.mark.parametrize("largest", [0, 1])
def test_equal_elements_are_taken_by_position(run: Run, tmp_path: Path, largest: int, sorted_: int) -> None:
    x = np.random.default_rng(6).integers(0, 4, (3, 60)).astype(np.float32)
    k = np.array([9])
    sides = [helper.make_tensor_value_info("x", 1, [3, 60]), helper.make_tensor_value_info("k", 7, [1])]
    outputs = [helper.make_tensor_value_info("v", 1, None), helper.make_tensor_value_info("i", 7, None)]
    node = helper.make_node("TopK", ["x", "k"], ["v", "i"], largest=largest, sorted=sorted_)
    proto = helper.make_model(helper.make_graph([node], "g", sides, outputs), opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    bundle = edgec.compile(read_model_bytes(proto.SerializeToString()), target="openvino", output=tmp_path / "k")
    order = np.argsort(-x if largest else x, axis=1, kind="stable")[:, :9]
    np.testing.assert_array_equal(bundle.run({"x": x, "k": k})["i"], order)


def test_tiles_with_repeats_computed_at_run_time(run: Run) -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    found = run(helper.make_node("Tile", ["x", "r"], ["y"]), {"x": x, "r": np.array([2, 1, 3])})
    np.testing.assert_array_equal(found, np.tile(x, (2, 1, 3)))
