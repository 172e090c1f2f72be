"""`edgec targets`: backends, hardware, and every number of one piece of hardware."""

from __future__ import annotations

import json

import pytest

from edgec.cli import main


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["targets", *words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_list_names_backends_and_hardware(capsys):
    status, out, _ = run(capsys)
    assert status == 0
    assert "ONNX Runtime" in out and "rtx-4090" in out and "npu gpu cpu-prime cpu-mid cpu-little" in out
    facts = json.loads(run(capsys, "--json")[1])
    assert "ort" in [t["name"] for t in facts["targets"]] and len(facts["hardware"]) >= 16


def test_a_backend_is_described_as_before(capsys):
    status, out, _ = run(capsys, "ort", "--json")
    facts = json.loads(out)
    assert status == 0 and "hardware" not in facts and facts["targets"][0]["matrix"]


def test_hardware_is_shown_with_every_source(capsys):
    status, out, _ = run(capsys, "show", "orin-nano")
    assert status == 0
    assert "20.47 Tops/s" in out and "[1]" in out and "Data Sheet DS-11105-001" in out and "note: " in out
    facts = json.loads(run(capsys, "show", "orin-nano", "--json")[1])
    assert facts["schema"] == "edgec.hardware/1"
    numbers = {entry["key"]: entry for entry in facts["numbers"]}
    assert numbers["engines.gpu.peak.i8"]["tag"] == "computed" and numbers["engines.gpu.peak.i8"]["unit"] == "ops/s"
    assert all(entry["source"] and entry["low"] <= entry["value"] <= entry["high"] for entry in facts["numbers"])
    assert run(capsys, "orin-nano")[1] == out, "hardware is found without the word show"


@pytest.mark.parametrize(
    "words,status,says",
    [
        (("show",), 2, "needs one name"),
        (("show", "orin-nanno"), 2, "did you mean 'orin-nano'"),
        (("show", "missing.toml"), 2, "cannot read the file"),
        (("ort", "openvino"), 2, "too many names"),
    ],
)
def test_mistakes(capsys, words, status, says):
    found, _, err = run(capsys, *words)
    assert found == status and says in err
