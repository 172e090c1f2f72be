"""Small ONNX models written straight to disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Build = Callable[..., Path]


def declare(name: str, shape: Sequence[Any] | None, kind: int = TensorProto.FLOAT) -> Any:
    """An input or output declaration."""
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Writes a model from nodes, declarations and arrays and gives its path."""

    def make(
        name: str,
        nodes: Sequence[Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        constants: dict[str, np.ndarray] | None = None,
        opset: int = 17,
        domains: Sequence[str] = (),
    ) -> Path:
        tensors = [numpy_helper.from_array(array, key) for key, array in (constants or {}).items()]
        graph = helper.make_graph(list(nodes), "main", list(inputs), list(outputs), tensors)
        imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
        path = tmp_path / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
        return path

    return make


LAYERS = ("conv0", "relu0", "pool0", "conv1", "tanh1", "fc2", "norm3", "fc4")


def small_net_constants(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of `small_net`."""
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return (generator.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    return {
        "conv0.w": draw(6, 3, 3, 3),
        "conv0.b": draw(6, 1).reshape(6),
        "conv1.w": draw(8, 6, 3, 3),
        "conv1.b": draw(8, 1).reshape(8),
        "fc2.w": draw(128, 24),
        "norm3.w": np.ones(24, np.float32) + draw(24, 24)[0],
        "norm3.b": draw(24, 24)[1],
        "fc4.w": draw(24, 10),
    }


def small_net(build: Build, name: str, constants: dict[str, np.ndarray]) -> Path:
    """A network of eight layers; layer and tensor names agree."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "conv0.w", "conv0.b"], ["conv0"], name="conv0", pads=[1, 1, 1, 1]),
        node("Relu", ["conv0"], ["relu0"], name="relu0"),
        node("MaxPool", ["relu0"], ["pool0"], name="pool0", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["pool0", "conv1.w", "conv1.b"], ["conv1"], name="conv1", pads=[1, 1, 1, 1]),
        node("Tanh", ["conv1"], ["tanh1"], name="tanh1"),
        node("Flatten", ["tanh1"], ["flat1"], name="flat1"),
        node("MatMul", ["flat1", "fc2.w"], ["fc2"], name="fc2"),
        node("LayerNormalization", ["fc2", "norm3.w", "norm3.b"], ["norm3"], name="norm3"),
        node("MatMul", ["norm3", "fc4.w"], ["fc4"], name="fc4"),
    ]
    return build(name, nodes, [declare("x", ["n", 3, 8, 8])], [declare("fc4", ["n", 10])], constants)


@pytest.fixture
def feeds() -> list[dict[str, np.ndarray]]:
    """Two batches for `small_net`."""
    generator = np.random.default_rng(7)
    return [{"x": generator.standard_normal((4, 3, 8, 8)).astype(np.float32)} for _ in range(2)]


@pytest.fixture
def net(build: Build) -> Callable[[str, dict[str, np.ndarray]], Path]:
    """Writes `small_net` with some weights."""
    return lambda name, constants: small_net(build, name, constants)


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    """The original weights of `small_net`."""
    return small_net_constants()
