"""edgec optimize and compile, run and verify, on a small model."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from .conftest import classifier

PASSES = "remove-no-ops,fold-batch-norm,dead-code"


def outputs(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def test_optimize_writes_an_equal_model(edgec, model, tmp_path) -> None:
    target = tmp_path / "out.onnx"
    status, out, err = edgec("optimize", model, "-o", target, "--passes", PASSES, "--json")
    facts = json.loads(out)
    assert (status, err) == (0, "")
    assert facts["nodes"]["before"] == 7 and facts["nodes"]["after"] == len(onnx.load(target).graph.node) == 5
    assert facts["operators"]["before"]["Identity"] == 1 and "Identity" not in facts["operators"]["after"]
    assert {p["name"] for p in facts["passes"]} == set(PASSES.split(","))
    assert facts["bytes"] == target.stat().st_size
    x = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(outputs(model, x), outputs(target, x), rtol=1e-4, atol=1e-5)


def test_two_runs_give_the_same_bytes(edgec, model, tmp_path) -> None:
    for name in ("a", "b"):
        assert edgec("optimize", model, "-o", tmp_path / f"{name}.onnx", "--passes", PASSES)[0] == 0
        assert edgec("compile", model, "-o", tmp_path / name, "--passes", PASSES)[0] == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert "manifest.json" in files
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_the_default_pipeline_shrinks_the_model(edgec, model, tmp_path) -> None:
    status, out, _ = edgec("optimize", model, "-o", tmp_path / "o.onnx", "--json")
    facts = json.loads(out)
    assert status == 0 and facts["nodes"]["after"] <= 5


def test_report_and_external_data_and_dims(edgec, model, tmp_path) -> None:
    target = tmp_path / "out.onnx"
    arguments = ("--passes", PASSES, "--external-data", "--dim", "batch=4", "--report")
    status, out, _ = edgec("optimize", model, "-o", target, *arguments)
    assert status == 0 and "7 → 5 nodes" in out and "fold-batch-norm" in out and "before" in out
    assert (tmp_path / "out.onnx.data").is_file() or onnx.load(target).graph.initializer  # small weights stay inline
    assert onnx.load(target).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 4


def test_print_after_and_bisect_limit(edgec, model, tmp_path) -> None:
    target = tmp_path / "out.onnx"
    status, out, err = edgec("optimize", model, "-o", target, "--passes", PASSES, "--print-after", "fold-batch-norm", "--json")
    assert status == 0 and "graph classifier" in err and "BatchNormalization" not in err and json.loads(out)["rewrites"] >= 2
    status, out, _ = edgec("optimize", model, "-o", target, "--passes", PASSES, "--bisect-limit", 0, "--json")
    assert status == 0 and json.loads(out)["rewrites"] == 0 and json.loads(out)["operators"]["after"]["Identity"] == 1


PLUGIN = '''
from dataclasses import dataclass
from edgec.ir.graph import constant
from edgec.passes.base import Change, Pass
import numpy as np

@dataclass(frozen=True)
class Break(Pass):
    """Multiplies the result of every Relu by 1.5."""
    name = "test-break-relu"
    def run(self, graph, context):
        change = Change()
        from edgec.ir.op import OPS
        for node in list(graph):
            if node.op.op_name == "Relu" and context.permit("scale-relu"):
                following = node.next
                scaled = graph.insert(OPS["", "Mul"](), [node.output, constant(np.float32(1.5), "wrong")], before=following)
                for user, index in list(node.output.uses):
                    if user is not scaled:
                        user.set_operand(index, scaled.output)
                scaled.sources = node.sources
                change.record("scale-relu")
        return change
'''


def test_check_each_pass_finds_the_guilty_rewrite(edgec, model, data, tmp_path, monkeypatch) -> None:
    (tmp_path / "breaking_plugin.py").write_text(PLUGIN)
    monkeypatch.chdir(tmp_path)
    arguments = ("--passes", "remove-no-ops,test-break-relu", "--plugin", "breaking_plugin", "--check-each-pass", "--data", data)
    try:
        status, out, err = edgec("optimize", model, "-o", tmp_path / "out.onnx", *arguments, "--json")
    finally:
        from edgec.passes.registry import PASSES as registered

        registered.pop("test-break-relu", None)
        sys.modules.pop("breaking_plugin", None)
    error = json.loads(out)["error"]
    assert status == 1 and error["code"] == "E0621"
    assert "test-break-relu" in error["message"] and "scale-relu" in error["message"]
    assert any("'relu'" in note for note in error["notes"])
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["--passes", "remove-no-op"], 2, "did you mean 'remove-no-ops'?"),
        (["--passes", "fix("], 2, "fix("),
        (["--print-after", "ded-code"], 2, "did you mean 'dead-code'?"),
        (["--plugin", "no_such_module_here"], 2, "no_such_module_here"),
        (["--opset", "3"], 2, "--opset"),
        (["--target", "ort2"], 2, "did you mean 'ort'?"),
    ],
)
def test_bad_arguments_write_nothing(edgec, model, tmp_path, arguments, status, message) -> None:
    target = tmp_path / "out.onnx"
    found, out, err = edgec("optimize", model, "-o", target, *arguments)
    assert (found, out) == (status, "") and message in err and not target.exists()


def test_bad_outputs(edgec, model, tmp_path) -> None:
    assert edgec("optimize", model)[0] == 2
    status, _, err = edgec("optimize", model, "-o", tmp_path / "x.tflite")
    assert status == 2 and ".onnx" in err
    status, _, err = edgec("optimize", model, "-o", tmp_path / "missing" / "x.onnx", "--passes", "dead-code")
    assert status == 2 and "missing" in err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("keep me")
    status, _, err = edgec("compile", model, "-o", tmp_path / "full", "--passes", "dead-code")
    assert status == 2 and (tmp_path / "full" / "precious.txt").read_text() == "keep me"


def test_damaged_models(edgec, model, tmp_path) -> None:
    broken = tmp_path / "broken.onnx"
    whole = model.read_bytes()
    for content in (b"", b"not a model at all", whole[: len(whole) // 2]):
        broken.write_bytes(content)
        status, out, err = edgec("optimize", broken, "-o", tmp_path / "o.onnx", "--json")
        assert status == 2 and json.loads(out)["ok"] is False and "broken.onnx" in err and "Traceback" not in err
    (tmp_path / "bad.edgec").write_text("edgec 1\ngraph g {\n  oops\n}\n")
    status, _, err = edgec("inspect", tmp_path / "bad.edgec")
    assert status == 2 and "bad.edgec:3:3" in err


def test_compile_run_verify(edgec, model, data, tmp_path) -> None:
    bundle, result = tmp_path / "bundle", tmp_path / "out.npz"
    status, out, _ = edgec("compile", model, "--target", "ort", "-o", bundle, "--passes", PASSES, "--json")
    facts = json.loads(out)
    assert status == 0 and facts["target"] == "ort" and facts["signature"]["inputs"][0]["name"] == "x"
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["source"]["name"] == "model.onnx" and len(manifest["source"]["sha256"]) == 64
    assert "fold-batch-norm" in [p["name"] for p in manifest["passes"]] and manifest["versions"]["ort"]

    sample = data / "sample0.npz"
    status, out, _ = edgec("run", bundle, "--input", sample, "--output", result, "--json")
    assert status == 0 and json.loads(out)["outputs"]["y"]["shape"] == [2, 5]
    np.testing.assert_allclose(np.load(result)["y"], outputs(model, np.load(sample)["x"]), rtol=1e-4, atol=1e-5)
    first = result.read_bytes()
    assert edgec("run", bundle, "--input", sample, "--output", result)[0] == 0 and result.read_bytes() == first

    status, out, _ = edgec("verify", model, bundle, "--data", data, "--json")
    report = json.loads(out)
    assert status == 0 and report["passed"] and len(report["samples"]) == 2 and report["first_diverging"] is None
    assert report["layers_passed"] and report["outputs"][0]["error"]["noise_floor"] is None
    assert edgec("inspect", bundle)[0] == 0


def test_a_bundle_that_the_runtime_does_not_load_never_appears(edgec, model, tmp_path, monkeypatch) -> None:
    from edgec.lowering.ort import backend as ort

    opened: list[Path] = []
    real = ort.OrtSession

    def watched(path: Path, *arguments, **options):
        opened.append(path)
        if len(opened) > 1:
            path.write_bytes(b"damaged on its way")
        return real(path, *arguments, **options)

    monkeypatch.setattr(ort, "OrtSession", watched)
    assert edgec("compile", model, "-o", tmp_path / "good", "--passes", PASSES)[0] == 0
    assert len(opened) == 1 and (tmp_path / "good" / "manifest.json").is_file()
    status, out, err = edgec("compile", model, "-o", tmp_path / "bad", "--passes", PASSES, "--json")
    assert status == 3 and json.loads(out)["error"]["code"] == "E0504" and "does not load" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good", "model.onnx"]


def test_verify_fails_on_a_planted_bug(edgec, model, data, tmp_path) -> None:
    other = tmp_path / "other.onnx"
    onnx.save(classifier(scale=1.01), other)
    status, out, _ = edgec("verify", model, other, "--data", data, "--json")
    report = json.loads(out)
    assert status == 1 and not report["passed"] and report["first_diverging"]["nodes"] == ["classify"]
    assert report["layers_passed"] is False
    status, out, _ = edgec("verify", model, other, "--data", data)
    assert status == 1 and "FAILED" in out and "first diverging layer: y (Gemm)" in out


def test_bad_feeds(edgec, model, tmp_path) -> None:
    bundle = tmp_path / "bundle"
    assert edgec("compile", model, "-o", bundle, "--passes", PASSES)[0] == 0
    good = np.zeros((1, 3, 8, 8), np.float32)
    cases = {
        "name": ({"X": good}, "E0601"),
        "dtype": ({"x": good.astype(np.float64)}, "E0602"),
        "rank": ({"x": good[0]}, "E0603"),
        "dim": ({"x": good[:, :2]}, "E0603"),
    }
    for name, (feeds, code) in cases.items():
        np.savez(tmp_path / f"{name}.npz", **feeds)
        status, out, err = edgec("run", bundle, "--input", tmp_path / f"{name}.npz", "--output", tmp_path / "o.npz", "--json")
        assert status == 2 and json.loads(out)["error"]["code"] == code, name
        assert not (tmp_path / "o.npz").exists()
    status, _, err = edgec("run", bundle, "--input", tmp_path / "absent.npz", "--output", tmp_path / "o.npz")
    assert status == 2 and "absent.npz" in err
    status, _, err = edgec("run", model, "--input", tmp_path / "dtype.npz", "--output", tmp_path / "o.npz")
    assert status == 2 and "edgec compile" in err
    (bundle / "model.onnx").write_bytes(b"damaged")
    status, _, err = edgec("run", bundle, "--input", tmp_path / "name.npz", "--output", tmp_path / "o.npz")
    assert status == 2 and "model.onnx" in err


def test_unknown_target_options(edgec, model, tmp_path) -> None:
    status, _, err = edgec("compile", model, "-o", tmp_path / "b", "--option", "thread=1")
    assert status == 2 and "did you mean 'threads'?" in err and not (tmp_path / "b").exists()
