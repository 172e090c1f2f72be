"""Planted faults are found, and blamed on the layer that has them and on no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgec.ir.serial.reader import read_model
from edgec.passes.default_pipeline import default_pipeline
from edgec.passes.manager import run_passes
from edgec.runtime.verify import verify

Net = Callable[[str, dict[str, np.ndarray]], Path]
Feeds = list[dict[str, np.ndarray]]
TRIALS = 100


def test_a_perturbed_weight_is_attributed_to_its_layer_every_time(net: Net, weights: dict[str, np.ndarray], feeds: Feeds) -> None:
    generator = np.random.default_rng(2024)
    original = net("original", weights)
    names = sorted(weights)
    blamed: list[tuple[str, str | None]] = []
    for trial in range(TRIALS):
        name = names[trial % len(names)]
        broken = {key: array.copy() for key, array in weights.items()}
        flat = broken[name].reshape(-1)
        position = int(generator.integers(flat.size))
        flat[position] += np.float32(0.02 + 0.2 * generator.random()) * generator.choice([-1, 1])
        first = verify(original, net("broken", broken), feeds).first_diverging
        blamed.append((name.split(".")[0], None if first is None else first.name))
    assert [pair for pair in blamed if pair[0] != pair[1]] == []


def test_two_faults_name_the_first_and_only_the_guilty(net: Net, weights: dict[str, np.ndarray], feeds: Feeds) -> None:
    broken = {**weights, "conv1.w": weights["conv1.w"] * 1.2, "fc4.w": weights["fc4.w"] + 0.1}
    report = verify(net("a", weights), net("b", broken), feeds)
    assert [layer.name for layer in report.layers if layer.guilty] == ["conv1", "fc4"]
    assert report.first_diverging is not None and report.first_diverging.name == "conv1"
    assert not report.passed
    inherited = next(layer for layer in report.layers if layer.name == "fc2")
    assert inherited.accumulated is not None and not inherited.accumulated.within
    assert inherited.isolated is not None and inherited.isolated.relative == 0


def _insert_after(source: Path, target: Path, tensor: str, make: Callable[[str, str], list[onnx.NodeProto]]) -> Path:
    """A copy of a model in which a tensor passes through further nodes under its own name."""
    model = onnx.load(source)
    nodes = list(model.graph.node)
    place = next(i for i, node in enumerate(nodes) if tensor in node.output)
    position = list(nodes[place].output).index(tensor)
    nodes[place].output[position] = tensor + ".clean"
    nodes[place + 1 : place + 1] = make(tensor + ".clean", tensor)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for key, value in (("c.bias", 0.3), ("c.gain", 1.3), ("c.high", 0.5), ("c.low", -0.5)):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), key))
    onnx.save(model, target)
    return target


@pytest.mark.parametrize("tensor", ["conv0", "conv1", "fc2", "norm3", "fc4"])
@pytest.mark.parametrize(
    ("operator", "operands", "flag"),
    [
        ("Add", ["c.bias"], "bias"),
        ("Mul", ["c.gain"], "gain"),
        ("Min", ["c.high"], "saturation-high"),
        ("Max", ["c.low"], "saturation-low"),
    ],
)
def test_bias_gain_and_clip_are_flagged_at_their_layer(
    net: Net,
    weights: dict[str, np.ndarray],
    feeds: Feeds,
    tmp_path: Path,
    tensor: str,
    operator: str,
    operands: list[str],
    flag: str,
) -> None:
    original = net("a", weights)
    broken = _insert_after(original, tmp_path / "b.onnx", tensor, lambda x, y: [helper.make_node(operator, [x, *operands], [y])])
    report = verify(original, broken, feeds)
    flagged = {layer.name: layer.flags for layer in report.layers if layer.flags}
    assert list(flagged) == [tensor]
    assert flag in flagged[tensor]
    assert report.first_diverging is not None and report.first_diverging.name == tensor


def test_nothing_is_flagged_without_a_fault(net: Net, weights: dict[str, np.ndarray], feeds: Feeds) -> None:
    report = verify(net("a", weights), net("b", weights), feeds)
    assert report.passed and report.first_diverging is None
    assert len(report.layers) == 9
    assert all(not layer.flags for layer in report.layers)
    assert all(layer.isolated is not None and layer.isolated.relative == 0 for layer in report.layers)
    parsed = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert parsed["passed"] is True and parsed["layers"][0]["quantiles"]["percent"][0] == 0


def test_faults_are_found_in_the_optimised_model_too(net: Net, weights: dict[str, np.ndarray], feeds: Feeds, tmp_path: Path) -> None:
    """The optimised model has fused and renamed tensors; the blamed layer must cover the source node with the
    fault.
    """
    original = net("a", weights)
    optimised = read_model(original)
    run_passes(optimised, default_pipeline())
    optimised.save(tmp_path / "b.onnx")
    assert verify(original, tmp_path / "b.onnx", feeds).first_diverging is None
    generator = np.random.default_rng(11)
    for trial in range(20):
        model = onnx.load(tmp_path / "b.onnx")
        tensors = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and t.dims]
        tensor = tensors[trial % len(tensors)]
        array = numpy_helper.to_array(tensor).copy()
        array.reshape(-1)[int(generator.integers(array.size))] += np.float32(0.2)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        onnx.save(model, tmp_path / "c.onnx")
        readers = [node for node in model.graph.node if tensor.name in node.input]
        first = verify(original, tmp_path / "c.onnx", feeds).first_diverging
        assert first is not None and first.nodes[-1] in [node.name or node.output[0] for node in readers]


@pytest.mark.parametrize(
    ("operator", "operand", "flag"), [("Add", "c.bias", "bias"), ("Mul", "c.gain", "gain"), ("Min", "c.high", "saturation-high")]
)
def test_outputs_tell_their_distribution_without_layers(
    net: Net, weights: dict[str, np.ndarray], feeds: Feeds, tmp_path: Path, operator: str, operand: str, flag: str
) -> None:
    original = net("a", weights)
    broken = _insert_after(original, tmp_path / "b.onnx", "fc4", lambda x, y: [helper.make_node(operator, [x, operand], [y])])
    report = verify(original, broken, feeds, layers=False)
    (output,) = report.outputs
    assert flag in output.flags and not output.passed and report.layers_passed is None
    facts = report.to_json()["outputs"][0]
    assert facts["drift"]["variance_shift"] == abs(1 - facts["drift"]["variance_ratio"])
    assert len(facts["quantiles"]["a"]) == len(facts["quantiles"]["percent"]) == 11
