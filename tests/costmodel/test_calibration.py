"""Calibration: recipes, the store that survives kills, the fit, what is written."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from edgec.costmodel.calibrated import load_calibrated, save_calibrated
from edgec.costmodel.calibration import fitting
from edgec.costmodel.calibration.assemble import calibrate
from edgec.costmodel.calibration.fitting import Observation, fit
from edgec.costmodel.calibration.grids import recipes
from edgec.costmodel.calibration.host import caches, copy_rate, host_target
from edgec.costmodel.calibration.recipe import Recipe, build
from edgec.costmodel.calibration.store import Store
from edgec.costmodel.features import FeatureRow
from edgec.costmodel.hardware import KERNEL_CLASSES
from edgec.costmodel.kernels import KERNELS
from edgec.costmodel.predict import predict
from edgec.driver.calibrate import fit_all, load_model, setting_of
from edgec.ir.diagnostics import Diagnostic
from edgec.runtime.measure import measure
from edgec.runtime.measure_ort import ort_subject
from edgec.runtime.measure_recipes import Collection, Sample, collect
from tests.costmodel.samples import single

SETTING = {"backend": "ort", "threads": 1}
LEVELS = {"L2": 1e-11, "DRAM": 1e-10}  # seconds per byte of a copy
HEAD = '{"schema": "edgec.measurements/1", "setting": {"backend": "ort", "threads": 1}}\n'


# -- recipes -----------------------------------------------------------------------------------------------------------
def test_recipes_are_the_same_every_time_and_cover_every_class() -> None:
    assert [r.key for r in recipes()] == [r.key for r in recipes()] and build(recipes()[40]).model == build(recipes()[40]).model
    few, many = recipes(quick=True), recipes()
    assert len({r.key for r in many}) == len(many) > 2 * len(few) > 800
    assert {r.copies for r in many} > {1, 16, 48} and {r.level for r in many} == {"all", "basic"}


@pytest.mark.parametrize("kind", sorted({r.kind for r in recipes()}))
def test_every_kind_runs_and_is_understood(kind: str) -> None:
    """The smallest graph of every kind loads, runs, and no kernel of it is unknown to the cost model."""
    recipe = min((r for r in recipes() if r.kind == kind), key=lambda r: (r.copies, sum(v for v in r.sizes.values() if isinstance(v, int))))
    material = build(recipe)
    subject = ort_subject(material.model, material.feeds, 1, recipe.level)
    subject.run()
    assert subject.schedule.kernels
    for kernel in subject.schedule.kernels:
        assert kernel.known and kernel.geometry.kernel in KERNEL_CLASSES and kernel.geometry.kernel != "unknown", kernel


def test_copies_take_more_memory() -> None:
    one, many = (ort_subject(m.model, m.feeds) for m in (build(Recipe("matmul", {"m": 4, "n": 64, "k": 64}, c)) for c in (1, 5)))
    assert len(many.schedule.kernels) == 5 * len(one.schedule.kernels) and many.schedule.weight_bytes == 5 * one.schedule.weight_bytes


# -- the store ---------------------------------------------------------------------------------------------------------
def test_measurements_survive_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    store = Store(path, SETTING)
    store.add("a", 0, 2e-6)
    store.add("a", 1, 1e-6)
    store.add("b", 0, 3e-6)
    with path.open("a") as file:
        file.write('{"key": "c", "round": 0, "sec')  # killed while writing
    again = Store(path, SETTING)
    assert again.table() == {"a": 1e-6, "b": 3e-6} and again.best("a") == 1e-6 and again.best("c") is None
    again.add("c", 0, 4e-6)
    assert Store(path, SETTING).table()["c"] == 4e-6


@pytest.mark.parametrize(
    "text, reason",
    [
        ('{"schema": "other"}\n', "does not say"),
        ("not json\n{}\n", "line 1 is damaged"),
        ('{"schema": "edgec.measurements/1", "setting": {"backend": "ort", "threads": 2}}\n', "threads is 2 there and 1 here"),
        (
            '{"schema": "edgec.measurements/1", "setting": {"backend": "ort", "threads": 1}}\n{"key": "a", "round": 0}\n\n',
            "line 2 is damaged",
        ),
        (
            HEAD + '{"key": "a", "round": 0, "seconds": -1}\n{}\n',
            "is no time",
        ),
    ],
)
def test_a_wrong_store_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(text)
    with pytest.raises(Diagnostic, match=reason) as caught:
        Store(path, SETTING)
    assert caught.value.code == "E1030" and path.read_text() == text


def test_collecting_goes_on_where_it_stopped(tmp_path: Path) -> None:
    wanted = [Recipe("run", {"nodes": n}, focus="overhead") for n in (1, 2, 3)]
    loaded: list[int] = []

    def load(material, threads, level):
        loaded.append(1)
        if len(loaded) == 3:
            raise KeyboardInterrupt
        return load_model("ort", material.model, material.feeds, threads, level)

    with pytest.raises(KeyboardInterrupt):
        collect(wanted, load, Store(tmp_path / "m", SETTING), rounds=2, budget_s=0.01)
    assert len(Store(tmp_path / "m", SETTING).seconds) == 2
    before = dict(Store(tmp_path / "m", SETTING).seconds)
    found = collect(wanted, load, Store(tmp_path / "m", SETTING), rounds=2, budget_s=0.01)
    after = Store(tmp_path / "m", SETTING).seconds
    assert len(after) == 6 and all(after[key] == value for key, value in before.items())
    assert [s.recipe for s in found.samples] == wanted and all(s.seconds > 0 for s in found.samples)


def test_a_refused_graph_is_reported(tmp_path: Path) -> None:
    def load(material, threads, level):
        return load_model("ort", b"not a model", material.feeds, threads, level)

    found = collect([Recipe("run", {"nodes": 1})], load, Store(tmp_path / "m", SETTING), rounds=2)
    assert not found.samples and len(found.refused) == 1 and found.refused[0][1]


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(Diagnostic) as caught:
        setting_of("orrt", 1)
    assert caught.value.code == "E1031" and "ort" in str(caught.value.hint)
    assert setting_of("ort", 2)["threads"] == 2


# -- timing ------------------------------------------------------------------------------------------------------------
def test_minima_of_batches() -> None:
    seen: list[int] = []
    found = measure(lambda: seen.append(1), "thread", 0.01)
    assert 0 < found.seconds <= found.median < 1e-4 and found.batches >= 4 and len(seen) > found.runs
    assert found.merged(dataclasses.replace(found, seconds=1e-12)).seconds == 1e-12


# -- the fit -----------------------------------------------------------------------------------------------------------
def rows_of(kernel: str, count: int, seed: int, variant: str = "") -> list[tuple[FeatureRow, float]]:
    """Kernels with random features, and the time of each by known coefficients: 2 µs + 3e-11 macs + 1e-11 L2 bytes + 8e-11 DRAM bytes."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        macs, near, far = (float(np.exp(random.uniform(np.log(1e3), np.log(1e8)))) for _ in range(3))
        compute = {name: (macs if name == "macs" else 0.0) for name in KERNELS[kernel].features}
        row = FeatureRow("k", kernel, variant, "f32", compute, {"L2": near, "DRAM": far}, True)
        found.append((row, 2e-6 + 3e-11 * macs + 1e-11 * near + 8e-11 * far))
    return found


