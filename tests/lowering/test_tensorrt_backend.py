"""The TensorRT backend: engines ahead of time, bundles, options, scripts, refusals, losses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("tensorrt_rtx")

import edgec
from edgec.ir.diagnostics import Diagnostic, Exit
from edgec.ir.model import Model
from edgec.ir.serial.reader import read_model_bytes
from edgec.lowering.registry import backend, backend_names
from edgec.lowering.tensorrt.cuda import capability
from edgec.lowering.tensorrt.plugins import plugin_gaps
from edgec.lowering.tensorrt.sdk import load
from edgec.runtime.bundle import Bundle

Spec = tuple[str, int, Any]


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


def float_net() -> Model:
    """Conv, Relu, pooling and a matrix product over a symbolic batch."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "m"], ["y"], name="head"),
    ]
    weights = {"w": rng.standard_normal((4, 3, 3, 3), np.float32), "m": rng.standard_normal((4, 5), np.float32)}
    return model_of(nodes, [("x", TensorProto.FLOAT, ["n", 3, 8, 8])], [("y", TensorProto.FLOAT, ["n", 5])], weights)


def compiled(model: Model, folder: Path, **options: Any) -> Bundle:
    return edgec.compile(model, target="tensorrt", output=folder, options=options)


def run(bundle: Bundle, **feeds: Any) -> dict[str, Any]:
    """What the typed model gives in ONNX Runtime."""
    return edgec.load_bundle(bundle.folder, reference=True).run(feeds)


def kinds(bundle: Bundle) -> set[str]:
    return {loss["kind"] for loss in bundle.manifest["losses"]}


def test_it_is_registered_with_a_matrix() -> None:
    target = backend("tensorrt")
    assert "tensorrt" in backend_names() and target.extra == "tensorrt" and target.available() is None
    rows = {(row.op.op_name, row.since): row for row in target.matrix if not row.op.domain}
    assert rows["Relu", ""].level == "native" and rows["MatMulInteger", ""].level == "decomposed"
    assert rows["Unique", ""].level == "none" and all(row.evidence for row in target.matrix)


def test_layer_normalization_came_with_8_6() -> None:
    """Before 8.6 there was no normalisation layer."""
    rows = [row for row in backend("tensorrt").matrix if row.op.op_name == "LayerNormalization"]
    assert {row.level for row in rows if row.holds_for("8.5.3")} == {"decomposed"}
    assert {row.level for row in rows if row.holds_for("8.6.1")} == {"native"}
    assert {row.level for row in rows if row.holds_for("10.13")} == {"native"}
    assert {row.level for row in rows if row.holds_for(load().version)} == {"native"}


def test_layer_normalization_is_one_layer() -> None:
    """And the installed library says so itself."""
    from edgec.lowering.tensorrt.engine import Parsed, layers, parse

    node = helper.make_node("LayerNormalization", ["x", "s", "b"], ["y"], axis=-1)
    weights = {"s": np.ones(8, np.float32), "b": np.zeros(8, np.float32)}
    model = model_of([node], [("x", TensorProto.FLOAT, ["n", 8])], [("y", TensorProto.FLOAT, ["n", 8])], weights)
    parsed = parse(load(), model.to_bytes())
    assert isinstance(parsed, Parsed)
    assert [kind for kind, _ in layers(parsed)].count("NORMALIZATION") == 1


@pytest.mark.parametrize("capabilities", [["SM86"], ["SM89"], ["SM80+SM86+SM89"], ["SM86", "SM120"]])
def test_engines_are_built_ahead_of_time(tmp_path: Path, capabilities: list[str]) -> None:
    bundle = compiled(float_net(), tmp_path / "bundle", capabilities=capabilities, profiles="n=1:4:8")
    engines = bundle.manifest["lowering"]["engines"]
    assert [engine["capabilities"] for engine in engines] == [text.split("+") for text in capabilities]
    for engine in engines:
        content = (bundle.folder / engine["file"]).read_bytes()
        assert len(content) == engine["bytes"] > 10_000
    assert bundle.manifest["lowering"]["on_device"] == []
    assert bundle.manifest["lowering"]["executable_here"] is False and "ONNX Runtime" in bundle.manifest["lowering"]["stand_in"]


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        compiled(float_net(), tmp_path / name, capabilities=["SM86", "SM86+SM89"], profiles="n=1:4:8")
    first, second = (sorted(p.relative_to(tmp_path / name) for p in (tmp_path / name).rglob("*")) for name in ("a", "b"))
    assert first == second
    for path in first:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes(), path


def test_the_typed_model_computes_what_the_model_does(tmp_path: Path) -> None:
    model = float_net()
    bundle = compiled(model, tmp_path / "bundle", profiles="n=1:4:8")
    report = edgec.verify(model, edgec.load_bundle(bundle.folder, reference=True))
    assert report.passed


