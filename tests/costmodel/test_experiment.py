"""Experiments that find what bounds work: on sums that are known, and on the cost model, whose bottlenecks are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgec.costmodel.analysis.experiment import Slowdown, measured_elasticity, seconds_at, simulate, true_bound
from edgec.costmodel.analysis.probes import CHAIN, LEAST_BYTES, PROBES, TIMES_CACHE, chain_model, probe_model
from edgec.costmodel.predict import Predictor
from edgec.costmodel.roofline import Setting
from edgec.costmodel.targets import load_target, target_names
from tests.costmodel.samples import B, single, target

ENGINES = (
    ("orin-nano", "gpu"), ("raspberry-pi-5", "cpu"), ("raspberry-pi-4", "cpu"), ("x86-avx512-vnni", "cpu"), ("rtx-4090", "gpu"),
    ("h100-sxm", "gpu"), ("snapdragon-8-gen-3", "cpu-prime"),
)  # fmt: skip


def machine(name: str, engine: str | None = None):
    """What makes predictors of a target's engine, its last cache, and its price of a chain of launches."""
    device = load_target(name)

    def predictor(graph) -> Predictor:
        return Predictor(graph, device, engine=engine, tier="spec")

    levels = predictor(chain_model(1)).roofs.levels
    cache = max((level.capacity for level in levels[:-1]), default=0.0)
    return predictor, cache, lambda nodes: predictor(chain_model(nodes)).predict({}).seconds[1]


@pytest.mark.parametrize("name, engine", ENGINES)
@pytest.mark.parametrize("probe", list(PROBES))
def test_both_experiments_find_the_truth(name: str, engine: str, probe: str) -> None:
    predictor, cache, launch = machine(name, engine)
    found = simulate(predictor(probe_model(probe, cache)), {"batch": 1}, "batch", launch)
    assert found.truth == PROBES[probe].truth and found.truth_share > 0.5
    assert found.clocks.bound == found.pressure.bound == found.truth


def test_clear_cases_agree_on_every_target() -> None:
    """Where one part takes four fifths of the time, the clocks always find it; a memory that is slowed by half nearly always."""
    clear, by_clocks, by_pressure = 0, 0, 0
    memory = {"weights": "memory", "activations": "memory"}
    for name in target_names():
        predictor, cache, launch = machine(name)
        for probe in PROBES:
            found = simulate(predictor(probe_model(probe, cache)), {"batch": 1}, "batch", launch)
            if found.truth_share >= 0.8:
                truth, clocks, pressure = (memory.get(b, b) for b in (found.truth, found.clocks.bound, found.pressure.bound))
                clear, by_clocks, by_pressure = clear + 1, by_clocks + (clocks == truth), by_pressure + (pressure == truth)
    assert clear > 3 * len(target_names()) and by_clocks == clear and by_pressure >= 0.95 * clear


def test_a_growing_batch_turns_weights_into_compute() -> None:
    """The roofline's own crossover: B* = ridge x bytes / 2 rows of a product whose weights are streamed."""
    predictor = Predictor(single("MatMul", (B, 4096), (4096, 4096), constants=(1,)), target())
    crossover = 39.0625 * 4 / 2
    for batch, expected in ((1, "weights"), (int(crossover * 0.5), "weights"), (int(crossover * 4), "compute")):
        assert true_bound(predictor, {"batch": batch})[0] == expected
        assert simulate(predictor, {"batch": batch}, "batch", lambda n: 0.0).clocks.bound == expected


def test_clocks_are_scaled() -> None:
    predictor = Predictor(single("Relu", (B, 1 << 22)), target())
    calm = predictor.predict({"batch": 1}).seconds[1]
    assert seconds_at(predictor, {"batch": 1}, Setting()) == calm
    assert seconds_at(predictor, {"batch": 1}, Setting(memory=0.5)) == pytest.approx(2 * calm)
    assert seconds_at(predictor, {"batch": 1}, Setting(core=0.5)) == pytest.approx(calm)


@given(st.floats(0.0, 10.0), st.floats(0.01, 10.0), st.floats(1.15, 4.0), st.floats(0.8, 1.3))
def test_the_share_of_memory_is_that_of_a_sum(waits: float, computes: float, slower: float, everything: float) -> None:
    """T = Tc + Tm becomes (Tc + s Tm) times what disturbs everything alike."""
    before = waits + computes
    after = (slower * waits + computes) * everything
    found = Slowdown(after / before, slower * everything, everything)
    assert found.tells and found.share == pytest.approx(waits / before, abs=1e-9)


def test_small_disturbances_say_nothing() -> None:
    assert Slowdown(1.5, 1.05).share is None and Slowdown(1.5, 2.0, 1.9).share is None
    assert Slowdown(0.9, 1.5).share == 0.0 and Slowdown(3.0, 1.5).share == 1.0
    assert measured_elasticity(None, None, 0.1) is None


@pytest.mark.parametrize(
    "memory, core, overhead, batch, bound",
    [
        (0.1, None, 0.0, 1.0, "compute"),
        (0.9, None, 0.0, 1.0, "activations"),
        (0.9, None, 0.0, 0.0, "weights"),
        (0.9, None, 0.0, None, "memory"),
        (0.05, None, 0.9, 0.1, "overhead"),
        (None, 0.95, 0.05, 1.0, "compute"),
        (None, 0.95, 0.9, 0.1, "overhead"),
        (0.2, 0.8, 0.1, 1.0, "compute"),
        (0.45, 0.5, 0.3, 0.5, "mixed"),
    ],
)
def test_shares_are_classified(memory: float | None, core: float | None, overhead: float, batch: float | None, bound: str) -> None:
    found = measured_elasticity(memory, core, overhead, batch)
    assert found is not None and found.bound == bound


def test_probes_are_larger_than_caches() -> None:
    cache = 100 << 20
    memcpy = probe_model("memcpy", cache).graph
    half = sum(int(v.shape[1]) for v in memcpy.inputs if v.shape) * 4
    assert half >= TIMES_CACHE * cache and probe_model("memcpy").graph.inputs[0].shape[1] * 8 == LEAST_BYTES  # type: ignore[index,operator]
    assert len(list(chain_model(3).graph)) == 3 and len(list(probe_model("launch").graph)) == CHAIN
    weights = next(iter(probe_model("gemv", 1 << 20, real=True).graph)).inputs[1]
    assert weights is not None and weights.is_constant
