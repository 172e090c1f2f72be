"""The TFLite backend: bundles, options, refusals, losses, dynamic sizes, reproducible bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("ai_edge_litert")

import edgec
from edgec.ir.diagnostics import Diagnostic, Exit
from edgec.ir.model import Model
from edgec.ir.serial.reader import read_model_bytes
from edgec.lowering.backend import REASON_CODES, Backend
from edgec.lowering.registry import backend
from edgec.runtime.bundle import Bundle

Spec = tuple[str, int, Any]
Compile = Callable[..., Bundle]


def model_of(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[Spec], outputs: Sequence[Spec], weights: dict[str, Any] | None = None
) -> Model:
    """A model of a few nodes at opset 21."""
    graph = helper.make_graph(
        list(nodes),
        "main",
        [helper.make_tensor_value_info(*spec) for spec in inputs],
        [helper.make_tensor_value_info(*spec) for spec in outputs],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return read_model_bytes(proto.SerializeToString())


@pytest.fixture
def compiled(tmp_path: Path) -> Compile:
    """Compiles a model for TFLite."""

    def run(model: Model, name: str = "bundle", **options: Any) -> Bundle:
        return edgec.compile(model, target="tflite", output=tmp_path / name, options=options)

    return run


@pytest.fixture
def target() -> Backend:
    return backend("tflite")


def perceptron() -> Model:
    """Two linear layers over a symbolic batch."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "m"], ["p"]),
        helper.make_node("Add", ["p", "c"], ["y"]),
    ]
    weights = {
        "w": rng.standard_normal((6, 8), np.float32),
        "b": rng.standard_normal(8, np.float32),
        "m": rng.standard_normal((8, 5), np.float32),
        "c": rng.standard_normal(5, np.float32),
    }
    return model_of(nodes, [("x", TensorProto.FLOAT, ["n", 6])], [("y", TensorProto.FLOAT, ["n", 5])], weights)


def operators(bundle: Bundle) -> dict[str, int]:
    """How often each operator occurs in the file."""
    return bundle.manifest["lowering"]["operators"]


def test_the_matrix_comes_from_the_emitters(target: Backend) -> None:
    levels: dict[str, set[str]] = {}
    for row in target.matrix:
        levels.setdefault(row.op.op_name if not row.op.domain else "", set()).add(row.level)
    assert "native" in levels["Add"] and levels["Erf"] == {"decomposed", "partial"}
    assert levels["StringConcat"] == {"none"} and all(row.evidence for row in target.matrix)


def test_a_perceptron_becomes_two_fused_layers_and_takes_any_batch(compiled: Compile) -> None:
    model = perceptron()
    bundle = compiled(model)
    assert operators(bundle) == {"FULLY_CONNECTED": 2}
    weights = {v.name: v.data.numpy() for v in model.graph.constants() if v.data is not None}
    for batch in (1, 4, 2):
        x = np.random.default_rng(batch).standard_normal((batch, 6)).astype(np.float32)
        expected = np.maximum(x @ weights["w"] + weights["b"], 0) @ weights["m"] + weights["c"]
        np.testing.assert_allclose(bundle.run({"x": x})["y"], expected, rtol=1e-5, atol=1e-5)


def test_the_file_has_a_signature_with_the_models_names(compiled: Compile) -> None:
    from ai_edge_litert.interpreter import Interpreter

    bundle = compiled(perceptron())
    found = Interpreter(model_path=str(bundle.folder / "model.tflite")).get_signature_list()
    assert found == {"serving_default": {"inputs": ["x"], "outputs": ["y"]}}


def test_two_compilations_give_the_same_bytes(compiled: Compile) -> None:
    first, second = (compiled(perceptron(), name).folder / "model.tflite" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_constants_are_aligned_and_stored_once(compiled: Compile) -> None:
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "a"], ["t"]), helper.make_node("MatMul", ["t", "b"], ["y"])]
    spec = [("x", TensorProto.FLOAT, [3, 64])], [("y", TensorProto.FLOAT, [3, 64])]
    data = (compiled(model_of(nodes, *spec, {"a": weights, "b": weights.copy()})).folder / "model.tflite").read_bytes()
    stored = weights.T.tobytes()
    position = data.find(stored)
    assert position > 0 and position % 16 == 0 and data.find(stored, position + 1) < 0


def test_outputs_may_be_inputs_constants_or_repeated(compiled: Compile) -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Neg", ["x"], ["a"]),
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Identity", ["k"], ["c"]),
    ]
    outputs = [(name, TensorProto.FLOAT, [2]) for name in ("same", "a", "b", "c")]
    bundle = compiled(model_of(nodes, [("x", TensorProto.FLOAT, [2])], outputs, {"k": np.array([5, 6], np.float32)}))
    found = bundle.run({"x": np.array([1, 2], np.float32)})
    assert {name: array.tolist() for name, array in found.items()} == {"same": [1, 2], "a": [-1, -2], "b": [-1, -2], "c": [5, 6]}


