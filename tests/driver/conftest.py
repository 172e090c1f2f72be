"""Small models and data for the driver's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.cli import main

SAMPLES = 2


def classifier(scale: float = 1.0) -> onnx.ModelProto:
    """Conv, BatchNormalization, Relu, pooling, Gemm over a symbolic batch; ``scale`` multiplies the classifier's weights."""
    rng = np.random.default_rng(5)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)

    weights = [weight("w", 4, 3, 3, 3), weight("g", 4), weight("b", 4), weight("m", 4)]
    weights.append(numpy_helper.from_array(rng.uniform(0.5, 2, 4).astype(np.float32), "v"))
    weights.append(numpy_helper.from_array((scale * rng.normal(size=(4, 5))).astype(np.float32), "fc"))
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], name="norm"),
        helper.make_node("Relu", ["n"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Identity", ["f"], ["i"], name="copy"),
        helper.make_node("Gemm", ["i", "fc"], ["y"], name="classify"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])
    graph = helper.make_graph(nodes, "classifier", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The classifier as a file."""
    path = tmp_path / "model.onnx"
    onnx.save(classifier(), path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with feeds."""
    folder = tmp_path / "data"
    folder.mkdir()
    for index in range(SAMPLES):
        array = np.random.default_rng(index).normal(size=(2, 3, 8, 8)).astype(np.float32)
        np.savez(folder / f"sample{index}.npz", x=array)
    return folder


@pytest.fixture
def edgec(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the driver in this process; gives exit status, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
