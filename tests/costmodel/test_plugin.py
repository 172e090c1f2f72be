"""Cost models of installed packages, and the example of the documentation."""

import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from edgec.costmodel import model
from edgec.costmodel.model import SpecModel, cost_model, tier_names
from edgec.costmodel.predict import predict
from edgec.ir.diagnostics import Diagnostic
from tests.costmodel.samples import mlp, target

DOCUMENT = Path(__file__).parents[2] / "docs" / "cost-model.md"


def create(target: Any, calibrated: Any) -> SpecModel:
    """What an entry point names."""
    assert calibrated is None
    return SpecModel()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {name: EntryPoint(name, value, model.GROUP) for name, value in (("mine", f"{__name__}:create"), ("lost", "nowhere.at.all:x"))}
    monkeypatch.setattr(model, "_plugins", lambda: points)


def test_an_installed_model_is_a_tier(installed: None) -> None:
    assert tier_names()[-2:] == ("mine", "lost")
    assert isinstance(cost_model("mine", target()), SpecModel)
    assert predict(mlp(), target(), {"batch": 2}, tier="mine").seconds == predict(mlp(), target(), {"batch": 2}).seconds


def test_an_installed_model_that_does_not_load(installed: None) -> None:
    with pytest.raises(Diagnostic, match="'lost' of nowhere.at.all:x does not load") as caught:
        cost_model("lost", target())
    assert caught.value.code == "E1016"


def test_the_documented_example() -> None:
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert code is not None and len(code[1].splitlines()) < 80
    names: dict[str, Any] = {}
    exec(code[1], names)
    found = predict(mlp(), target(), {"batch": 64}, tier=names["create"](target(), None))
    assert found.tier == "flops-over-peak"
    assert found.seconds[1] == pytest.approx(found.flops / 1e12)
    assert {node.bound for node in found.nodes} == {"compute"}
