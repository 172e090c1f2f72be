"""Every example runs and does what it says."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def run(script: str, output: Path, timeout: int = 300) -> tuple[int, str, str]:
    """Run an example as a user does, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    command = [sys.executable, str(EXAMPLES / script), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=timeout, check=False)
    return done.returncode, done.stdout, done.stderr


def test_every_example_has_a_test() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "cost_model_plugin.py",
        "custom_op.py",
        "custom_pass.py",
        "gelu_to_tensorrt.py",
        "kv_cache.py",
        "layer_norm_support.py",
        "quickstart.py",
    }


def test_cost_model_plugin(tmp_path) -> None:
    status, out, err = run("cost_model_plugin.py", tmp_path)
    assert status == 0, out + err
    times = {line.split()[0]: float(line.split()[1]) for line in out.splitlines() if line}
    assert set(times) == {"spec", "ramped-roofline"} and times["ramped-roofline"] > times["spec"] > 0
    source = (EXAMPLES / "cost_model_plugin.py").read_text().splitlines()
    assert len(source) < 80


def test_custom_op(tmp_path) -> None:
    status, out, err = run("custom_op.py", tmp_path)
    assert status == 0, out + err
    lines = {line.split()[0]: line for line in out.splitlines() if line[:1].strip()}
    assert set(lines) == {"keep", "decompose", "python"}
    if find_spec("onnxruntime_extensions") is None:
        assert "left out" in lines["keep"]
    else:
        assert "libraries/" in lines["keep"] and _error(lines["keep"]) < 1e-6
    assert "libraries/" not in lines["decompose"] and _error(lines["decompose"]) < 1e-6
    assert "ai.onnx.contrib.NegPos" in lines["python"] and "its route is 'python'" in out


def _error(line: str) -> float:
    return float(line.split("largest error ")[1].split(";")[0])


def test_kv_cache(tmp_path) -> None:
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("coremltools")
    status, out, err = run("kv_cache.py", tmp_path)
    assert status == 0, out + err
    tokens = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert set(tokens) == {"onnxruntime", "tflite", "coreml"} and len(set(tokens["onnxruntime"])) > 3
    assert tokens["tflite"] == tokens["coreml"] == tokens["onnxruntime"]


def test_gelu_to_tensorrt(tmp_path) -> None:
    pytest.importorskip("tensorrt_rtx")
    status, out, err = run("gelu_to_tensorrt.py", tmp_path)
    assert status == 0, out + err
    rows = {line[:20].strip(): line.split() for line in out.splitlines()[1:]}
    assert "fails" in rows["sigmoid"] and "passes" in rows["tanh, spelled out"]
    assert out.count(" 1 activation\n") == 3  # exact, recognised and tanh are one layer each
    assert "8 elementwise" in out


def test_layer_norm_support(tmp_path) -> None:
    pytest.importorskip("coremltools")
    status, out, err = run("layer_norm_support.py", tmp_path)
    assert status == 0, out + err
    assert "float32: iOS15 native, iOS18 native" in out and out.count("for iOS15: 1 layer_norm; off by") == 2
    assert "decomposed 7.0 to 8.5 [document]" in out and "float32: 8.5 decomposed, 8.6 native, 10.0 native" in out
    assert "deprecated from Android 15 on" in out
    if find_spec("tensorrt_rtx") is not None:
        assert "1 normalization" in out


def test_custom_pass(tmp_path) -> None:
    status, out, err = run("custom_pass.py", tmp_path)
    assert status == 0, out + err
    assert "5 → 4 nodes" in out and "ties may be resolved differently" in err
    assert "match at node 'pick_class' (ArgMax)" in out
    assert "the softmax runs along axis 0, the search along axis 1 [node 'over_samples' (Softmax)]" in out
    assert out.rstrip().splitlines()[0].startswith("$ edgec optimize") and ": passed" in out


@pytest.mark.zoo
def test_quickstart(tmp_path) -> None:
    """The main job on a real model; skipped only when the model is neither in the cache nor to be had."""
    for name in ("magika", "magika_config"):
        command = [sys.executable, str(ROOT / "benchmarks" / "zoo.py"), "fetch", name]
        fetched = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if fetched.returncode:
            pytest.skip(f"{name} is not in the cache and cannot be fetched: {fetched.stderr.strip()[-300:]}")
    status, out, err = run("quickstart.py", tmp_path, timeout=600)
    assert status == 0, out + err
    assert "verified    passed" in out
    hits, total = (int(word) for word in out.split("ran ")[1].split(" files named")[0].split(" of "))
    assert total >= 32 and hits / total > 0.9
    manifest = json.loads((tmp_path / "magika-ort" / "manifest.json").read_text())
    assert manifest["target"] == "ort" and (tmp_path / "magika.onnx").is_file()
