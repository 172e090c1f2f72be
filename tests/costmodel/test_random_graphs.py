"""Random graphs: whatever the operators, a prediction is finite, ordered, and consistent with the closed forms."""

import math

from hypothesis import HealthCheck, given, settings

from edgec.costmodel.predict import predict, sweep
from edgec.costmodel.schedule import build_schedule
from edgec.costmodel.symbolic import symbolic_costs
from edgec.costmodel.targets.reader import load_target
from edgec.costmodel.work import graph_work
from edgec.ir.dims import Expr, substitute
from edgec.passes.context import Context
from edgec.passes.regions import GroupRegions
from edgec.runtime.measure_subject import bindings_of
from tests.strategies import Case, cases

TARGETS = [load_target(name) for name in ("rtx-4090", "x86-avx2", "coral-edge-tpu")]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_predictions_of_random_graphs(case: Case) -> None:
    graph = case.graph
    bindings = dict.fromkeys(build_schedule(graph).inputs, 3)
    work = graph_work(graph).macs
    for target in TARGETS:
        found = predict(graph, target, bindings)
        assert 0 < found.seconds[0] <= found.seconds[1] <= found.seconds[2] < math.inf
        assert 0 <= found.joules[0] <= found.joules[1] <= found.joules[2] < math.inf
        for node in found.nodes:
            assert 0 <= node.seconds[0] <= node.seconds[1] <= node.seconds[2] < math.inf, node
            assert node.flops >= 2 * node.macs and node.bytes >= 0
        if not isinstance(work, Expr):
            assert found.macs <= work  # constant expressions are folded
    if bindings:
        many = sweep(graph, TARGETS[1], bindings)
        assert many.seconds.shape == (3, 1)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_fusion_never_adds_work_or_traffic(case: Case) -> None:
    graph = case.graph
    before = symbolic_costs(graph)
    GroupRegions().run(graph, Context())
    after = symbolic_costs(graph)
    schedule = build_schedule(graph)
    symbols = {**dict.fromkeys((*schedule.inputs, *schedule.free), 1), **bindings_of(graph, case.feeds)}  # sizes that fit each other
    assert substitute(after.total.macs, symbols) == substitute(before.total.macs, symbols)
    assert substitute(after.total.bytes, symbols) <= substitute(before.total.bytes, symbols)
