"""`edgec study gelu`: errors, operators and times of the forms of GELU; timing in turn; bad input."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgec.costmodel.calibrated import CalibratedTarget, ClassScalar, save_calibrated
from edgec.costmodel.targets import load_target
from edgec.gelu_study import ALPHA, error_of, exact, forms
from edgec.passes.decompose.gelu import QUICK_ERROR, TANH_ERROR
from edgec.runtime.interleaved import Rounds, interleave
from edgec.runtime.measure import Timing

Run = Callable[..., tuple[int, str, str]]
QUICK = ("--shape", "8x256", "--rounds", "2")


def document(edgec: Run, *arguments: object) -> dict:
    status, out, err = edgec("study", "gelu", *QUICK, *arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def test_errors_operators_and_times(edgec: Run) -> None:
    found = document(edgec, "--backend", "ort")
    assert found["schema"] == "edgec.study-gelu/1" and found["ok"] and found["shape"] == [8, 256]
    by_form = {(v["form"], v["mode"]): v for v in found["variants"]}
    assert len(by_form) == 12
    for (form, _), variant in by_form.items():
        error, seconds = variant["error"], variant["seconds"]
        assert 0 < seconds["least"] <= seconds["median"] and seconds["quartiles"][0] <= seconds["quartiles"][1]
        if form.startswith("exact"):
            assert error["max_abs"] < 1e-6
        elif form.startswith("tanh"):
            assert error["max_abs"] == pytest.approx(TANH_ERROR.max_abs, rel=0.02) and abs(error["at"]) == pytest.approx(2.70, abs=0.02)
            assert error["relative_l2"] == pytest.approx(TANH_ERROR.relative_l2, rel=0.02) and error["within_one_percent"]
        else:
            assert error["max_abs"] == pytest.approx(QUICK_ERROR.max_abs, rel=0.01) and abs(error["at"]) == pytest.approx(2.27, abs=0.02)
            assert error["relative_l2"] == pytest.approx(QUICK_ERROR.relative_l2, rel=0.01) and not error["within_one_percent"]
    assert by_form["exact, spelled out", "own fusion"]["operators"] == {"Div": 1, "Erf": 1, "Add": 1, "Mul": 2}
    assert by_form["exact, spelled out", "own fusion"]["kernels"] == {"Gelu": 1}  # the runtime fuses the decomposition again
    assert sum(by_form["exact, spelled out", "no fusion"]["kernels"].values()) == 5
    assert by_form["exact, recognised", "no fusion"]["operators"] == {"Gelu": 1}
    assert by_form["exact, native", "own fusion"]["relative"] == 1.0
    assert [c["form"] for c in found["claims"]] == ["exact, spelled out", "tanh, native", "sigmoid"]
    assert found["claims"][2]["relative_l2"] > 0.01


def test_predictions_stand_beside_the_measurements(edgec: Run, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    save_calibrated(CalibratedTarget(load_target("x86-avx2"), "ort", 1, scalars=(ClassScalar("elementwise", "f32", 2.0),)), path)
    found = document(edgec, "--backend", "ort", "--target", path)
    predicted = {(v["form"], v["mode"]): v["predicted"] for v in found["variants"]}
    for low, expected, high in predicted.values():
        assert 0 < low <= expected <= high
    assert predicted["exact, spelled out", "no fusion"][1] > predicted["exact, native", "no fusion"][1]
    status, out, _ = edgec("study", "gelu", *QUICK, "--backend", "ort", "--target", "x86-avx2")
    assert status == 0 and "predicted" in out and "said: a decomposition costs 10 to 15 %; measured: ort, own fusion" in out


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_takes_part(edgec: Run) -> None:
    found = document(edgec, "--backend", "openvino")
    assert {v["backend"] for v in found["variants"]} == {"openvino"} and len(found["variants"]) == 6
    assert all(v["error"]["max_abs"] < 2e-6 for v in found["variants"] if v["function"] == "exact")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("gleu",), "did you mean 'gelu'?"),
        (("gelu", "--shape", "3"), "128x3072"),
        (("gelu", "--shape", "0x4"), "128x3072"),
        (("gelu", "--backend", "tvm"), "openvino, ort"),
    ],
)
def test_bad_input_is_explained(edgec: Run, arguments: tuple[str, ...], words: str) -> None:
    status, _, err = edgec("study", *arguments)
    assert status == 2 and "error[E0801]" in err and words in err, err


def test_errors_are_those_of_the_functions() -> None:
    """Closed forms in float64, without any runtime."""
    tanh = error_of(lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x.astype(float) ** 3))))
    assert tanh.max_abs == pytest.approx(4.73e-4, rel=2e-3) and tanh.relative_l2 == pytest.approx(1.97e-4, rel=5e-3)
    sigmoid = error_of(lambda x: x / (1 + np.exp(-ALPHA * x.astype(float))))
    assert sigmoid.max_abs == pytest.approx(0.0203, rel=2e-3) and sigmoid.relative_l2 == pytest.approx(0.0106, rel=5e-3)
    assert tanh.within_budget and not sigmoid.within_budget and error_of(exact).max_abs == 0
    assert exact(np.array([0.0, 1.0])).tolist() == pytest.approx([0.0, 0.8413447460685429])
    assert {form.function for form in forms()} == {"exact", "tanh", "sigmoid"}


def test_work_is_timed_in_turn() -> None:
    order: list[str] = []
    steps: list[tuple[int, int]] = []
    found = interleave(
        {name: (lambda name=name: order.append(name)) for name in "abc"},
        "wall",
        rounds=3,
        budget_s=0.0,
        warm_up=0,
        step=lambda done, total, name: steps.append((done, total)),
    )
    assert steps == [(i, 9) for i in range(9)] and all(len(rounds.timings) == 3 for rounds in found.values())
    turns = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert 7 <= len(turns) <= 9  # at most two rounds begin with what the last one ended with


def test_rounds_are_summed_up_robustly() -> None:
    rounds = Rounds(tuple(Timing(s, s + 1, 4, 1) for s in (3.0, 1.0, 100.0, 2.0, 4.0)))
    assert rounds.least == 1.0 and rounds.median == 4.0 and rounds.quartiles == (3.0, 5.0)
    assert Rounds((Timing(1.0, 2.0, 1, 1),)).quartiles == (2.0, 2.0)
