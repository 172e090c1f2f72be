"""External data: contained in the model's folder, checked, mapped, and beyond 2 GB."""

import gc
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgec
from edgec.ir.data import BufferData
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.serial.reader import read_model, read_model_bytes
from tests.serial_models import info, linear, proto, run, store

WEIGHT = np.random.default_rng(0).normal(size=(32, 16)).astype(np.float32)


def external(entries: dict[str, str], shape=(32, 16), dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
    model = linear(WEIGHT)
    tensor = model.graph.initializer[0]
    tensor.Clear()
    tensor.name, tensor.data_type, tensor.data_location = "w", dtype, TensorProto.EXTERNAL
    tensor.dims.extend(shape)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return model


def refused(path: Path, code: str = "E0303") -> Diagnostic:
    with pytest.raises(Diagnostic) as caught:
        read_model(path)
    assert caught.value.code == code and caught.value.where == "file 'model.onnx', initializer 'w'", str(caught.value)
    return caught.value


def test_external_data_is_mapped_and_written_again(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"\0" * 64 + WEIGHT.tobytes() + b"\0" * 7)
    path = store(tmp_path, external({"location": "weights.bin", "offset": "64", "length": str(WEIGHT.nbytes)}))
    model = read_model(path)
    data = model.graph.first.inputs[1].data
    assert isinstance(data, BufferData) and len(data.buffer) == 64 + WEIGHT.nbytes + 7
    assert np.shares_memory(data.numpy(), np.frombuffer(data.buffer, np.uint8))
    model.save(tmp_path / "inline.onnx")
    assert not (tmp_path / "inline.onnx.data").exists()
    model.save(tmp_path / "out.onnx", external_data=True)
    x = np.ones((2, 32), np.float32)
    for name in ("inline.onnx", "out.onnx"):
        np.testing.assert_allclose(run(tmp_path / name, {"x": x})[0], x @ WEIGHT, rtol=1e-5)


def test_offset_and_length_have_defaults(tmp_path):
    (tmp_path / "w").write_bytes(WEIGHT.tobytes())
    path = store(tmp_path, external({"location": "w"}))
    np.testing.assert_array_equal(read_model(path).graph.first.inputs[1].data.numpy(), WEIGHT)


def test_a_folder_below_the_model_is_inside(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "w").write_bytes(WEIGHT.tobytes())
    path = store(tmp_path, external({"location": "deep/../deep/w"}))
    np.testing.assert_array_equal(read_model(path).graph.first.inputs[1].data.numpy(), WEIGHT)


def test_a_model_reached_through_a_link_finds_the_data_beside_the_link(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "w").write_bytes(WEIGHT.tobytes())
    store(real, external({"location": "w"}))
    (tmp_path / "alias").symlink_to(real)
    np.testing.assert_array_equal(read_model(tmp_path / "alias" / "model.onnx").graph.first.inputs[1].data.numpy(), WEIGHT)


@pytest.mark.parametrize("form", ["absolute", "parent", "hidden parent", "link", "linked folder", "empty", "dot", "nul"])
def test_locations_that_leave_the_folder(form, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(WEIGHT.tobytes())
    (folder / "link").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    location = {
        "absolute": str(secret),
        "parent": "../secret",
        "hidden parent": "x/../../secret",
        "link": "link",
        "linked folder": "up/secret",
        "empty": "",
        "dot": ".",
        "nul": "w\0x",
    }[form]
    refused(store(folder, external({"location": location})))


def test_a_missing_file_is_named_with_the_remedy(tmp_path):
    error = refused(store(tmp_path, external({"location": "weights.bin"})))
    assert "'weights.bin' is missing" in error.message and "copy 'weights.bin'" in error.hint


def test_a_folder_in_place_of_the_data(tmp_path):
    (tmp_path / "w").mkdir()
    refused(store(tmp_path, external({"location": "w"})))


def test_a_pipe_in_place_of_the_data_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "w")
    refused(store(tmp_path, external({"location": "w"})))


@pytest.mark.parametrize(
    ("offset", "length", "code"),
    [
        ("0", "100000", "E0303"),
        ("2000", "2048", "E0303"),
        ("-4", "2048", "E0303"),
        ("0", "-1", "E0303"),
        ("99999999999999999999999999", "2048", "E0303"),
        ("0", "99999999999999999999999999", "E0303"),
        ("zero", "2048", "E0303"),
        ("0", "1e3", "E0303"),
        ("", "2048", "E0303"),
        ("9" * 5000, "2048", "E0303"),
        ("0", "1024", "E0304"),
        ("0", "0", "E0304"),
    ],
)
def test_ranges_outside_the_file_or_of_another_size(offset, length, code, tmp_path):
    (tmp_path / "w").write_bytes(WEIGHT.tobytes())
    refused(store(tmp_path, external({"location": "w", "offset": offset, "length": length})), code)


@pytest.mark.parametrize("shape", [(1 << 62,), (-1,), (1 << 32, 1 << 32), (0, 1 << 62), (1,) * 65])
def test_absurd_shapes(shape, tmp_path):
    (tmp_path / "w").write_bytes(WEIGHT.tobytes())
    refused(store(tmp_path, external({"location": "w"}, shape)), "E0304")


def test_strings_cannot_be_external(tmp_path):
    (tmp_path / "w").write_bytes(b"text")
    refused(store(tmp_path, external({"location": "w"}, (1,), TensorProto.STRING)), "E0304")


def test_bytes_in_memory_have_no_folder():
    with pytest.raises(Diagnostic) as caught:
        read_model_bytes(external({"location": "w"}).SerializeToString())
    assert caught.value.code == "E0303" and "path" in caught.value.hint


@pytest.mark.parametrize("value", ["0", "-1", "7", "x", ""])
def test_the_marks_of_the_scanner_cannot_be_forged(value, tmp_path):
    with pytest.raises(Diagnostic) as caught:
        read_model(store(tmp_path, external({"edgec.extent": value})))
    assert caught.value.code in ("E0303", "E0304")


def test_writing_beside_itself_keeps_the_data_it_reads(tmp_path):
    """Rewriting a model in place: the mapping keeps the old file alive while the new one is written."""
    path = store(tmp_path, linear(WEIGHT))
    read_model(path).save(path, external_data=True)
    for _ in range(2):
        edgec.optimize(path).save(path, external_data=True)
    x = np.ones((2, 32), np.float32)
    np.testing.assert_allclose(run(path, {"x": x})[0], x @ WEIGHT, rtol=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]


# -- beyond 2 GB -----------------------------------------------------------------------------------------------------
ROWS, COLUMNS = 1 << 15, 10_000  # 1.3 GB of float32 each


@pytest.fixture
def huge(tmp_path) -> Path:
    """Two weights of 1.3 GB each in a sparse file, which takes no space."""
    size = ROWS * COLUMNS * 4
    with open(tmp_path / "weights.bin", "wb") as file:
        file.truncate(2 * size)
    if (tmp_path / "weights.bin").stat().st_blocks > 1000:
        pytest.skip("the file system has no sparse files")
    tensors = []
    for index, shape in enumerate([(ROWS, COLUMNS), (COLUMNS, ROWS)]):
        tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", "weights.bin"), ("offset", str(index * size)), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)
        tensors.append(tensor)
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h"], name="first"),
        helper.make_node("Identity", ["h"], ["i"], name="copy"),
        helper.make_node("MatMul", ["i", "w1"], ["y"], name="second"),
    ]
    return store(tmp_path, proto(nodes, [info("x", ("N", ROWS))], [info("y", ("N", ROWS))], tensors))


