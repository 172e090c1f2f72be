"""Data sets on the command line: every form is read, and what is wrong with one is said with its place and exit status."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

GOOD = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
NAN = np.where(np.arange(2).reshape(2, 1, 1, 1) == 0, np.float32(np.nan), GOOD)


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    """A data set of one .npz file."""
    folder.mkdir()
    np.savez(folder / "first.npz", **arrays)
    return folder


def protobufs(folder: Path, *tensors: tuple[str, np.ndarray]) -> Path:
    """A data set of one ONNX test_data_set folder."""
    inner = folder / "test_data_set_0"
    inner.mkdir(parents=True)
    for index, (name, array) in enumerate(tensors):
        (inner / f"input_{index}.pb").write_bytes(numpy_helper.from_array(array, name).SerializeToString())
    return folder


def make(place: Path, kind: str) -> Path:
    """The data set of one case."""
    data = place / kind
    if kind == "empty":
        data.mkdir()
    elif kind == "text":
        data.write_text("1,2,3")
    elif kind == "truncated":
        raw = (npz(data, x=GOOD) / "first.npz").read_bytes()
        (data / "first.npz").write_bytes(raw[: len(raw) // 2])
    elif kind.startswith("pb-"):
        cases = {
            "good": [("x", GOOD)], "unnamed": [("", GOOD)], "dtype": [("x", GOOD.astype(np.float64))], "rank": [("x", GOOD[0])],
            "more": [("x", GOOD), ("mask", GOOD)], "none": [], "nan": [("x", NAN)],
        }  # fmt: skip
        protobufs(data, *cases[kind[3:]])
    elif kind != "absent":
        cases = {
            "good": {"x": GOOD}, "file": {"x": GOOD}, "name": {"x1": GOOD}, "more": {"x": GOOD, "mask": GOOD}, "none": {},
            "dtype": {"x": GOOD.astype(np.float64)}, "rank": {"x": GOOD[0]}, "size": {"x": GOOD[:, :2]}, "nan": {"x": NAN},
            "nothing": {"x": GOOD[:0]}, "all-nan": {"x": np.full_like(GOOD, np.nan)},
        }  # fmt: skip
        npz(data, **cases[kind])
    return data / "first.npz" if kind == "file" else data


@pytest.mark.parametrize("kind", ["good", "file", "pb-good", "pb-unnamed"])
def test_every_form_is_read(edgec, model, tmp_path, kind) -> None:
    status, out, _ = edgec("verify", model, model, "--data", make(tmp_path, kind), "--json")
    report = json.loads(out)
    assert status == 0 and report["passed"] and report["notes"] == []
    assert report["samples"] == ["test_data_set_0" if kind.startswith("pb") else "first"]


BAD = [
    ("absent", "E0604", "does not exist", "a folder of .npz files"),
    ("empty", "E0604", "holds no samples", "a folder of .npz files"),
    ("text", "E0604", "must be .npz", "one .npz file"),
    ("truncated", "E0604", "not a readable .npz file", ""),
    ("name", "E0601", "no input 'x1'", "'x'"),
    ("more", "E0601", "no input 'mask'", ": x"),
    ("none", "E0601", "'x' is missing", "f32[batch, 3, 8, 8]"),
    ("dtype", "E0602", "holds float64, the model takes float32", "astype('float32')"),
    ("rank", "E0603", "rank 3", ""),
    ("size", "E0603", "dimension 1 is 2", ""),
    ("nothing", "E0622", "every output is empty, NaN or infinite", "--data"),
    ("all-nan", "E0622", "every output is empty, NaN or infinite", "--data"),
    ("pb-dtype", "E0602", "holds float64", "astype('float32')"),
    ("pb-rank", "E0603", "rank 3", ""),
    ("pb-more", "E0601", "no input 'mask'", ": x"),
    ("pb-none", "E0601", "'x' is missing", "f32[batch, 3, 8, 8]"),
]


@pytest.mark.parametrize(("kind", "code", "message", "hint"), BAD)
def test_bad_data_for_verify(edgec, model, tmp_path, kind, code, message, hint) -> None:
    data = make(tmp_path, kind)
    status, out, err = edgec("verify", model, model, "--data", data, "--json")
    error = json.loads(out)["error"]
    assert (status, error["code"]) == (2, code), err
    assert message in error["message"] and hint in error["hint"] and "Traceback" not in err
    if code != "E0622":
        assert str(data) in error["where"]


@pytest.mark.parametrize(("kind", "code"), [("name", "E0601"), ("pb-rank", "E0603"), ("empty", "E0604"), ("all-nan", "E0622")])
def test_bad_data_for_the_check_of_passes(edgec, model, tmp_path, kind, code) -> None:
    target = tmp_path / "out.onnx"
    status, out, _ = edgec("optimize", model, "-o", target, "--check-each-pass", "--data", make(tmp_path, kind), "--json")
    assert status == 2 and json.loads(out)["error"]["code"] == code and not target.exists()


@pytest.mark.parametrize("kind", ["nan", "pb-nan"])
def test_some_nan_is_said_and_does_not_hide_a_fault(edgec, model, tmp_path, kind) -> None:
    from .conftest import classifier, onnx

    data = make(tmp_path, kind)
    onnx.save(classifier(scale=1.01), tmp_path / "other.onnx")
    status, out, _ = edgec("verify", model, model, "--data", data)
    assert status == 0 and "note: sample" in out and "input 'x' holds 192 NaN or infinite elements" in out
    assert edgec("verify", model, tmp_path / "other.onnx", "--data", data)[0] == 1