@pytest.mark.skipif(capability() is not None, reason="this machine has a GPU")
def test_without_a_gpu_running_is_refused_with_the_way_out(tmp_path: Path) -> None:
    bundle = compiled(float_net(), tmp_path / "bundle", profiles="n=1:4:8")
    with pytest.raises(Diagnostic) as caught:
        edgec.load_bundle(bundle.folder).run({"x": np.zeros((1, 3, 8, 8), np.float32)})
    assert caught.value.code == "E0551" and "reference=true" in caught.value.hint
    assert caught.value.exit is Exit.TARGET_REFUSED


def test_devices_that_cannot_be_built_for_get_scripts(tmp_path: Path) -> None:
    bundle = compiled(float_net(), tmp_path / "bundle", device="jetson-orin", profiles="n=1:4:8", timing_cache=True)
    lowering = bundle.manifest["lowering"]
    assert lowering["engines"] == [] and lowering["on_device"] == ["SM87"]
    assert "--minShapes=x:1x3x8x8" in lowering["trtexec"] and "--maxShapes=x:8x3x8x8" in lowering["trtexec"]
    shell = (bundle.folder / "build.sh").read_text()
    assert "SM87" in shell and "--timingCacheFile=timing.cache" in shell and "--stronglyTyped" in shell
    assert subprocess.run(["sh", "-n", str(bundle.folder / "build.sh")], check=False).returncode == 0
    usage = subprocess.run([sys.executable, str(bundle.folder / "build.py"), "--help"], capture_output=True, text=True, check=False)
    assert usage.returncode == 0 and "--timing-cache" in usage.stdout
    assert json.loads((bundle.folder / "profiles.json").read_text())["profiles"][0]["x"][1] == [4, 3, 8, 8]


def test_sm75_multiplies_in_float16_only() -> None:
    """A condition on the hardware that only the builder tells."""
    from edgec.lowering.tensorrt.matrix import judge

    node = next(node for node in float_net().graph if node.op.op_name == "MatMul")
    assert judge(node, ("SM86",)).level == "native"
    refused = judge(node, ("SM75",))
    assert refused.level == "none" and refused.code and refused.reason


def test_guessed_ranges_are_reported(tmp_path: Path) -> None:
    bundle = compiled(float_net(), tmp_path / "bundle")
    assert bundle.manifest["lowering"]["profiles"] == [{"n": [1, 1, 8]}] and "dynamic-shape" in kinds(bundle)
    assert "dynamic-shape" not in kinds(compiled(float_net(), tmp_path / "stated", profiles=[{"n": [1, 2, 3]}]))


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "f17"}, {"capabilities": "sm"}, {"capabilities": 86}, {"device": "jetson-apple"}, {"tf32": "yes"},
        {"optimization_level": 9}, {"profiles": "n=4:1:8"}, {"profiles": "n=1"}, {"profiles": "missing.json"}, {"profile": "n=1:1:1"},
    ],
)  # fmt: skip
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(Diagnostic) as caught:
        backend("tensorrt").options(options)
    assert caught.value.code == "E0506"


@pytest.mark.parametrize("profiles", ["m=1:2:3", [{"n": [1, 1, 1], "k": [1, 1, 1]}]])
def test_profiles_name_dimensions_of_the_model(tmp_path: Path, profiles: Any) -> None:
    with pytest.raises(Diagnostic) as caught:
        compiled(float_net(), tmp_path / "bundle", profiles=profiles)
    assert caught.value.code == "E0506" and not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("nodes", "spec", "code"),
    [
        ([helper.make_node("Unique", ["x"], ["y"], sorted=1)], TensorProto.FLOAT, "operator"),
        ([helper.make_node("StringNormalizer", ["x"], ["y"])], TensorProto.STRING, "string"),
    ],
)
def test_refusals_carry_reason_codes(tmp_path: Path, nodes: list[onnx.NodeProto], spec: int, code: str) -> None:
    model = model_of(nodes, [("x", spec, [4])], [("y", spec, None)])
    with pytest.raises(Diagnostic) as caught:
        compiled(model, tmp_path / "bundle")
    assert caught.value.code == "E0501" and getattr(caught.value, "reason_code", "") == code
    assert nodes[0].op_type in str(caught.value) and not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("stops", [True, False])
def test_loops_that_may_stop_early_collect_nothing(tmp_path: Path, stops: bool) -> None:
    """TensorRT stacks as many results as the trip count says, whatever the condition."""
    inner = helper.make_graph(
        [
            helper.make_node("Identity" if not stops else "Not", ["go" if not stops else "big"], ["again"]),
            helper.make_node("Add", ["v", "v"], ["next"]),
            helper.make_node("Identity", ["next"], ["each"]),
            *(
                [helper.make_node("ReduceMax", ["next"], ["top"], keepdims=0), helper.make_node("Greater", ["top", "limit"], ["big"])]
                if stops
                else []
            ),
        ][:: -1 if stops else 1],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [3]),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [3]),
            helper.make_tensor_value_info("each", TensorProto.FLOAT, [3]),
        ],
    )
    node = helper.make_node("Loop", ["n", "", "x"], ["last", "y"], body=inner)
    inputs = [("x", TensorProto.FLOAT, [3]), ("n", TensorProto.INT64, [])]
    model = model_of([node], inputs, [("y", TensorProto.FLOAT, [None, 3])], {"limit": np.float32(100)})
    if not stops:
        assert compiled(model, tmp_path / "bundle").manifest["lowering"]["engines"]
        return
    with pytest.raises(Diagnostic) as caught:
        compiled(model, tmp_path / "bundle")
    assert caught.value.code == "E0501" and getattr(caught.value, "reason_code", "") == "control-flow"


