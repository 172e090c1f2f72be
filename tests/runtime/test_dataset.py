"""Data sets in each form, and what is wrong with bad ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgec.ir.diagnostics import Diagnostic, Exit
from edgec.ir.dtypes import DType
from edgec.lowering.signature import Signature, TensorSpec
from edgec.runtime.dataset import iterate_dataset, load_dataset

SIGNATURE = Signature(
    (TensorSpec("image", DType.FLOAT, ("n", 3)), TensorSpec("ids", DType.INT64, ("n",))),
    (TensorSpec("y", DType.FLOAT, ("n",)),),
)


def feeds(n: int = 2) -> dict[str, Any]:
    """Feeds that fit `SIGNATURE`."""
    return {"image": np.full((n, 3), n, np.float32), "ids": np.arange(n, dtype=np.int64)}


def test_a_folder_of_npz_in_natural_order(tmp_path: Path) -> None:
    for index in (10, 9, 1):
        np.savez(tmp_path / f"sample{index}.npz", **feeds(index))
    samples = load_dataset(tmp_path, SIGNATURE)
    assert [s.name for s in samples] == ["sample1", "sample9", "sample10"]
    assert list(samples[2].feeds) == ["image", "ids"] and samples[2].feeds["image"].shape == (10, 3)
    assert [s.name for s in iterate_dataset(tmp_path, SIGNATURE, limit=2)] == ["sample1", "sample9"]


def test_one_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", **feeds())
    (sample,) = load_dataset(tmp_path / "one.npz", SIGNATURE)
    assert sample.name == "one" and sample.warnings == []


def _onnx_set(folder: Path, arrays: list[np.ndarray], outputs: list[np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for stem, group in (("input", arrays), ("output", outputs)):
        for index, array in enumerate(group):
            (folder / f"{stem}_{index}.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())


def test_onnx_test_data(tmp_path: Path) -> None:
    for index in (0, 2, 11):
        _onnx_set(tmp_path / f"test_data_set_{index}", list(feeds(index + 1).values()), [np.zeros(index + 1, np.float32)])
    samples = load_dataset(tmp_path, SIGNATURE)
    assert [s.name for s in samples] == ["test_data_set_0", "test_data_set_2", "test_data_set_11"]
    assert samples[1].feeds["ids"].tolist() == [0, 1, 2]
    assert samples[1].expected is not None and samples[1].expected[0].shape == (3,)
    (single,) = load_dataset(tmp_path / "test_data_set_2", SIGNATURE)
    assert single.feeds["image"].shape == (3, 3)


def test_onnx_sequences_and_optionals(tmp_path: Path) -> None:
    folder = tmp_path / "test_data_set_0"
    folder.mkdir()
    items = [np.ones(2, np.float32), np.zeros(3, np.float32)]
    (folder / "input_0.pb").write_bytes(numpy_helper.from_list(items).SerializeToString())
    (folder / "input_1.pb").write_bytes(numpy_helper.from_optional(items[0]).SerializeToString())
    (folder / "input_2.pb").write_bytes(numpy_helper.from_optional(None, "none", onnx.OptionalProto.TENSOR).SerializeToString())
    specs = (
        TensorSpec("s", DType.FLOAT, None, "sequence"),
        TensorSpec("some", DType.FLOAT, None, "optional"),
        TensorSpec("none", DType.FLOAT, None, "optional"),
    )
    (sample,) = load_dataset(tmp_path, Signature(specs, ()))
    assert [a.tolist() for a in sample.feeds["s"]] == [[1, 1], [0, 0, 0]]
    assert sample.feeds["some"].tolist() == [1, 1] and sample.feeds["none"] is None


def test_types_that_npz_does_not_know_come_back(tmp_path: Path) -> None:
    values = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    np.savez(tmp_path / "a.npz", x=values)
    (sample,) = load_dataset(tmp_path, Signature((TensorSpec("x", DType.BFLOAT16, (2,)),), ()))
    assert sample.feeds["x"].dtype == ml_dtypes.bfloat16 and sample.feeds["x"].tolist() == [1.5, -2.0]


def test_text_and_foreign_byte_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", s=np.array(["ab", "c"]), x=np.array([1.0, 2.0], ">f4"))
    signature = Signature((TensorSpec("s", DType.STRING, (2,)), TensorSpec("x", DType.FLOAT, (2,))), ())
    (sample,) = load_dataset(tmp_path, signature)
    assert sample.feeds["s"].dtype == object and sample.feeds["x"].dtype == np.dtype("<f4")
    assert sample.feeds["x"].tolist() == [1, 2]


def test_nan_is_flagged(tmp_path: Path) -> None:
    bad = feeds()
    bad["image"][0, 0] = np.nan
    np.savez(tmp_path / "a.npz", **bad)
    assert load_dataset(tmp_path, SIGNATURE)[0].warnings == ["input 'image' holds 1 NaN or infinite elements"]


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"image": None, "imagee": np.zeros((2, 3), np.float32)}, "E0601", "did you mean 'image'"),
        ({"ids": None}, "E0601", "'ids' is missing"),
        ({"ids": np.zeros(2, np.int32)}, "E0602", "int32"),
        ({"image": np.zeros((2, 4), np.float32)}, "E0603", "dimension 1 is 4"),
        ({"image": np.zeros(3, np.float32)}, "E0603", "rank 1"),
    ],
)
def test_feeds_that_do_not_fit(tmp_path: Path, change: dict[str, np.ndarray | None], code: str, text: str) -> None:
    arrays: dict[str, Any] = {name: array for name, array in {**feeds(), **change}.items() if array is not None}
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(Diagnostic) as caught:
        load_dataset(tmp_path, SIGNATURE)
    assert caught.value.code == code and caught.value.exit is Exit.BAD_INPUT
    assert text in str(caught.value) and "bad" in caught.value.where


def _broken(tmp_path: Path, kind: str) -> Path:
    if kind == "missing":
        return tmp_path / "nowhere"
    if kind == "empty":
        return tmp_path
    if kind == "other file":
        (tmp_path / "a.csv").write_text("1,2")
        return tmp_path / "a.csv"
    if kind == "gap":
        _onnx_set(tmp_path / "test_data_set_0", list(feeds().values()), [])
        (tmp_path / "test_data_set_0" / "input_0.pb").unlink()
        return tmp_path
    if kind == "objects":
        np.savez(tmp_path / "a.npz", image=np.array([{}], object))
        return tmp_path
    if kind == "protobuf":
        (tmp_path / "test_data_set_0").mkdir()
        (tmp_path / "test_data_set_0" / "input_0.pb").write_bytes(b"\xff\xff\xff")
        return tmp_path
    np.savez(tmp_path / "a.npz", **feeds())
    raw = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(raw[: len(raw) // 2])
    return tmp_path


@pytest.mark.parametrize("kind", ["missing", "empty", "other file", "gap", "objects", "protobuf", "truncated"])
def test_unreadable_data_sets(tmp_path: Path, kind: str) -> None:
    with pytest.raises(Diagnostic) as caught:
        load_dataset(_broken(tmp_path, kind), SIGNATURE)
    assert caught.value.code == "E0604" and str(tmp_path) in caught.value.where
