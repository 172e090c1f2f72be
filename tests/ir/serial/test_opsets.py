"""The same model written at different opsets is read to the same graph; operators whose meaning changed keep the one they had."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.ir.graph import Graph
from edgec.ir.interpreter import interpret
from edgec.ir.verifier import verify
from tests.serial_models import info, proto, read, run

OPSETS = (11, 13, 17, 18, 20, 21, 22, 23)
GENERATOR = np.random.default_rng(0)


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


def compare(made: onnx.ModelProto, feeds: dict[str, Any], tolerance: float = 1e-5) -> list[Any]:
    """The interpreter on the graph that was read gives what ONNX Runtime gives on the original, or on the file written at another opset."""
    expected = run(made, feeds)
    model = read(made)
    verify(model.graph)
    results = list(interpret(model, feeds).values())
    written = run(model.to_bytes(), feeds)
    for found in (results, written):
        assert len(found) == len(expected)
        for reference, result in zip(expected, found, strict=True):
            assert result.dtype == reference.dtype and result.shape == reference.shape, (result.shape, reference.shape)
            np.testing.assert_allclose(result, reference, rtol=tolerance, atol=tolerance)
    return expected


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


# -- what changed its meaning ---------------------------------------------------------------------------------------------------
def floats(*shape: int) -> Any:
    return GENERATOR.standard_normal(shape).astype(np.float32)


def one(opset: int, op: str, operands: list[Any], *, outputs: int = 1, fixed: tuple[int, ...] = (), **attributes: Any) -> Any:
    """A model of one node, with the operands at the positions ``fixed`` as initializers, and its feeds."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(operands)]
    arrays = {n: np.asarray(a) for n, a in zip(names, operands, strict=True) if a is not None}
    held = {f"x{i}" for i in fixed}
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attributes)
    kinds = {n: helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in arrays.items()}
    made = proto(
        [node],
        [info(n, a.shape, kinds[n]) for n, a in arrays.items() if n not in held],
        [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outputs)],
        [numpy_helper.from_array(a, n) for n, a in arrays.items() if n in held],
        opset=opset,
    )
    return made, {n: a for n, a in arrays.items() if n not in held}


def ints(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def check(opset: int, op: str, operands: list[Any], *, outputs: int = 1, fixed: tuple[int, ...] = (), **attributes: Any) -> list[Any]:
    made, feeds = one(opset, op, operands, outputs=outputs, fixed=fixed, **attributes)
    return compare(made, feeds)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("opset", [7, 11, 12, 13, 21])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1])
def test_softmax(op: str, opset: int, axis: int | None) -> None:
    """Before opset 13 it runs over everything from ``axis`` on, 1 by default; since then over the axis alone, the last by default."""
    if axis is not None and axis < 0 and opset < 11:
        axis = 2
    (found,) = check(opset, op, [floats(2, 3, 4)], **({} if axis is None else {"axis": axis}))
    if op == "Softmax" and axis in (None, 1):
        axes = (1, 2) if opset < 13 else (2,) if axis is None else (1,)
        np.testing.assert_allclose(found.sum(axis=axes), 1, rtol=1e-5)


@pytest.mark.parametrize("opset", [7, 11, 12, 13, 17])
def test_squeeze_and_unsqueeze(opset: int) -> None:
    x = floats(1, 3, 1, 4)
    if opset < 13:
        check(opset, "Squeeze", [x], axes=[0, 2])
        check(opset, "Unsqueeze", [x], axes=[0, 4])
    else:
        check(opset, "Squeeze", [x, ints(0, 2)], fixed=(1,))
        check(opset, "Unsqueeze", [x, ints(0, -1)], fixed=(1,))
    check(opset, "Squeeze", [x])


REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceSumSquare",
)  # fmt: skip


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("opset", [11, 13, 17, 18, 20])
def test_reductions(op: str, opset: int) -> None:
    x = np.abs(floats(2, 3, 4)) + 0.5
    as_operand = opset >= (13 if op == "ReduceSum" else 18)
    for keep in (0, 1):
        if as_operand:
            check(opset, op, [x, ints(1, -1)], fixed=(1,), keepdims=keep)
        else:
            check(opset, op, [x], axes=[1, -1], keepdims=keep)
    check(opset, op, [x])
    if as_operand:
        check(opset, op, [x, ints()], fixed=(1,), noop_with_empty_axes=1)


@pytest.mark.parametrize("opset", [7, 10, 12, 13, 22])
def test_dropout(opset: int) -> None:
    x = floats(3, 4)
    if opset < 12:
        check(opset, "Dropout", [x], ratio=0.7)
    else:
        check(opset, "Dropout", [x, np.float32(0.7)], fixed=(1,))
        check(opset, "Dropout", [x, np.float32(0.7), np.array(False)], fixed=(1, 2))
    if opset >= 12:  # what the mask holds was not said before
        (_, mask) = check(opset, "Dropout", [x], outputs=2)
        assert mask.dtype == np.bool_ and mask.all()


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 15, 21])
def test_batch_normalization(opset: int) -> None:
    x, scale, bias, mean = floats(2, 3, 4, 4), floats(3), floats(3), floats(3)
    variance = np.abs(floats(3)) + 0.5
    check(opset, "BatchNormalization", [x, scale, bias, mean, variance], epsilon=1e-3)
    if opset < 9:
        check(opset, "BatchNormalization", [x, scale, bias, mean, variance], spatial=1)


@pytest.mark.parametrize("opset", [14, 15])
def test_batch_normalization_in_training(opset: int) -> None:
    """ONNX Runtime trains at opset 14 and later: the batch's own statistics, and the running ones after one step."""
    x, scale, bias, mean = floats(4, 3, 5), floats(3), floats(3), floats(3)
    variance = np.abs(floats(3)) + 0.5
    made, feeds = one(opset, "BatchNormalization", [x, scale, bias, mean, variance], outputs=3, training_mode=1, momentum=0.8)
    y, running_mean, running_variance = interpret(read(made), feeds).values()
    batch_mean, batch_variance = x.mean(axis=(0, 2)), x.var(axis=(0, 2))
    spread = [v.reshape(3, 1) for v in (batch_mean, batch_variance, scale, bias)]
    np.testing.assert_allclose(y, (x - spread[0]) / np.sqrt(spread[1] + 1e-5) * spread[2] + spread[3], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(running_mean, 0.8 * mean + 0.2 * batch_mean, rtol=1e-5)
    np.testing.assert_allclose(running_variance, 0.8 * variance + 0.2 * batch_variance, rtol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 1.5, 2.5), (1, 1, 0.6, 0.6)], ids=str)
def test_resize_of_opset_10(mode: str, scales: tuple[float, ...]) -> None:
    """Coordinates are asymmetric, and the nearest one is the lower one."""
    check(10, "Resize", [floats(1, 2, 5, 6), np.array(scales, np.float32)], fixed=(1,), mode=mode)


@pytest.mark.parametrize("opset", [11, 13, 18, 19])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize(opset: int, coordinates: str, mode: str) -> None:
    x, settings = floats(1, 2, 5, 6), {"mode": mode, "coordinate_transformation_mode": coordinates}
    region = np.zeros(0, np.float32)
    check(opset, "Resize", [x, region, np.array([1, 1, 2, 1.5], np.float32)], fixed=(1, 2), **settings)
    empty = np.zeros(0, np.float32) if opset < 13 else None
    made_region = region if opset < 13 else None
    fixed = (1, 2, 3) if opset < 13 else (3,)
    check(opset, "Resize", [x, made_region, empty, ints(1, 2, 7, 3)], fixed=fixed, **settings)


