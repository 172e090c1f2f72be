"""The scanner of the wire format: what it leaves out, and that what it leaves in is the same message."""

import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.serial.wire import KEY, LARGE, Extent, length_delimited, split, varint
from tests.serial_models import info, linear, proto, relu


def restored(data: bytes) -> onnx.ModelProto:
    """The model put together again from skeleton and extents."""
    skeleton, extents = split(data, "test")
    model = onnx.ModelProto.FromString(skeleton)

    def fill(tensor: TensorProto) -> None:
        for index in [i for i, e in enumerate(tensor.external_data) if e.key == KEY]:
            extent: Extent = extents[int(tensor.external_data[index].value)]
            tensor.raw_data = data[extent.offset : extent.offset + extent.length]
        del tensor.external_data[:]

    def walk(graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            fill(tensor)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    fill(attribute.t)
                if attribute.HasField("g"):
                    walk(attribute.g)

    walk(model.graph)
    return model


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**63])
def test_varints_are_those_of_protobuf(value):
    message = TensorProto(dims=[value]) if value < 2**63 else TensorProto(uint64_data=[value])
    assert message.SerializeToString().endswith(varint(value))


@pytest.mark.parametrize("size", [0, 1, LARGE // 4 - 1, LARGE // 4, 5000])
def test_only_large_tensors_leave_the_skeleton(size):
    model = linear(np.arange(size, dtype=np.float32).reshape(1, size))
    data = model.SerializeToString()
    skeleton, extents = split(data, "test")
    assert len(extents) == (size * 4 >= LARGE) and len(skeleton) < 3 * LARGE
    assert restored(data) == model


def test_tensors_in_attributes_and_subgraphs():
    weight = numpy_helper.from_array(np.arange(900, dtype=np.float32), "w")
    constant = helper.make_node("Constant", [], ["c"], value=weight)
    branch = helper.make_graph([constant], "b", [], [info("c", (900,))], [weight])
    node = helper.make_node("If", ["k"], ["y"], then_branch=branch, else_branch=branch)
    model = proto([node], [info("k", (), TensorProto.BOOL)], [info("y", (900,))])
    data = model.SerializeToString()
    skeleton, extents = split(data, "test")
    assert len(extents) == 4 and len(skeleton) < 2000
    assert restored(data) == model


def test_unknown_fields_are_passed_over():
    data = relu().SerializeToString() + length_delimited(999, b"x" * 5000) + varint(998 << 3) + varint(5)
    skeleton, extents = split(data, "test")
    assert not extents and onnx.ModelProto.FromString(skeleton).graph.node[0].op_type == "Relu"


@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9, 0.999])
def test_truncation_names_the_place(cut):
    data = linear(np.zeros((3, 900), np.float32)).SerializeToString()
    with pytest.raises(Diagnostic) as caught:
        split(data[: int(len(data) * cut)], "model.onnx")
    assert caught.value.code == "E0302" and "file 'model.onnx', byte" in caught.value.where and caught.value.hint


@pytest.mark.parametrize("tail", [b"\xff" * 11, b"\x0b", b"\x0c", b"\x3a\xff\xff\xff\xff\x07", b"\x09abc", b"\x0dabc", b"\x38"])
def test_malformed_fields(tail):
    with pytest.raises(Diagnostic) as caught:
        split(relu().SerializeToString() + tail, "test")
    assert caught.value.code == "E0302"


def test_random_bytes_are_refused_or_split():
    chance = random.Random(0)
    refused = 0
    for _ in range(2000):
        data = chance.randbytes(chance.randrange(1, 200))
        try:
            skeleton, extents = split(data, "test")
            assert skeleton == data and not extents
        except Diagnostic as error:
            refused += error.code == "E0302"
    assert refused > 1500


def test_subgraphs_nested_beyond_sense():
    graph = helper.make_graph([], "g" * LARGE, [], []).SerializeToString()
    for _ in range(1000):
        attribute = length_delimited(1, b"body") + length_delimited(6, graph) + varint(20 << 3) + varint(5)
        graph = length_delimited(1, length_delimited(4, b"Loop") + length_delimited(5, attribute))
    with pytest.raises(Diagnostic, match="nested too deeply"):
        split(length_delimited(7, graph), "test")
