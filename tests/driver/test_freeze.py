"""`--freeze`: an input becomes a constant, the bundle remembers it, and `verify` compares with the original."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import edgec
from edgec.cli import main
from edgec.ir.diagnostics import Diagnostic
from tests.serial_models import info, proto


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """y = x * rate."""
    nodes = [helper.make_node("Cast", ["rate"], ["f"], to=TensorProto.FLOAT), helper.make_node("Mul", ["x", "f"], ["y"])]
    made = proto(nodes, [info("x", (3,)), info("rate", (), TensorProto.INT64)], [info("y", (3,))], [])
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_compile_run_and_verify(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "bundle"
    assert main(["compile", str(source), "--freeze", "rate=4", "-o", str(folder), "--json"]) == 0
    assert [spec["name"] for spec in json.loads(capsys.readouterr().out)["signature"]["inputs"]] == ["x"]
    bundle = edgec.load_bundle(folder)
    x = np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(bundle.run({"x": x})["y"], 4 * x)
    np.testing.assert_array_equal(bundle.run({"x": x, "rate": np.int64(4)})["y"], 4 * x)
    with pytest.raises(Diagnostic, match="compiled for the value 4") as caught:
        bundle.run({"x": x, "rate": np.int64(5)})
    assert caught.value.code == "E0607"
    assert main(["verify", str(source), str(folder)]) == 0


def test_bad_values(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(source), "--freeze", "rat=4", "-o", str(tmp_path / "b")]) == 2
    assert "did you mean 'rate'" in capsys.readouterr().err
    assert main(["compile", str(source), "--freeze", "rate", "-o", str(tmp_path / "b")]) == 2
    assert "INPUT=VALUE" in capsys.readouterr().err and not (tmp_path / "b").exists()
