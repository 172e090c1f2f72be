"""Reading: order, names, scopes, types, initializers, functions, element types, and what is kept of the file."""

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from edgec.ir.data import BufferData
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.op import Opaque
from edgec.ir.serial.reader import read_model
from edgec.ir.types import SequenceType, TensorType
from tests.serial_models import FLOAT, info, linear, proto, read, relu, run, store, written

X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2


def refused(model: onnx.ModelProto, code: str) -> Diagnostic:
    with pytest.raises(Diagnostic) as caught:
        read(model)
    assert caught.value.code == code, str(caught.value)
    return caught.value


# -- weights stay in the file ----------------------------------------------------------------------------------------
def test_large_tensors_are_views_of_the_mapped_file(tmp_path):
    weight = np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32)
    path = store(tmp_path, linear(weight))
    model = read_model(path)
    data = model.graph.first.inputs[1].data
    assert isinstance(data, BufferData) and data.buffer is not None and len(data.buffer) == path.stat().st_size
    assert path.read_bytes()[data.offset : data.offset + data.length] == weight.tobytes()
    assert np.shares_memory(data.numpy(), np.frombuffer(data.buffer, np.uint8))
    np.testing.assert_array_equal(data.numpy(), weight)


def test_tensor_attributes_are_views_too(tmp_path):
    weight = np.random.default_rng(0).normal(size=(3, 400)).astype(np.float32)
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weight)),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    path = store(tmp_path, proto(nodes, [info("x")], [info("y", (2, 400))]))
    data = read_model(path).graph.last.inputs[1].data
    assert isinstance(data, BufferData) and len(data.buffer) == path.stat().st_size
    np.testing.assert_array_equal(data.numpy(), weight)


def test_large_packed_float_data_is_mapped(tmp_path):
    weight = np.random.default_rng(0).normal(size=(3, 400)).astype(np.float32)
    model = linear(weight)
    model.graph.initializer[0].CopyFrom(helper.make_tensor("w", FLOAT, weight.shape, weight.reshape(-1).tolist()))
    assert len(model.graph.initializer[0].float_data) == weight.size
    data = read_model(store(tmp_path, model)).graph.first.inputs[1].data
    assert isinstance(data, BufferData) and data.length == weight.nbytes
    np.testing.assert_array_equal(data.numpy(), weight)


# -- names and order -------------------------------------------------------------------------------------------------
def test_unsorted_nodes_are_put_in_order_stably():
    nodes = [
        helper.make_node("Add", ["b", "c"], ["y"], name="last"),
        helper.make_node("Relu", ["a"], ["b"], name="second"),
        helper.make_node("Neg", ["a"], ["c"], name="third"),
        helper.make_node("Abs", ["x"], ["a"], name="first"),
    ]
    model = read(proto(nodes, [info("x")], [info("y")]))
    assert [n.name for n in model.graph] == ["first", "second", "third", "last"]


def test_nodes_are_sorted_by_what_their_subgraphs_read():
    branch = helper.make_graph([helper.make_node("Neg", ["late"], ["o"])], "t", [], [info("o")])
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["p"])], "e", [], [info("p")])
    nodes = [
        helper.make_node("If", ["c"], ["y"], name="choose", then_branch=branch, else_branch=other),
        helper.make_node("Abs", ["x"], ["late"], name="make"),
    ]
    model = read(proto(nodes, [info("x"), info("c", (), TensorProto.BOOL)], [info("y")]))
    assert [n.name for n in model.graph] == ["make", "choose"]
    assert model.graph.last.regions[0].first.inputs[0] is model.graph.first.output


def test_a_cycle_is_named():
    nodes = [helper.make_node("Add", ["x", "b"], ["a"], name="one"), helper.make_node("Relu", ["a"], ["b"], name="two")]
    error = refused(proto(nodes, [info("x")], [info("b")]), "E0306")
    assert "node 'one' (Add)" in error.where


def test_a_cycle_through_a_subgraph_is_found():
    branch = helper.make_graph([helper.make_node("Neg", ["z"], ["o"])], "t", [], [info("o")])
    nodes = [
        helper.make_node("If", ["c"], ["y"], name="choose", then_branch=branch, else_branch=branch),
        helper.make_node("Abs", ["y"], ["z"], name="after"),
    ]
    refused(proto(nodes, [info("c", (), TensorProto.BOOL)], [info("y")]), "E0306")


