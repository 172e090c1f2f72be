"""Older forms of operators: what they look like, and which opset cannot say what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant, int64s
from edgec.ir.model import Model
from edgec.ir.op import Op
from edgec.ir.ops.activation import Clip, Gelu
from edgec.ir.ops.binary import Mod
from edgec.ir.ops.concat import Concat, Pad, Split
from edgec.ir.ops.matmul import Gemm
from edgec.ir.ops.reduction import ReduceMax, ReduceSum
from edgec.ir.ops.reshape import Flatten, Squeeze, Unsqueeze
from edgec.ir.ops.resize import Resize
from edgec.ir.ops.scatter import ScatterElements
from edgec.ir.ops.selection import TopK
from edgec.ir.ops.slice import Slice
from edgec.ir.ops.softmax import Softmax
from edgec.ir.ops.vision import GridSample
from edgec.ir.serial.forms import Form, cannot_say, least_opset, node_form
from edgec.ir.types import TensorType

X = TensorType(DType.FLOAT, (2, 3, 4))


def node(op: Op, *operands: Any, type_: TensorType = X, outputs: int | None = None) -> Any:
    graph = Graph()
    x = graph.add_input("x", type_)
    made = graph.insert(op, [x if o is X else o for o in operands], outputs=outputs)
    graph.set_outputs(made.outputs)
    return made


def scalar(number: float) -> Any:
    return constant(np.array(number, np.float32), "c")


@pytest.mark.parametrize(
    ("made", "opset", "attributes", "operands"),
    [
        (node(Squeeze(), X, int64s([0]), type_=TensorType(DType.FLOAT, (1, 3))), 12, {"axes": (0,)}, 1),
        (node(Unsqueeze(), X, int64s([-1])), 10, {"axes": (3,)}, 1),
        (node(ReduceSum(keepdims=0), X, int64s([1, -1])), 10, {"axes": (1, 2), "keepdims": 0}, 1),
        (node(ReduceSum(), X, int64s([1])), 13, {}, 2),
        (node(ReduceMax(), X, int64s([1])), 17, {"axes": (1,)}, 1),
        (node(Clip(), X, scalar(-1), scalar(1)), 10, {"min": -1.0, "max": 1.0}, 1),
        (node(Pad(), X, int64s([0, 0, 1, 0, 0, 1]), scalar(2)), 10, {"pads": (0, 0, 1, 0, 0, 1), "value": 2.0}, 1),
        (node(Slice(), X, int64s([0]), int64s([1]), int64s([1])), 9, {"starts": (0,), "ends": (1,), "axes": (1,)}, 1),
        (node(TopK(), X, int64s([2]), outputs=2), 9, {"k": 2}, 1),
        (node(Concat(axis=-1), X, X), 10, {"axis": 2}, 2),
        (node(Flatten(axis=-1), X), 9, {"axis": 2}, 1),
        (node(Softmax(axis=-1), X), 12, {"axis": 2}, 1),
        (node(Split(axis=1, num_outputs=3), X, outputs=3), 13, {"axis": 1}, 1),
        (node(GridSample(), X, constant(np.zeros((2, 5, 5, 2), np.float32)), type_=TensorType(DType.FLOAT, (2, 3, 4, 4))), 16,
         {"mode": "bilinear"}, 2),
    ],
)  # fmt: skip
def test_older_form(made: Any, opset: int, attributes: dict[str, Any], operands: int) -> None:
    assert cannot_say(made, opset) is None
    form = node_form(made, opset)
    assert isinstance(form, Form)
    assert {k: v for k, v in form.attributes.items() if v is not None} == attributes
    assert len(form.inputs) == operands


@pytest.mark.parametrize(
    ("made", "opset", "reason"),
    [
        (node(Gelu(), X), 19, "entered ONNX at opset 20"),
        (node(Softmax(axis=1), X), 12, "inner axis"),
        (node(Mod(), X, X), 21, "opset 28"),
        (node(Gemm(), X, X, type_=TensorType(DType.FLOAT, (3, 3))), 10, "without C"),
        (node(Pad(mode="wrap"), X, int64s([0, 0, 1, 0, 0, 1])), 18, "opset 19"),
        (node(ReduceSum(noop_with_empty_axes=1), X, int64s([])), 12, "over no axes"),
        (node(Resize(), X, None, None, int64s([2, 3, 8])), 11, "opset 13"),
        (node(ScatterElements(reduction="max"), X, constant(np.zeros((2, 3, 4), np.int64)), X), 16, "opset 18"),
        (node(Slice(), X, int64s([0]), int64s([3]), int64s([1]), int64s([2])), 9, "steps"),
        (node(Split(axis=2, num_outputs=3), X, outputs=3), 13, "uneven"),
    ],
)
def test_what_an_opset_cannot_say(made: Any, opset: int, reason: str) -> None:
    found = cannot_say(made, opset)
    assert found is not None and reason in found
    least = least_opset(made, opset)
    assert least is not None and least > opset and cannot_say(made, least) is None


def test_operands_known_at_run_time_only() -> None:
    graph = Graph()
    x, axes = graph.add_input("x", X), graph.add_input("axes", TensorType(DType.INT64, (1,)))
    made = graph.insert(ReduceSum(), [x, axes])
    assert "run time" in (cannot_say(made, 12) or "")
    assert cannot_say(made, 13) is None


def test_writing_names_the_node_that_the_opset_cannot_say() -> None:
    graph = Graph()
    x = graph.add_input("x", X)
    graph.set_outputs([graph.insert(Gelu(), [x], name="act").output], ["y"])
    with pytest.raises(Diagnostic, match="opset 17 cannot express this node") as caught:
        Model(graph).to_bytes(opset=17)
    assert "'act'" in caught.value.where
