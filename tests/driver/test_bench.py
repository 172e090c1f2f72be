"""`edgec bench`: measured beside predicted over a dimension, what bounds it, probes, simulations, interruptions, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgec.costmodel.calibrated import CalibratedTarget, ClassScalar, save_calibrated
from edgec.costmodel.targets import load_target
from edgec.driver.bench_subject import swept
from edgec.driver.bench_text import bench_text
from edgec.ir.diagnostics import Diagnostic
from edgec.runtime import examine
from edgec.runtime.pressure import place

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--rounds", "2", "--no-bound")


@pytest.fixture(autouse=True)
def little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgec.driver.bench.BUDGET_S", 0.02)
    monkeypatch.setattr(examine, "ROUNDS", 1)
    monkeypatch.setattr(examine, "BUDGET_S", 0.01)


def document(edgec: Run, *arguments: object) -> dict:
    status, out, err = edgec("bench", *arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def test_sizes_of_a_dimension(edgec: Run, model: Path) -> None:
    found = document(edgec, model, "--sweep", "batch=1:5:2", *QUICK)
    assert found["schema"] == "edgec.bench/1" and found["ok"] and found["backend"] == "ort" and found["symbol"] == "batch"
    rows = found["sizes"]
    assert [row["size"] for row in rows] == [1, 3, 5]
    for row in rows:
        assert 0 < row["seconds"] <= row["median"] and row["quartiles"][0] <= row["median"] <= row["quartiles"][1]
        assert row["throughput"] == pytest.approx(row["size"] / row["seconds"]) and row["predicted"] is None
        assert row["efficiency"] == pytest.approx(row["throughput"] / (row["size"] * rows[0]["throughput"]))
    assert rows[0]["efficiency"] == 1.0 and found["bounds"] == [] and found["examination"] is None
    status, out, _ = edgec("bench", model, "--sweep", "batch=1:5:2", *QUICK)
    assert status == 0 and "items/s" in out and "predicted" not in out


def test_predictions_stand_beside(edgec: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    scalars = (ClassScalar("conv-direct", "f32", 3.0), ClassScalar("gemm", "f32", 3.0))
    save_calibrated(CalibratedTarget(load_target("x86-avx2"), "ort", 1, scalars=scalars), path)
    found = document(edgec, model, "--sweep", "--target", path, *QUICK)
    assert [row["size"] for row in found["sizes"]] == [1, 2, 4, 8] and found["tier"] == "scalar"
    for row in found["sizes"]:
        low, expected, high = row["predicted"]["seconds"]
        assert low <= expected <= high and row["predicted"]["inside"] == (low <= row["seconds"] <= high)
        assert row["predicted"]["error"] == pytest.approx(expected / row["seconds"] - 1)
        assert sum(row["predicted"]["bound_shares"].values()) == pytest.approx(1)
    base = found["sizes"][0]["predicted"]["seconds"][1]
    assert found["sizes"][3]["predicted"]["efficiency"] == pytest.approx(base / found["sizes"][3]["predicted"]["seconds"][1])
    status, out, _ = edgec("bench", model, "--sweep", "--target", path, *QUICK)
    assert status == 0 and "predicted for" in out and "tier scalar" in out


def test_what_bounds_it_or_why_that_is_not_known(edgec: Run) -> None:
    found = document(edgec, "--sweep", "--kernel", "launch", "--rounds", "2")
    assert found["truth"] == "overhead" and found["model"] == "kernel launch" and [b["size"] for b in found["bounds"]] == [1, 2]
    assert found["launch"]["kernel"] > 0
    for row in found["bounds"]:
        assert row["overhead"] > 0.4 and row["batch"] == pytest.approx(0, abs=0.4)  # the chain itself is what launches are measured with
        assert (row["bound"] == "not decided") == (not found["examination"]["methods"]) == (row["core"] is None)
    if not place(1).press:
        assert place(1).reason in found["examination"]["reasons"].values()


def test_the_text_says_how_it_was_found(edgec: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With made-up slowdowns: the product waits for memory a tenth of its time."""
    ratios = {1: 1.05, 2: 1.05, examine.STREAM: 1.5, examine.STEADY: 1.0}
    monkeypatch.setattr(examine._Experiment, "_ratios", lambda *_: ratios)
    monkeypatch.setattr("edgec.runtime.pressure.place", lambda threads: place(1, (0, 9)))
    monkeypatch.setattr("edgec.runtime.pressure.bound_to", lambda cores: nullcontext())
    monkeypatch.setattr(examine, "Pressure", lambda *_: nullcontext())
    status, out, err = edgec("bench", "--sweep", "--kernel", "gemm", "--rounds", "1")
    assert status == 0, err
    assert "bound at batch 1: compute; core clock -0." in out and "memory clock -0.10" in out
    assert "streams on 1 other cores make a pure stream 1.50 times as long" in out and "it was not measured" in out
    assert "truth       compute" in out and "no core clock: " in out


