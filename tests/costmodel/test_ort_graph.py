"""The optimised graph of ONNX Runtime: its own layout is priced like the convolutions it came from."""

from pathlib import Path

import numpy as np
import pytest

from edgec.costmodel.ort_graph import optimized_by_ort
from edgec.costmodel.predict import predict
from edgec.costmodel.schedule import build_schedule
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.model import Model
from edgec.ir.types import TensorType
from tests.costmodel.samples import op, target


def _network() -> Graph:
    """Convolutions with activations, a residual, a pool and a classifier."""
    rng = np.random.default_rng(1)

    def parameter(*shape: int):
        return constant(rng.standard_normal(shape).astype(np.float32))

    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (1, 32, 28, 28)))
    first = graph.add(op("Relu"), graph.add(op("Conv", pads=(1,) * 4), x, parameter(64, 32, 3, 3), parameter(64)))
    second = graph.add(op("Conv", pads=(1,) * 4), first, parameter(64, 64, 3, 3))
    joined = graph.add(op("Relu"), graph.add(op("Add"), first, second))
    deep = graph.add(op("Conv", group=64, pads=(1,) * 4), joined, parameter(64, 1, 3, 3))
    pooled = graph.add(op("MaxPool", kernel_shape=(2, 2), strides=(2, 2)), deep)
    mean = graph.add(op("Flatten"), graph.add(op("GlobalAveragePool"), pooled))
    graph.set_outputs([graph.add(op("Gemm"), mean, parameter(64, 10))], ["y"])
    return graph


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "network.onnx"
    Model(_network(), opsets={"": 18}).save(path)
    return path


def test_every_kernel_of_the_optimised_graph_is_known(written: Path) -> None:
    optimized = build_schedule(optimized_by_ort(written).graph, im2col=True)
    plain = build_schedule(_network())
    assert all(k.known for k in optimized.kernels)
    assert len(optimized.kernels) < len(plain.kernels)
    assert sum(k.macs for k in optimized.kernels) == sum(k.macs for k in plain.kernels)  # type: ignore[arg-type]
    assert predict(optimized, target()).seconds[1] > 0


def test_the_blocked_layout_is_a_variant_of_its_own(written: Path) -> None:
    """Which kernels there are depends on the processor: the blocked layout needs wide vectors."""
    schedule = build_schedule(optimized_by_ort(written).graph, im2col=True)
    for kernel in schedule.kernels:
        if kernel.op == "com.microsoft.nchwc.Conv":
            assert kernel.geometry.variant == "blocked" and kernel.geometry.kernel in ("conv-direct", "conv-depthwise")
        elif kernel.op.endswith("Conv"):
            assert kernel.geometry.kernel in ("conv-im2col", "conv-depthwise")


def test_without_optimisation_the_graph_is_the_model(written: Path) -> None:
    schedule = build_schedule(optimized_by_ort(written, level="none").graph)
    assert [k.op for k in schedule.kernels] == [k.op for k in build_schedule(_network()).kernels]


def test_a_model_that_the_runtime_refuses(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(Diagnostic) as caught:
        optimized_by_ort(path)
    assert caught.value.code == "E1017"
