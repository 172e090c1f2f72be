"""Bad input: through the API and the driver, a diagnostic with code, place and remedy, exit status 2, and no output."""

import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

import edgec
from edgec.cli import main
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.serial.wire import length_delimited, varint
from tests.serial_models import info, linear, proto, relu

SEEDS = Path(__file__).parents[2] / "bad_input"


def net() -> onnx.ModelProto:
    """A model with weights, an attribute, a subgraph and metadata."""
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "w")]
    weights.append(numpy_helper.from_array(np.arange(500, dtype=np.float32), "large"))
    branch = helper.make_graph([helper.make_node("Neg", ["c"], ["n"])], "t", [], [info("n", None)])
    other = helper.make_graph([helper.make_node("Abs", ["c"], ["a"])], "e", [], [info("a", None)])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("If", ["k"], ["y"], name="choose", then_branch=branch, else_branch=other),
    ]
    return proto(
        nodes, [info("x", (1, 3, 8, 8)), info("k", (), TensorProto.BOOL)], [info("y", (1, 4, 8, 8)), info("large", (500,))], weights
    )


def nested(depth: int) -> bytes:
    """Loops within loops: built by hand, protobuf itself refuses to."""
    graph = helper.make_graph([], "inner", [], []).SerializeToString()
    for _ in range(depth):
        attribute = length_delimited(1, b"body") + length_delimited(6, graph) + varint(20 << 3) + varint(5)
        graph = length_delimited(1, length_delimited(4, b"Loop") + length_delimited(5, attribute))
    return varint(8) + varint(8) + length_delimited(7, graph) + length_delimited(8, varint(2 << 3) + varint(17))


def changed(change: Callable[[onnx.ModelProto], object], model: Callable[[], onnx.ModelProto] = net) -> bytes:
    made = model()
    change(made)
    return made.SerializeToString()