def test_a_name_that_is_defined_twice():
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])]
    error = refused(proto(nodes, [info("x")], [info("y")]), "E0305")
    assert "'y' is defined twice" in error.message and error.hint


def test_a_result_with_the_name_of_an_input():
    refused(proto([helper.make_node("Relu", ["x"], ["x"])], [info("x")], [info("x")]), "E0305")


def test_two_outputs_of_one_name():
    model = relu()
    model.graph.output.append(info("y"))
    assert "two outputs have the name 'y'" in refused(model, "E0305").message


def test_a_name_that_is_never_defined():
    error = refused(proto([helper.make_node("Add", ["x", "absent"], ["y"], name="sum")], [info("x")], [info("y")]), "E0305")
    assert "'absent' is read but never defined" in error.message and "node 'sum' (Add)" in error.where


def test_an_output_that_nothing_computes():
    assert "output 'z'" in refused(proto([helper.make_node("Relu", ["x"], ["y"])], [info("x")], [info("z")]), "E0305").message


def test_inner_names_hide_outer_ones():
    body = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "t", [], [info("y")])
    other = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "e", [], [info("y")])
    nodes = [helper.make_node("If", ["c"], ["r"], then_branch=body, else_branch=other), helper.make_node("Relu", ["r"], ["y"])]
    model = proto(nodes, [info("x"), info("c", (), TensorProto.BOOL)], [info("y")])
    again = written(read(model))
    for condition in (True, False):
        feeds = {"x": X, "c": np.array(condition)}
        np.testing.assert_array_equal(run(again, feeds)[0], np.maximum(-X if condition else np.abs(X), 0))


# -- types -----------------------------------------------------------------------------------------------------------
def test_a_wrong_declared_shape_is_noted_and_ignored():
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Neg", ["h"], ["y"])]
    model = read(proto(nodes, [info("x")], [info("y", (5, 3))], value_info=[info("h", (2, 4))]))
    assert model.graph.first.output.shape == (2, 3) and model.graph.last.output.shape == (2, 3)
    assert len(model.notes) == 2 and "'h' is declared as f32[2, 4]" in model.notes[0] and "'y'" in model.notes[1]


