"""The same model written at different opsets is read to the same graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.ir.graph import Graph
from edgec.ir.interpreter import interpret
from edgec.ir.verifier import verify
from tests.ir.serial.comparison import compare
from tests.serial_models import info, proto, read, run

OPSETS = (11, 13, 17, 18, 20, 21, 22, 23)


# -- one model, many opsets ----------------------------------------------------------------------------------------------------
class Writer:
    """Writes nodes in the form that one opset has for them."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, array: Any, name: str) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op: str, inputs: list[str], outputs: str | list[str], **attributes: Any) -> str:
        results = [outputs] if isinstance(outputs, str) else outputs
        self.nodes.append(helper.make_node(op, inputs, results, **attributes))
        return results[0]

    def moved(self, op: str, x: str, y: str, since: int, name: str, value: list[int], **attributes: Any) -> str:
        """A node with a list of integers that was an attribute before opset ``since`` and is an operand from it on."""
        if self.opset < since:
            return self.node(op, [x], y, **{name: value}, **attributes)
        return self.node(op, [x, self.weight(np.array(value, np.int64), f"{y}_{name}")], y, **attributes)

    def model(self, inputs: list[Any], outputs: list[Any]) -> onnx.ModelProto:
        return proto(self.nodes, inputs, outputs, self.weights, opset=self.opset)


def reductions(opset: int) -> onnx.ModelProto:
    w = Writer(opset)
    y = w.moved("Unsqueeze", "x", "u", 13, "axes", [0, 2])
    y = w.moved("ReduceSum", y, "s", 13, "axes", [0], keepdims=0)
    y = w.moved("Squeeze", y, "q", 13, "axes", [1])
    y = w.moved("ReduceMean", y, "m", 18, "axes", [-1], keepdims=1)
    y = w.moved("ReduceMax", y, "n", 18, "axes", [1])
    w.moved("ReduceL2", y, "y", 18, "axes", [0, 1], keepdims=0)
    return w.model([info("x", ("n", 3, 4))], [info("y", (4,))])


def classifier(opset: int) -> onnx.ModelProto:
    w = Writer(opset)
    rng = np.random.default_rng(1)
    kernel = w.weight(rng.standard_normal((4, 3, 3, 3)).astype(np.float32), "kernel")
    y = w.node("Conv", ["x", kernel], "c", pads=[1, 1, 1, 1])
    parameters = [w.weight(rng.uniform(0.5, 1.5, 4).astype(np.float32), f"p{i}") for i in range(4)]
    y = w.node("BatchNormalization", [y, *parameters], "b", epsilon=1e-3)
    y = w.node("Relu", [y], "r")
    y = w.node("Clip", [y, "", w.weight(np.float32(6), "six")], "k")
    y = w.node("MaxPool", [y], "mp", kernel_shape=[2, 2], strides=[2, 2])
    y = w.node("GlobalAveragePool", [y], "g")
    y = w.node("Flatten", [y], "f")
    if opset < 12:
        y = w.node("Dropout", [y], "d", ratio=0.3)
    else:
        y = w.node("Dropout", [y, w.weight(np.float32(0.3), "ratio")], "d")
    weight, bias = (w.weight(rng.standard_normal(s).astype(np.float32), n) for s, n in (((5, 4), "w"), ((5,), "bias")))
    y = w.node("Gemm", [y, weight, bias], "z", transB=1)
    w.node("Softmax", [y], "y", axis=-1)
    return w.model([info("x", ("n", 3, 8, 8))], [info("y", ("n", 5))])


def movement(opset: int) -> onnx.ModelProto:
    w = Writer(opset)
    ints = {name: w.weight(np.array(value, np.int64), name) for name, value in {
        "starts": [1], "ends": [4], "axes": [2], "pads": [0, 0, 1, 0, 0, 1], "shape": [0, 2, -1], "perm_k": [2], "index": [1, 0],
    }.items()}  # fmt: skip
    y = w.node("Slice", ["x", ints["starts"], ints["ends"], ints["axes"]], "s")
    y = w.node("Pad", [y, ints["pads"], w.weight(np.float32(0.5), "half")], "p", mode="constant")
    if opset < 13:
        w.node("Split", [y], ["a", "b"], axis=2, split=[2, 3])
    else:
        w.node("Split", [y, w.weight(np.array([2, 3], np.int64), "parts")], ["a", "b"], axis=2)
    y = w.node("Concat", ["b", "a"], "c", axis=-1)
    y = w.node("Gather", [y, ints["index"]], "g", axis=1)
    w.node("TopK", [y, ints["perm_k"]], ["v", "i"], axis=-1)
    y = w.node("Cast", ["i"], "f", to=TensorProto.FLOAT)
    y = w.node("Add", ["v", y], "t")
    y = w.node("Transpose", [y], "o", perm=[0, 2, 1])
    w.node("Reshape", [y, ints["shape"]], "y")
    return w.model([info("x", ("n", 2, 5))], [info("y", ("n", 2, "k"))])


