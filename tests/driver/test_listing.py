"""The commands that list passes, operators, targets, codes and rules."""

import json

import pytest


@pytest.mark.parametrize(
    "command, key, member",
    [
        (["passes"], "passes", "dead-code"),
        (["passes", "--rules"], "rules", "remove-identity"),
        (["ops"], "ops", "Conv"),
        (["targets"], "targets", "ort"),
        (["explain"], "codes", "E0206"),
    ],
)
def test_lists(edgec, command, key, member) -> None:
    status, out, err = edgec(*command, "--json")
    facts = json.loads(out)
    names = [item.get("name", item.get("code")) for item in facts[key]]
    assert (status, err) == (0, "") and facts["ok"] and member in names
    status, out, _ = edgec(*command)
    assert status == 0 and member in out


def test_single_entries(edgec) -> None:
    assert "limit" in edgec("passes", "fold-constants")[1]
    conv = json.loads(edgec("ops", "Conv", "--json")[1])["ops"]
    assert conv[0]["attributes"]["group"] == 1 and conv[0]["operands"] == [2, 3]
    target = json.loads(edgec("targets", "ort", "--json")[1])["targets"][0]
    assert target["available"] and any(row["op"] == "Conv" for row in target["matrix"])
    status, out, _ = edgec("explain", "e0206")
    assert status == 0 and "line and column" in out and "exit status 2" in out


@pytest.mark.parametrize(
    "arguments, hint",
    [
        (["passes", "ded-code"], "did you mean 'dead-code'?"),
        (["ops", "Covn"], "did you mean 'Conv'?"),
        (["targets", "otr"], "did you mean 'ort'?"),
        (["explain", "E9206"], "did you mean"),
        (["optimise", "x"], "did you mean 'optimize'?"),
        (["inspect", "x", "--jsn"], "--json"),
    ],
)
def test_did_you_mean(edgec, arguments, hint) -> None:
    status, out, err = edgec(*arguments)
    assert (status, out) == (2, "") and hint in err


def test_explain_rule(edgec, model) -> None:
    status, out, _ = edgec("explain-rule", "remove-identity", model, "--json")
    facts = json.loads(out)
    assert status == 0 and facts["candidates"] == 1 and "copy" in facts["matches"][0]["root"]
    status, _, err = edgec("explain-rule", "remove-identiti", model)
    assert status == 2 and "did you mean 'remove-identity'?" in err


def test_every_code_is_explained(edgec) -> None:
    codes = json.loads(edgec("explain", "--json")[1])["codes"]
    assert len(codes) > 30
    assert all(c["title"] and len(c["explanation"]) > 20 and c["exit"] in (1, 2, 3) for c in codes)