def test_resize_of_some_axes() -> None:
    check(18, "Resize", [floats(1, 2, 5, 6), None, None, ints(7, 3)], fixed=(3,), axes=[2, 3], mode="linear")


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [7, 9])
def test_upsample(opset: int, mode: str) -> None:
    x, scales = floats(1, 2, 4, 5), [1.0, 1.0, 2.0, 3.0]
    if opset < 9:
        check(opset, "Upsample", [x], scales=scales, mode=mode)
    else:
        check(opset, "Upsample", [x, np.array(scales, np.float32)], fixed=(1,), mode=mode)


@pytest.mark.parametrize("opset", [7, 10, 11, 12, 13])
def test_clip(opset: int) -> None:
    x = 3 * floats(3, 4)
    if opset < 11:
        check(opset, "Clip", [x], min=-1.0, max=2.0)
        check(opset, "Clip", [x], max=2.0)
        check(opset, "Clip", [x])
    else:
        check(opset, "Clip", [x, np.float32(-1), np.float32(2)], fixed=(1, 2))
        check(opset, "Clip", [x, None, np.float32(2)], fixed=(2,))
        check(opset, "Clip", [x, np.float32(-1), np.float32(2)])
        check(opset, "Clip", [x])


@pytest.mark.parametrize("opset", [7, 10, 11, 13, 18])
def test_pad(opset: int) -> None:
    x, pads = floats(2, 3, 4), [0, 1, 2, 0, 0, 1]
    for mode in ("constant", "edge", "reflect"):
        if opset < 11:
            check(opset, "Pad", [x], pads=pads, mode=mode, value=0.5)
        else:
            value = np.float32(0.5) if mode == "constant" else None
            check(opset, "Pad", [x, ints(*pads), value], fixed=(1, 2) if value is not None else (1,), mode=mode)
    if opset >= 18:
        check(opset, "Pad", [x, ints(1, 2, 0, 1), None, ints(1, -1)], fixed=(1, 3))


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 13])
def test_slice(opset: int) -> None:
    x = floats(4, 5, 6)
    if opset < 10:
        check(opset, "Slice", [x], starts=[1, -3], ends=[3, 1000], axes=[0, 2])
        check(opset, "Slice", [x], starts=[1, 0], ends=[-1, 4])
    else:
        check(opset, "Slice", [x, ints(1, -3), ints(3, 1000), ints(0, 2)], fixed=(1, 2, 3))
        check(opset, "Slice", [x, ints(-1, 0), ints(-1000, 4), ints(2, 1), ints(-2, 3)], fixed=(1, 2, 3, 4))
        check(opset, "Slice", [x, ints(1), ints(4), ints(1)])


@pytest.mark.parametrize("opset", [7, 9, 10, 11])
def test_top_k(opset: int) -> None:
    x = floats(3, 7)
    if opset < 10:
        check(opset, "TopK", [x], outputs=2, k=3, axis=1)
        check(opset, "TopK", [x], outputs=2, k=2)
    else:
        check(opset, "TopK", [x, ints(3)], outputs=2, fixed=(1,), axis=1)
    if opset >= 11:
        check(opset, "TopK", [x, ints(2)], outputs=2, fixed=(1,), axis=0, largest=0)


@pytest.mark.parametrize("opset", [7, 11, 13, 17, 18])
def test_split(opset: int) -> None:
    x = floats(2, 6)
    if opset < 13:
        check(opset, "Split", [x], outputs=2, axis=1, split=[2, 4])
    else:
        check(opset, "Split", [x, ints(2, 4)], outputs=2, fixed=(1,), axis=1)
    if opset < 18:
        check(opset, "Split", [x], outputs=3, axis=1)
    else:
        check(opset, "Split", [x], outputs=3, axis=1, num_outputs=3)
        check(opset, "Split", [floats(2, 7)], outputs=3, axis=1, num_outputs=3)


