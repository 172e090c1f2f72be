"""Golden tests: `tests/golden/*.edgec` hold graphs, the pipeline to run (``# RUN:``) and the graph that must come out (``# EXPECT``).

Besides the text, every case checks that the result computes the same, that it verifies, and that a second run has nothing to do.
With EDGEC_UPDATE_GOLDEN=1 the expectations are written anew instead of compared: read the difference before committing it.
"""

import os
from pathlib import Path

import numpy as np
import pytest

import edgec.passes
from edgec.ir.interpreter import interpret
from edgec.ir.text import parse_model, print_graph
from edgec.ir.verifier import verify
from edgec.passes.context import Context
from edgec.passes.manager import PassManager

assert edgec.passes  # its import registers the passes
FOLDER = Path(__file__).parent.parent / "golden"
SEPARATOR = "# ----\n"
SIZES = {"batch": 2, "seq": 5, "n": 3, "m": 4}


def cases():
    for path in sorted(FOLDER.glob("*.edgec")):
        for index, text in enumerate(path.read_text(encoding="utf-8").split(SEPARATOR)):
            title = text.lstrip().splitlines()[0].lstrip("# ")
            yield pytest.param(path, index, id=f"{path.stem}: {title}")


def feeds_of(graph, seed=0):
    generator = np.random.default_rng(seed)
    feeds = {}
    for value in graph.inputs:
        shape = [d if isinstance(d, int) else SIZES[str(d)] for d in value.shape]
        kind = value.dtype.numpy.kind
        if kind == "b":
            feeds[value.name] = generator.integers(0, 2, shape).astype(bool)
        elif kind in "iu":
            feeds[value.name] = generator.integers(0, 3, shape).astype(value.dtype.numpy)
        else:
            feeds[value.name] = generator.standard_normal(shape).astype(value.dtype.numpy)
    return feeds


@pytest.mark.parametrize(("path", "index"), list(cases()))
def test_golden(path, index):
    parts = path.read_text(encoding="utf-8").split(SEPARATOR)
    source, _, expected = parts[index].partition("# EXPECT\n")
    pipeline = next(line[6:].strip() for line in source.splitlines() if line.startswith("# RUN:"))
    model = parse_model(source)
    feeds = feeds_of(model.graph)
    before = interpret(model, feeds)
    PassManager(pipeline, verify="full").run(model, Context(opsets=model.opsets))
    actual = print_graph(model)
    after = interpret(model, feeds)
    assert list(before) == list(after)
    for name in before:
        assert before[name].dtype == after[name].dtype
        np.testing.assert_allclose(after[name], before[name], rtol=1e-6, atol=1e-7)
    verify(model.graph)
    again = PassManager(pipeline, verify="full").run(model, Context(opsets=model.opsets))
    assert not any(report.change.modified for report in again), again
    if os.environ.get("EDGEC_UPDATE_GOLDEN"):
        parts[index] = f"{source}# EXPECT\n{actual}"
        path.write_text(SEPARATOR.join(parts), encoding="utf-8")
        return
    assert actual.split() == expected.split(), actual
    assert print_graph(parse_model(expected)) == actual.rstrip("\n") + "\n"