def observations(noise: float = 0.0, p: float = 1.0) -> list[Observation]:
    random = np.random.default_rng(5)
    found = []
    for row, _ in rows_of("gemm", 60, 1):
        compute, memory = 3e-11 * row.compute["macs"], 1e-11 * row.memory["L2"] + 8e-11 * row.memory["DRAM"]
        seconds = 2e-6 + (compute**p + memory**p) ** (1 / p)
        found.append(Observation((4e-6 + seconds) * float(np.exp(random.normal(0, noise))), (row,), 2, "gemm"))
    return found


def test_known_coefficients_come_back() -> None:
    found = fit(observations(), LEVELS)
    part = found.values[found.layout.columns(("gemm", "", "f32"))]
    macs = 1 + KERNELS["gemm"].features.index("macs")
    assert part[macs] == pytest.approx(3e-11, rel=0.03)
    near = 1 + len(KERNELS["gemm"].features)
    assert part[near] == pytest.approx(1e-11, rel=0.1) and part[near] + part[near + 1] == pytest.approx(8e-11, rel=0.03)
    assert found.values[0] + 2 * found.values[1] + part[0] == pytest.approx(6e-6, rel=0.05)
    assert all(v >= 0 for v in found.values)


def test_overlap_is_found() -> None:
    found = fit(observations(p=6.0), LEVELS)
    assert found.exponents["gemm", "", "f32"] > 1.0
    errors = [abs(found.seconds(o) / o.seconds - 1) for o in observations(p=6.0)]
    assert np.mean(errors) < 0.03