def test_a_declared_size_outside_what_inference_allows_is_ignored():
    weight = numpy_helper.from_array(np.ones((4, 4, 5), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[4, 5])
    model = read(proto([node], [info("x", ("N", 4, "L"))], [info("y", ("N", 4, 1))], [weight]))
    assert str(model.graph.first.output.type) == "f32[N, 4, L + 5]" and len(model.notes) == 1


def test_a_wrong_declared_element_type_is_an_error():
    model = proto([helper.make_node("Relu", ["x"], ["y"])], [info("x")], [info("y", (2, 3), TensorProto.INT64)])
    error = refused(model, "E0311")
    assert "i64[2, 3]" in error.message and "f32[2, 3]" in error.message and "'y'" in error.where


def test_a_declared_size_refines_an_unknown_one():
    node = helper.make_node("NonZero", ["x"], ["y"])
    model = read(proto([node], [info("x")], [info("y", (2, 5), TensorProto.INT64)]))
    assert str(model.graph.first.output.type) == "i64[2, 5]"


def test_placeholders_for_any_size_are_not_one_symbol():
    model = read(proto([helper.make_node("Abs", ["x"], ["y"])], [info("x", ("?", "?"))], [info("y", None)]))
    first, second = model.inputs[0].shape
    assert first != second


def test_sequences_keep_their_element_type():
    node = helper.make_node("SequenceConstruct", ["x", "x"], ["s"])
    output = helper.make_tensor_sequence_value_info("s", FLOAT, (2, 3))
    model = read(proto([node], [info("x")], [output]))
    assert model.outputs[0].type == SequenceType(TensorType(DType.FLOAT, (2, 3)))


# -- initializers ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("ir_version", [3, 8])
def test_initializers_that_are_also_inputs_become_constants(ir_version):
    weight = np.eye(3, dtype=np.float32)
    model = linear(weight, ir_version=ir_version)
    model.graph.input.append(info("w", (3, 3)))
    again = read(model)
    assert [v.name for v in again.inputs] == ["x"] and again.graph.first.inputs[1].is_constant
    np.testing.assert_array_equal(run(written(again), {"x": X})[0], X @ weight)


def sparse(indices: np.ndarray, shape=(3, 4), values=(5.0, 6.0, 7.0)) -> onnx.ModelProto:
    values_proto = numpy_helper.from_array(np.array(values, np.float32), "w")
    made = helper.make_sparse_tensor(values_proto, numpy_helper.from_array(indices, "w_indices"), list(shape))
    return proto([helper.make_node("MatMul", ["x", "w"], ["y"])], [info("x")], [info("y", (2, 4))], sparse_initializer=[made], ir_version=8)


@pytest.mark.parametrize("indices", [np.array([0, 5, 11]), np.array([[0, 0], [1, 1], [2, 3]])])
def test_sparse_initializers_become_dense(indices):
    dense = np.zeros((3, 4), np.float32)
    dense[0, 0], dense[1, 1], dense[2, 3] = 5, 6, 7
    np.testing.assert_array_equal(read(sparse(indices)).graph.first.inputs[1].data.numpy(), dense)


@pytest.mark.parametrize(
    ("indices", "shape"),
    [
        (np.array([0, 5, 12]), (3, 4)),
        (np.array([0, 5, -1]), (3, 4)),
        (np.array([[0, 0], [1, 1], [3, 0]]), (3, 4)),
        (np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2]]), (3, 4)),
        (np.array([0, 1]), (3, 4)),
        (np.array([0.0, 1.0, 2.0]), (3, 4)),
    ],
)
def test_bad_indices_of_sparse_initializers(indices, shape):
    assert refused(sparse(indices, shape), "E0304").where == "file '<bytes>', initializer 'w'"


def test_a_sparse_initializer_may_not_claim_more_memory_than_sense():
    assert "too large" in refused(sparse(np.array([0, 1, 2]), (1 << 20, 1 << 20)), "E0204").message


def test_small_tensors_of_every_element_type_and_storage():
    rng = np.random.default_rng(3)
    for dtype in DType:
        if dtype in (DType.STRING, DType.FLOAT8E8M0, DType.FLOAT6E2M3, DType.FLOAT6E3M2, DType.INT2, DType.UINT2):
            continue  # strings have their own test; onnx's make_tensor stores the others raw only
        values = rng.integers(0, 2, 7).astype(dtype.numpy)
        tensor = helper.make_tensor("w", dtype.code, (7,), values.tolist() if not dtype.is_complex else values)
        model = proto([helper.make_node("Identity", ["w"], ["y"])], [], [info("y", (7,), dtype.code)], [tensor], opset=25, ir_version=13)
        data = read(model).graph.first.inputs[0].data
        assert data.dtype is dtype
        np.testing.assert_array_equal(data.numpy().astype(np.complex128), values.astype(np.complex128), err_msg=str(dtype))


def test_a_claim_of_absurdly_many_axes_costs_nothing():
    node = helper.make_node("Unsqueeze", ["x", "axes"], ["y"])
    model = read(proto([node], [info("x"), info("axes", (1 << 40,), TensorProto.INT64)], [info("y", None)]))
    assert model.graph.first.output.shape is None


# -- operators -------------------------------------------------------------------------------------------------------
def test_float_attributes_have_their_shortest_form():
    node = helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.1)
    model = read(proto([node], [info("x")], [info("y")]))
    assert model.graph.first.op.alpha == 0.1
    assert written(model).graph.node[0].attribute[0].f == np.float32(0.1)


def test_attributes_must_have_the_kind_of_the_definition():
    node = helper.make_node("Concat", ["x", "x"], ["y"], axis="first")
    error = refused(proto([node], [info("x")], [info("y", (4, 3))]), "E0204")
    assert error.message == "attribute 'axis' must be an integer, it is a string" and "(Concat)" in error.where