def test_a_reshape_of_several_unknown_sizes_is_computed_at_run_time(compiled: Compile) -> None:
    nodes = [helper.make_node("Reshape", ["x", "to"], ["h"]), helper.make_node("Transpose", ["h"], ["y"], perm=[0, 2, 1, 3])]
    weights = {"to": np.array([0, -1, 2, 4], np.int64)}
    model = model_of(nodes, [("x", TensorProto.FLOAT, ["n", "s", 8])], [("y", TensorProto.FLOAT, None)], weights)
    bundle = compiled(model)
    for shape in ((2, 3, 8), (1, 5, 8)):
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        expected = x.reshape(shape[0], -1, 2, 4).transpose(0, 2, 1, 3)
        np.testing.assert_array_equal(bundle.run({"x": x})["y"], expected)


def test_refusals_name_the_node_and_a_reason_code(target: Backend, compiled: Compile) -> None:
    nodes = [helper.make_node("ImageDecoder", ["x"], ["y"], name="decoder")]
    model = model_of(nodes, [("x", TensorProto.UINT8, [64])], [("y", TensorProto.UINT8, None)])
    verdict = target.support(next(iter(model.graph)))
    assert verdict.level == "none" and verdict.code == "operator" and verdict.code in REASON_CODES
    with pytest.raises(Diagnostic) as caught:
        compiled(model)
    assert caught.value.code == "E0501" and "decoder" in caught.value.where


def test_a_missing_runtime_is_an_install_hint(target: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(target), "available", lambda self: "not installed")
    with pytest.raises(Diagnostic, match="cannot be used") as caught:
        target.lower(perceptron(), {})
    assert caught.value.code == "E0503" and "edgec[tflite]" in caught.value.hint


def test_a_model_over_two_gigabytes_is_refused_before_anything_is_allocated(target: Backend) -> None:
    from edgec.ir.data import BufferData
    from edgec.ir.dtypes import DType
    from edgec.ir.graph import Graph, Value, constant_type
    from edgec.ir.ops.matmul import MatMul
    from edgec.ir.types import TensorType

    class Untouchable(BufferData):
        def raw(self) -> memoryview:
            raise AssertionError("the weights were read")

        def numpy(self) -> Any:
            raise AssertionError("the weights were read")

    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (3, 1, 1 << 15)))
    data = Untouchable(DType.FLOAT, (3, 1 << 15, 1 << 13), b"", 0, 3 * (1 << 30))
    graph.set_outputs([graph.add(MatMul(), x, Value("w", constant_type(data), data=data))], ["y"])
    with pytest.raises(Diagnostic) as caught:
        target.lower(Model(graph), {})
    assert caught.value.code == "E0510" and caught.value.exit is Exit.TARGET_REFUSED


@pytest.mark.parametrize(("name", "value"), [("threads", 0), ("threads", True), ("xnnpack", "yes"), ("thread", 1)])
def test_options_are_checked(target: Backend, name: str, value: Any) -> None:
    with pytest.raises(Diagnostic) as caught:
        target.options({name: value})
    assert caught.value.code == "E0506"


def test_float64_is_computed_in_float32_and_that_is_a_loss(compiled: Compile) -> None:
    nodes = [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("Mul", ["e", "k"], ["y"])]
    double = TensorProto.DOUBLE
    bundle = compiled(model_of(nodes, [("x", double, [3])], [("y", double, [3])], {"k": np.array(2.0)}))
    x = np.array([0.0, 1.0, -2.0])
    np.testing.assert_allclose(bundle.run({"x": x})["y"], 2 * np.exp(x), rtol=1e-6)
    assert any("float32" in loss["what"] for loss in bundle.manifest["losses"])
    with pytest.raises(Diagnostic) as caught:
        bundle.run({"x": np.array([1e300, 0, 0])})
    assert caught.value.code == "E0505"


def test_wrong_sizes_at_run_time_are_a_diagnostic(compiled: Compile) -> None:
    nodes = [helper.make_node("Add", ["a", "b"], ["y"])]
    specs = [("a", TensorProto.FLOAT, ["n"]), ("b", TensorProto.FLOAT, ["m"])]
    bundle = compiled(model_of(nodes, specs, [("y", TensorProto.FLOAT, None)]))
    with pytest.raises(Diagnostic) as caught:
        bundle.run({"a": np.zeros(3, np.float32), "b": np.zeros(2, np.float32)})
    assert caught.value.code == "E0505"
    assert bundle.run({"a": np.ones(3, np.float32), "b": np.ones(1, np.float32)})["y"].tolist() == [2, 2, 2]


def test_nothing_is_printed_on_the_error_stream(compiled: Compile, capfd: pytest.CaptureFixture[str]) -> None:
    compiled(perceptron()).run({"x": np.zeros((2, 6), np.float32)})
    assert capfd.readouterr().err == ""