def test_constants_from_afar_may_cost_more_than_other_operands() -> None:
    spent = []
    for o in observations():
        row = o.rows[0]
        far = dataclasses.replace(row, stalls={"L2": 0.0, "DRAM": 0.5 * row.memory["DRAM"]} if len(spent) % 2 else {})
        spent.append(dataclasses.replace(o, rows=(far,), seconds=o.seconds + 6e-11 * far.stalls.get("DRAM", 0.0)))
    found = fit(spent, LEVELS)
    assert np.mean([abs(found.seconds(o) / o.seconds - 1) for o in spent]) < 0.03
    assert found.values[found.layout.columns(("gemm", "", "f32"))][-1] == pytest.approx(6e-11, rel=0.1)


def test_a_byte_never_costs_much_more_than_a_copy() -> None:
    """A feature that hardly occurs cannot explain the time at an impossible price, which larger kernels would then pay."""
    slow = []
    for i, o in enumerate(observations()):
        row = dataclasses.replace(o.rows[0], stalls={"DRAM": 8.0 * (i % 2)})
        slow.append(dataclasses.replace(o, seconds=o.seconds + 1e-4 * (i % 2), rows=(row,)))
    assert fit(slow, LEVELS).values[fit(slow, LEVELS).layout.columns(("gemm", "", "f32"))][-1] <= 4e-10


def test_a_class_prior_that_is_far_off_does_not_outweigh_measurements() -> None:
    """Two functions of which one is a hundred times dearer: each is predicted by its own measurements."""
    found = []
    for variant, price in (("cheap", 1e-10), ("dear", 1e-8)):
        for n in (1e3, 3e3, 1e4, 3e4, 1e5, 3e5):
            row = FeatureRow(
                "k", "elementwise", variant, "f32", {"elements": n, "pieces": 1.0, "flops": n}, {"L2": 8 * n, "DRAM": 0.0}, True
            )
            found.append(Observation(3e-6 + price * n, (row,), 2, "elementwise"))
    fitted = fit(found, LEVELS)
    assert max(abs(fitted.seconds(o) / o.seconds - 1) for o in found) < 0.05


def test_outliers_hardly_matter() -> None:
    spoiled = [dataclasses.replace(o, seconds=o.seconds * (4.0 if i % 12 == 0 else 1.0)) for i, o in enumerate(observations(0.02))]
    found = fit(spoiled, LEVELS)
    errors = [abs(found.seconds(o) / o.seconds - 1) for o in observations()]
    assert np.median(errors) < 0.06


def test_rare_variants_share_the_coefficients_of_their_class() -> None:
    common = [Observation(s + 1e-6, (r,), 1, "gemm") for r, s in rows_of("gemm", 30, 2, "often")]
    rare = [Observation(s + 1e-6, (r,), 1, "gemm") for r, s in rows_of("gemm", 2, 3, "rarely")]
    found = fit(common + rare, LEVELS)
    assert ("gemm", "often", "f32") in found.layout.keys and ("gemm", "rarely", "f32") not in found.layout.keys
    assert found.layout.find(rare[0].rows[0]) == ("gemm", "", "f32")
    assert abs(found.seconds(rare[0]) / rare[0].seconds - 1) < 0.1


