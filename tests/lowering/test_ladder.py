"""The fallback ladder: what is chosen for nodes that a target lacks, and what is reverted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import edgec
from edgec.fallback import output_error
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Node, constant
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.ops.activation import Gelu, Relu
from edgec.ir.ops.matmul import MatMul
from edgec.ir.types import TensorType
from edgec.ir.verifier import verify
from edgec.lowering.ladder import RUNGS, Ladder
from edgec.lowering.ort.backend import OrtBackend
from edgec.lowering.price import work_price
from edgec.lowering.registry import _made, _registered, register_backend
from tests.lowering.toy import Toy


def gelus(count: int = 2) -> Model:
    """Products, each followed by a GELU, and a Relu."""
    rng = np.random.default_rng(0)
    graph = Graph("gelus")
    value = graph.add_input("x", TensorType(DType.FLOAT, (4, 8)))
    for index in range(count):
        weights = constant(rng.normal(size=(8, 8)).astype(np.float32), f"w{index}")
        value = graph.insert(Gelu(), [graph.add(MatMul(), value, weights)], name=f"gelu{index}").output
    graph.set_outputs([graph.add(Relu(), value)], ["y"])
    return Model(graph, opsets={"": 20})


def operators(model: Model) -> list[str]:
    return [node.op.op_name for node in model.graph.walk()]


def meter(reference: Model) -> Any:
    """Relative error at the output by the interpreter."""
    feeds = {"x": np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)}
    before = interpret(reference.graph, feeds)["y"]

    def measure(model: Model) -> float:
        verify(model.graph)
        after = interpret(model.graph, feeds)["y"]
        return float(np.linalg.norm(after - before) / np.linalg.norm(before))

    return measure


def test_native_nodes_stay_and_nothing_is_copied() -> None:
    model = gelus()
    changed, steps = Ladder(Toy()).descend(model)
    assert changed is model and steps == []
    assert {step.rung for step in Ladder(Toy()).survey(model)} == {"native"}


def test_an_exact_decomposition_stands_in() -> None:
    model = gelus()
    ladder = Ladder(Toy(lacks=["Gelu"]))
    survey = ladder.survey(model)
    assert operators(model).count("Gelu") == 2  # a survey changes nothing
    changed, steps = ladder.descend(model)
    assert [s.rung for s in steps] == ["exact", "exact"] and {s.via for s in steps} == {"gelu-erf"}
    assert [s.node for s in steps] == ["gelu0", "gelu1"] and all("Erf" in s.into and s.code == "operator" for s in steps)
    assert [s for s in survey if s.rung != "native"] == steps
    assert "Gelu" not in operators(changed) and meter(model)(changed) < 1e-6
    assert all(step.price == pytest.approx(steps[0].price) and step.price > 0 for step in steps)


def test_without_a_budget_nothing_is_approximated() -> None:
    model = gelus()
    changed, steps = Ladder(Toy(lacks=["Gelu", "Erf"])).descend(model)
    assert changed is model and {s.rung for s in steps} == {"refused"}
    _, steps = Ladder(Toy(lacks=["Gelu", "Erf"]), others=lambda: (OrtBackend(), Toy())).descend(model)
    assert {s.rung for s in steps} == {"other-engine"} and steps[0].engines == ("ort",)
    assert "ort would take it" in str(steps[0])


@pytest.mark.parametrize("budget, rule", [(0.1, "gelu-quick"), (5e-4, "gelu-tanh")])
def test_the_cheapest_approximation_within_the_budget_is_taken(budget, rule) -> None:
    model = gelus()
    ladder = Ladder(Toy(lacks=["Gelu", "Erf"]), budget, meter(model))
    changed, steps = ladder.descend(model)
    assert {s.via for s in steps} == {rule} and {s.rung for s in steps} == {"approximate"}
    assert all(0 < s.error <= budget for s in steps) and meter(model)(changed) == pytest.approx(steps[-1].error)
    if rule == "gelu-tanh":
        assert all(any("gelu-quick" in text and "reverted" in text for text in s.tried) for s in steps)


def test_over_budget_everything_is_reverted() -> None:
    model = gelus()
    changed, steps = Ladder(Toy(lacks=["Gelu", "Erf"]), 1e-9, meter(model)).descend(model)
    assert changed is model and {s.rung for s in steps} == {"refused"}
    assert all(len(s.tried) == 2 and "gelu-quick" in s.tried[0] and "gelu-tanh" in s.tried[1] for s in steps)


def test_part_of_a_group_is_accepted_when_all_are_too_many() -> None:
    model = gelus(4)

    def measure(changed: Model) -> float:
        return 0.01 * operators(changed).count("Sigmoid") + 0.001 * operators(changed).count("Tanh")

    _, steps = Ladder(Toy(lacks=["Gelu", "Erf"]), 0.025, measure).descend(model)
    assert [s.via for s in steps].count("gelu-quick") == 2 and [s.via for s in steps].count("gelu-tanh") == 2


def test_with_a_budget_a_cheap_approximation_replaces_a_dear_decomposition() -> None:
    model = gelus()
    _, steps = Ladder(Toy(parts=["Gelu"])).descend(model)
    assert {s.rung for s in steps} == {"decomposed"}
    _, steps = Ladder(Toy(parts=["Gelu"]), 0.1, meter(model)).descend(model)
    assert {s.via for s in steps} == {"gelu-quick"}
    _, steps = Ladder(Toy(parts=["Gelu"]), 1e-9, meter(model)).descend(model)
    assert {s.rung for s in steps} == {"decomposed"} and all("reverted" in s.tried[0] for s in steps)


def test_the_price_decides() -> None:
    def dear_sigmoid(nodes: Sequence[Node]) -> float:
        return work_price(nodes) + 1e9 * sum(n.op.op_name == "Sigmoid" for n in nodes)

    model = gelus()
    _, steps = Ladder(Toy(lacks=["Gelu"]), 0.1, meter(model), price=dear_sigmoid).descend(model)
    assert {s.via for s in steps} <= {"gelu-tanh", "gelu-erf"}


def test_an_error_that_cannot_be_measured_accepts_nothing() -> None:
    def broken(model: Model) -> float:
        raise Diagnostic("E0505", "the runtime stopped")

    _, steps = Ladder(Toy(lacks=["Gelu", "Erf"]), 0.1, broken).descend(gelus())
    assert {s.rung for s in steps} == {"refused"} and "the runtime stopped" in steps[0].tried[0]


@pytest.fixture
def toy(monkeypatch):
    """Register a toy as a target for a while."""

    def register(**given: Any) -> None:
        register_backend("toy", lambda: Toy(**given))

    yield register
    _registered.pop("toy", None)
    _made.pop("toy", None)


def test_compiling_descends_and_says_so(toy, tmp_path) -> None:
    toy(lacks=["Gelu"])
    bundle = edgec.compile(gelus(), target="toy", output=tmp_path / "b")
    found = bundle.manifest["fallbacks"]
    assert [f["rung"] for f in found] == ["exact", "exact"] and found[0]["reason"] == "the toy has no Gelu"
    assert output_error(gelus(), bundle) < 1e-5


def test_compiling_within_a_budget(toy, tmp_path) -> None:
    toy(lacks=["Gelu", "Erf"])
    with pytest.raises(Diagnostic) as caught:
        edgec.compile(gelus(), target="toy", output=tmp_path / "b")
    assert caught.value.code == "E0501" and any("reason code: operator" in note for note in caught.value.notes)
    assert any("another engine would take gelu0" in note for note in caught.value.notes)
    assert caught.value.to_json()["reason_code"] == "operator" and len(caught.value.to_json()["problems"]) == 2
    bundle = edgec.compile(gelus(), target="toy", output=tmp_path / "b", max_error=0.01)
    found = bundle.manifest["fallbacks"]
    assert {f["rung"] for f in found} == {"approximate"} and all(0 < f["error"] <= 0.01 for f in found)
    assert 0 < output_error(gelus(), bundle) <= 0.01
    json.dumps(bundle.manifest, allow_nan=False)
    assert set(f["rung"] for f in found) <= set(RUNGS)
    with pytest.raises(Diagnostic) as caught:
        edgec.compile(gelus(), target="toy", output=tmp_path / "c", max_error=1e-9)
    assert caught.value.code == "E0501" and not (tmp_path / "c").exists()
