"""The analyses: bottlenecks, elasticities, batching, padding, Pareto, priorities; against brute force and the textbook."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.costmodel.analysis.advice import Findings, advise
from edgec.costmodel.analysis.analyse import analyse, pareto_facts
from edgec.costmodel.analysis.batching import batch_curve, best_batch, efficiency, grown_batch, touched_bytes
from edgec.costmodel.analysis.bottleneck import bottlenecks, bound_shares, ridge_point
from edgec.costmodel.analysis.elasticity import classify, elasticities
from edgec.costmodel.analysis.padding import best_buckets, padding_overhead
from edgec.costmodel.analysis.pareto import dominates, pareto_front
from edgec.costmodel.analysis.priority import Weights, amdahl, priorities
from edgec.costmodel.analysis.subject import Subject, batch_symbol
from edgec.costmodel.predict import Predictor, predict
from edgec.ir.diagnostics import Diagnostic
from tests.costmodel.samples import B, encoder, engine, memory, mlp, op, quantity, single, target


# -- bottlenecks -------------------------------------------------------------------------------------------------------
def test_ridge_and_evidence_of_the_edge_gpu() -> None:
    predictor = Predictor(single("MatMul", (8, 512), (512, 512), constants=(1,)), target())
    found = bottlenecks(predictor.predict(), predictor.roofs)[0]
    assert found.ridge == 39.0625 == ridge_point(1e12, 25.6e9)
    macs, moved = 8 * 512 * 512, 4 * (8 * 512 * 2 + 512 * 512)
    assert found.intensity == pytest.approx(2 * macs / moved)
    assert found.kind == "memory" and found.level == "DRAM"
    assert found.evidence == f"memory-bound: AI {2 * macs / moved:.3g} FLOP/B below the ridge 39.1 of DRAM"
    assert found.share == 1.0


def test_a_large_product_is_bound_by_compute_and_a_tiny_one_by_its_launch() -> None:
    slow = target(engine(dispatch_s=quantity(1e-3, "s")))
    predictor = Predictor(single("MatMul", (8, 16), (16, 16), constants=(1,)), slow)
    assert bottlenecks(predictor.predict(), predictor.roofs)[0].evidence.startswith("launch-bound: 1e+03 us")
    predictor = Predictor(single("MatMul", (2048, 2048), (2048, 2048), constants=(1,)), target())
    found = bottlenecks(predictor.predict(), predictor.roofs)[0]
    assert found.kind == "compute" and "above the ridge 39.1" in found.evidence


def test_views_are_free_and_shares_add_up() -> None:
    from edgec.ir.dtypes import DType
    from edgec.ir.graph import Graph, int64s
    from edgec.ir.types import TensorType

    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (4, 4)))
    y = graph.add(op("Relu"), graph.add(op("Reshape"), x, int64s([16])))
    graph.set_outputs([y], ["y"])
    predictor = Predictor(graph, target(engine(run_s=quantity(1e-6, "s"))))
    prediction = predictor.predict()
    kinds = [b.kind for b in bottlenecks(prediction, predictor.roofs)]
    assert kinds[0] == "none" and sum(b.share for b in bottlenecks(prediction, predictor.roofs)) == pytest.approx(1)
    assert sum(bound_shares(prediction).values()) == pytest.approx(1)
    assert bound_shares(prediction)["run"] == pytest.approx(1e-6 / prediction.seconds[1])


# -- elasticities ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "rows, inner, columns, expected",
    [(B * 512, 4096, 4096, "compute"), (B, 4096, 4096, "weights")],
)
def test_elasticities_find_what_the_model_was_built_with(rows: object, inner: int, columns: int, expected: str) -> None:
    """The ground truth: a product of many rows is bound by arithmetic, of one row by reading weights."""
    predictor = Predictor(single("MatMul", (rows, inner), (inner, columns), constants=(1,)), target())
    found = elasticities(predictor, {"batch": 1}, "batch")
    assert found.whole.bound == expected and next(iter(found.nodes.values())).bound == expected
    strong = found.whole.core if expected == "compute" else found.whole.memory
    assert strong == pytest.approx(-1, abs=1e-6)


def test_activation_bandwidth_grows_with_the_batch_like_compute_does() -> None:
    found = elasticities(Predictor(single("Relu", (B, 1 << 20)), target()), {"batch": 4}, "batch").whole
    assert found.batch == pytest.approx(1) and found.memory == pytest.approx(-1) and found.core == pytest.approx(0)
    assert found.bound == "activations"


def test_overhead_follows_no_clock() -> None:
    slow = target(engine(dispatch_s=quantity(1.0, "s")))
    found = elasticities(Predictor(single("Relu", (B, 16)), slow), {"batch": 1}, "batch").whole
    assert found.bound == "overhead"


@given(st.floats(0, 1), st.floats(0.1, 10), st.booleans())
def test_classification_of_a_simulated_kernel(overlap: float, ratio: float, weights: bool) -> None:
    """T = max or sum of compute and memory: the classification names the part that dominates clearly."""

    def seconds(core: float, mem: float, batch: float) -> float:
        compute, moved = ratio * batch / core, (1.0 if weights else batch) / mem
        return max(compute, moved) + overlap * min(compute, moved) * 0.1

    step = math.log(1.1**2)
    slopes = [
        math.log(seconds(*up) / seconds(*down)) / step for up, down in (((1.1, 1, 1), (1 / 1.1, 1, 1)), ((1, 1.1, 1), (1, 1 / 1.1, 1)))
    ]
    growth = math.log(seconds(1, 1, 2) / seconds(1, 1, 1)) / math.log(2)
    if ratio > 2:
        assert classify(*slopes, growth) == "compute"
    elif ratio < 0.4:
        assert classify(*slopes, growth) == ("weights" if weights else "activations")


# -- batching ----------------------------------------------------------------------------------------------------------
def test_weights_are_counted_once() -> None:
    predictor = Predictor(mlp(width=256, layers=2), target())
    curve = batch_curve(predictor, "batch", [1, 2, 4, 8, 16])
    per_layer = 4 * (256 * 256 + 256)
    assert curve.linear
    assert curve.weight_traffic == pytest.approx(2 * per_layer)
    assert curve.weight_bytes == 2 * per_layer
    assert curve.item_traffic == pytest.approx(2 * 4 * 256 * 6)  # every operator reads and writes a row
    assert curve.traffic.tolist() == pytest.approx([curve.weight_traffic + b * curve.item_traffic for b in curve.batches])
    assert curve.working_set.tolist() == pytest.approx([curve.weight_bytes + b * curve.item_peak for b in curve.batches])
    assert curve.traffic[-1] == pytest.approx(touched_bytes(predictor, {"batch": 16})[0])


def test_efficiency_is_that_of_the_definition() -> None:
    curve = batch_curve(Predictor(mlp(width=512), target()), "batch", [1, 2, 8, 64, 512])
    first = curve.throughput[0]
    expected = [t / (b * first) for t, b in zip(curve.throughput, curve.batches, strict=True)]
    assert curve.efficiency.tolist() == pytest.approx(expected)
    assert efficiency([1, 2, 4], [1.0, 1.0, 1.0]).tolist() == [1.0, 1.0, 1.0]


@given(
    st.floats(0, 10), st.floats(1e-3, 10), st.sampled_from([math.inf, 3e6, 1e6]), st.sampled_from([math.inf, 2e-4, 5e-5, 1e-9]),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_best_batch_is_that_of_brute_force(latency_price: float, item_price: float, limit: float, latency: float) -> None:
    graph, device = mlp(width=256), target(engine(dispatch_s=quantity(5e-6, "s")))
    curve = batch_curve(Predictor(graph, device), "batch", list(range(1, 65)))
    found = best_batch(curve, memory=limit, latency=latency, latency_price=latency_price, item_price=item_price)
    best: tuple[float, int] | None = None
    for batch in BRUTE:
        seconds, size = BRUTE[batch]
        price = seconds * latency_price + item_price * seconds / batch
        if seconds <= latency and size <= limit and (best is None or price < best[0] * (1 - 1e-12)):
            best = price, batch
    assert (found.batch, found.price) == ((best[1], pytest.approx(best[0])) if best else (None, math.inf))


def _brute() -> dict[int, tuple[float, float]]:
    graph, device = mlp(width=256), target(engine(dispatch_s=quantity(5e-6, "s")))
    predictor = Predictor(graph, device)
    found = {}
    for batch in range(1, 65):
        one = predictor.predict({"batch": batch})
        found[batch] = one.seconds[1], one.weight_bytes + one.peak_bytes
    return found


BRUTE = _brute()


def test_the_rule_of_thumb_stops_where_the_curve_bends() -> None:
    """One product of 1024 by 1024: memory 4 MiB / 25.6 GB/s, compute B 2 Mop / 1 Tflop/s; the time has grown by a quarter at 1.25 times."""
    predictor = Predictor(single("MatMul", (B, 1024), (1024, 1024), constants=(1,)), target())
    curve = batch_curve(predictor, "batch", list(range(1, 200)))
    moved = lambda b: 4 * (1024 * 1024 + 2048 * b) / 25.6e9  # noqa: E731
    seconds = {b: max(moved(b), 2 * b * 1024 * 1024 / 1e12) for b in range(1, 200)}
    expected = max(b for b in seconds if all(seconds[1] / seconds[c] >= 0.8 for c in range(1, b + 1)))
    assert grown_batch(curve) == expected
    weights = 4 * 1024 * 1024
    assert grown_batch(curve, weights + 10 * 4 * 2048 + 1) == 10


# -- padding -----------------------------------------------------------------------------------------------------------
@given(st.lists(st.integers(1, 60), min_size=1, max_size=9), st.integers(1, 4), st.booleans())
def test_buckets_are_those_of_brute_force(lengths: list[int], count: int, squared: bool) -> None:
    price = (lambda n: float(n * n)) if squared else None
    cost = price or float
    weights: dict[int, float] = {}
    for length in lengths:
        weights[length] = weights.get(length, 0) + 1
    found = best_buckets(weights, count, price)
    sizes = sorted(weights)
    best = min(
        sum(w * cost(min(limit for limit in (*chosen, sizes[-1]) if limit >= size)) for size, w in weights.items())
        for k in range(min(count, len(sizes)))
        for chosen in itertools.combinations(sizes[:-1], k)
    )
    assert found.price * len(lengths) == pytest.approx(best)
    assert found.limits[-1] == sizes[-1] and len(found.limits) <= count
    if not squared:
        padded = sum(w * min(limit for limit in found.limits if limit >= size) for size, w in weights.items())
        assert found.padding == pytest.approx(1 - sum(lengths) / padded)


def test_padding_is_exact_and_buckets_respect_multiples() -> None:
    assert float(padding_overhead([100, 50, 50])) == pytest.approx(1 / 3)
    assert padding_overhead([7, 7]) == 0 and padding_overhead([]) == 0
    assert best_buckets({3: 1, 9: 3, 17: 2}, 2, granularity=8).limits == (16, 24)
    assert best_buckets({}, 3).limits == ()


# -- Pareto ------------------------------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), max_size=25))
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int, int]]) -> None:
    front = pareto_front(list(range(len(points))), points)
    expected = {i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)}
    assert set(front) == expected


def test_choices_are_marked() -> None:
    choices = [
        {"seconds": 1.0, "joules": 2.0, "bits": 32},
        {"seconds": 1.0, "joules": 1.0, "bits": 32},
        {"seconds": 0.5, "joules": 1.0, "bits": 8},
    ]
    assert [c["best"] for c in pareto_facts(choices)] == [False, True, True]


# -- priorities --------------------------------------------------------------------------------------------------------
def test_amdahl_is_exact() -> None:
    assert amdahl(0.9, 10) == 1 / (0.1 + 0.09) and amdahl(0, 100) == 1 and amdahl(1, 7) == 7


def test_priorities_are_the_product_of_their_terms() -> None:
    weak = target(engine(efficiency={"default": quantity(0.25)}))
    predictor = Predictor(mlp(batch=4096, width=1024), weak)
    prediction = predictor.predict()
    found = priorities(prediction, predictor.roofs)
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)
    for p in found:
        assert p.score == pytest.approx(p.time * p.potential * p.ease)
        assert p.whole_speedup == amdahl(p.time, p.speedup)
    product = next(p for p in found if p.kernel == "gemm")
    assert product.potential == pytest.approx(0.75, abs=1e-6)  # a quarter of the peak is attained
    easy = priorities(prediction, predictor.roofs, Weights(time=0, potential=0, eases={"elementwise": 1.0, "gemm": 0.0}))
    assert easy[0].kernel == "elementwise" and easy[-1].score == 0


# -- advice ------------------------------------------------------------------------------------------------------------
def advice_of(predictor: Predictor, **more: object) -> dict[str, str]:
    prediction = predictor.predict({"batch": 1} if predictor.compiled.schedule.inputs else {})
    findings = Findings(prediction, predictor.roofs, bottlenecks(prediction, predictor.roofs), **more)  # type: ignore[arg-type]
    return {a.rule: a.evidence for a in advise(findings)}


def test_advice_follows_the_bottleneck() -> None:
    by_weights = advice_of(Predictor(mlp(width=2048), target()))
    assert "weights" in by_weights and "compute" not in by_weights and "100% of the bytes are weights" in by_weights["weights"]
    by_compute = advice_of(Predictor(mlp(batch=4096, width=1024), target()))
    assert "compute" in by_compute and "weights" not in by_compute
    by_launch = advice_of(Predictor(mlp(width=32), target(engine(dispatch_s=quantity(1e-4, "s")))))
    assert "9 kernels last no longer than their launch" in by_launch["overhead"]
    assert list(advice_of(Predictor(mlp(width=2048), target()), memory_bytes=1e6))[0] == "capacity"
    assert "layout" in advice_of(Predictor(single("Transpose", (512, 512), perm=(1, 0)), target()))


# -- everything --------------------------------------------------------------------------------------------------------
def test_the_document_is_complete_plain_and_deterministic() -> None:
    import json

    graph = encoder(2)
    device = target(engine(memory=(memory("L2", 1e5, 1e11), memory("DRAM", 4e9, 25.6e9)), dispatch_s=quantity(1e-6, "s")))
    subject = Subject(graph, device, graph)
    found = analyse(subject, {"batch": 2, "seq": 16})
    again = analyse(Subject(graph, device, graph), {"batch": 2, "seq": 16})
    assert json.dumps(found, allow_nan=False) == json.dumps(again, allow_nan=False)
    total = predict(graph, device, {"batch": 2, "seq": 16})
    nodes = sum(n.seconds[1] for n in total.nodes)
    assert sum(found["layers"]["groups"].values()) == pytest.approx(nodes, rel=1e-12)
    assert found["scopes"]["seconds"] == pytest.approx(nodes, rel=1e-12)
    assert sum(found["shares"]["seconds"].values()) == pytest.approx(1)
    assert found["batching"]["symbol"] == "batch" and found["precisions"].keys() >= {"i8", "w4"}
    assert found["elasticities"]["nodes"].keys() == {n.name for n in total.nodes}


def test_unbound_symbols_are_named() -> None:
    graph = encoder()
    with pytest.raises(Diagnostic, match="'seq'") as caught:
        analyse(Subject(graph, target(), graph), {"batch": 1})
    assert caught.value.hint is not None and "--dim seq=" in caught.value.hint


def test_the_batch_is_the_first_axis_of_an_input() -> None:
    assert batch_symbol(("batch", "seq"), encoder()) == "batch"
    assert batch_symbol((), mlp(batch=4)) is None


def test_random_sweeps_agree_with_single_predictions() -> None:
    generator = random.Random(3)
    predictor = Predictor(encoder(), target())
    batches = sorted(generator.sample(range(1, 100), 6))
    curve = batch_curve(predictor, "batch", batches, {"seq": 24})
    for i, batch in enumerate(batches):
        one = predictor.predict({"batch": batch, "seq": 24})
        assert curve.seconds[:, i].tolist() == pytest.approx(list(one.seconds), rel=1e-12)
        assert curve.traffic[i] == pytest.approx(sum(n.bytes for n in one.nodes))
    assert np.all(curve.throughput > 0)