def test_views_cost_a_launch_and_nothing_else() -> None:
    assert set(fitting.LAUNCHES) == {"view", "control"}
    row = FeatureRow("v", "view", "", "f32", {"elements": 1e9, "flops": 0.0}, {"L2": 1e9, "DRAM": 0.0}, True)
    found = fit([Observation(1e-6 + n * 3e-7, (row,) * n, 1, "view") for n in range(1, 12)], LEVELS)
    assert found.kernel_seconds(row) == pytest.approx(3e-7, rel=0.05)


# -- the whole ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Collection:
    """A few dozen graphs, measured once and briefly."""
    wanted = [Recipe("run", {"nodes": n}, focus="overhead") for n in (1, 4, 16)]
    wanted += [Recipe("matmul", {"m": m, "n": 64, "k": k}, 1, focus="gemm") for m in (8, 32, 96) for k in (32, 128, 320)]
    wanted += [Recipe("unary", {"op": op, "elements": n}, 1, focus="elementwise") for op in ("Relu", "Sigmoid") for n in (500, 8000, 60000)]
    wanted += [Recipe("network", {"form": "perceptron", "seed": s}, 1, focus="network") for s in (1, 2, 3, 4)]
    store = Store(tmp_path_factory.mktemp("calibration") / "m", SETTING)
    return collect(
        wanted, lambda m, t, level: load_model("ort", m.model, m.feeds, t, level), store, rounds=1, budget_s=0.02
    )  # fmt: skip


def test_a_calibrated_target_predicts(collection: Collection, tmp_path: Path) -> None:
    result = fit_all(collection, "ort", 1, {"note": "test"})
    path = tmp_path / "host.toml"
    save_calibrated(result.calibrated, path)
    loaded = load_calibrated(path)
    assert loaded == result.calibrated and loaded.backend == "ort" and loaded.facts["note"] == "test"
    found = predict(single("MatMul", (48, 64), (64, 64), constants=(1,)), loaded)
    assert found.tier == "microbenchmark" and 5e-7 < found.seconds[1] < 1e-3
    assert found.seconds[0] < found.seconds[1] < found.seconds[2]
    assert {s.kernel for s in loaded.scalars} >= {"gemm", "elementwise"}
    assert {e.dtype for e in loaded.coefficients if e.kernel == "elementwise"} >= {"f32", "i64", "bool"}
    assert all(e.constant > 0 for e in loaded.coefficients)
    assert len(result.networks) == 4 and all(0.2 < n < 5 for n in result.networks)
    assert {r.focus for r in result.reports} == {"overhead", "gemm", "elementwise"}


def test_networks_set_the_interval_of_models(collection: Collection) -> None:
    """They are fitted like other graphs, and judged by fits that did not see them."""
    machine = host_target(1, 5e-7, 4e-6)
    wrong = [dataclasses.replace(s, seconds=s.seconds * (3 if s.recipe.focus == "network" else 1)) for s in collection.samples]
    right, again, spoiled = (
        fit_all(Collection(list(c), []), "ort", 1, {}, machine) for c in (collection.samples, collection.samples, wrong)
    )
    assert np.array_equal(right.fit.values, again.fit.values) and right.networks == again.networks
    assert spoiled.networks != right.networks and all(0.2 < n < 5 for n in right.networks)
    assert right.calibrated.graph_spread[0] < 1 < right.calibrated.graph_spread[1]


def test_samples_say_what_they_are(collection: Collection) -> None:
    sample = collection.samples[0]
    assert isinstance(sample, Sample) and json.loads(sample.recipe.key)[0] == "run" and sample.ends == 2
    assert not collection.refused and calibrate is not None


def test_the_host_is_described() -> None:
    target = host_target(1, 5e-7, 4e-6)
    levels = target.engines[0].memory
    assert [level.name for level in levels if level.name != "TLB"] == [*(name for name, *_ in caches()), "DRAM"]
    assert all(a.bytes.value < b.bytes.value for a, b in zip(levels, levels[1:], strict=False))
    assert copy_rate(1 << 16, 3) > 1e8
