"""Strict reading of target files: what is wrong is refused with the file, the key and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgec.costmodel.targets import load_target, target_names
from edgec.costmodel.targets.units import si_unit, to_si
from edgec.ir.diagnostics import Diagnostic

MINIMAL = """
title = "A board"
kind = "board"
default_engine = "cpu"
[sources]
ds = "Vendor, data sheet of the board, https://example.com"
[dram]
type = "ddr4"
bytes = { value = 4, unit = "GiB", tag = "datasheet", source = "ds" }
bandwidth = { value = 12.8, unit = "GB/s", tag = "datasheet", source = "ds: 64 bits" }
[engines.cpu]
kind = "cpu"
source = "ds: four cores"
units = 4
clock = { value = 1.5, unit = "GHz", tag = "datasheet", source = "ds", spread = [1.0, 1.6] }
peak.f32 = { value = 8, unit = "op/cycle", tag = "computed", source = "ds" }
peak.i8 = { value = 0.1, unit = "Top/s", tag = "estimate", source = "ds", spread = 0.5 }
dispatch = { value = 2, unit = "us", tag = "estimate", source = "ds", spread = 0.5 }
run = { value = 20, unit = "us", tag = "estimate", source = "ds", spread = 0.5 }
[engines.cpu.memory.L1]
scope = "unit"
bytes = { value = 32, unit = "KiB", tag = "datasheet", source = "ds" }
bandwidth = { value = 16, unit = "B/cycle", tag = "computed", source = "ds" }
"""


def written(tmp_path: Path, text: str = MINIMAL, name: str = "board.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(tmp_path: Path, old: str, new: str) -> Diagnostic:
    assert old in MINIMAL
    path = written(tmp_path, MINIMAL.replace(old, new))
    with pytest.raises(Diagnostic) as caught:
        load_target(path)
    return caught.value


def test_a_file_of_the_user(tmp_path):
    target = load_target(written(tmp_path))
    (engine,) = target.engines
    assert target.name == "board" and target.dram.bytes.value == 4 * 2**30
    assert engine.peak["f32"].value == pytest.approx(48e9)
    assert (engine.peak["f32"].low, engine.peak["f32"].high) == (pytest.approx(32e9), pytest.approx(51.2e9)), "the clock's interval counts"
    assert engine.memory[0].bandwidth.value == pytest.approx(24e9) and engine.memory[0].scope == "unit"
    assert engine.memory[-1].bandwidth.source == "Vendor, data sheet of the board, https://example.com: 64 bits"
    assert engine.memory[-1].energy is not None, "the energy of DDR4 is known without the file"
    assert engine.mac_energy == {}, "without a process node nothing is said about arithmetic"


def test_a_process_node_prices_arithmetic_and_memory(tmp_path):
    node = 'process_nm = { value = 45, unit = "1", tag = "datasheet", source = "ds: 45 nm" }\n[sources]'
    (engine,) = load_target(written(tmp_path, MINIMAL.replace("[sources]", node))).engines
    assert engine.mac_energy["f32"].value == pytest.approx(4.6e-12), "3.7 pJ and 0.9 pJ of the table of 45 nm"
    assert engine.mac_energy["i8"].value == pytest.approx(0.3e-12), "0.2 pJ and an int32 addition of 0.1 pJ"
    assert engine.memory[0].energy is not None and engine.memory[0].energy.value == pytest.approx(2.5e-12), "20 pJ for 64 bits of 32 KiB"
    with_more = MINIMAL.replace("[sources]", node.replace("45,", "16,"))
    (smaller,) = load_target(written(tmp_path, with_more, "other.toml")).engines
    assert 1.69e-12 < smaller.mac_energy["f32"].value < 4.6e-12, "between the figures of 7 and 45 nm"


def test_a_folder_of_the_user(tmp_path, monkeypatch):
    written(tmp_path)
    written(tmp_path, 'inherits = "board"\ntitle = "A faster board"\n[engines.cpu]\nunits = 8\n', "fast-board.toml")
    monkeypatch.setenv("EDGEC_TARGETS", str(tmp_path))
    assert {"board", "fast-board", "orin-nano"} <= set(target_names())
    fast = load_target("fast-board")
    assert fast.title == "A faster board" and fast.engines[0].peak["f32"].value == pytest.approx(96e9)
    monkeypatch.setenv("EDGEC_TARGETS", str(tmp_path / "nowhere"))
    with pytest.raises(Diagnostic) as caught:
        target_names()
    assert caught.value.code == "E1002"


def test_inheritance_from_a_file_beside_and_in_a_circle(tmp_path):
    written(tmp_path)
    heir = written(tmp_path, 'inherits = "board.toml"\nprocess_nm = false\n', "heir.toml")
    assert load_target(heir).engines[0].units == 4
    written(tmp_path, 'inherits = "b.toml"\n', "a.toml")
    written(tmp_path, 'inherits = "a.toml"\n', "b.toml")
    with pytest.raises(Diagnostic) as caught:
        load_target(tmp_path / "a.toml")
    assert caught.value.code == "E1002" and "b.toml" in str(caught.value)


def test_an_unknown_name():
    with pytest.raises(Diagnostic) as caught:
        load_target("orin-nanno")
    assert caught.value.code == "E1001" and "did you mean 'orin-nano'" in caught.value.hint


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "missing.toml", written(tmp_path, "title = ", "broken.toml")):
        with pytest.raises(Diagnostic) as caught:
            load_target(path)
        assert caught.value.code == "E1002" and path.name in str(caught.value)


CLOCK = 'clock = { value = 1.5, unit = "GHz", tag = "datasheet", source = "ds", spread = [1.0, 1.6] }'
BANDWIDTH = 'bandwidth = { value = 12.8, unit = "GB/s", tag = "datasheet", source = "ds: 64 bits" }'


@pytest.mark.parametrize(
    "old,new,code,key,says",
    [
        ('kind = "board"', 'kind = "bord"', "E1006", "kind", "did you mean 'board'"),
        ("units = 4", "unitz = 4", "E1006", "engines.cpu.units", "write an integer"),
        ("units = 4", "units = 0", "E1006", "engines.cpu.units", "cannot be 0"),
        ("units = 4", "units = 4\ncolour = 1", "E1003", "engines.cpu.colour", "no key 'colour'"),
        ("units = 4", "units = 4\nvector_byte = 16", "E1003", "engines.cpu.vector_byte", "did you mean 'vector_bytes'"),
        ("units = 4", 'units = 4\nprofile = "cpu-smid"', "E1006", "engines.cpu.profile", "did you mean 'cpu-simd'"),
        ("units = 4", 'units = 4\nshares = ["SLC"]', "E1006", "engines.cpu.shares", "no memory 'SLC'"),
        ('default_engine = "cpu"', 'default_engine = "gpu"', "E1006", "default_engine", "did you mean 'cpu'"),
        ("peak.f32", "peak.f33", "E1003", "engines.cpu.peak.f33", "did you mean"),
        (BANDWIDTH, "", "E1004", "dram.bandwidth", "the number 'bandwidth' is missing"),
        (BANDWIDTH, "bandwidth = 12.8", "E1004", "dram.bandwidth", "is not a table"),
        (CLOCK, CLOCK.replace(', source = "ds"', ""), "E1004", "engines.cpu.clock", "has no source"),
        (CLOCK, CLOCK.replace(', tag = "datasheet"', ""), "E1004", "engines.cpu.clock", "has no tag"),
        (CLOCK, CLOCK.replace("datasheet", "rumour"), "E1004", "engines.cpu.clock", "rumour"),
        (CLOCK, CLOCK.replace(', unit = "GHz"', ""), "E1004", "engines.cpu.clock", "has no unit"),
        (CLOCK, CLOCK.replace("GHz", "GB/s"), "E1004", "engines.cpu.clock", "cannot be in 'GB/s'"),
        (CLOCK, CLOCK.replace('"ds"', '"dz"'), "E1004", "engines.cpu.clock", "there is no source 'dz'"),
        (CLOCK, CLOCK.replace("value = 1.5", 'value = "1.5"'), "E1004", "engines.cpu.clock", "not a number"),
        (CLOCK, CLOCK.replace("value", "valeu"), "E1003", "engines.cpu.clock.valeu", "did you mean 'value'"),
        (CLOCK, CLOCK.replace("[1.0, 1.6]", "[1.55, 1.6]"), "E1005", "engines.cpu.clock.spread", "does not fit"),
        (CLOCK, CLOCK.replace("GHz", "THz").replace("[1.0, 1.6]", "0.1"), "E1005", "engines.cpu.clock", "which no device has"),
        (BANDWIDTH, BANDWIDTH.replace("12.8", "-12.8"), "E1005", "dram.bandwidth", "must be positive"),
        (BANDWIDTH, BANDWIDTH.replace("12.8", "0"), "E1005", "dram.bandwidth", "must be positive"),
        (BANDWIDTH, BANDWIDTH.replace("12.8", "inf"), "E1005", "dram.bandwidth", "must be positive"),
        (BANDWIDTH, BANDWIDTH.replace("12.8", "nan"), "E1005", "dram.bandwidth", "must be positive"),
        (BANDWIDTH, BANDWIDTH.replace("12.8", "800"), "E1005", "memory.L1.bandwidth", "less than DRAM behind it"),
        ('value = 0.1, unit = "Top/s"', 'value = 48, unit = "Top/s"', "E1005", "peak.i8", "1000 times f32"),
        ("spread = 0.5 }\nrun", "spread = 1.5 }\nrun", "E1005", "dispatch.spread", "cannot be 1.5"),
        (", spread = 0.5 }\nrun", " }\nrun", "E1004", "engines.cpu.dispatch", "has no spread"),
        ('value = 32, unit = "KiB"', 'value = 32, unit = "GiB"', "E1005", "memory.L1.bytes", "far more than DRAM"),
        ('scope = "unit"', 'scope = "units"', "E1006", "memory.L1.scope", "did you mean 'unit'"),
        ('type = "ddr4"', 'type = "drr4"', "E1006", "dram.type", "did you mean 'ddr4'"),
    ],
)
def test_mistakes_are_refused(tmp_path, old, new, code, key, says):
    error = refused(tmp_path, old, new)
    assert error.code == code, str(error)
    assert "board.toml" in error.where and key in error.where, str(error)
    assert says in str(error)
    assert error.hint


def test_operating_points_are_checked(tmp_path):
    points = '\n[engines.cpu.core_points]\nunit = "MHz"\ntag = "datasheet"\nsource = "ds"\nclocks = [600, 1000, 1500]\n'
    good = load_target(written(tmp_path, MINIMAL + points + "modes = { slow = 600, idle = 600, fast = 1500 }\n")).engines[0]
    assert [point.mode for point in good.core_points] == ["idle/slow", "", "fast"]
    for wrong, says in [
        (points.replace("600, 1000", "1000, 600"), "rising"),
        (points + "modes = { slow = 700 }\n", "names of modes"),
        (points + 'volts = { values = [0.8], tag = "datasheet", source = "ds" }\n', "one voltage a clock"),
        (points + 'volts = { values = [0.9, 0.8, 1.0], tag = "datasheet", source = "ds" }\n', "fall while clocks rise"),
        (points.replace(", 1500", ""), "above the fastest operating point"),
    ]:
        with pytest.raises(Diagnostic) as caught:
            load_target(written(tmp_path, MINIMAL + wrong, "wrong.toml"))
        assert says in str(caught.value), str(caught.value)


def test_units():
    assert to_si(85, "degC") == pytest.approx(358.15) and si_unit("degC") == "K"
    assert to_si(5, "pJ/bit") == pytest.approx(40e-12) and si_unit("pJ/bit") == "J/B"
    assert to_si(50, "%") == 0.5
    assert si_unit("KHz") is None and si_unit("Gb/s") is None
