"""edgec inspect: expressions, binding, ranges, the textual form."""

import json

import pytest

CONV_MACS = 4 * 8 * 8 * 3 * 3 * 3
FC_MACS = 4 * 5


def test_expressions_over_the_batch(edgec, model) -> None:
    status, out, err = edgec("inspect", model, "--json")
    facts = json.loads(out)
    assert (status, err) == (0, "")
    assert facts["schema"] == "edgec.inspect/1" and facts["symbols"] == ["batch"]
    assert facts["macs"]["value"] == f"{CONV_MACS + FC_MACS}*batch" and facts["macs"]["range"] == [0, None]
    tensors = {t["name"]: t for t in facts["tensors"]}
    assert tensors["c"]["shape"] == ["batch", 4, 8, 8] and tensors["c"]["bytes"] == f"{4 * 4 * 64}*batch"
    assert facts["parameters"]["count"] == 4 * 27 + 4 * 4 + 20 and facts["parameters"]["bytes"] == 4 * 144
    # the convolution's result and the normalised one are alive together
    assert facts["memory"]["peak_activation_bytes"] == f"{2 * 4 * 4 * 64}*batch"


def test_binding_gives_numbers(edgec, model) -> None:
    facts = json.loads(edgec("inspect", model, "--dim", "batch=8", "--json")[1])
    assert facts["symbols"] == [] and facts["inputs"][0]["shape"] == [8, 3, 8, 8]
    assert facts["macs"] == {"value": 8 * (CONV_MACS + FC_MACS), "range": [8 * (CONV_MACS + FC_MACS)] * 2, "unknown": []}
    assert all(isinstance(d, int) for t in facts["tensors"] for d in t["shape"])


def test_ranges_give_limits(edgec, model) -> None:
    facts = json.loads(edgec("inspect", model, "--range", "batch=1:8", "--json")[1])
    assert facts["macs"]["range"] == [CONV_MACS + FC_MACS, 8 * (CONV_MACS + FC_MACS)]
    assert facts["memory"]["range"] == [2048, 8 * 2048]


def test_text_for_people(edgec, model) -> None:
    status, out, _ = edgec("inspect", model, "--nodes", "--tensors", "--range", "batch=1:8")
    assert status == 0
    for expected in ("x: f32[batch, 3, 8, 8]", "parameters  144", f"{CONV_MACS + FC_MACS}*batch", "classify", "f32[batch, 4, 8, 8]"):
        assert expected in out


def test_the_textual_form_is_shown_and_read(edgec, model, tmp_path) -> None:
    status, out, _ = edgec("inspect", model, "--text")
    assert status == 0 and "%c: f32[batch, 4, 8, 8] = Conv(%x, %w, pads = [1, 1, 1, 1])" in out and "elided" in out
    assert edgec("optimize", model, "--passes", "dead-code", "-o", tmp_path / "m.edgec")[0] == 0
    first = json.loads(edgec("inspect", model, "--json")[1])
    second = json.loads(edgec("inspect", tmp_path / "m.edgec", "--json")[1])
    assert first["tensors"] == second["tensors"] and first["macs"] == second["macs"]


@pytest.mark.parametrize(
    "arguments, message, hint",
    [
        (["--dim", "bach=8"], "'bach'", "did you mean 'batch'?"),
        (["--dim", "batch"], "NAME=SIZE", ""),
        (["--dim", "batch=x"], "whole number", ""),
        (["--dim", "batch=-1"], "cannot be -1", ""),
        (["--dim", "batch=1", "--dim", "batch=2"], "to 1 and to 2", ""),
        (["--range", "bach=1:8"], "'bach'", "did you mean 'batch'?"),
        (["--range", "batch=8:1"], "empty", "batch=1:8"),
        (["--tensor"], "No such option", ""),
    ],
)
def test_wrong_options(edgec, model, arguments, message, hint) -> None:
    status, out, err = edgec("inspect", model, *arguments)
    assert (status, out) == (2, "")
    assert message in err and hint in err and err.startswith("error[") and "Traceback" not in err


def test_a_folder_is_not_a_model(edgec, tmp_path) -> None:
    status, _, err = edgec("inspect", tmp_path)
    assert status == 2 and "manifest" in err