def test_kinds_of_contributed_operators_are_checked_too():
    node = helper.make_node("FusedConv", ["x", "x"], ["y"], domain="com.microsoft", strides="two")
    model = proto([node], [info("x", (1, 3, 4, 4))], [info("y", None)], domains=[("com.microsoft", 1)])
    assert "'strides' must be a list of integers" in refused(model, "E0204").message


def test_attributes_without_a_stored_kind_get_that_of_the_definition():
    node = helper.make_node("Concat", ["x", "x"], ["y"], axis=1)
    node.attribute[0].ClearField("type")
    model = read(proto([node], [info("x")], [info("y", (2, 6))]))
    assert model.graph.first.op.axis == 1 and model.outputs[0].shape == (2, 6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n: n.ClearField("attribute"), "axis"),
        (lambda n: n.attribute.add(name="colour", i=1, type=AttributeProto.INT), "'colour'"),
        (lambda n: n.attribute.append(n.attribute[0]), "given twice"),
        (lambda n: setattr(n.attribute[0], "ref_attr_name", "outer"), "function"),
    ],
)
def test_missing_unknown_and_repeated_attributes(change, words):
    node = helper.make_node("Concat", ["x", "x"], ["y"], axis=1)
    change(node)
    assert words in refused(proto([node], [info("x")], [info("y", (2, 6))]), "E0204").message


def test_too_many_results_and_none():
    refused(proto([helper.make_node("Constant", [], ["y", "z"], value_float=1.0)], [], [info("y", ())]), "E0203")
    refused(proto([helper.make_node("Relu", ["x"], []), helper.make_node("Relu", ["x"], ["y"])], [info("x")], [info("y")]), "E0203")


def test_unknown_operators_stay_as_they_are():
    node = helper.make_node("Twirl", ["x"], ["y"], name="t", domain="shop.custom", speed=3)
    model = read(proto([node], [info("x")], [info("y")], domains=[("shop.custom", 4)]))
    op = model.graph.first.op
    assert isinstance(op, Opaque) and (op.op_domain, op.version, dict(op.attrs)) == ("shop.custom", 4, {"speed": 3})
    again = onnx.ModelProto.FromString(model.to_bytes())
    assert again.graph.node[0].domain == "shop.custom" and {o.domain: o.version for o in again.opset_import}["shop.custom"] == 4


def test_an_operator_that_onnx_does_not_have_is_kept_and_noted():
    node = helper.make_node("Reluu", ["x"], ["y"], name="act")
    model = read(proto([node], [info("x")], [info("y")]))
    assert isinstance(model.graph.first.op, Opaque)
    assert len(model.notes) == 1 and "no operator 'Reluu' (did you mean 'Relu'?)" in model.notes[0] and "node 'act'" in model.notes[0]


def test_a_domain_without_import():
    node = helper.make_node("Twirl", ["x"], ["y"], name="t", domain="shop.custom")
    assert "shop.custom" in refused(proto([node], [info("x")], [info("y")]), "E0307").message


@pytest.mark.parametrize("opset", [0, -3, 99, 1 << 40])
def test_impossible_opsets(opset):
    model = relu()
    model.opset_import[0].version = opset
    assert str(opset) in refused(model, "E0307").message


def test_a_model_without_opsets():
    model = relu()
    del model.opset_import[:]
    refused(model, "E0307")


def test_missing_optional_operands_and_results():
    weights = [numpy_helper.from_array(np.ones((1, 8, 3), np.float32), n) for n in ("w",)]
    weights.append(numpy_helper.from_array(np.ones((1, 8, 2), np.float32), "r"))
    node = helper.make_node("LSTM", ["x", "w", "r", "", "", "h"], ["", "y"], hidden_size=2)
    model = read(proto([node], [info("x", (4, 1, 3)), info("h", (1, 1, 2))], [info("y", (1, 1, 2))], weights))
    inputs = model.graph.first.inputs
    assert inputs[3] is None and inputs[4] is None and inputs[5].name == "h"
    made = written(model).graph.node[0]
    assert list(made.input) == ["x", "w", "r", "", "", "h"] and made.output[1] == "y"


