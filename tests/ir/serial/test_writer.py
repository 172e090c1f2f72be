"""Writing: opset, IR version, output names, element types, debug handles, quantisation parameters, repeated optimisation."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgec
from edgec.ir.data import ArrayData
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.model import Model
from edgec.ir.ops.activation import LeakyRelu
from edgec.ir.ops.unary import Neg
from edgec.ir.serial.reader import read_model, read_model_bytes
from edgec.ir.types import TensorType
from tests.serial_models import info, linear, proto, read, relu, run, store, written

X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2


# -- opset and IR version --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("stored", "expected"), [(9, 18), (17, 18), (21, 21), (22, 22), (23, 23)])
def test_the_default_opset_is_that_of_the_file_but_not_an_old_one(stored, expected):
    assert written(read(relu(opset=stored, ir_version=10))).opset_import[0].version == expected


@pytest.mark.parametrize("opset", [7, 13, 17, 23])
def test_the_requested_opset_is_written(opset):
    weight = numpy_helper.from_array(np.array([1], np.int64), "axes")
    model = proto([helper.make_node("Unsqueeze", ["x", "axes"], ["y"])], [info("x")], [info("y", (2, 1, 3))], [weight], opset=13)
    made = written(read(model), opset=opset)
    assert [(o.domain, o.version) for o in made.opset_import] == [("", opset)]
    assert len(made.graph.node[0].attribute) == (opset < 13)
    np.testing.assert_array_equal(run(made, {"x": X})[0], X[:, None])


def test_a_node_that_the_requested_opset_cannot_say_is_named():
    model = proto([helper.make_node("Gelu", ["x"], ["y"], name="activation")], [info("x")], [info("y")], opset=20, ir_version=9)
    with pytest.raises(Diagnostic) as caught:
        read(model).to_bytes(opset=17)
    assert caught.value.code == "E0308" and "node 'activation' (Gelu)" in caught.value.where and "opset 20" in caught.value.message


@pytest.mark.parametrize("opset", [6, 0, -1, 99])
def test_opsets_that_nobody_can_write(opset):
    with pytest.raises(Diagnostic, match=str(opset)) as caught:
        read(relu()).to_bytes(opset=opset)
    assert caught.value.code == "E0308"


def test_the_ir_version_fits_the_opset_and_never_falls():
    assert written(read(relu(ir_version=4))).ir_version >= 8  # what opset 18 asks for
    assert written(read(relu(ir_version=12))).ir_version == 12


def test_a_dimension_that_no_file_can_hold():
    weight = numpy_helper.from_array(np.array([1 << 40, 1], np.int64), "r")
    nodes = [helper.make_node("Tile", ["x", "r"], ["h"]), helper.make_node("Tile", ["h", "r"], ["y"])]
    with pytest.raises(Diagnostic, match="63 bits") as caught:
        read(proto(nodes, [info("x")], [info("y", None)], [weight])).to_bytes()
    assert caught.value.code == "E0310" and caught.value.where == "value 'y'" and caught.value.hint


# -- output names ----------------------------------------------------------------------------------------------------
def outputs_of(model: onnx.ModelProto, feeds) -> dict[str, np.ndarray]:
    made = written(read(model))
    return dict(zip([o.name for o in made.graph.output], run(made, feeds), strict=True))


def test_an_output_that_is_an_input():
    model = proto([helper.make_node("Neg", ["x"], ["y"])], [info("x")], [info("x"), info("y")])
    found = outputs_of(model, {"x": X})
    assert list(found) == ["x", "y"]
    np.testing.assert_array_equal(found["x"], X)


def test_an_input_under_another_name():
    model = read(proto([helper.make_node("Identity", ["x"], ["y"])], [info("x")], [info("y")]))
    graph = model.graph
    graph.set_outputs([graph.inputs[0]])
    graph.remove(graph.first)
    made = written(model)
    assert [o.name for o in made.graph.output] == ["y"]
    np.testing.assert_array_equal(run(made, {"x": X})[0], X)


def test_an_output_that_is_a_constant():
    weight = numpy_helper.from_array(X, "w")
    model = proto([helper.make_node("Neg", ["x"], ["y"])], [info("x")], [info("w"), info("y")], [weight])
    found = outputs_of(model, {"x": X})
    assert list(found) == ["w", "y"]
    np.testing.assert_array_equal(found["w"], X)


def test_one_value_returned_under_several_names():
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Identity", ["y"], ["z"])]
    model = read(proto(nodes, [info("x")], [info("y"), info("z")]))
    graph = model.graph
    graph.set_outputs([graph.first.output, graph.first.output])
    graph.remove(graph.last)
    made = written(model)
    assert [o.name for o in made.graph.output] == ["y", "z"]
    for result in run(made, {"x": X}):
        np.testing.assert_array_equal(result, -X)


def test_a_branch_that_returns_a_captured_value_or_a_constant():
    weight = numpy_helper.from_array(X, "w")
    then = helper.make_graph([], "t", [], [info("h")])
    other = helper.make_graph([], "e", [], [info("w")])
    nodes = [helper.make_node("Neg", ["x"], ["h"]), helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)]
    model = read(proto(nodes, [info("x"), info("c", (), TensorProto.BOOL)], [info("y")], [weight]))
    made = written(model)
    for condition in (True, False):
        np.testing.assert_array_equal(run(made, {"x": X, "c": np.array(condition)})[0], -X if condition else X)


def test_names_that_clash_are_made_different():
    graph = Graph("g")
    x = graph.add_input("x", TensorType(DType.FLOAT, (2, 3)))
    first = graph.insert(Neg(), [x], names=["a"])
    second = graph.insert(Neg(), [first.output], names=["a"])
    third = graph.insert(Neg(), [second.output], names=["x"])
    graph.set_outputs([third.output], ["out"])
    made = written(Model(graph))
    names = [n.output[0] for n in made.graph.node]
    assert len(set(names)) == 3 and "x" not in names and names[-1] == "out"


@pytest.mark.parametrize("name", ["a'b", 'quo"te', "new\nline", "tab\tend", "\x1b[31m", "漢字", "with space", "%x", "a" * 500, "\x00"])
def test_odd_names_survive(name):
    model = proto([helper.make_node("Relu", [name], ["y" + name], name=name)], [info(name, (name, 3))], [info("y" + name, (name, 3))])
    made = onnx.ModelProto.FromString(read(model).to_bytes())
    assert made.graph.node[0].name == name and made.graph.input[0].name == name and made.graph.output[0].name == "y" + name
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_param == name
    optimized = onnx.ModelProto.FromString(edgec.optimize(read(model)).to_bytes())
    assert [i.name for i in optimized.graph.input] == [name] and [o.name for o in optimized.graph.output] == ["y" + name]


# -- element types ---------------------------------------------------------------------------------------------------
SPECIAL = [t for t in DType if t is not DType.STRING]


def elements(dtype: DType, count: int) -> np.ndarray:
    rng = np.random.default_rng(dtype.code)
    if dtype is DType.BOOL:
        return rng.integers(0, 2, count).astype(bool)
    codes = rng.integers(0, 256, count * max(1, dtype.numpy.itemsize), dtype=np.uint8)
    if dtype.bits < 8:
        codes &= (1 << dtype.bits) - 1
        if dtype.is_signed_integer:
            half = 1 << dtype.bits - 1
            return ((codes.astype(np.int8) ^ half) - half).astype(dtype.numpy)
        return codes.astype(dtype.numpy) if dtype.is_integer else codes.view(dtype.numpy)
    return codes.view(dtype.numpy)


def as_codes(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).view(np.uint8).tobytes()


@pytest.mark.parametrize("dtype", SPECIAL, ids=str)
@pytest.mark.parametrize("count", [0, 1, 5, 3001])
def test_every_element_type_keeps_its_bits(dtype, count, tmp_path):
    graph = Graph("g")
    array = elements(dtype, count)
    graph.set_outputs([constant(ArrayData(array, dtype), "w")], ["y"])
    model = Model(graph)
    for external in (False, True):
        path = tmp_path / f"{external}.onnx"
        model.save(path, external_data=external)
        found = read_model(path).outputs[0].producer.inputs[0].data
        assert found.dtype is dtype and found.shape == (count,) and as_codes(found.numpy()) == as_codes(array)


@pytest.mark.parametrize("dtype", [t for t in SPECIAL if t.bits < 8], ids=str)
def test_packing_is_that_of_onnx(dtype):
    array = elements(dtype, 7)
    tensor = onnx.TensorProto(name="w", data_type=dtype.code, dims=[7], raw_data=bytes(ArrayData(array, dtype).raw()))
    assert as_codes(numpy_helper.to_array(tensor).astype(dtype.numpy)) == as_codes(array)


def test_strings_and_bytes_that_are_no_text_survive():
    tensor = TensorProto(name="w", data_type=TensorProto.STRING, dims=[2, 2], string_data=[b"caf\xc3\xa9", b"\xff\xfe", b"", b"a\x00b"])
    model = proto([helper.make_node("Identity", ["w"], ["y"])], [], [info("y", (2, 2), TensorProto.STRING)], [tensor])
    assert list(written(read(model)).graph.initializer[0].string_data) == list(tensor.string_data)
    node = helper.make_node("StringNormalizer", ["s"], ["t"], stopwords=[b"\xff", b"ok"])
    model = proto([node], [info("s", (3,), TensorProto.STRING)], [info("t", None, TensorProto.STRING)])
    assert list(written(read(model)).graph.node[0].attribute[0].strings) == [b"\xff", b"ok"]


def test_empty_lists_and_whole_numbers_have_the_kind_of_the_definition():
    node = helper.make_node("StringNormalizer", ["s"], ["t"], is_case_sensitive=1)
    node.attribute.add(name="stopwords", type=onnx.AttributeProto.STRINGS)
    model = proto([node], [info("s", (3,), TensorProto.STRING)], [info("t", None, TensorProto.STRING)])
    assert all(a.type == onnx.AttributeProto.STRINGS for a in written(read(model)).graph.node[0].attribute if a.name == "stopwords")
    graph = Graph("g")
    graph.set_outputs([graph.add(LeakyRelu(alpha=2), graph.add_input("x", TensorType(DType.FLOAT, (2, 3))))], ["y"])
    attribute = written(Model(graph)).graph.node[0].attribute[0]
    assert attribute.type == onnx.AttributeProto.FLOAT and attribute.f == 2


# -- debug handles ---------------------------------------------------------------------------------------------------
def handles(path: Path) -> dict[str, tuple[list[str], list[list[str]]]]:
    found = {}
    for node in onnx.load(path).graph.node:
        stored = {p.key: json.loads(p.value) for p in node.metadata_props}
        found[node.output[0]] = (stored.get("edgec.sources", [node.name]), stored.get("edgec.origins", [list(node.output)]))
    return found


def test_debug_handles_survive_two_optimisations(tmp_path):
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "w")]
    weights += [numpy_helper.from_array(rng.uniform(0.5, 2, 4).astype(np.float32), n) for n in "gbmv"]
    nodes = [
        helper.make_node("Identity", ["x"], ["i"], name="copy"),
        helper.make_node("Conv", ["i", "w"], ["c"], name="conv"),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], name="norm"),
        helper.make_node("Sigmoid", ["n"], ["s"], name="gate"),
        helper.make_node("Mul", ["n", "s"], ["y"], name="swish"),
    ]
    path = store(tmp_path, proto(nodes, [info("x", (1, 3, 8, 8))], [info("y", (1, 4, 6, 6))], weights))
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    edgec.optimize(path).save(first)
    edgec.optimize(first).save(second)
    assert handles(first) == handles(second)
    sources = {name for found, _ in handles(second).values() for name in found}
    origins = {name for _, lists in handles(second).values() for names in lists for name in names}
    assert {"conv", "norm", "gate", "swish"} <= sources
    assert {"n", "y"} <= origins
    assert second.read_bytes() == first.read_bytes()


def test_two_writes_give_the_same_bytes(tmp_path):
    path = store(tmp_path, linear(np.random.default_rng(0).normal(size=(3, 600)).astype(np.float32)))
    for external in (False, True):
        names = []
        for turn in range(2):
            folder = tmp_path / f"{external}{turn}"
            folder.mkdir()
            edgec.optimize(path).save(folder / "out.onnx", external_data=external)
            names.append({p.name: p.read_bytes() for p in folder.iterdir()})
        assert names[0] == names[1] and len(names[0]) == 1 + external


# -- quantisation ----------------------------------------------------------------------------------------------------
Parameters = list[tuple[str, bytes, str, bytes, tuple[int, ...], int, int]]


def quantisation(model: onnx.ModelProto) -> Parameters:
    """(operator, scale, type, zero point, shape, axis, block size) of every quantising node, sorted."""
    known = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            known[node.output[0]] = node.attribute[0].t
    found: Parameters = []
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        attributes = {a.name: a.i for a in node.attribute}
        scale = numpy_helper.to_array(known[node.input[1]])
        zero = known[node.input[2]] if len(node.input) > 2 and node.input[2] else None
        points = numpy_helper.to_array(zero) if zero is not None else np.zeros(scale.shape, np.uint8)
        kind = TensorProto.DataType.Name(zero.data_type) if zero is not None else "none"
        axis = attributes.get("axis", 1) if scale.ndim else 1
        found.append((node.op_type, scale.tobytes(), kind, as_codes(points), scale.shape, axis, attributes.get("block_size", 0)))
    return sorted(found)


def keeps_quantisation(model: onnx.ModelProto) -> Parameters:
    before = quantisation(model)
    after = quantisation(onnx.ModelProto.FromString(edgec.optimize(read(model)).to_bytes()))
    assert after == before and before
    return before


def test_a_statically_quantised_model_keeps_its_parameters(tmp_path):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "w"),
        numpy_helper.from_array(rng.normal(size=4).astype(np.float32), "b"),
        numpy_helper.from_array(rng.normal(size=(4, 5)).astype(np.float32), "fc"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "fc"], ["y"], name="classify"),
    ]
    path = store(tmp_path, proto(nodes, [info("x", (1, 3, 8, 8))], [info("y", (1, 5))], weights))

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{"x": rng.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(4)]

        def get_next(self):
            return self.left.pop() if self.left else None

    for per_channel, activation in ((True, QuantType.QUInt8), (False, QuantType.QInt8)):
        made = tmp_path / f"q{per_channel}.onnx"
        quantize_static(
            path,
            made,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=activation,
            weight_type=QuantType.QInt8,
        )
        quantised = onnx.load(made)
        parameters = keeps_quantisation(quantised)
        assert per_channel == any(p[4] == (4,) and p[0] == "DequantizeLinear" and p[2] == "INT8" for p in parameters)
        feeds = {"x": rng.normal(size=(1, 3, 8, 8)).astype(np.float32)}
        again = edgec.optimize(read(quantised)).to_bytes()
        np.testing.assert_allclose(run(again, feeds)[0], run(quantised, feeds)[0], rtol=1e-5, atol=1e-5)


def quantised_weight(dtype: DType, shape, scale_shape, *, axis=1, block_size=0, scale_type=np.float32) -> onnx.ModelProto:
    """``x @ dequantize(w)`` with an activation that is quantised per tensor to uint8."""
    rng = np.random.default_rng(1)
    codes = np.resize(elements(dtype, 64), int(np.prod(shape))).reshape(shape)
    if dtype.is_float:
        codes = rng.uniform(-3, 3, shape).astype(np.float32).astype(dtype.numpy)
    weight = TensorProto(name="wq", data_type=dtype.code, dims=shape, raw_data=bytes(ArrayData(codes, dtype).raw()))
    zeros = np.zeros(scale_shape, np.float32).astype(dtype.numpy)
    zero = TensorProto(name="wz", data_type=dtype.code, dims=scale_shape, raw_data=bytes(ArrayData(zeros, dtype).raw()))
    scale = numpy_helper.from_array(rng.uniform(0.1, 1, scale_shape).astype(scale_type), "ws")
    activation = [numpy_helper.from_array(np.array(0.05, np.float32), "xs"), numpy_helper.from_array(np.array(117, np.uint8), "xz")]
    attributes = {"axis": axis} | ({"block_size": block_size} if block_size else {})
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["wq", "ws", "wz"], ["w"], **attributes),
        helper.make_node("MatMul", ["xd", "w"], ["y"]),
    ]
    return proto(
        nodes, [info("x", ("N", shape[0]))], [info("y", ("N", shape[1]))], [weight, zero, scale, *activation], opset=23, ir_version=11
    )


@pytest.mark.parametrize(
    ("dtype", "scale_shape", "axis", "block_size"),
    [
        (DType.INT8, (), 1, 0),
        (DType.INT8, (6,), 1, 0),
        (DType.INT8, (8,), 0, 0),
        (DType.UINT8, (2, 6), 0, 4),
        (DType.INT4, (6,), 1, 0),
        (DType.INT4, (4, 6), 0, 2),
        (DType.UINT4, (8, 3), 1, 2),
        (DType.FLOAT8E4M3FN, (6,), 1, 0),
        (DType.FLOAT8E5M2, (), 1, 0),
        (DType.INT16, (6,), 1, 0),
        (DType.FLOAT4E2M1, (4, 6), 0, 2),
    ],
    ids=str,
)
def test_handmade_quantisation_keeps_its_parameters(dtype, scale_shape, axis, block_size):
    model = quantised_weight(dtype, (8, 6), scale_shape, axis=axis, block_size=block_size)
    onnx.checker.check_model(model, full_check=True)
    parameters = keeps_quantisation(model)
    weight = next(p for p in parameters if p[2] == TensorProto.DataType.Name(dtype.code) and p[4] == scale_shape)
    assert weight[6] == block_size and (not scale_shape or weight[5] == axis)


def test_bytes_round_trip():
    model = read(relu())
    assert read_model_bytes(model.to_bytes()).graph.first.op == model.graph.first.op
