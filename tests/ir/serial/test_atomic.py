"""Files and folders appear whole or not at all: full disks, read-only folders, interrupts and kills."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgec
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.serial.atomic import writing
from edgec.ir.serial.reader import read_model
from tests.serial_models import linear, store

ROOT = Path(__file__).parents[3]
WEIGHT = np.random.default_rng(0).normal(size=(64, 1024)).astype(np.float32)
needs_user = pytest.mark.skipif(os.geteuid() == 0, reason="the superuser writes anywhere")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return store(tmp_path, linear(WEIGHT))


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from edgec.cli import main
sys.exit(main(sys.argv[1:]))
"""  # a write beyond 100 kB fails as it does on a full disk

SLOW = """
import sys, time
from edgec.ir.serial import writer
plain = writer.write_raw
def slow(data, write):
    raw = data.raw()
    write(bytes(raw[: len(raw) // 2]))
    print("half", flush=True)
    time.sleep(60)
writer.write_raw = slow
from edgec.cli import main
sys.exit(main(sys.argv[1:]))
"""  # stops in the middle of a tensor


# -- the primitive ---------------------------------------------------------------------------------------------------
def test_nothing_appears_before_the_end(tmp_path):
    with writing(tmp_path / "a", tmp_path / "b") as (first, second):
        first.write(b"one")
        second.write(b"two")
        assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
    assert names(tmp_path) == ["a", "b"] and (tmp_path / "b").read_bytes() == b"two"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_files(error, tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(error), writing(tmp_path / "a", tmp_path / "b") as (first, _):
        first.write(b"new")
        raise error
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_permissions_are_those_of_a_new_file(tmp_path):
    old = os.umask(0o027)
    try:
        with writing(tmp_path / "a") as (file,):
            file.write(b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_link_in_place_of_the_output_is_replaced_not_followed(tmp_path):
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "out").symlink_to(tmp_path / "target")
    with writing(tmp_path / "out") as (file,):
        file.write(b"new")
    assert (tmp_path / "target").read_bytes() == b"precious" and (tmp_path / "out").read_bytes() == b"new"


@pytest.mark.parametrize("where", ["absent/out.onnx", "file/out.onnx", "folder", "x" * 300 + ".onnx"])
def test_places_that_cannot_be_written(where, model, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    before = names(tmp_path)
    with pytest.raises(Diagnostic) as caught:
        read_model(model).save(tmp_path / where)
    assert caught.value.code == "E0309" and where in caught.value.message and caught.value.hint
    assert names(tmp_path) == before and not list((tmp_path / "folder").iterdir())


@needs_user
def test_a_read_only_folder(model, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(Diagnostic, match="Permission denied") as caught:
        read_model(model).save(folder / "out.onnx")
    assert caught.value.code == "E0309" and not names(folder)


def test_a_replacement_that_fails_keeps_both_old_files(model, tmp_path, monkeypatch):
    out = tmp_path / "out.onnx"
    read_model(model).save(out, external_data=True)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Diagnostic, match="No space left"):
        read_model(model).save(out, external_data=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_the_temporary_files_of_a_living_writer_stay(tmp_path):
    with writing(tmp_path / "a") as (outer,):
        outer.write(b"outer")
        with writing(tmp_path / "a") as (inner,):
            inner.write(b"inner")
        assert (tmp_path / "a").read_bytes() == b"inner"
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"outer"


def test_only_leftovers_of_the_same_file_are_removed(tmp_path):
    kept = [".a.tmp", ".a.12345678.txt", ".b.12345678.tmp", ".a.data.12345678.tmp", ".a.1234567890.tmp"]
    for name in [*kept, ".a.abcd_678.tmp"]:
        (tmp_path / name).write_bytes(b"")
    with writing(tmp_path / "a") as (file,):
        file.write(b"x")
    assert names(tmp_path) == sorted([*kept, "a"])


# -- a disk that is full ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("option", "old"), [("--inline-data", False), ("--external-data", True)])
def test_a_full_disk_while_optimising(option, old, model, tmp_path):
    out = tmp_path / "out.onnx"
    if old:
        read_model(model).save(out, external_data=option == "--external-data")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    process = python(LIMITED, "optimize", model, "-o", out, option)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "error[E0309]" in err and "File too large" in err and "hint:" in err and "Traceback" not in err
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("old", [False, True])
def test_a_full_disk_while_compiling(old, model, tmp_path):
    out = tmp_path / "bundle"
    if old:
        edgec.compile(model, output=out)
    before = names(tmp_path)
    process = python(LIMITED, "compile", model, "-o", out)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "error[E0309]" in err and "Traceback" not in err, err
    assert names(tmp_path) == before
    if old:
        edgec.load_bundle(out)


@pytest.mark.parametrize(("option", "reason"), [("size=64k", "No space left on device"), ("ro", "Read-only file system")])
def test_a_file_system_that_is_full_or_read_only(option, reason, model, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", option, "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting is not permitted")
    try:
        for write in (lambda: read_model(model).save(disk / "out.onnx"), lambda: edgec.compile(model, output=disk / "bundle")):
            with pytest.raises(Diagnostic, match=reason) as caught:
                write()
            assert caught.value.code == "E0309" and not names(disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# -- interrupts and kills --------------------------------------------------------------------------------------------
def stopped(model: Path, out: Path, sent: signal.Signals, *options: str) -> tuple[int, str]:
    process = python(SLOW, "optimize", model, "-o", out, *options)
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    process.send_signal(sent)
    _, err = process.communicate(timeout=30)
    return process.returncode, err


@pytest.mark.parametrize("option", ["--inline-data", "--external-data"])
def test_an_interrupt_while_writing(option, model, tmp_path):
    out = tmp_path / "out.onnx"
    read_model(model).save(out, external_data=option == "--external-data")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert stopped(model, out, signal.SIGINT, option) == (130, "interrupted\n")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("option", ["--inline-data", "--external-data"])
def test_a_kill_while_writing(option, model, tmp_path):
    out = tmp_path / "out.onnx"
    read_model(model).save(out, external_data=option == "--external-data")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert stopped(model, out, signal.SIGKILL, option)[0] == -signal.SIGKILL
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if not p.name.endswith(".tmp")} == before
    edgec.optimize(model).save(out, external_data=option == "--external-data")
    assert read_model(out).graph.count == 1
    assert not [n for n in names(tmp_path) if n.endswith(".tmp")], "the next write removes what a killed one left"