# -- functions -------------------------------------------------------------------------------------------------------
def with_functions(functions, nodes, opset=17) -> onnx.ModelProto:
    model = proto(nodes, [info("x")], [info("y")], opset=opset, domains=[("local", 1)])
    model.functions.extend(functions)
    return model


def function(name, nodes, inputs=("a",), outputs=("b",)):
    return helper.make_function(
        "local", name, list(inputs), list(outputs), nodes, [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    )


def test_functions_are_inlined():
    inner = function("Twice", [helper.make_node("Add", ["a", "a"], ["b"])])
    outer = function(
        "Four", [helper.make_node("Twice", ["a"], ["t"], domain="local"), helper.make_node("Twice", ["t"], ["b"], domain="local")]
    )
    nodes = [helper.make_node("Four", ["x"], ["h"], domain="local"), helper.make_node("Twice", ["h"], ["y"], domain="local")]
    model = read(with_functions([outer, inner], nodes))
    assert [n.op.op_name for n in model.graph] == ["Add"] * 3
    np.testing.assert_array_equal(run(written(model), {"x": X})[0], 8 * X)


def test_functions_that_call_themselves():
    first = function("One", [helper.make_node("Two", ["a"], ["b"], domain="local")])
    second = function("Two", [helper.make_node("One", ["a"], ["b"], domain="local")])
    error = refused(with_functions([first, second], [helper.make_node("One", ["x"], ["y"], domain="local")]), "E0306")
    assert "calls itself" in error.message


def test_functions_that_multiply_without_bound():
    functions = [function("F0", [helper.make_node("Neg", ["a"], ["b"])])]
    for level in range(1, 12):
        body = [
            helper.make_node(f"F{level - 1}", [f"t{i}" if i else "a"], [f"t{i + 1}" if i < 9 else "b"], domain="local") for i in range(10)
        ]
        functions.append(function(f"F{level}", body))
    error = refused(with_functions(functions, [helper.make_node("F11", ["x"], ["y"], domain="local")]), "E0310")
    assert "expand" in error.message


def test_calls_with_too_many_operands():
    made = function("Twice", [helper.make_node("Add", ["a", "a"], ["b"])])
    error = refused(with_functions([made], [helper.make_node("Twice", ["x", "x"], ["y"], name="call", domain="local")]), "E0302")
    assert "'call'" in error.where


# -- what is kept ----------------------------------------------------------------------------------------------------
def test_metadata_and_documentation_are_kept():
    model = relu(doc_string="what the graph does")
    model.producer_name, model.producer_version, model.domain, model.model_version = "maker", "7", "org.example", 12
    model.doc_string = "what the model does"
    model.metadata_props.add(key="labels", value="cat,dog")
    model.graph.metadata_props.add(key="stage", value="final")
    model.graph.node[0].metadata_props.add(key="layer", value="conv1")
    model.ir_version = 10
    read_back = read(model)
    again = written(read_back)
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        assert getattr(again, name) == getattr(model, name)
    assert again.graph.doc_string == "what the graph does" and again.graph.name == "g"
    assert {p.key: p.value for p in again.metadata_props} == {"labels": "cat,dog"}
    assert {p.key: p.value for p in again.graph.metadata_props} == {"stage": "final"}
    assert {p.key: p.value for p in again.graph.node[0].metadata_props} == {"layer": "conv1"}


def test_node_documentation_is_kept():
    model = relu()
    model.graph.node[0].doc_string = "why this node is here"
    assert written(read(model)).graph.node[0].doc_string == "why this node is here"


def test_debug_handles_of_a_fresh_file_are_its_own_names():
    model = read(relu())
    assert model.graph.first.sources == ("act",) and model.graph.first.output.origins == ("y",)
    assert model.inputs[0].origins == ("x",)


@pytest.mark.parametrize("stored", ["not json", "{}", "[1, 2]", '[["a"], 3]', "[" * 5000])
def test_damaged_debug_handles_are_ignored(stored):
    model = relu(ir_version=10)
    model.graph.node[0].metadata_props.add(key="edgec.sources", value=stored)
    model.graph.node[0].metadata_props.add(key="edgec.origins", value=stored)
    assert read(model).graph.first.output.origins in ((), ("y",), ("a",))
