"""Reuse distances against an exact simulation, arenas and liveness."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgec.costmodel.compiled import CompiledSchedule
from edgec.costmodel.geometry_parts import Geometry
from edgec.costmodel.memory import peak_memory
from edgec.costmodel.residency import LruCache, resident_share, reuse_of, simulate
from edgec.costmodel.schedule import Access, KernelInstance, Schedule, Tensor, build_schedule
from edgec.ir.dims import substitute
from tests.costmodel.samples import encoder, mlp

LINE = 64


def _schedule(sizes: list[int], kernels: list[list[int]]) -> Schedule:
    """A schedule of streaming kernels: each touches the listed tensors whole, the last of them as a write."""
    tensors = [Tensor(f"t{i}", size * LINE, "activation") for i, size in enumerate(sizes)]
    instances = []
    for index, touched in enumerate(kernels):
        unique = list(dict.fromkeys(touched))
        accesses = tuple(Access(t, tensors[t].bytes, t == unique[-1]) for t in unique)
        instances.append(KernelInstance(f"k{index}", "Op", Geometry("elementwise", {"elements": 1, "flops": 1}), "f32", 0, 1, accesses))
    return Schedule(instances, tensors)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=8).flatmap(
        lambda sizes: st.tuples(
            st.just(sizes), st.lists(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=4), min_size=1, max_size=12)
        )
    ),
    st.integers(1, 60),
)
def test_distances_agree_with_an_exact_simulation(case: tuple[list[int], list[list[int]]], lines: int) -> None:
    sizes, kernels = case
    schedule = _schedule(sizes, kernels)
    bytes_ = np.array([[t.bytes] for t in schedule.tensors], dtype=np.float64)
    reuse = reuse_of(schedule, arena=False)
    touched = sorted(set(reuse.tensor.tolist()))
    used = [t for t in range(len(sizes)) if t in touched]
    bytes_[[t for t in range(len(sizes)) if t not in used]] = 0.0  # never touched, never in the way
    held = resident_share(reuse.distances(bytes_)[:, 0], lines * LINE)
    expected = simulate(schedule, [int(b) for b in bytes_[:, 0]], lines * LINE, LINE)
    predicted = (1.0 - held) * bytes_[reuse.tensor, 0]
    assert predicted.tolist() == expected


def test_sparse_sets_list_what_is_fewer() -> None:
    """The set between two uses of a weight is nearly everything: what is kept is what was not touched."""
    compiled = CompiledSchedule(build_schedule(mlp(batch=8, layers=20)), arena=False)
    reuse = compiled.reuse
    assert len(reuse.members) < 4 * len(reuse.tensor)
    distances = compiled.at({}).distances[:, 0]
    weights = [i for i, t in enumerate(reuse.tensor) if compiled.schedule.tensors[t].role == "weight"]
    total = compiled.at({}).tensor_bytes[:, 0].sum()
    assert np.all(distances[weights] == total)


def test_an_arena_lets_activations_share_memory() -> None:
    compiled = CompiledSchedule(build_schedule(mlp(batch=8, layers=20)))
    activations = [i for i, t in enumerate(compiled.schedule.tensors) if t.role == "activation"]
    blocks = {int(compiled.reuse.block[i]) for i in activations}
    assert len(activations) == 59 and len(blocks) == 2
    apart = CompiledSchedule(build_schedule(mlp(batch=8, layers=20)), arena=False)
    assert compiled.at({}).distances.sum() < apart.at({}).distances.sum()


def test_arenas_never_share_what_lives_together() -> None:
    compiled = CompiledSchedule(build_schedule(encoder(3)))
    tensors = compiled.schedule.tensors
    spans = [
        (int(compiled.reuse.block[i]), int(compiled.first[i]), int(compiled.final[i]))
        for i, t in enumerate(tensors)
        if t.role == "activation"
    ]
    elementwise = [k.geometry.kernel == "elementwise" for k in compiled.schedule.kernels]
    for i, (block, first, final) in enumerate(spans):
        for other, start, end in spans[i + 1 :]:
            taken_over = elementwise[start] and start == final or elementwise[first] and first == end
            assert block != other or end < first or final < start or taken_over


@pytest.mark.parametrize("bindings", [{"batch": 1, "seq": 16}, {"batch": 3, "seq": 77}])
def test_peak_agrees_with_liveness_of_the_graph(bindings: dict[str, int]) -> None:
    graph = encoder(2)
    expected = substitute(peak_memory(graph).bytes, bindings)
    assert CompiledSchedule(build_schedule(graph)).at(bindings).peak_bytes[0] == expected


def test_a_softened_cache_loses_tensors_gradually() -> None:
    distance = np.array([50.0, 100.0, 141.5, 300.0])
    assert resident_share(distance, 100.0).tolist() == [1.0, 1.0, 0.0, 0.0]
    soft = resident_share(distance, 100.0, softness=2.0)
    assert soft[0] == 1.0 and soft[1] == 0.5 and soft[2] == pytest.approx(0.25, abs=0.01) and soft[3] == 0.0


def test_the_simulator_counts_what_it_writes_back() -> None:
    cache = LruCache(2 * LINE, LINE)
    assert cache.stream(0, 2 * LINE, write=True) == 2 * LINE
    assert cache.stream(0, 2 * LINE) == 0
    assert cache.stream(2 * LINE, 2 * LINE) == 2 * LINE
    assert (cache.hits, cache.misses, cache.written_back, cache.traffic) == (2, 4, 2, 6 * LINE)
