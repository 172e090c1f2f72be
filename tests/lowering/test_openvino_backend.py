"""The OpenVINO backend: bundles, options, boundary, refusals, losses, reproducible bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("openvino")

import edgec
from edgec.ir.diagnostics import Diagnostic, Exit
from edgec.ir.model import Model
from edgec.ir.serial.reader import read_model_bytes
from edgec.lowering.backend import Backend
from edgec.lowering.openvino.serialize import rename_layers
from edgec.lowering.registry import backend, backend_names
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
    """Compiles a model for OpenVINO with one thread."""

    def run(model: Model, name: str = "bundle", **options: Any) -> Bundle:
        return edgec.compile(model, target="openvino", output=tmp_path / name, options={"threads": 1, **options})

    return run


@pytest.fixture
def target() -> Backend:
    return backend("openvino")


def float_net() -> Model:
    """Conv, Relu, and a matrix product over a symbolic batch."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["y"]),
    ]
    weights = {"w": rng.standard_normal((4, 3, 3, 3), np.float32), "m": rng.standard_normal((4, 5), np.float32)}
    return model_of(nodes, [("x", TensorProto.FLOAT, ["n", 3, 8, 8])], [("y", TensorProto.FLOAT, ["n", 5])], weights)


def test_it_is_registered_with_a_matrix(target: Backend) -> None:
    assert "openvino" in backend_names() and target.extra == "openvino"
    assert target.available() is None and target.version().startswith("2026.")
    rows = {(row.op.domain, row.op.op_name): row for row in reversed(target.matrix)}  # the first of each operator
    assert rows["", "Conv"].level == "native" and rows["", "LinearAttention"].level == "decomposed"
    assert rows["", "Bernoulli"].level == "none" and all(row.evidence for row in target.matrix)


def test_a_bundle_gives_what_onnx_runtime_gives(compiled: Compile, tmp_path: Path) -> None:
    model = float_net()
    reference = edgec.compile(model, target="ort", output=tmp_path / "ort")
    bundle = compiled(model)
    for batch in (1, 3):
        feeds = {"x": np.random.default_rng(batch).standard_normal((batch, 3, 8, 8), np.float32)}
        np.testing.assert_allclose(bundle.run(feeds)["y"], reference.run(feeds)["y"], rtol=1e-5, atol=1e-6)
    assert set(bundle.manifest["files"]) == {"model.xml", "model.bin", "debug.json"}


def test_equal_models_give_equal_bytes(compiled: Compile) -> None:
    first, second = compiled(float_net(), "a"), compiled(float_net(), "b")
    assert first.manifest["files"] == second.manifest["files"]


def test_made_up_layer_names_are_numbered_by_type() -> None:
    names = (("conv_1", "Convolution"), ("Constant_71", "Const"), ("Constant_9", "Const"))
    xml = "\n".join(f'<layer id="{i}" name="{name}" type="{kind}" version="opset1">' for i, (name, kind) in enumerate(names))
    renamed = rename_layers(xml, {"conv_1"})
    assert '"conv_1"' in renamed and 'name="Const#0"' in renamed and 'name="Const#1"' in renamed


def test_weights_can_be_stored_as_float16(compiled: Compile) -> None:
    plain, half = compiled(float_net(), "plain"), compiled(float_net(), "half", compress_to_fp16=True)
    sizes = [b.manifest["files"]["model.bin"]["bytes"] for b in (plain, half)]
    assert sizes[1] < sizes[0]
    assert any(loss["where"] == "weights" for loss in half.manifest["losses"])
    feeds = {"x": np.ones((1, 3, 8, 8), np.float32)}
    np.testing.assert_allclose(half.run(feeds)["y"], plain.run(feeds)["y"], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "f8"}, "precision"),
        ({"threads": 0}, "threads"),
        ({"low_precision": 1}, "low_precision"),
        ({"thread": 1}, "no option 'thread'"),
    ],
)
def test_wrong_options_are_refused(target: Backend, options: dict[str, Any], message: str) -> None:
    with pytest.raises(Diagnostic) as caught:
        target.options(options)
    assert caught.value.code == "E0506" and message in caught.value.message


def test_a_missing_runtime_names_the_install_command(target: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(target), "available", lambda self: "openvino does not import")
    with pytest.raises(Diagnostic) as caught:
        target.lower(float_net(), {})
    assert caught.value.code == "E0503" and "pip install 'edgec[openvino]'" in caught.value.hint


def test_unused_copied_and_swapped_inputs_reach_the_right_outputs(compiled: Compile) -> None:
    nodes = [
        helper.make_node("Identity", ["b"], ["copy"]),
        helper.make_node("Sub", ["c", "b"], ["y"]),
        helper.make_node("Identity", ["y"], ["again"]),
    ]
    specs = [(name, TensorProto.FLOAT, [2]) for name in ("a", "b", "c")]
    outputs = [(name, TensorProto.FLOAT, [2]) for name in ("copy", "y", "again")]
    bundle = compiled(model_of(nodes, specs, outputs))
    feeds = {"c": np.array([5, 7], np.float32), "a": np.zeros(2, np.float32), "b": np.array([1, 2], np.float32)}
    found = bundle.run(feeds)
    assert found["copy"].tolist() == [1, 2] and found["y"].tolist() == [4, 5] and found["again"].tolist() == [4, 5]


