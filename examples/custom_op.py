"""One custom operator, three routes: kept with a library of kernels, decomposed, and evaluated in Python.

`NegPos` splits a tensor into its negative and its positive part. The package onnxruntime-extensions has a kernel for it
(``pip install onnxruntime-extensions``); without the package the first route is left out.

    python examples/custom_op.py [OUTPUT_FOLDER]

The file is a plugin as well, which teaches the operator to every command:

    edgec compile MODEL --plugin examples/custom_op.py --op-route ai.onnx.contrib.NegPos=keep -o DIR
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import edgec
from edgec.ir.graph import Node, Value
from edgec.ir.op import Op
from edgec.ir.ops.binary import Max, Min
from edgec.ir.types import TensorType
from edgec.passes.rewriter import Decline, Rewriter

NAME = "ai.onnx.contrib.NegPos"


@dataclass(frozen=True)
class NegPos(Op):
    """``min(x, 0)`` and ``max(x, 0)``."""

    domain: ClassVar[str] = "ai.onnx.contrib"
    outputs: ClassVar[int] = 2
    elementwise: ClassVar[bool] = True

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        part = TensorType(x.dtype, x.shape)
        return part, part

    def evaluate(self, x: Any) -> Any:
        zero = x.dtype.type(0)
        return np.minimum(x, zero), np.maximum(x, zero)


def decompose(node: Node, b: Rewriter) -> tuple[Value, Value] | Decline:
    """NegPos by Min and Max."""
    x = node.inputs[0]
    assert x is not None
    if x.dtype is None:
        return Decline("the element type is not known", node)
    zero = b.scalar_like(x, 0)
    return b.add(Min(), x, zero), b.add(Max(), x, zero)


def library() -> str | None:
    """The shared library with the kernel, None when the package is not installed."""
    if find_spec("onnxruntime_extensions") is None:
        return None
    from onnxruntime_extensions import get_library_path

    return get_library_path()


edgec.register_op(NegPos, route="decompose", library=library(), decompose=decompose)


def write_model(path: Path) -> np.ndarray:
    """Write a model with a NegPos in it, as another tool would: y = pos(x·w) + neg(x·w) / 8. Returns the weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(3).normal(size=(16, 4)).astype(np.float32)
    constants = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.float32(0.125), "slope")]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], name="project"),
        helper.make_node("NegPos", ["product"], ["neg", "pos"], name="split", domain="ai.onnx.contrib"),
        helper.make_node("Mul", ["neg", "slope"], ["damped"], name="damp"),
        helper.make_node("Add", ["pos", "damped"], ["y"], name="join"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 16])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.contrib", 1)]
    onnx.save(helper.make_model(helper.make_graph(nodes, "leaky", [x], [y], constants), opset_imports=opsets, ir_version=8), path)
    return weights


def main(output: Path) -> int:
    """Take every route and print how far its results are from numpy's."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / "leaky.onnx"
    weights = write_model(path)
    feeds = {"x": np.random.default_rng(4).normal(size=(8, 16)).astype(np.float32)}
    product = feeds["x"] @ weights
    expected = np.maximum(product, 0) + np.minimum(product, 0) / 8
    failures = 0

    for route in ("keep", "decompose"):
        if route == "keep" and library() is None:
            print("keep        left out: onnxruntime-extensions is not installed")
            continue
        bundle = edgec.compile(path, output=output / route, op_routes={NAME: route})
        error = float(np.abs(bundle.run(feeds)["y"] - expected).max())
        files = ", ".join(sorted(bundle.manifest["files"]))
        print(f"{route:11s} largest error {error:.1e}; the bundle holds {files}")
        failures += error > 1e-5

    report = edgec.verify(path, output / "decompose", [feeds], op_routes={NAME: "python"})
    worst = report.outputs[0].error.worst
    print(f"python      the original against the decomposed bundle: relative error {worst:.1e}; {'; '.join(report.notes)}")
    failures += not report.passed
    try:
        edgec.compile(path, output=output / "python", op_routes={NAME: "python"})
    except edgec.Diagnostic as refusal:
        print(f"            a target refuses it: {refusal.message}")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/custom_op")))