def resident() -> int:
    """The memory of this process that is not backed by files, in bytes."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


def test_a_model_beyond_2_gb_is_read_without_its_weights(huge):
    before = resident()
    model = read_model(huge)
    assert [n.op.op_name for n in model.graph] == ["MatMul", "Identity", "MatMul"]
    assert sum(v.data.nbytes for v in model.graph.constants()) == 2 * ROWS * COLUMNS * 4
    assert resident() - before < 100 << 20


def test_a_model_beyond_2_gb_is_not_written_inline(huge, tmp_path):
    model = read_model(huge)
    for write in (lambda: model.save(tmp_path / "out.onnx", external_data=False), model.to_bytes):
        with pytest.raises(Diagnostic) as caught:
            write()
        assert caught.value.code == "E0310" and "external" in caught.value.hint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.onnx", "weights.bin"]


def test_passes_change_the_graph_of_a_model_beyond_2_gb_without_touching_its_weights(huge):
    before = resident()
    result = edgec.optimize(huge, passes="remove-no-ops,dead-code")
    assert [n.op.op_name for n in result.graph] == ["MatMul", "MatMul"]
    assert all(isinstance(v.data, BufferData) for v in result.graph.constants())
    assert resident() - before < 100 << 20


def test_models_that_nobody_holds_are_unmapped(huge):
    for _ in range(200):
        read_model(huge)
    gc.collect()
    mapped = sum("weights.bin" in line for line in Path("/proc/self/maps").read_text().splitlines())
    assert mapped <= 2
