"""`--check-each-pass`: right passes pass, a wrong rewrite is traced to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from onnx import helper

from edgec.ir.diagnostics import Diagnostic, Exit
from edgec.ir.graph import Graph
from edgec.ir.ops.activation import Relu
from edgec.ir.ops.unary import Abs, Tanh
from edgec.ir.serial.reader import read_model
from edgec.passes.base import Change, Pass
from edgec.passes.context import Context
from edgec.passes.registry import PASSES
from edgec.runtime.checking import OutputCheck, first_bad, run_checked

from .conftest import Build, declare

Net = Callable[[str, dict[str, np.ndarray]], Path]
DEPTH = 9


@pytest.fixture
def passes() -> Iterator[dict[str, type[Pass]]]:
    """Passes of which one spoils the fifth Tanh, and one that does nothing wrong."""

    @dataclass(frozen=True)
    class Harmless(Pass):
        """Applies every Relu twice."""

        name: ClassVar[str] = "test-harmless"

        def run(self, graph: Graph, context: Context) -> Change:
            change = Change()
            for node in list(graph):
                if isinstance(node.op, Relu) and context.permit("relu-twice"):
                    doubled = graph.insert(Relu(), [node.inputs[0]], before=node)
                    node.set_operand(0, doubled.output)
                    change.record("relu-twice")
            return change

    @dataclass(frozen=True)
    class Spoiler(Pass):
        """Replaces one Tanh by an absolute value among harmless rewrites."""

        name: ClassVar[str] = "test-spoiler"

        def run(self, graph: Graph, context: Context) -> Change:
            change = Change()
            tanhs = [node for node in graph if isinstance(node.op, Tanh)]
            for index, node in enumerate(tanhs):
                if not context.permit(f"retanh-{index}"):
                    break
                made = graph.insert(Abs() if index == 5 else Tanh(), [node.inputs[0]], before=node)
                made.sources = node.sources or (node.name,)
                graph.replace(node.output, made.output)
                graph.remove(node)
                change.record("retanh")
            return change

    yield {"harmless": Harmless, "spoiler": Spoiler}
    for made in (Harmless, Spoiler):
        PASSES.pop(made.name, None)


@pytest.fixture
def chain(build: Build) -> Path:
    """A chain of products and hyperbolic tangents."""
    generator = np.random.default_rng(0)
    nodes, constants, current = [], {}, "x"
    for index in range(DEPTH):
        constants[f"w{index}"] = generator.standard_normal((8, 8)).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [current, f"w{index}"], [f"m{index}"], name=f"mm{index}"))
        nodes.append(helper.make_node("Tanh", [f"m{index}"], [f"t{index}"], name=f"tanh{index}"))
        current = f"t{index}"
    nodes.append(helper.make_node("Relu", [current], ["y"], name="last"))
    return build("chain", nodes, [declare("x", ["n", 8])], [declare("y", None)], constants)


def test_right_passes_go_through(chain: Path, passes: dict[str, type[Pass]]) -> None:
    model = read_model(chain)
    reports = run_checked(model, [passes["harmless"]()]).reports
    assert reports[0].change.counts == {"relu-twice": 1}
    assert len(model.graph) == 2 * DEPTH + 2


def test_a_wrong_rewrite_is_found_among_right_ones(chain: Path, passes: dict[str, type[Pass]]) -> None:
    with pytest.raises(Diagnostic) as caught:
        run_checked(read_model(chain), [passes["harmless"](), passes["spoiler"]()])
    error = caught.value
    assert error.code == "E0621" and error.exit is Exit.GATE_FAILED
    assert "pass 'test-spoiler'" in error.message
    assert f"rewrite 6 of {DEPTH}, 'retanh-5'" in error.message
    assert "(Abs)" in error.where
    assert any("'tanh5'" in note for note in error.notes)
    assert any("--bisect-limit 6" in note for note in error.notes)


def test_a_model_that_no_longer_runs_is_a_changed_model(chain: Path) -> None:
    model = read_model(chain)
    check = OutputCheck(model.copy())
    assert check.problem(model.graph) is None
    last = model.graph.last
    assert last is not None
    model.graph.set_output(0, last.inputs[0])  # type: ignore[arg-type]
    assert "relative error" in (check.problem(model.graph) or "")


def test_given_feeds_are_used_and_checked(net: Net, weights: dict[str, np.ndarray], feeds: list[dict[str, np.ndarray]]) -> None:
    model = read_model(net("a", weights))
    assert len(OutputCheck(model, feeds).feeds) == 2
    with pytest.raises(Diagnostic) as caught:
        OutputCheck(model, [{"y": feeds[0]["x"]}])
    assert caught.value.code == "E0601"


def test_random_outputs_do_not_trip_the_check(build: Build) -> None:
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["noise"]),
        helper.make_node("Add", ["x", "noise"], ["y"]),
        helper.make_node("Relu", ["x"], ["z"]),
    ]
    path = build("random", nodes, [declare("x", [8])], [declare("y", [8]), declare("z", [8])])
    model = read_model(path)
    assert OutputCheck(model).problem(model.copy().graph) is None


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_bisection_finds_every_position(count: int) -> None:
    for culprit in range(1, count + 1):
        asked: list[int] = []

        def bad(n: int, culprit: int = culprit, asked: list[int] = asked) -> bool:
            asked.append(n)
            return n >= culprit

        assert first_bad(count, bad) == culprit
        assert len(asked) <= 2 + count.bit_length()
    assert first_bad(count, lambda n: False) is None
    assert first_bad(count, lambda n: True) is None