def test_64_bit_copies_and_constants_keep_their_bits(compiled: Compile) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["copy"]), helper.make_node("Identity", ["k"], ["constant"])]
    outputs = [("copy", TensorProto.INT64, [1]), ("constant", TensorProto.INT64, [2])]
    bundle = compiled(model_of(nodes, [("x", TensorProto.INT64, [1])], outputs, {"k": np.array([2**40 + 3, -1])}))
    found = bundle.run({"x": np.array([2**40 + 3])})
    assert found["copy"].tolist() == [2**40 + 3] and found["constant"].tolist() == [2**40 + 3, -1]


def test_integers_beyond_32_bits_are_refused_when_fed(compiled: Compile) -> None:
    node = helper.make_node("Add", ["x", "x"], ["y"])
    bundle = compiled(model_of([node], [("x", TensorProto.INT64, [2])], [("y", TensorProto.INT64, [2])]))
    assert bundle.run({"x": np.array([3, -4])})["y"].tolist() == [6, -8]
    with pytest.raises(Diagnostic) as caught:
        bundle.run({"x": np.array([2**40, 0])})
    assert caught.value.code == "E0505" and "32 bits" in caught.value.message
    assert any(loss["kind"] == "precision" and "64-bit integer" in loss["what"] for loss in bundle.manifest["losses"])


@pytest.mark.parametrize(("given", "read"), [("uint32", "int32"), ("int32", "uint32")])
def test_words_are_read_with_the_other_sign(compiled: Compile, given: str, read: str) -> None:
    kinds = {"uint32": TensorProto.UINT32, "int32": TensorProto.INT32}
    node = helper.make_node("Cast", ["x"], ["y"], to=kinds[read])
    bundle = compiled(model_of([node], [("x", kinds[given], [3])], [("y", kinds[read], [3])]))
    x = np.array([0xFFFFFFFF, 0x80000000, 7], np.uint32).view(given)
    assert bundle.run({"x": x})["y"].tolist() == x.view(read).tolist()


def test_slices_to_the_greatest_integer_reach_the_end(compiled: Compile) -> None:
    node = helper.make_node("Slice", ["x", "start", "end"], ["y"])
    inputs = [("x", TensorProto.FLOAT, [4]), ("end", TensorProto.INT64, [1])]
    bundle = compiled(model_of([node], inputs, [("y", TensorProto.FLOAT, [None])], {"start": np.array([1])}))
    feeds = {"x": np.arange(4, dtype=np.float32), "end": np.array([np.iinfo(np.int64).max])}
    assert bundle.run(feeds)["y"].tolist() == [1, 2, 3]


def test_float64_runs_in_float32_with_infinities_kept(compiled: Compile) -> None:
    node = helper.make_node("Neg", ["x"], ["y"])
    bundle = compiled(model_of([node], [("x", TensorProto.DOUBLE, [3])], [("y", TensorProto.DOUBLE, [3])]))
    found = bundle.run({"x": np.array([1.5, np.inf, -np.inf])})["y"]
    assert found.dtype == np.float64 and found.tolist() == [-1.5, -np.inf, np.inf]
    assert any(loss["kind"] == "precision" for loss in bundle.manifest["losses"])
    with pytest.raises(Diagnostic) as caught:
        bundle.run({"x": np.array([1e200, 0, 0])})
    assert caught.value.code == "E0505"


def test_what_openvino_lacks_is_refused_with_the_node(compiled: Compile) -> None:
    node = helper.make_node("Bernoulli", ["x"], ["y"], name="draw")
    with pytest.raises(Diagnostic) as caught:
        compiled(model_of([node], [("x", TensorProto.FLOAT, [3])], [("y", TensorProto.FLOAT, [3])]))
    assert caught.value.code == "E0501" and caught.value.exit is Exit.TARGET_REFUSED
    assert "draw" in caught.value.where and "draws numbers once" in caught.value.message


def test_strings_are_refused(compiled: Compile) -> None:
    node = helper.make_node("StringConcat", ["x", "x"], ["y"])
    with pytest.raises(Diagnostic) as caught:
        compiled(model_of([node], [("x", TensorProto.STRING, [1])], [("y", TensorProto.STRING, [1])]))
    assert caught.value.code == "E0501"


def test_single_nodes_are_judged_with_the_rewrites(target: Backend) -> None:
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], mode="linear", antialias=1)
    scales = {"s": np.array([1, 1, 0.5, 0.5], np.float32)}
    model = model_of([node], [("x", TensorProto.FLOAT, [1, 1, 4, 4])], [("y", TensorProto.FLOAT, None)], scales)
    verdict = target.support(next(iter(model.graph)))
    assert verdict.level == "decomposed" and "MatMul" in verdict.reason
    dynamic = model_of([node], [("x", TensorProto.FLOAT, [1, 1, "h", "w"])], [("y", TensorProto.FLOAT, None)], scales)
    refused = target.support(next(iter(dynamic.graph)))
    assert refused.level == "none" and "antialias" in refused.reason