def test_unsupported_attributes_are_spelled_out(tmp_path: Path) -> None:
    """The parser knows MaxPool, but not its dilations."""
    node = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[2, 2], strides=[1, 2], pads=[1, 0, 1, 1])
    model = model_of([node], [("x", TensorProto.FLOAT, [1, 2, 7, 8])], [("y", TensorProto.FLOAT, None)])
    bundle = compiled(model, tmp_path / "bundle")
    x = np.random.default_rng(0).standard_normal((1, 2, 7, 8)).astype(np.float32)
    expected = edgec.compile(model, target="ort", output=tmp_path / "ort").run({"x": x})["y"]
    np.testing.assert_array_equal(run(bundle, x=x)["y"], expected)
    assert bundle.manifest["lowering"]["engines"]


def test_training_statistics_are_spelled_out(tmp_path: Path) -> None:
    node = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "rm", "rv"], training_mode=1, momentum=0.8)
    rng = np.random.default_rng(0)
    weights = {name: rng.uniform(0.5, 2, 3).astype(np.float32) for name in "sbmv"}
    outputs = [(name, TensorProto.FLOAT, None) for name in ("y", "rm", "rv")]
    bundle = compiled(model_of([node], [("x", TensorProto.FLOAT, [4, 3, 5])], outputs, weights), tmp_path / "bundle")
    x = rng.standard_normal((4, 3, 5)).astype(np.float32)
    found, mean, variance = run(bundle, x=x), x.mean((0, 2)), x.var((0, 2))
    np.testing.assert_allclose(found["rm"], 0.8 * weights["m"] + 0.2 * mean, rtol=1e-5)
    np.testing.assert_allclose(found["rv"], 0.8 * weights["v"] + 0.2 * variance, rtol=1e-5)
    normal = (x - mean[:, None]) / np.sqrt(variance[:, None] + 1e-5) * weights["s"][:, None] + weights["b"][:, None]
    np.testing.assert_allclose(found["y"], normal, rtol=1e-4, atol=1e-5)


def test_attention_is_native_in_float16_only(tmp_path: Path) -> None:
    """The builder has attention kernels for 16 bits; in float32 it is spelled out."""
    graph = helper.make_graph(
        [helper.make_node("Attention", ["q", "k", "v"], ["y"], name="attention")],
        "main",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2, 16, 32]) for name in "qkv"],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, 16, 32])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    used = {}
    for precision in ("f32", "f16"):
        model = read_model_bytes(proto.SerializeToString())
        bundle = compiled(model, tmp_path / precision, precision=precision, profiles="n=1:2:4")
        used[precision] = {node.op_type for node in onnx.load(bundle.folder / "model.onnx").graph.node}
        assert bundle.manifest["lowering"]["engines"]
    assert "Attention" in used["f16"] and "Attention" not in used["f32"] and "Softmax" in used["f32"]


def test_the_gap_list_names_nodes_and_what_removes_them() -> None:
    nodes = [
        helper.make_node("MatMulInteger", ["x", "w"], ["a"], name="product"),
        helper.make_node("Cast", ["a"], ["b"], name="convert", to=TensorProto.FLOAT),
        helper.make_node("Celu", ["b"], ["c"], name="curve"),
        helper.make_node("Unique", ["c"], ["y"], name="distinct"),
    ]
    weights = {"w": np.ones((4, 4), np.uint8)}
    model = model_of(nodes, [("x", TensorProto.UINT8, [4, 4])], [("y", TensorProto.FLOAT, None)], weights)
    gaps = {gap.op: gap for gap in plugin_gaps(model)}
    assert set(gaps) == {"MatMulInteger", "Unique"}
    assert gaps["MatMulInteger"].nodes == ("product",) and "decompose-matmul-integer" in gaps["MatMulInteger"].removed_by
    assert "MatMul" in gaps["MatMulInteger"].into and not gaps["MatMulInteger"].needs_plugin
    assert gaps["Unique"].needs_plugin and gaps["Unique"].code == "operator"


def test_a_missing_engine_is_seen(tmp_path: Path) -> None:
    bundle = compiled(float_net(), tmp_path / "bundle", profiles="n=1:4:8")
    (bundle.folder / "engine_SM86.engine").unlink()
    with pytest.raises(Diagnostic, match="engine"):
        backend("tensorrt").check(bundle.folder, bundle.manifest)