def checkpoint() -> bytes:
    """What `torch.save` writes: a zip archive with a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": [1.0, 2.0]}))
        archive.writestr("archive/data/0", b"\0" * 4096)
    return buffer.getvalue()


def shaped(*dims: int, data: bytes = b"", kind: int = TensorProto.FLOAT) -> bytes:
    model = linear(np.zeros((3, 4), np.float32))
    tensor = model.graph.initializer[0]
    tensor.CopyFrom(TensorProto(name="w", data_type=kind, dims=dims, raw_data=data))
    return model.SerializeToString()


def text_in(replacement: bytes) -> bytes:
    return relu(doc_string="MARK").SerializeToString().replace(b"MARK", replacement)


def typed(name: str, kind: int, op_type: str = "Concat") -> bytes:
    node = helper.make_node(op_type, ["x", "x"], ["y"], axis=0)
    del node.attribute[:]
    node.attribute.add(name=name, type=kind)
    return proto([node], [info("x")], [info("y", None)]).SerializeToString()


def ambiguous() -> bytes:
    """An output that has the name of an inner value, as one exporter writes it."""
    nodes = [helper.make_node("Gather", ["w", "i"], ["embedding"]), helper.make_node("Neg", ["embedding"], ["embedding"])]
    weight = numpy_helper.from_array(np.zeros((5, 3), np.float32), "w")
    return proto(nodes, [info("i", (2,), TensorProto.INT64)], [info("embedding")], [weight]).SerializeToString()


def many_nodes_claimed() -> bytes:
    """A graph field that claims to be large, in a small file."""
    return varint(8) + varint(8) + varint(7 << 3 | 2) + varint(10_000_000 * 40) + length_delimited(1, b"")


CASES: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "E0302", "empty"),
    "web page": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>" * 40, "E0302", "web page"),
    "web page with leading space": (b"\n\n  <html><body>Sign in</body></html>", "E0302", "web page"),
    "pickle": (pickle.dumps({"weight": np.zeros(400)}), "E0302", "pickle"),
    "torch checkpoint": (checkpoint(), "E0302", "zip"),
    "zip": (b"PK\x03\x04" + b"\0" * 2000, "E0302", "zip"),
    "git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 132\n", "E0302", "Git LFS"),
    "json": (b'{"graph": {"node": []}}', "E0302", "JSON"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 500, "E0302", "HDF5"),
    "tflite": (b"\x1c\0\0\0TFL3" + b"\0" * 500, "E0302", "TFLite"),
    "safetensors": (b"\x40\0\0\0\0\0\0\0" + b'{"weight":{"dtype":"F32"}}' + b"\0" * 100, "E0302", ""),
    "zeros": (b"\0" * 5000, "E0302", ""),
    "random": (random.Random(1).randbytes(5000), "E0302", ""),
    "text": (b"this is not a model\n" * 100, "E0302", ""),
    "no graph": (onnx.ModelProto(ir_version=8).SerializeToString(), "E0302", "no graph"),
    "a tensor": (numpy_helper.from_array(np.zeros(500, np.float32), "t").SerializeToString(), "E0302", ""),
    "huge dimension": (shaped(1 << 62), "E0304", str(1 << 62)),
    "overflowing dimensions": (shaped(1 << 32, 1 << 32), "E0304", "impossible"),
    "dimensions that overflow to zero": (shaped(1 << 32, 1 << 32, 1 << 32), "E0304", "impossible"),
    "negative dimension": (shaped(-1, 4), "E0304", "-1"),
    "two negative dimensions": (shaped(-3, -4, data=b"\0" * 48), "E0304", "impossible"),
    "too many dimensions": (shaped(*(1,) * 100, data=b"\0" * 4), "E0304", "impossible"),
    "data too short": (shaped(3, 4, data=b"\0" * 47), "E0304", "47"),
    "data too long": (shaped(3, 4, data=b"\0" * 49), "E0304", "49"),
    "large data too short": (shaped(30, 40, data=b"\0" * 4000), "E0304", "4000"),
    "no data": (shaped(3, 4), "E0304", "12 elements"),
    "unknown element type": (shaped(3, 4, data=b"\0" * 48, kind=99), "E0304", "99"),
    "raw strings": (shaped(3, data=b"abc", kind=TensorProto.STRING), "E0304", "string"),
    "wrong kind of attribute": (typed("axis", AttributeProto.STRINGS), "E0204", "'axis' must be an integer"),
    "missing attribute": (typed("other", AttributeProto.INT), "E0204", "'axis' is missing (given: other)"),
    "unknown domain": (changed(lambda m: setattr(m.graph.node[0], "domain", "x.y")), "E0307", "x.y"),
    "opset of the future": (changed(lambda m: setattr(m.opset_import[0], "version", 99)), "E0307", "99"),
    "opset zero": (changed(lambda m: setattr(m.opset_import[0], "version", 0)), "E0307", "0"),
    "no opset": (changed(lambda m: m.ClearField("opset_import")), "E0307", "no operator set"),
    "nested subgraphs": (nested(1000), "E0302", ""),
    "moderately nested subgraphs": (nested(30), "E0302", ""),
    "many nodes claimed": (many_nodes_claimed(), "E0302", "ends after"),
    "no outputs": (changed(lambda m: m.graph.ClearField("output")), "E0302", "no outputs"),
    "nothing at all": (changed(lambda m: m.ClearField("graph") or m.graph.SetInParent()), "E0302", "no outputs"),
    "ambiguous name": (ambiguous(), "E0305", "'embedding' is defined twice"),
    "text that is not UTF-8": (text_in(b"\xff\xfe\xfa\xfb"), "E0302", "UTF-8"),
    "an input without type": (changed(lambda m: m.graph.input[0].ClearField("type")), "E0311", "no type"),
    "a map": (changed(lambda m: m.graph.input[0].type.map_type.SetInParent()), "E0311", "map_type"),
    "an unknown declared type": (changed(lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 77)), "E0311", "77"),
    "shapes that do not fit": (changed(lambda m: m.graph.input[0].type.tensor_type.shape.dim.pop()), "E0201", ""),
    "types that do not fit": (
        changed(lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.INT64)),
        "E0202",
        "",
    ),
    "missing operand": (changed(lambda m: m.graph.node[0].input.pop()), "E0203", ""),
    "missing subgraph": (changed(lambda m: m.graph.node[1].attribute.pop()), "E0204", "_branch' is missing"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_files(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, code, words = CASES[name]
    path, output = tmp_path / "model.onnx", tmp_path / "out.onnx"
    path.write_bytes(data)
    with pytest.raises(Diagnostic) as caught:
        edgec.load(path)
    error = caught.value
    assert error.code == code and words in error.message and error.where, str(error)
    assert error.where.startswith("file 'model.onnx'")
    assert main(["optimize", str(path), "-o", str(output)]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"{error}\n" and captured.out == ""
    assert error.hint, "a remedy"
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_every_truncation_is_refused_or_a_model(tmp_path: Path) -> None:
    data = net().SerializeToString()
    path = tmp_path / "model.onnx"
    refused = 0
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        try:
            edgec.load(path)
        except Diagnostic as error:
            refused += 1
            assert error.where and error.code.startswith(("E02", "E03"))
    assert refused >= len(data) // 7 - 5


def test_truncated_large_files_say_that_they_are(tmp_path: Path) -> None:
    data = linear(np.zeros((64, 1000), np.float32)).SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(data[:100_000])
    with pytest.raises(Diagnostic, match="ends after") as caught:
        edgec.load(path)
    assert "copy is complete" in caught.value.hint


def test_a_folder_and_an_absent_file(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "folder"), (tmp_path / "absent.onnx", "No such file"), (tmp_path / "a" / "b.onnx", "No such file")):
        with pytest.raises(Diagnostic, match=words) as caught:
            edgec.load(path)
        assert caught.value.code == "E0301" and caught.value.hint
        assert main(["inspect", str(path)]) == 2


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(Diagnostic) as caught:
        edgec.load(tmp_path / "model.onnx")
    assert caught.value.code == "E0301"


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads anything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(Diagnostic, match="Permission denied"):
        edgec.load(path)


@pytest.mark.parametrize("name", ["\x1b[31mred", "line\nerror[E0000]: fake", "\x9b31m", "\u202eevil", "bell\x07", "\x7f"])
def test_names_cannot_control_the_terminal(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.onnx"
    node = helper.make_node("Relu", ["absent"], ["y"], name=name)
    path.write_bytes(proto([node], [info("x")], [info("y")]).SerializeToString())
    assert main(["inspect", str(path)]) == 2
    good = proto([helper.make_node("Relu", [name], ["y"], name=name)], [info(name)], [info("y", (5, 5))])
    path.write_bytes(good.SerializeToString())
    assert main(["inspect", str(path), "--nodes", "--tensors"]) == 0
    assert main(["inspect", str(path), "--text"]) == 0
    assert main(["optimize", str(path), "-o", str(tmp_path / "out.onnx"), "--report"]) == 0
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert not any(c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160 or c == "\u202e") for c in text)
        assert not any(line.startswith("error[E0000]") for line in text.split("\n"))


@pytest.mark.parametrize("path", sorted(SEEDS.glob("*.onnx")), ids=lambda p: p.stem)
def test_findings_of_the_fuzzer(path: Path, tmp_path: Path) -> None:
    """Files that once made something fail: each is now refused with a diagnostic, or goes through all stages."""
    from edgec.ir.verifier import verify

    output = tmp_path / "out.onnx"
    try:
        model = edgec.load(path)
    except Diagnostic as error:
        assert error.code != "E0312" and error.where
        return
    verify(model.graph)
    try:
        result = edgec.optimize(model)
        verify(result.graph)
        result.save(output)
    except Diagnostic as error:
        assert error.code not in ("E0404", "E0405", "E0205")
        assert not output.exists()
        return
    edgec.load(output)


def test_a_declared_shape_that_the_operators_contradict() -> None:
    """What inference cannot check while reading is checked after the passes."""
    with pytest.raises(Diagnostic) as caught:
        edgec.optimize(edgec.load(SEEDS / "declared_shape_contradicted.onnx"))
    assert caught.value.code == "E0410" and "MatMul" in caught.value.where and "value_info" in caught.value.hint


def test_an_input_that_is_two_outputs(tmp_path: Path) -> None:
    """An input may be an output under its own name and a copy of it under another."""
    edgec.optimize(edgec.load(SEEDS / "input_returned_twice.onnx")).save(tmp_path / "out.onnx")
    assert edgec.load(tmp_path / "out.onnx").graph.output_names == ("y", "x")