def test_the_text_names_every_method(edgec: Run) -> None:
    facts = document(edgec, "--sweep", "--kernel", "launch", "--rounds", "1")
    pressure, clock = {"stream": 1.5, "registers": 1.0, "cores": 3.0}, {"stream": 1.1, "registers": 2.0, "low_hz": 1.5e9, "high_hz": 3e9}
    both = {"methods": ["memory_pressure", "core_clock"], "reasons": {}, "memory_pressure": pressure, "core_clock": clock}
    text = bench_text({**facts, "examination": both})
    assert "streams on 3 other cores" in text and "1.5 in place of 3 GHz" in text and "was not measured" not in text
    text = bench_text(
        {**facts, "examination": {"methods": ["core_clock"], "reasons": {"memory_pressure": "there is one core"}, "core_clock": clock}}
    )
    assert "share of the memory clock is what the other and launches leave" in text and "no memory pressure: there is one core" in text


def test_without_a_sweep(edgec: Run, model: Path) -> None:
    found = document(edgec, model, "--dim", "batch=3", *QUICK)
    assert found["symbol"] is None and len(found["sizes"]) == 1 and found["dims"] == {}
    tried = document(edgec, model, *QUICK)
    assert tried["dims"] == {"batch": 2}  # the first size that was tried
    status, out, _ = edgec("bench", model, *QUICK)
    assert status == 0 and "batch=2" in out and "items/s" not in out


def test_bundles_are_measured_as_they_are(edgec: Run, model: Path, tmp_path: Path) -> None:
    assert edgec("compile", model, "--target", "ort", "-o", tmp_path / "bundle")[0] == 0
    found = document(edgec, tmp_path / "bundle", "--sweep", "batch=1:2", *QUICK)
    assert found["backend"] == "ort" and [row["size"] for row in found["sizes"]] == [1, 2]
    status, _, err = edgec("bench", tmp_path / "bundle", "--backend", "openvino", *QUICK)
    assert status == 2 and "the bundle is one of ort" in err
    status, _, err = edgec("bench", tmp_path / "bundle", "--sweep", "bach=1:2", *QUICK)
    assert status == 2 and "did you mean 'batch'?" in err


@pytest.mark.parametrize("backend, package", [("openvino", "openvino"), ("tflite", "ai_edge_litert")])
def test_other_runtimes(edgec: Run, model: Path, tmp_path: Path, backend: str, package: str) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    found = document(edgec, model, "--backend", backend, "--sweep", "batch=1:2", *QUICK)
    assert found["backend"] == backend and all(row["seconds"] > 0 for row in found["sizes"])
    assert edgec("compile", model, "--target", backend, "-o", tmp_path / "bundle")[0] == 0
    assert document(edgec, tmp_path / "bundle", "--dim", "batch=2", *QUICK)["backend"] == backend


