"""Layout assignment keeps what random networks of spatial and agnostic operators compute."""

from random import Random

import numpy as np
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

import edgec.passes
from edgec.ir.clone import clone_graph
from edgec.ir.graph import Graph
from edgec.ir.interpreter import interpret
from edgec.ir.text import print_graph
from edgec.ir.verifier import verify
from edgec.passes.context import Context
from edgec.passes.layout.spatial import layout_pipeline
from edgec.passes.manager import PassManager
from tests import random_movement as movement
from tests import random_operators as operators
from tests.passes.test_meaning import assert_same_values
from tests.strategies import Builder, Reject

assert edgec.passes  # its import registers the passes

SHAPES = (("n", 4, 6, 6), (2, 4, 5, 6), (1, 6, 4, 4), (2, 3, 8), ("n", 4, "m"), (1, 2, 4, 3, 4), ("n", 2, 3, 4, 4))
STEPS = (
    *(operators.conv,) * 6,
    *(operators.pool,) * 3,
    *(operators.unary, operators.binary, operators.binary, operators.several, operators.clip, operators.prelu, operators.where),
    *(operators.batch_norm, operators.pad, operators.softmax, operators.reduction, operators.reduction, operators.argmax),
    *(operators.cumsum, operators.gemm, operators.matmul, operators.flattened_gemm, operators.flattened_gemm, operators.cast),
    *(movement.transpose,) * 4,
    *(movement.reshape,) * 4,
    *(movement.squeeze, movement.squeeze, movement.expand, movement.concat, movement.concat, movement.concat, movement.split),
    *(movement.slices, movement.gather, movement.tile, movement.shape_chain, movement.conditional, movement.loop),
)


@st.composite
def networks(draw, max_steps=14):
    random = Random(draw(st.integers(0, (1 << 32) - 1)))
    builder = Builder(Graph(), random, np.random.default_rng(random.randrange(1 << 30)))
    sizes = {"n": builder.integer(1, 3), "m": builder.integer(2, 5)}
    for _ in range(builder.integer(1, 2)):
        builder.add_input(builder.choice(SHAPES), sizes)
    for seed in draw(st.lists(st.integers(0, (1 << 32) - 1), min_size=3, max_size=max_steps)):
        builder.random = Random(seed)
        builder.generator = np.random.default_rng(seed)
        before, last = len(builder.pool), builder.graph.last
        try:
            builder.choice(STEPS)(builder)
        except Reject:
            del builder.pool[before:]
            while builder.graph.last is not last and builder.graph.last is not None:
                builder.graph.remove(builder.graph.last)
    builder.random = random
    return builder.finish()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(networks())
def test_layout_keeps_the_meaning(case):
    graph, feeds = case.graph, case.feeds
    note(print_graph(graph))
    expected = interpret(graph, feeds)
    moved = clone_graph(graph)
    PassManager(layout_pipeline(), verify="full").run(moved, Context())
    note(print_graph(moved))
    verify(moved)
    assert_same_values(graph, feeds, expected, interpret(moved, feeds), layout_pipeline())
    again = clone_graph(graph)
    PassManager(layout_pipeline()).run(again, Context())
    assert print_graph(again) == print_graph(moved)
