"""Cores for work and for background traffic, the traffic itself, clocks, and what they find on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgec.costmodel.analysis.experiment import measured_elasticity
from edgec.costmodel.analysis.probes import PROBES, probe_model
from edgec.costmodel.calibration.host import caches
from edgec.runtime import examine as examination
from edgec.runtime.core_clock import core_clock
from edgec.runtime.examine import CLOCK, PRESSURE, STEADY, STREAM, examine
from edgec.runtime.pressure import Placement, Pressure, allowed_cores, bound_to, place, siblings

LINUX = pytest.mark.skipif(not allowed_cores(), reason="threads are not bound to cores here")
SMALL = 1 << 25


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Four logical cores on two physical ones, whose clock can be set."""
    for core in range(4):
        topology, frequency = tmp_path / f"cpu{core}" / "topology", tmp_path / f"cpu{core}" / "cpufreq"
        topology.mkdir(parents=True)
        frequency.mkdir()
        (topology / "thread_siblings_list").write_text(f"{core // 2 * 2}-{core // 2 * 2 + 1}\n")
        for name, khz in (("cpuinfo_min_freq", 800000), ("scaling_min_freq", 1200000), ("scaling_max_freq", 3000000)):
            (frequency / name).write_text(f"{khz}\n")
    return tmp_path


def clocks(sysfs: Path) -> list[tuple[str, str]]:
    folders = [sysfs / f"cpu{core}" / "cpufreq" for core in (0, 1)]
    return [((f / "scaling_min_freq").read_text().strip(), (f / "scaling_max_freq").read_text().strip()) for f in folders]


# -- cores -------------------------------------------------------------------------------------------------------------
def test_traffic_runs_on_other_physical_cores(sysfs: Path) -> None:
    assert siblings(3, sysfs) == {2, 3} and siblings(9, sysfs) == {9}
    assert place(1, (0, 1, 2, 3), sysfs) == Placement((0,), (2, 3))
    assert place(1, (1, 2), sysfs) == Placement((1,), (2,))
    assert place(2, (0, 1, 2, 3, 7), sysfs) == Placement((0, 2), (7,))


@pytest.mark.parametrize(
    "threads, cores, words",
    [(1, (5,), "one core"), (2, (0, 1, 2, 3), "another thread"), (4, (0, 1, 2, 3), "take all 4 cores"), (1, (), "does not bind")],
)
def test_why_there_is_no_traffic(sysfs: Path, threads: int, cores: tuple[int, ...], words: str) -> None:
    found = place(threads, cores, sysfs)
    assert found.press == () and words in found.reason


@LINUX
def test_threads_are_bound_for_a_while() -> None:
    before = os.sched_getaffinity(0)
    with bound_to([min(before)]):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


# -- traffic -----------------------------------------------------------------------------------------------------------
def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@LINUX
def test_traffic_starts_and_stops() -> None:
    with Pressure(allowed_cores()[:1], SMALL) as pressure:
        process = pressure.processes[0]
        for _ in range(2):
            idle = processor_seconds(process.pid)
            time.sleep(0.1)
            assert processor_seconds(process.pid) - idle <= 0.02
            pressure.on()
            time.sleep(0.2)
            pressure.off()
            assert processor_seconds(process.pid) - idle >= 0.05
    assert process.poll() is not None and pressure.processes == []


@LINUX
def test_traffic_ends_with_its_parent() -> None:
    code = (
        "import os, sys\nfrom edgec.runtime.pressure import Pressure, allowed_cores\n"
        f"p = Pressure(allowed_cores()[:1], {SMALL})\np.on()\nprint(p.processes[0].pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    place_ = Path(f"/proc/{int(done.stdout)}")
    until = time.monotonic() + 10
    while place_.exists() and "Z" not in (place_ / "stat").read_text().rpartition(")")[2][:3] and time.monotonic() < until:
        time.sleep(0.05)
    assert not place_.exists() or "Z" in (place_ / "stat").read_text().rpartition(")")[2][:3]


@LINUX
def test_traffic_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="background process"):
        Pressure([1 << 20], SMALL)  # no such core
    monkeypatch.setattr("edgec.runtime.examine.stream_bytes", lambda: SMALL)
    found = examine({"work": lambda: None}, Placement((), (1 << 20,)), 1)
    assert "did not start" in found.reasons[PRESSURE] and found.methods == []


# -- clocks ------------------------------------------------------------------------------------------------------------
def test_clocks_are_put_back(sysfs: Path) -> None:
    clock, reason = core_clock((0, 1), sysfs)
    assert clock is not None and reason == "" and (clock.low, clock.high) == (0.8e9, 3e9)
    with pytest.raises(KeyboardInterrupt), clock.limited(1e9):
        assert clocks(sysfs) == [("1000000", "1000000")] * 2
        raise KeyboardInterrupt
    assert clocks(sysfs) == [("1200000", "3000000")] * 2