@pytest.mark.parametrize("opset", [18, 20, 21])
def test_group_normalization(opset: int) -> None:
    """Scale and bias are one number per group before opset 21, one per channel since."""
    size = 6 if opset >= 21 else 3
    x, scale, bias = floats(2, 6, 4, 4), floats(size), floats(size)
    groups = x.astype(np.float64).reshape(2, 3, -1)
    normal = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-5)
    wide = [np.repeat(v, 6 // size).reshape(6, 1, 1) for v in (scale, bias)]
    expected = normal.reshape(x.shape) * wide[0] + wide[1]
    made, feeds = one(opset, "GroupNormalization", [x, scale, bias], fixed=(1, 2), num_groups=3)
    (found,) = interpret(read(made), feeds).values()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    if opset >= 21:
        check(opset, "GroupNormalization", [x, scale, bias], num_groups=3)


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("attributes", [{}, {"onesided": 1}, {"inverse": 1}], ids=str)
def test_dft(opset: int, attributes: dict[str, int]) -> None:
    """The axis is an attribute, 1 by default, before opset 20, and an operand, −2 by default, since."""
    x = floats(2, 8, 3, 2) if attributes.get("inverse") else floats(2, 8, 3, 1)
    if opset < 20:
        check(opset, "DFT", [x], axis=1, **attributes)
        check(opset, "DFT", [x], **attributes)
    else:
        check(opset, "DFT", [x, None, np.int64(1)], fixed=(2,), **attributes)
        check(opset, "DFT", [x], **attributes)


@pytest.mark.parametrize(
    ("opset", "mode"), [(16, "bilinear"), (16, "nearest"), (16, "bicubic"), (20, "linear"), (20, "nearest"), (20, "cubic")], ids=str
)
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample(opset: int, mode: str, padding: str) -> None:
    grid = np.random.default_rng(5).uniform(-1.2, 1.2, (1, 3, 4, 2)).astype(np.float32)
    made, feeds = one(opset, "GridSample", [floats(1, 2, 5, 6), grid], mode=mode, padding_mode=padding)
    compare(made, feeds, 1e-4)
    if opset < 20:
        made, feeds = one(opset, "GridSample", [floats(1, 2, 5, 6), grid], align_corners=1)
        compare(made, feeds, 1e-4)


@pytest.mark.parametrize("opset", [11, 13, 14, 19, 21])
def test_reshape_with_zeros(opset: int) -> None:
    check(opset, "Reshape", [floats(2, 3, 4), ints(0, -1)], fixed=(1,))
    if opset >= 14:
        check(opset, "Reshape", [np.zeros((0, 3), np.float32), ints(3, 0)], fixed=(1,), allowzero=1)


@pytest.mark.parametrize("opset", [13, 15, 19, 21])
def test_shape_ranges(opset: int) -> None:
    check(opset, "Shape", [floats(2, 3, 4)])
    if opset >= 15:
        check(opset, "Shape", [floats(2, 3, 4)], start=1)
        check(opset, "Shape", [floats(2, 3, 4)], start=-2, end=-1)


@pytest.mark.parametrize("opset", [9, 10, 11])
def test_max_pool_of_old_opsets(opset: int) -> None:
    check(opset, "MaxPool", [floats(1, 2, 7, 7)], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    if opset >= 10:
        check(opset, "MaxPool", [floats(1, 2, 8, 8)], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)


@pytest.mark.parametrize("opset", [11, 13, 19])
def test_cast_saturates_nothing_before_float8(opset: int) -> None:
    made, feeds = one(opset, "Cast", [np.array([-1.5, 0.0, 2.7], np.float32)], to=TensorProto.INT32)
    assert list(read(made).graph)[0].op == list(read(one(23, "Cast", list(feeds.values()), to=TensorProto.INT32)[0]).graph)[0].op
    compare(made, feeds)


@pytest.mark.parametrize("opset", [7, 9, 10, 11])
def test_gemm_and_flatten_of_old_opsets(opset: int) -> None:
    c = floats(3, 5)
    check(opset, "Gemm", [floats(3, 4), floats(4, 5), c], alpha=0.5, beta=2.0)
    check(opset, "Flatten", [floats(2, 3, 4)], axis=2)
