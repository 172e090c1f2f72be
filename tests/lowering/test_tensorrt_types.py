"""Element types, precision and quantisation on the way to TensorRT: what stays exact, and what is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("tensorrt_rtx")

import edgec
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.model import Model
from edgec.ir.serial.reader import read_model_bytes
from edgec.runtime.bundle import Bundle


def single(nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, Any]], output: int, weights: dict[str, Any] | None = None) -> Model:
    """A model from the inputs to y."""
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
        [helper.make_tensor_value_info("y", output, None)],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    return read_model_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString())


def built(model: Model, folder: Path, **options: Any) -> Bundle:
    """The bundle, opened as the typed model in ONNX Runtime; an engine was built."""
    made = edgec.compile(model, target="tensorrt", output=folder, options=options)
    assert made.manifest["lowering"]["engines"]
    return edgec.load_bundle(folder, reference=True)


def operators(bundle: Bundle) -> list[str]:
    return [node.op_type for node in onnx.load(bundle.folder / "model.onnx").graph.node]


def losses(bundle: Bundle) -> dict[str, str]:
    return {loss["kind"]: loss["what"] for loss in bundle.manifest["losses"]}


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "uint32"])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
def test_narrow_integers_wrap_as_they_do_elsewhere(tmp_path: Path, dtype: str, op: str) -> None:
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model = single([helper.make_node(op, ["a", "b"], ["y"])], {"a": (code, [5]), "b": (code, [5])}, code)
    limits = np.iinfo(dtype)
    a = np.array([limits.max, limits.min, 3, limits.max, 7], dtype)
    b = np.array([limits.max, 1, 5, 2, 9], dtype)
    with np.errstate(over="ignore"):
        expected = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[op](a, b)
    bundle = built(model, tmp_path / "bundle")
    result = bundle.run({"a": a, "b": b})["y"]
    assert result.dtype == dtype and losses(bundle).get("storage")
    np.testing.assert_array_equal(result, expected)


def test_float64_is_computed_in_float32_and_says_so(tmp_path: Path) -> None:
    model = single([helper.make_node("Sqrt", ["x"], ["y"])], {"x": (TensorProto.DOUBLE, [3])}, TensorProto.DOUBLE)
    bundle = built(model, tmp_path / "bundle")
    result = bundle.run({"x": np.array([1.0, 2.0, 3.0])})["y"]
    assert result.dtype == np.float64 and "float32" in losses(bundle)["precision"]
    np.testing.assert_allclose(result, np.sqrt([1.0, 2.0, 3.0]), rtol=1e-6)
    with pytest.raises(Diagnostic) as caught:
        bundle.run({"x": np.array([1e300, 1.0, 1.0])})
    assert caught.value.code == "E0554"


def test_casts_to_small_floats_round_to_their_grid(tmp_path: Path) -> None:
    import ml_dtypes

    nodes = [
        helper.make_node("Cast", ["x"], ["q"], to=TensorProto.FLOAT8E5M2),
        helper.make_node("Cast", ["q"], ["y"], to=TensorProto.FLOAT),
    ]
    model = single(nodes, {"x": (TensorProto.FLOAT, [256])}, TensorProto.FLOAT)
    x = (np.random.default_rng(0).standard_normal(256) * 10.0 ** np.arange(-4, 4).repeat(32)).astype(np.float32)
    result = built(model, tmp_path / "bundle").run({"x": x})["y"]
    np.testing.assert_array_equal(result, x.astype(ml_dtypes.float8_e5m2).astype(np.float32))


def quantised(zero: Any, dtype: Any, weight_zero: int = 0) -> Model:
    """A convolution between quantisations of a given zero point, with int8 weights."""
    rng = np.random.default_rng(1)
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"], name="quantise"),
        helper.make_node("DequantizeLinear", ["q", "xs", "xz"], ["d"], name="dequantise"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["e"], name="weights", axis=0),
        helper.make_node("Conv", ["d", "e"], ["c"], name="conv"),
        helper.make_node("QuantizeLinear", ["c", "ys", "xz"], ["r"], name="requantise"),
        helper.make_node("DequantizeLinear", ["r", "ys", "xz"], ["y"], name="last"),
    ]
    weights = {
        "xs": np.float32(0.03), "xz": np.array(zero, dtype), "ys": np.float32(0.11),
        "w": rng.integers(-127, 128, (4, 3, 3, 3), np.int8), "ws": rng.uniform(0.001, 0.01, 4).astype(np.float32),
        "wz": np.full(4, weight_zero, np.int8),
    }  # fmt: skip
    assert code
    return single(nodes, {"x": (TensorProto.FLOAT, [2, 3, 8, 8])}, TensorProto.FLOAT, weights)


def compare(model: Model, bundle: Bundle, folder: Path, step: float) -> None:
    """The results equal those of ONNX Runtime, but for at most one level where a sum lies on a tie."""
    x = np.random.default_rng(2).standard_normal((2, 3, 8, 8)).astype(np.float32)
    expected = edgec.compile(model, target="ort", output=folder, options={"optimization": "disable"}).run({"x": x})["y"]
    apart = np.abs(bundle.run({"x": x})["y"] - expected)
    assert apart.max() <= step * 1.0001 and (apart > step / 2).mean() < 0.01


@pytest.mark.parametrize(("zero", "dtype"), [(0, np.int8), (128, np.uint8)])
def test_symmetric_quantisation_stays(tmp_path: Path, zero: int, dtype: Any) -> None:
    """uint8 around 128 is int8 around 0."""
    model = quantised(zero, dtype)
    bundle = built(model, tmp_path / "bundle")
    assert operators(bundle).count("QuantizeLinear") == 2 and operators(bundle).count("DequantizeLinear") == 3
    assert "zero-point" not in losses(bundle) and "quantisation" not in losses(bundle)
    stored = {t.name: t for t in onnx.load(bundle.folder / "model.onnx").graph.initializer}
    assert all(t.data_type != TensorProto.UINT8 for t in stored.values())
    compare(model, bundle, tmp_path / "ort", 0.11)


@pytest.mark.parametrize(("zero", "dtype"), [(17, np.uint8), (-5, np.int8), (0, np.uint8), (300, np.uint16)])
def test_other_zero_points_are_computed_in_floats_and_reported(tmp_path: Path, zero: int, dtype: Any) -> None:
    model = quantised(zero, dtype)
    bundle = built(model, tmp_path / "bundle")
    assert operators(bundle).count("QuantizeLinear") == 0 and {"zero-point", "quantisation"} & set(losses(bundle))
    compare(model, bundle, tmp_path / "ort", 0.11)


def test_weights_with_a_zero_point_are_stored_dequantised(tmp_path: Path) -> None:
    model = quantised(0, np.int8, weight_zero=3)
    bundle = built(model, tmp_path / "bundle")
    assert operators(bundle).count("DequantizeLinear") == 2 and "dequantised" in losses(bundle)["zero-point"]
    compare(model, bundle, tmp_path / "ort", 0.11)


@pytest.mark.parametrize("precision", ["f16", "bf16"])
def test_precision_is_spelled_by_casts(tmp_path: Path, precision: str) -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("MatMul", ["b", "v"], ["y"], name="second"),
    ]
    weights = {name: (rng.standard_normal((8, 8)) / 3).astype(np.float32) for name in "wv"}
    model = single(nodes, {"x": (TensorProto.FLOAT, [4, 8])}, TensorProto.FLOAT, weights)
    bundle = built(model, tmp_path / "all", precision=precision)
    assert operators(bundle) == ["Cast", "MatMul", "Relu", "MatMul", "Cast"]
    x = rng.standard_normal((4, 8)).astype(np.float32)
    exact = np.maximum(x @ weights["w"], 0) @ weights["v"]
    apart = np.abs(bundle.run({"x": x})["y"] - exact).max() / np.abs(exact).max()
    assert 1e-6 < apart < (4e-3 if precision == "f16" else 3e-2)
    assert f"3 nodes compute in {precision}" in losses(bundle)["precision"]
    kept = built(model, tmp_path / "kept", precision=precision, keep_f32=["second"])
    assert operators(kept) == ["Cast", "MatMul", "Relu", "Cast", "MatMul"]
    with pytest.raises(Diagnostic) as caught:
        built(model, tmp_path / "none", precision=precision, keep_f32=["third"])
    assert caught.value.code == "E0506"


def test_variances_and_tiny_constants_stay_in_float32(tmp_path: Path) -> None:
    """Sums of squares leave the range of float16, and a variance is a small difference of two of them."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="product"),
        helper.make_node("ReduceMean", ["h", "axis"], ["mean"], name="mean"),
        helper.make_node("Mul", ["h", "h"], ["square"], name="square"),
        helper.make_node("ReduceSum", ["square", "axis"], ["sum"], name="sum"),
        helper.make_node("Mul", ["sum", "part"], ["power"], name="power"),
        helper.make_node("Mul", ["mean", "mean"], ["level"], name="level"),
        helper.make_node("Sub", ["power", "level"], ["variance"], name="variance"),
        helper.make_node("Sqrt", ["variance"], ["deviation"], name="deviation"),
        helper.make_node("Div", ["h", "deviation"], ["n"], name="scaled"),
        helper.make_node("Add", ["n", "tiny"], ["y"], name="shifted"),
    ]
    weights = {
        "w": np.random.default_rng(1).normal(0, 20, (64, 300)).astype(np.float32),
        "axis": np.array([1]), "part": np.float32(1 / 300), "tiny": np.full(300, 3e-7, np.float32),
    }  # fmt: skip
    model = single(nodes, {"x": (TensorProto.FLOAT, [4, 64])}, TensorProto.FLOAT, weights)
    bundle = built(model, tmp_path / "bundle", precision="f16")
    typed = {node.name: node for node in onnx.load(bundle.folder / "model.onnx").graph.node}
    assert typed["scaled"].input[0] in typed["product"].output and "rounds coarsely" in losses(bundle)["precision"]
    assert "sums and what follows" in losses(bundle)["precision"] and "squares that are summed" in losses(bundle)["precision"]
    x = np.random.default_rng(2).normal(0, 4, (4, 64)).astype(np.float32)
    found, expected = bundle.run({"x": x})["y"], edgec.compile(model, target="ort", output=tmp_path / "ort").run({"x": x})["y"]
    assert np.linalg.norm(found - expected) < 2e-3 * np.linalg.norm(expected)