def test_why_the_clock_is_not_set(sysfs: Path) -> None:
    assert "no cpufreq" in core_clock((9,), sysfs)[1] and "no cpufreq" in core_clock((), sysfs)[1]
    (sysfs / "cpu0" / "cpufreq" / "cpuinfo_min_freq").write_text("2900000")
    assert "one step only" in core_clock((0,), sysfs)[1]
    (sysfs / "cpu0" / "cpufreq" / "cpuinfo_min_freq").write_text("<unknown>")
    assert "does not let" in core_clock((0,), sysfs)[1]


# -- what they find ----------------------------------------------------------------------------------------------------
def test_shares_follow_from_ratios(monkeypatch: pytest.MonkeyPatch, sysfs: Path) -> None:
    """Both methods, with made-up slowdowns in place of measured ones."""
    answers: Iterator[dict] = iter([{"a": 1.45, "b": 1.05, STREAM: 1.5, STEADY: 1.0}, {"a": 1.1, "b": 1.9, STREAM: 1.2, STEADY: 2.0}])
    monkeypatch.setattr(examination._Experiment, "_ratios", lambda *_: next(answers))
    monkeypatch.setattr(examination, "Pressure", lambda *_: Pressure([], SMALL))
    monkeypatch.setattr(examination, "core_clock", lambda cores: core_clock(cores, sysfs))
    monkeypatch.setattr(examination, "stream_bytes", lambda: SMALL)
    found = examine({"a": lambda: None, "b": lambda: None}, Placement((0,), (2,)), 1)
    assert found.methods == [PRESSURE, CLOCK] and not found.reasons
    assert (found.shares["a"].memory, found.shares["b"].memory) == (pytest.approx(0.9), pytest.approx(0.1))
    assert (found.shares["a"].core, found.shares["b"].core) == (pytest.approx(0.1), pytest.approx(0.9))


def test_disturbances_without_effect_are_no_methods(monkeypatch: pytest.MonkeyPatch, sysfs: Path) -> None:
    monkeypatch.setattr(examination._Experiment, "_ratios", lambda *_: {"a": 1.0, STREAM: 1.03, STEADY: 1.0})
    monkeypatch.setattr(examination, "Pressure", lambda *_: Pressure([], SMALL))
    monkeypatch.setattr(examination, "core_clock", lambda cores: core_clock(cores, sysfs))
    monkeypatch.setattr(examination, "stream_bytes", lambda: SMALL)
    found = examine({"a": lambda: None}, Placement((0,), (2,)), 1)
    assert found.methods == [] and "1.03 times" in found.reasons[PRESSURE] and "no effect" in found.reasons[CLOCK]
    assert found.shares["a"].memory is None and found.shares["a"].core is None


@LINUX
def test_the_references_run_on_one_and_on_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way with real traffic on the core of the work itself: ratios are positive, whatever they are."""
    monkeypatch.setattr(examination, "stream_bytes", lambda: SMALL)
    monkeypatch.setattr(examination, "ROUNDS", 1)
    monkeypatch.setattr(examination, "BUDGET_S", 0.01)
    for threads in (1, 2):
        found = examine({"work": lambda: sum(range(1000))}, Placement((), allowed_cores()[:1]), threads, cycles=1)
        assert all(value > 0 for value in found.facts[PRESSURE].values())


CLEAR = 1.3  # how much longer a stream takes under pressure before a single cycle tells compute from memory


@pytest.mark.skipif(not place(1).press, reason=f"ground truth on this machine: {place(1).reason}")
def test_the_machine_agrees_with_what_kernels_are_made_of(tmp_path: Path) -> None:
    """A large product is bound by compute, a copy that no cache holds by memory: H2 on the host."""
    pytest.importorskip("onnxruntime")
    from edgec.api import compile_with
    from edgec.optimizing import Settings
    from edgec.runtime.bundle_subject import bundle_subject
    from edgec.runtime.synthesize import synthesize_feeds

    placement, found, bounds = place(1), None, {}
    with bound_to(placement.work):
        runs = {}
        for name in ("gemm", "memcpy"):
            model = probe_model(name, caches()[-1][1], real=True)
            bundle = compile_with(model, Settings(target="ort", passes="dead-code"), tmp_path / name).bundle
            runs[name] = bundle_subject(bundle, synthesize_feeds(model, dims={"batch": 1})[0]).run
        for _ in range(4):
            found = examine(runs, placement, 1, cycles=1)
            if PRESSURE not in found.methods or found.facts[PRESSURE]["stream"] < CLEAR:
                continue  # other programs press on the memory in the calm rounds, too: nothing can be said
            bounds = {}
            for name, share in found.shares.items():
                slopes = measured_elasticity(share.memory, share.core, 0.0, 1.0)
                assert slopes is not None
                bounds[name] = slopes.bound
            if bounds == {name: PROBES[name].truth for name in runs}:
                return
    assert found is not None
    if not bounds:
        pytest.skip(found.reasons.get(PRESSURE, f"other programs use the memory: {found.facts}"))
    pytest.fail(f"found {bounds}: {found.facts}, {found.shares}")