def mathematics(opset: int) -> onnx.ModelProto:
    w = Writer(opset)
    y = w.node("MatMul", ["x", w.weight(np.eye(4, 4, 1, np.float32), "w")], "m")
    y = w.node("Mul", [y, w.weight(np.float32(0.5), "half")], "h")
    y = w.node("Pow", [y, w.weight(np.float32(2), "two")], "p")
    y = w.node("Sqrt", [y], "q")
    y = w.node("Where", ["c", y, "x"], "wh")
    y = w.node("LeakyRelu", [y], "l", alpha=0.2)
    y = w.node("Tanh", [y], "t")
    y = w.node("Sum", [y, "x"], "s")
    y = w.node("Identity", [y], "i")
    y = w.node("Expand", [y, w.weight(np.array([2, 1, 1], np.int64), "wide")], "e")
    y = w.node("LogSoftmax", [y], "y", axis=-1)
    return w.model([info("x", ("n", 4)), info("c", ("n", 4), TensorProto.BOOL)], [info("y", (2, "n", 4))])


def structure(graph: Graph) -> list[Any]:
    """The graph without the names that only the reader gave: operators, operands by number or contents, result types."""
    numbers: dict[Any, int] = {value: i for i, value in enumerate(graph.inputs)}
    described: list[Any] = [[str(value.type) for value in graph.inputs]]
    for node in graph.walk():
        operands: list[Any] = []
        for value in node.inputs:
            if value is None:
                operands.append(None)
            elif value.data is not None:
                operands.append((str(value.type), value.data.numpy().tobytes()))
            else:
                operands.append(numbers[value])
        for value in node.outputs:
            numbers[value] = len(numbers)
        described.append((node.op, operands, [(v.name, str(v.type)) for v in node.outputs]))
    return [*described, [numbers[value] for value in graph.outputs], graph.output_names]


MODELS = {"reductions": reductions, "classifier": classifier, "movement": movement, "mathematics": mathematics}


@pytest.mark.parametrize("name", list(MODELS))
def test_one_model_at_all_opsets_is_one_graph(name: str) -> None:
    newest = read(MODELS[name](OPSETS[-1]))
    for opset in OPSETS:
        made = MODELS[name](opset)
        onnx.checker.check_model(made)
        model = read(made)
        verify(model.graph)
        assert structure(model.graph) == structure(newest.graph), f"opset {opset}"
        assert model.opsets[""] == opset


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("opset", OPSETS)
def test_the_graph_computes_what_the_file_says(name: str, opset: int) -> None:
    made = MODELS[name](opset)
    graph = read(made).graph
    feeds = {}
    for value in graph.inputs:
        shape = [d if isinstance(d, int) else 3 for d in value.shape or ()]
        array = np.random.default_rng(3).standard_normal(shape)
        feeds[value.name] = array > 0 if value.tensor.dtype.numpy == np.bool_ else array.astype(np.float32)
    compare(made, feeds)


@pytest.mark.parametrize("target", OPSETS[1:])
def test_models_that_onnx_converted_itself(target: int) -> None:
    """onnx's version converter is an independent judge of what the forms mean."""
    for build in MODELS.values():
        original = build(11)
        converted = onnx.version_converter.convert_version(original, target)
        graph = read(converted).graph
        feeds = {}
        for value in graph.inputs:
            shape = [d if isinstance(d, int) else 3 for d in value.shape or ()]
            array = np.random.default_rng(4).standard_normal(shape)
            feeds[value.name] = array > 0 if value.tensor.dtype.numpy == np.bool_ else array.astype(np.float32)
        for reference, result in zip(run(original, feeds), interpret(graph, feeds).values(), strict=True):
            np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-5)
