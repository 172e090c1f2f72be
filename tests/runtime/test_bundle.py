"""Bundles: round trips, damage, and writes that are interrupted."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic, Exit
from edgec.ir.dtypes import DType
from edgec.ir.serial.reader import read_model
from edgec.lowering.artifact import Artifact
from edgec.lowering.registry import backend
from edgec.lowering.signature import Signature, TensorSpec
from edgec.runtime.bundle import Bundle, load_bundle, write_bundle

Net = Callable[[str, dict[str, np.ndarray]], Path]
SIGNATURE = Signature((TensorSpec("x", DType.FLOAT, ("n", 3)),), (TensorSpec("y", DType.FLOAT, ("n", 3)),))


def artifact(**files: Any) -> Artifact:
    """An artifact of arbitrary files."""
    return Artifact("ort", {name.replace("__", "."): content for name, content in files.items()}, SIGNATURE)


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its contents."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def compiled(net: Net, weights: dict[str, np.ndarray], tmp_path: Path) -> Bundle:
    """A real bundle of the small net."""
    lowered = backend("ort").lower(read_model(net("a", weights)), {"threads": 1})
    return write_bundle(lowered, tmp_path / "out" / "bundle", {"source": {"name": "a.onnx"}, "passes": []})


def test_a_bundle_runs_after_reloading(compiled: Bundle, feeds: list[dict[str, np.ndarray]]) -> None:
    found = load_bundle(compiled.folder, threads=1).run(feeds[0])
    assert list(found) == ["fc4"] and found["fc4"].shape == (4, 10)
    np.testing.assert_array_equal(found["fc4"], compiled.run(feeds[0])["fc4"])


def test_the_manifest_says_what_is_in_it(compiled: Bundle) -> None:
    manifest = json.loads((compiled.folder / "manifest.json").read_text())
    assert manifest["format"] == 1 and manifest["target"] == "ort"
    assert set(manifest["files"]) == {"model.onnx", "debug.json"}
    assert manifest["signature"]["inputs"] == [{"name": "x", "dtype": "f32", "shape": ["n", 3, 8, 8]}]
    assert manifest["lowering"]["opset"] == 21
    assert manifest["options"]["threads"] == 1
    assert compiled.debug["values"]["conv1"] == ["conv1"]


def test_two_writes_give_the_same_bytes(net: Net, weights: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = net("a", weights)
    for name in ("one", "two"):
        write_bundle(backend("ort").lower(read_model(path), {}), tmp_path / name, {"source": {"name": path.name}})
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_wrong_feeds_are_bad_input(compiled: Bundle, feeds: list[dict[str, np.ndarray]]) -> None:
    x = feeds[0]["x"]
    for wrong, code, hint in (
        ({"X": x}, "E0601", "did you mean 'x'?"),
        ({}, "E0601", ""),
        ({"x": x.astype(np.float64)}, "E0602", "float32"),
        ({"x": x[:, :2]}, "E0603", ""),
        ({"x": x[0]}, "E0603", ""),
    ):
        with pytest.raises(Diagnostic) as caught:
            compiled.run(wrong)
        assert caught.value.code == code and caught.value.exit is Exit.BAD_INPUT
        assert hint in caught.value.hint


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest", "format", "escape"])
def test_damage_is_noticed(compiled: Bundle, damage: str) -> None:
    path = compiled.folder / "model.onnx"
    manifest_path = compiled.folder / "manifest.json"
    raw = bytearray(path.read_bytes())
    manifest = json.loads(manifest_path.read_text())
    if damage == "flip":
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
    elif damage == "truncate":
        path.write_bytes(raw[:-7])
    elif damage == "remove":
        path.unlink()
    elif damage == "manifest":
        manifest_path.write_text(manifest_path.read_text()[:-20])
    elif damage == "format":
        manifest_path.write_text(json.dumps({**manifest, "format": 99}))
    else:
        manifest["files"]["../outside"] = {"sha256": "", "bytes": 0}
        manifest_path.write_text(json.dumps(manifest))
    with pytest.raises(Diagnostic) as caught:
        load_bundle(compiled.folder)
    assert caught.value.code == "E0612"


def test_other_folders_are_neither_loaded_nor_overwritten(tmp_path: Path) -> None:
    with pytest.raises(Diagnostic) as caught:
        load_bundle(tmp_path / "nothing")
    assert caught.value.code == "E0611"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(Diagnostic) as caught:
        write_bundle(artifact(model__onnx=b"x"), precious, {})
    assert caught.value.code == "E0611"
    assert snapshot(precious) == {"thesis.txt": b"years of work"}


def test_an_older_bundle_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    write_bundle(artifact(a=b"old", b=b"old"), target, {})
    write_bundle(artifact(a=b"new"), target, {})
    assert (target / "a").read_bytes() == b"new" and not (target / "b").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, existing: bool) -> None:
    target = tmp_path / "bundle"
    if existing:
        write_bundle(artifact(a=b"old"), target, {})
    before = snapshot(tmp_path)

    def fill(path: Path) -> None:
        path.write_bytes(b"some of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.raises(Diagnostic) as caught:
        write_bundle(artifact(a=b"new", big=fill), target, {})
    assert "No space left" in caught.value.message and caught.value.exit is Exit.BAD_INPUT
    assert snapshot(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == (["bundle"] if existing else [])


def test_a_failing_check_and_an_interrupt_abandon_the_write(tmp_path: Path) -> None:
    def refuse(folder: Path, manifest: object) -> None:
        assert (folder / "manifest.json").is_file()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bundle(artifact(a=b"new"), tmp_path / "bundle", {}, check=refuse)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_a_diagnostic(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Diagnostic) as caught:
        write_bundle(artifact(a=b"x"), tmp_path / "file" / "bundle", {})
    assert caught.value.exit is Exit.BAD_INPUT


_SLOW_WRITER = """
import sys, time
from pathlib import Path
from edgec.lowering.artifact import Artifact
from edgec.lowering.signature import Signature
from edgec.runtime.bundle import write_bundle

def slow(path):
    with path.open("wb") as stream:
        stream.write(b"half")
        stream.flush()
        Path(sys.argv[2]).touch()
        time.sleep(60)

write_bundle(Artifact("ort", {"a": b"new", "big": slow}, Signature((), ())), sys.argv[1], {})
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("existing", [False, True])
def test_a_killed_writer_leaves_no_partial_bundle(tmp_path: Path, existing: bool) -> None:
    target, started = tmp_path / "place" / "bundle", tmp_path / "started"
    if existing:
        write_bundle(artifact(a=b"old"), target, {})
    before = snapshot(target) if existing else {}
    root = Path(__file__).parents[2]
    writer = subprocess.Popen([sys.executable, "-c", _SLOW_WRITER, str(target), str(started)], env={**os.environ, "PYTHONPATH": str(root)})
    try:
        deadline = time.monotonic() + 60
        while not started.exists():
            assert writer.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        writer.kill()
        writer.wait()
    assert target.exists() == existing
    assert (snapshot(target) if existing else {}) == before
    write_bundle(artifact(a=b"newer"), target, {})
    assert [p.name for p in target.parent.iterdir()] == ["bundle"], "the dead writer's temporary folder is cleaned up"
    assert (target / "a").read_bytes() == b"newer"


def test_a_living_writers_folder_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "bundle"

    def nested(folder: Path, manifest: object) -> None:
        write_bundle(artifact(a=b"inner"), target, {})
        assert folder.is_dir()

    write_bundle(artifact(a=b"outer"), target, {}, check=nested)
    assert (target / "a").read_bytes() == b"outer"
