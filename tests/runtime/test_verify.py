"""Comparison across renamed, fused, converted, random and integer models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.ir.diagnostics import Diagnostic, Exit
from edgec.ir.serial.reader import read_model
from edgec.lowering.registry import backend
from edgec.runtime.bundle import load_bundle, write_bundle
from edgec.runtime.verify import verify

from .conftest import Build, declare

Net = Callable[[str, dict[str, np.ndarray]], Path]
Feeds = list[dict[str, np.ndarray]]


def _fused(source: Path, target: Path, weights: dict[str, np.ndarray], spoil: float = 0.0) -> Path:
    """The small net as a fusing compiler leaves it: renamed tensors, conv0 with relu0 in one function, fc4
    with a scale folded in.

    `edgec.origins` says which source tensors the new ones equal.
    """
    model = onnx.load(source)
    graph = model.graph
    kept = {node.name: node for node in graph.node}
    del graph.node[:]
    conv = kept["conv0"]
    conv.output[0] = "fused.conv"
    relu = helper.make_node("Clip", ["fused.conv", "zero"], ["fused.relu"], name="fused_conv_relu")
    pool = kept["pool0"]
    pool.input[0] = "fused.relu"
    for node, origins in ((conv, []), (relu, ["relu0"])):
        entry = node.metadata_props.add()
        entry.key, entry.value = "edgec.origins", json.dumps([origins])
        entry = node.metadata_props.add()
        entry.key, entry.value = "edgec.sources", json.dumps(["conv0", "relu0"])
    rest = [kept[name] for name in ("conv1", "tanh1", "flat1", "fc2", "norm3", "fc4")]
    graph.node.extend([conv, relu, pool, *rest])
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
    if spoil:
        for tensor in graph.initializer:
            if tensor.name == "conv0.w":
                tensor.CopyFrom(numpy_helper.from_array(weights["conv0.w"] * np.float32(1 + spoil), "conv0.w"))
    onnx.save(model, target)
    return target


def test_tensors_map_through_fusion_and_renaming(net: Net, weights: dict[str, np.ndarray], feeds: Feeds, tmp_path: Path) -> None:
    original = net("a", weights)
    report = verify(original, _fused(original, tmp_path / "b.onnx", weights), feeds)
    assert report.passed and report.first_diverging is None
    layer = next(item for item in report.layers if item.reference == "relu0")
    assert layer.name == "fused.relu"
    assert layer.operators == ["Conv", "Clip"]
    assert layer.sources == ["conv0", "relu0"]
    assert report.unmapped == ["fused.conv"]


def test_a_fault_inside_a_fused_layer_is_blamed_on_it(net: Net, weights: dict[str, np.ndarray], feeds: Feeds, tmp_path: Path) -> None:
    original = net("a", weights)
    report = verify(original, _fused(original, tmp_path / "b.onnx", weights, spoil=1e-3), feeds)
    assert not report.passed
    assert report.first_diverging is not None and report.first_diverging.name == "fused.relu"
    assert [layer.name for layer in report.layers if layer.guilty] == ["fused.relu"]


def test_models_bundles_and_files_compare_with_each_other(net: Net, weights: dict[str, np.ndarray], feeds: Feeds, tmp_path: Path) -> None:
    path = net("a", weights)
    model = read_model(path)
    target = backend("ort")
    bundle = write_bundle(target.lower(model, {}), tmp_path / "bundle", {})
    broken_path = net("b", {**weights, "fc4.w": weights["fc4.w"] * 1.01})
    broken = write_bundle(target.lower(read_model(broken_path), {}), tmp_path / "broken", {})
    for left, right in ((path, bundle), (model, bundle.folder), (bundle, load_bundle(bundle.folder)), (model, path)):
        report = verify(left, right, feeds)
        assert report.passed and len(report.layers) == 9, (left, right)
    for left, right in ((path, broken), (bundle, broken), (broken, model)):
        report = verify(left, right, feeds)
        assert not report.passed
        assert report.first_diverging is not None and report.first_diverging.name == "fc4"


def test_half_precision_is_within_its_own_tolerance_only(build: Build, feeds: Feeds) -> None:
    generator = np.random.default_rng(3)
    weights = [generator.standard_normal((16, 16)).astype(np.float32) / 4 for _ in range(4)]
    node = helper.make_node

    def chain(name: str, half: bool, spoil: float = 0.0) -> Path:
        nodes, constants, current = [], {}, "x"
        if half:
            nodes.append(node("Cast", ["x"], ["x.h"], to=TensorProto.FLOAT16))
            current = "x.h"
        for index, weight in enumerate(weights):
            array = weight * np.float32(1 + spoil * (index == 2))
            constants[f"w{index}"] = array.astype(np.float16) if half else array
            nodes.append(node("MatMul", [current, f"w{index}"], [f"m{index}"], name=f"m{index}"))
            nodes.append(node("Tanh", [f"m{index}"], [f"t{index}"], name=f"t{index}"))
            current = f"t{index}"
        nodes.append(node("Cast", [current], ["y"], to=TensorProto.FLOAT))
        return build(name, nodes, [declare("x", ["n", 16])], [declare("y", ["n", 16])], constants)

    data = [{"x": generator.standard_normal((8, 16)).astype(np.float32)}]
    report = verify(chain("a", False), chain("b", True), data)
    assert report.passed and report.first_diverging is None
    worst = max(layer.accumulated.worst for layer in report.layers if layer.accumulated is not None)
    assert 1e-4 < worst < 1e-2
    spoiled = verify(chain("a", False), chain("b", True, spoil=0.05), data)
    assert spoiled.first_diverging is not None and spoiled.first_diverging.name == "m2"


def test_random_outputs_are_compared_by_distribution(build: Build) -> None:
    node = helper.make_node

    def noisy(name: str, scale: float, factor: float = 2.0) -> Path:
        nodes = [
            node("RandomNormalLike", ["x"], ["noise"], name="noise", scale=scale, seed=float(len(name))),
            node("Add", ["x", "noise"], ["sum"], name="sum"),
            node("Mul", ["sum", "two"], ["y"], name="double"),
            node("Relu", ["x"], ["z"], name="plain"),
        ]
        constants = {"two": np.array(factor, np.float32)}
        return build(name, nodes, [declare("x", [100, 100])], [declare("y", [100, 100]), declare("z", [100, 100])], constants)

    data = [{"x": np.random.default_rng(0).standard_normal((100, 100)).astype(np.float32)}]
    same = verify(noisy("a", 1.0), noisy("bb", 1.0), data)
    assert same.passed
    assert {o.name: o.why for o in same.outputs} == {"y": "random: compared by distribution only", "z": ""}
    assert not verify(noisy("a", 1.0), noisy("bb", 3.0), data).passed
    guilty = verify(noisy("a", 1.0), noisy("bb", 1.0, factor=2.2), data).first_diverging
    assert guilty is not None and guilty.name == "y"


def test_integer_outputs(build: Build) -> None:
    node = helper.make_node
    generator = np.random.default_rng(5)
    weight = generator.standard_normal((32, 50)).astype(np.float32)

    def classifier(name: str, array: np.ndarray, offset: int = 0) -> Path:
        nodes = [
            node("MatMul", ["x", "w"], ["logits"], name="logits"),
            node("ArgMax", ["logits"], ["best"], name="best", axis=1, keepdims=0),
            node("Add", ["best", "offset"], ["label"], name="label"),
        ]
        constants = {"w": array, "offset": np.array(offset, np.int64)}
        return build(name, nodes, [declare("x", ["n", 32])], [declare("label", ["n"], TensorProto.INT64)], constants)

    data = [{"x": generator.standard_normal((200, 32)).astype(np.float32)}]
    assert verify(classifier("a", weight), classifier("b", weight), data).passed
    off = verify(classifier("a", weight), classifier("b", weight, offset=1), data)
    assert not off.passed and off.outputs[0].error.mismatch == 1.0
    assert off.first_diverging is not None and off.first_diverging.name == "label"
    wrong = verify(classifier("a", weight), classifier("b", weight * generator.uniform(0.5, 1.5, (1, 50)).astype(np.float32)), data)
    assert not wrong.passed
    assert wrong.first_diverging is not None and wrong.first_diverging.name == "logits"


def test_control_flow_that_captures_outer_tensors_is_one_layer(build: Build) -> None:
    node = helper.make_node
    branches = {}
    for key, operator in (("then_branch", "Add"), ("else_branch", "Mul")):
        out = declare(f"{key}.y", None)
        branches[key] = helper.make_graph([node(operator, ["h", "h"], [f"{key}.y"])], key, [], [out])
    nodes = [
        node("Relu", ["x"], ["h"], name="h"),
        node("ReduceSum", ["x"], ["total"], name="total", keepdims=0),
        node("Greater", ["total", "zero"], ["positive"], name="positive"),
        node("If", ["positive"], ["y"], name="choice", **branches),
    ]
    constants = {"zero": np.array(0, np.float32)}
    path = build("a", nodes, [declare("x", [4])], [declare("y", [4])], constants)
    data = [{"x": np.array(v, np.float32)} for v in ([1, 2, 3, 4], [-1, -2, -3, 3])]
    report = verify(path, path, data)
    assert report.passed
    layer = next(item for item in report.layers if item.name == "y")
    assert layer.operators == ["If"] and layer.isolated is not None and layer.isolated.relative == 0


def test_a_tiny_budget_gives_the_same_report(net: Net, weights: dict[str, np.ndarray], feeds: Feeds) -> None:
    left, right = net("a", weights), net("b", {**weights, "conv1.w": weights["conv1.w"] * 1.1})
    whole, chunked = verify(left, right, feeds), verify(left, right, feeds, budget=2000)
    assert json.dumps(whole.to_json()) == json.dumps(chunked.to_json())


def test_inputs_are_made_up_without_data(net: Net, weights: dict[str, np.ndarray]) -> None:
    left = net("a", weights)
    assert verify(left, left).samples == ["synthetic 0"]
    first, second = (verify(left, net("b", {**weights, "fc4.w": weights["fc4.w"] * 1.1})).to_json() for _ in range(2))
    assert first == second and first["passed"] is False


def test_expected_outputs_of_the_data_set_are_compared_too(net: Net, weights: dict[str, np.ndarray], feeds: Feeds) -> None:
    from edgec.runtime.dataset import Sample

    path = net("a", weights)
    sample = Sample("s", feeds[0], [np.zeros((4, 10), np.float32)])
    report = verify(path, path, [sample])
    assert report.passed
    assert report.outputs[0].expected is not None and not report.outputs[0].expected.within


def test_models_with_other_inputs_are_refused(build: Build) -> None:
    node = helper.make_node
    left = build("a", [node("Relu", ["image"], ["y"])], [declare("image", [2])], [declare("y", [2])])
    right = build("b", [node("Relu", ["imago"], ["y"])], [declare("imago", [2])], [declare("y", [2])])
    with pytest.raises(Diagnostic) as caught:
        verify(left, right)
    assert caught.value.exit is Exit.BAD_INPUT
    assert "imago" in caught.value.message and "image" in caught.value.hint


def test_cancellation_is_not_blamed(build: Build) -> None:
    """a*c - b*c against (a-b)*c with a near b: the same up to the rounding that cancellation magnifies."""
    node = helper.make_node
    ends = ([declare("a", [1000]), declare("b", [1000])], [declare("y", [1000])])
    c = {"c": np.array(1.2345678, np.float32)}
    left = build(
        "l",
        [node("Mul", ["a", "c"], ["p"]), node("Mul", ["b", "c"], ["q"]), node("Sub", ["p", "q"], ["y"], name="difference")],
        *ends,
        c,
    )
    right = build("r", [node("Sub", ["a", "b"], ["d"]), node("Mul", ["d", "c"], ["y"], name="product")], *ends, c)
    generator = np.random.default_rng(0)
    a = generator.uniform(1, 2, 1000).astype(np.float32)
    data = [{"a": a, "b": a * np.float32(1 + 1e-4)}]
    report = verify(left, right, data)
    assert report.outputs[0].error.worst > 1e-5
    assert report.first_diverging is None


def test_computed_weights_are_no_layers_of_their_own(build: Build) -> None:
    """Weights that nodes make from constants: a fault in them is blamed on the layer that uses them."""
    node = helper.make_node

    def model(name: str, gain: float) -> Path:
        nodes = [node("Mul", ["w", "gain"], ["weight"]), node("MatMul", ["x", "weight"], ["h"]), node("Relu", ["h"], ["y"])]
        constants = {"w": np.eye(4, dtype=np.float32), "gain": np.array(gain, np.float32)}
        return build(name, nodes, [declare("x", [2, 4])], [declare("y", [2, 4])], constants)

    data = [{"x": np.arange(8, dtype=np.float32).reshape(2, 4)}]
    report = verify(model("a", 1.0), model("b", 1.5), data)
    assert [layer.name for layer in report.layers] == ["h", "y"] and report.unmapped == []
    assert report.first_diverging is not None and report.first_diverging.name == "h"
