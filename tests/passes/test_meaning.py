"""Every registered pass, and the default pipeline, keeps what a graph computes."""

import os

import numpy as np
from hypothesis import HealthCheck, given, note, settings

import edgec.passes
from edgec.ir.clone import clone_graph
from edgec.ir.interpreter import interpret
from edgec.ir.text import print_graph
from edgec.ir.types import TensorType
from edgec.ir.verifier import admits, verify
from edgec.passes.context import Context
from edgec.passes.default_pipeline import default_pipeline
from edgec.passes.manager import PassManager
from edgec.passes.registry import PASSES
from tests.strategies import cases

assert edgec.passes  # its import registers the passes

PIPELINES = (*(name for name, cls in PASSES.items() if cls.keeps_interface), default_pipeline())
TOLERANCE = {np.dtype(np.float16): 2e-2, np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-6}
NOISE = {np.dtype(np.float16): 4e-3, np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-7}


def noisy_results(graph, feeds, seed):
    """The outputs when every computed number is off by a few units in the last place."""
    generator = np.random.default_rng(seed)

    def disturb(value, array):
        if isinstance(array, np.ndarray) and array.dtype in NOISE and array.flags.writeable and array.size and array.base is None:
            with np.errstate(all="ignore"):
                array *= (1 + NOISE[array.dtype] * generator.uniform(-1, 1, array.shape)).astype(array.dtype)

    return interpret(graph, {name: np.array(array) for name, array in feeds.items()}, watch=disturb)


def difference(expected, found):
    """The largest difference, 0 for equal infinities and NaNs, infinite where only one is finite."""
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        apart = np.abs(expected.astype(wide) - found.astype(wide))
    same = (expected == found) | (np.isnan(expected.astype(wide)) & np.isnan(found.astype(wide)))
    apart = np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))
    return float(apart.max()) if apart.size else 0.0


def assert_same_values(graph, feeds, expected, found, pipeline):
    """Equal names, types and values; a larger difference is only allowed where rounding alone makes one."""
    assert list(found) == list(expected), pipeline
    for name, array in expected.items():
        result = found[name]
        assert result.dtype == array.dtype and result.shape == array.shape, (pipeline, name, array.shape, result.shape)
        finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind == "f" else np.zeros(1)
        allowed = TOLERANCE.get(array.dtype, 0.0) * (1 + float(finite.max(initial=0.0)))
        apart = difference(array, result)
        if apart > allowed:
            rounding = max(difference(array, noisy_results(graph, feeds, seed)[name]) for seed in range(5))
            assert apart <= allowed + 20 * rounding, f"{name} is off by {apart:g} after {pipeline}, by rounding alone {rounding:g}"


def check(case):
    graph, feeds = case.graph, case.feeds
    verify(graph)
    printed = print_graph(graph)
    note(printed)
    note(f"feeds: { {name: array.shape for name, array in feeds.items()} }")
    expected = interpret(graph, feeds)
    types = [value.type for value in graph.outputs]
    for pipeline in PIPELINES:
        copy = clone_graph(graph)
        reports = PassManager(pipeline, verify="full").run(copy, Context())
        if not any(report.change.modified for report in reports):
            assert print_graph(copy) == printed, f"{pipeline} changed the graph and did not say so"
            continue
        note(f"after {pipeline}:\n{print_graph(copy)}")
        verify(copy)
        assert copy.output_names == graph.output_names, pipeline
        assert [v.name for v in copy.inputs] == [v.name for v in graph.inputs], pipeline
        for old, new in zip(types, copy.outputs, strict=True):
            assert admits(new.type, old), f"the type {old} became {new.type} after {pipeline}"
            assert isinstance(new.type, TensorType)
        assert_same_values(graph, feeds, expected, interpret(copy, feeds), pipeline)


EXAMPLES = int(os.environ.get("EDGEC_MEANING_EXAMPLES", 0))  # a long run with another seed: --hypothesis-seed=N


@settings(max_examples=EXAMPLES or 600, deadline=None, derandomize=not EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
@given(cases(max_steps=12))
def test_every_pass_keeps_the_meaning(case):
    check(case)