def test_large_weights_are_loaded_one_size_after_another(edgec: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgec.driver.bench_subject.KEPT_BYTES", 0)
    found = document(edgec, model, "--sweep", "batch=1:3", "--rounds", "2")
    assert [row["size"] for row in found["sizes"]] == [1, 2, 3] and [b["size"] for b in found["bounds"]] == [1, 3]


# -- simulations -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kernel, truth", [("gemm", "compute"), ("memcpy", "activations"), ("gemv", "weights"), ("launch", "overhead")])
def test_simulated_kernels(edgec: Run, kernel: str, truth: str) -> None:
    found = document(edgec, "--sweep", "--kernel", kernel, "--simulate", "raspberry-pi-5")
    assert found["schema"] == "edgec.bench-simulation/1" and found["target"] == "raspberry-pi-5"
    for row in found["sizes"]:
        assert row["truth"] == row["clocks"]["bound"] == row["pressure"]["bound"] == truth and row["agrees"]
    status, out, _ = edgec("bench", "--sweep", "--kernel", kernel, "--simulate", "raspberry-pi-5")
    assert status == 0 and "at 2 of 2 sizes" in out


def test_simulated_models(edgec: Run, model: Path) -> None:
    found = document(edgec, model, "--simulate", "rtx-4090", "--sweep", "batch=1:2")
    assert [row["truth"] for row in found["sizes"]] == ["overhead", "overhead"]
    single = document(edgec, model, "--simulate", "rtx-4090", "--dim", "batch=1")
    assert single["symbol"] is None and single["sizes"][0]["seconds"] == pytest.approx(found["sizes"][0]["seconds"])


# -- interruptions and bad input ---------------------------------------------------------------------------------------
def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "edgec", "bench", "--sweep", "--kernel", "launch", "--rounds", "1000"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not any(tmp_path.glob("*/bundle/manifest.json")) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in err and out == "" and not list(tmp_path.glob("tmp*"))


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        ((), "E0801", "nothing to measure"),
        (("--sweep",), "E0801", "nothing to measure"),
        (("MODEL", "--kernel", "gemm"), "E0801", "a model and a kernel"),
        (("--kernel", "gem"), "E0801", "did you mean 'gemv'?"),
        (("--kernel", "gem", "--simulate", "orin-nano"), "E0801", "did you mean 'gemv'?"),
        (("MODEL", "--sweep", "bach=1:2"), "E0801", "did you mean 'batch'?"),
        (("MODEL", "--sweep", "batch=2:1"), "E0801", "empty"),
        (("MODEL", "--sweep", "core=0.5:1"), "E0801", "--simulate"),
        (("MODEL", "--sweep", "batch=1:2", "--dim", "batch=1"), "E0801", "swept and bound"),
        (("MODEL", "--sweep", "--dim", "batch=1"), "E0801", "no dimension to sweep"),
        (("MODEL", "--dim", "bach=1"), "E0201", "did you mean 'batch'?"),
        (("MODEL", "--backend", "coreml"), "E0801", "openvino, ort, tflite"),
        (("MODEL", "--target", "orin-nani"), "E1001", "orin-nan"),
        (("MODEL", "--simulate", "orin-nano"), "E1010", "--dim batch="),
        (("missing.onnx",), "E0301", "missing.onnx"),
    ],
)
def test_bad_input_is_explained(edgec: Run, model: Path, arguments: tuple[str, ...], code: str, words: str) -> None:
    status, _, err = edgec("bench", *(str(model) if word == "MODEL" else word for word in arguments))
    assert status == 2 and f"error[{code}]" in err and words in err, err
    assert "Traceback" not in err


def test_sweeps_name_dimensions() -> None:
    assert swept(None, ["n"], (1, 2)) == (None, (1,)) and swept("auto", ["n", "m"], (1, 2)) == ("n", (1, 2))
    assert swept("m=2:6:2", ["n", "m"], (1,)) == ("m", (2, 4, 6)) and swept("core=1:1", ["core"], ())[0] == "core"
    with pytest.raises(Diagnostic):
        swept("auto", [], (1,))
