"""Outputs that are constants: they are kept beside the model, because OpenVINO would narrow or reshape them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...ir.data import ArrayData

CONSTANTS_FILE = "constants.onnx"


def constants_bytes(arrays: Sequence[Any]) -> bytes:
    """The arrays as the initializers of an ONNX graph without nodes."""
    from onnx import helper

    from ...ir.serial.tensors import to_proto

    tensors = [to_proto(ArrayData(array), f"constant_{index}") for index, array in enumerate(arrays)]
    graph = helper.make_graph([], "constants", [], [], tensors)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]).SerializeToString(deterministic=True)


def read_constants(path: Path) -> list[Any]:
    """The inverse of `constants_bytes`."""
    from onnx import load_from_string, numpy_helper

    return [numpy_helper.to_array(tensor) for tensor in load_from_string(path.read_bytes()).graph.initializer]