def test_operators_without_bfloat16_stay_in_float32(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("HardSwish", ["h"], ["y"])]
    weights = {"w": np.random.default_rng(1).normal(0, 1, (8, 8)).astype(np.float32)}
    bundle = built(single(nodes, {"x": (TensorProto.FLOAT, [4, 8])}, TensorProto.FLOAT, weights), tmp_path / "bundle", precision="bf16")
    assert (
        "1 operators without that element type" in losses(bundle)["precision"] and "1 nodes compute in bf16" in losses(bundle)["precision"]
    )


def test_layers_are_found_again_in_another_precision(tmp_path: Path) -> None:
    """So that errors of deep networks are judged by their depth, and layers on their own."""
    rng = np.random.default_rng(0)
    count, nodes, weights = 30, [], {}
    for i in range(count):
        nodes.append(helper.make_node("MatMul", [f"h{i - 1}" if i else "x", f"w{i}"], [f"m{i}"]))
        nodes.append(helper.make_node("Relu", [f"m{i}"], ["y" if i == count - 1 else f"h{i}"]))
        weights[f"w{i}"] = rng.normal(0, 0.25, (32, 32)).astype(np.float32)
    path = tmp_path / "model.onnx"
    single(nodes, {"x": (TensorProto.FLOAT, [4, 32])}, TensorProto.FLOAT, weights).save(path)
    bundle = built(edgec.load(path), tmp_path / "bundle", precision="f16")
    report = edgec.verify(path, bundle.folder / "model.onnx")
    assert report.passed and report.layers_passed and len(report.layers) >= count
    assert report.outputs[0].error.tolerance > 0.01 and all(
        layer.isolated is not None and layer.isolated.tolerance < 0.005 for layer in report.layers
    )
