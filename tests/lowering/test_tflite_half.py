"""Models in float16 and bfloat16, which LiteRT computes in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.ops.activation import Sigmoid
from edgec.ir.ops.binary import Mul
from edgec.ir.ops.cast import Cast
from edgec.ir.ops.matmul import MatMul
from edgec.ir.ops.softmax import Softmax
from edgec.ir.types import TensorType
from tests.lowering.tflite_quantized_graphs import lowered, run


def chain(dtype: DType, weights: Any, asked: bool = False) -> Model:
    """Products between activations; ``asked`` puts a rounding of the model's own between the last two."""
    g = Graph()
    value = g.add_input("x", TensorType(dtype, (4, 16)))
    for weight in weights:
        value = g.add(Sigmoid(), g.add(MatMul(), value, constant(weight.astype(dtype.numpy))))
    if asked:
        value = g.add(Cast(to=dtype), g.add(Cast(to=DType.FLOAT), value))
    g.set_outputs([g.add(Softmax(), g.add(Mul(), value, value))], ["y"])
    return Model(g)


@pytest.mark.parametrize("dtype", [DType.FLOAT16, DType.BFLOAT16])
def test_results_between_operators_are_not_rounded(dtype: DType) -> None:
    rng = np.random.default_rng(3)
    weights = [rng.normal(0, 1, (16, 16)) for _ in range(4)]
    model = chain(dtype, weights)
    x = rng.normal(0, 1, (4, 16)).astype(dtype.numpy)
    artifact, options = lowered(model)
    assert artifact.facts["operators"].get("CAST", 0) <= 2  # of the input and of the output
    found = run(artifact, options, {"x": x})["y"]
    assert found.dtype == dtype.numpy
    stepwise = interpret(model.graph, {"x": x})["y"].astype(np.float64)
    wide = chain(DType.DOUBLE, [w.astype(dtype.numpy).astype(np.float64) for w in weights])
    exact = interpret(wide.graph, {"x": x.astype(np.float64)})["y"]
    error = np.abs(found.astype(np.float64) - exact).max()
    assert error <= np.abs(stepwise - exact).max() and error <= 2.0 ** -(9 if dtype is DType.BFLOAT16 else 12)


def test_a_rounding_that_the_model_asks_for_stays() -> None:
    """A float32 model that rounds to float16 in between gives what it gives with the rounding."""
    g = Graph()
    x = g.add_input("x", TensorType(DType.FLOAT, (8,)))
    g.set_outputs([g.add(Sigmoid(), g.add(Cast(to=DType.FLOAT), g.add(Cast(to=DType.FLOAT16), g.add(Sigmoid(), x))))], ["y"])
    feed = np.linspace(-3, 3, 8).astype(np.float32)
    artifact, options = lowered(Model(g))
    found = run(artifact, options, {"x": feed})["y"]
    np.testing.assert_allclose(found, interpret(g, {"x": feed})["y"], rtol=1e-6)
    assert artifact.facts["operators"]["CAST"] == 2
