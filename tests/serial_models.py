"""Small models for the tests of the reader and the writer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgec.ir.model import Model
from edgec.ir.serial.reader import read_model_bytes

FLOAT = TensorProto.FLOAT


def info(name: str, shape: Sequence[int | str | None] | None = (2, 3), dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def proto(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
    *,
    opset: int = 17,
    ir_version: int = 8,
    domains: Sequence[tuple[str, int]] = (),
    **graph: Any,
) -> onnx.ModelProto:
    made = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(weights), **graph)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, v) for d, v in domains)]
    return helper.make_model(made, opset_imports=opsets, ir_version=ir_version)


def relu(**options: Any) -> onnx.ModelProto:
    return proto([helper.make_node("Relu", ["x"], ["y"], name="act")], [info("x")], [info("y")], **options)


def linear(weight: np.ndarray, name: str = "w", **options: Any) -> onnx.ModelProto:
    """``y = x @ w`` with the weight as raw data."""
    node = helper.make_node("MatMul", ["x", name], ["y"], name="product")
    tensor = numpy_helper.from_array(weight, name)
    return proto([node], [info("x", ["N", weight.shape[0]])], [info("y", ["N", weight.shape[1]])], [tensor], **options)


def read(model: onnx.ModelProto) -> Model:
    return read_model_bytes(model.SerializeToString())


def written(model: Model, **options: Any) -> onnx.ModelProto:
    """What the writer makes of a model, checked by onnx."""
    made = onnx.ModelProto.FromString(model.to_bytes(**options))
    onnx.checker.check_model(made, full_check=True)
    return made


def run(model: onnx.ModelProto | bytes | Path, feeds: dict[str, Any]) -> list[Any]:
    """The outputs that ONNX Runtime computes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    source = str(model) if isinstance(model, Path) else model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"]).run(None, feeds)


def store(folder: Path, model: onnx.ModelProto, name: str = "model.onnx") -> Path:
    """Write a ModelProto into a folder."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path
