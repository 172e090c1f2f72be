"""One model compiled for several targets: shared passes, one bundle each, the table, and a target that refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgec as package
from edgec.ir.diagnostics import Diagnostic
from edgec.lowering.registry import _made, _registered, register_backend
from edgec.passes.observers import Observer
from tests.lowering.toy import Toy

pytest.importorskip("openvino")


@pytest.fixture
def toys():
    """Targets that lack something."""
    register_backend("poor", lambda: Toy(lacks=["Conv"], name="poor"))
    register_backend("odd", lambda: Toy(lacks=["Mish"], name="odd"))
    yield
    for name in ("poor", "odd"):
        _registered.pop(name, None)
        _made.pop(name, None)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_one_run_gives_the_bundles_that_single_runs_give(edgec, model, tmp_path) -> None:
    status, out, err = edgec("compile", model, "--target", "ort,openvino", "-o", tmp_path / "both")
    assert status == 0 and err == ""
    assert "2 of 2 bundles" in out and all(line.split()[0] in ("ort", "openvino") for line in out.splitlines()[3:])
    for target in ("ort", "openvino"):
        assert edgec("compile", model, "--target", target, "-o", tmp_path / target)[0] == 0
        assert files(tmp_path / target) == files(tmp_path / "both" / target)
    facts = json.loads((tmp_path / "both" / "compare.json").read_text())
    assert facts["schema"] == "edgec.compare/1" and facts["ok"]
    for entry in facts["targets"]:
        assert entry["verified"]["passed"] and entry["verified"]["worst"] < 1e-5
        listed = {n: b for n, b in files(tmp_path / "both" / entry["folder"]).items() if n != "manifest.json"}
        assert entry["bytes"] == sum(map(len, listed.values()))
        assert entry["operators"] == sum(entry["by_operator"].values()) == 5


def test_the_common_passes_run_once(model, tmp_path) -> None:
    class Count(Observer):
        runs = 0

        def after(self, step, graph, context, report) -> None:
            self.runs += step.name == "recognize-attention"

    def count(targets: list[str]) -> int:
        observer = Count()
        package.compile_all(model, targets, output=tmp_path / "-".join(targets), observers=[observer])
        return observer.runs

    assert count(["ort", "openvino"]) == count(["ort"]) > 0


def test_a_refusal_does_not_lose_the_others(edgec, model, tmp_path, toys) -> None:
    status, out, err = edgec("compile", model, "--target", "poor,ort", "-o", tmp_path / "b", "--json")
    facts = json.loads(out)
    assert status == 3 and not facts["ok"] and "E0501" in err and "Conv" in err
    poor, ort = facts["targets"]
    assert not poor["ok"] and poor["error"]["reason_code"] == "operator" and poor["error"]["problems"][0]["op"] == "Conv"
    assert ort["ok"] and package.load_bundle(tmp_path / "b" / "ort").run({"x": np.ones((1, 3, 8, 8), np.float32)})["y"].shape == (1, 5)
    assert not (tmp_path / "b" / "poor").exists()
    written = json.loads((tmp_path / "b" / "compare.json").read_text())
    assert written["targets"] == facts["targets"]
    status, out, _ = edgec("compile", model, "--target", "poor,ort", "-o", tmp_path / "b")
    assert status == 3 and "refused: E0501, operator" in out


def test_an_exception_in_one_target_is_reported(model, tmp_path, toys, monkeypatch) -> None:
    def broken(self, model, options):
        raise RuntimeError("lowering broke")

    monkeypatch.setattr(Toy, "lower", broken)
    found = package.compile_all(model, ["odd", "ort"], output=tmp_path / "b")
    assert list(found.bundles) == ["ort"] and found.failures["odd"].code == "E0572" and "lowering broke" in found.failures["odd"].message


def test_options_reach_the_targets_that_know_them(model, tmp_path) -> None:
    options = {"openvino.compress_to_fp16": True, "threads": 1}
    found = package.compile_all(model, ["ort", "openvino"], output=tmp_path / "b", options=options)
    assert found.bundles["openvino"].manifest["options"]["compress_to_fp16"] is True
    assert [b.manifest["options"]["threads"] for b in found.bundles.values()] == [1, 1]
    assert found.entries["openvino"].facts["losses"] == {"precision": 2}
    with pytest.raises(Diagnostic) as caught:
        package.compile_all(model, ["ort", "openvino"], output=tmp_path / "c", options={"thread": 1})
    assert caught.value.code == "E0506" and not (tmp_path / "c").exists()
    with pytest.raises(Diagnostic):
        package.compile_all(model, ["ort", "openvino"], output=tmp_path / "c", options={"ort.compress_to_fp16": True})


@pytest.mark.parametrize("targets", ["ort,opnvino", ",", "ort,"])
def test_names_of_targets(edgec, model, tmp_path, targets) -> None:
    status, _, err = edgec("compile", model, "--target", targets, "-o", tmp_path / "b")
    if targets == "ort,":
        assert status == 0 and (tmp_path / "b" / "manifest.json").is_file()
    else:
        assert status == 2 and ("did you mean 'openvino'" in err or "names no target" in err) and not (tmp_path / "b").exists()


def test_a_bundle_is_no_place_for_bundles(edgec, model, tmp_path) -> None:
    assert edgec("compile", model, "-o", tmp_path / "b")[0] == 0
    before = files(tmp_path / "b")
    status, _, err = edgec("compile", model, "--target", "ort,openvino", "-o", tmp_path / "b")
    assert status == 2 and "E0573" in err and files(tmp_path / "b") == before
    (tmp_path / "d" / "ort").mkdir(parents=True)
    (tmp_path / "d" / "ort" / "mine.txt").write_text("kept")
    status, _, err = edgec("compile", model, "--target", "openvino,ort", "-o", tmp_path / "d")
    assert status == 2 and "E0611" in err and list(files(tmp_path / "d")) == ["ort/mine.txt"]


def mish(path: Path) -> Path:
    node = helper.make_node("Mish", ["x"], ["y"], name="mish")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "xy")
    graph = helper.make_graph([node], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def test_the_ladder_is_in_the_report(edgec, tmp_path, toys) -> None:
    path = mish(tmp_path / "mish.onnx")
    status, out, _ = edgec("compile", path, "--target", "odd", "-o", tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert status == 0 and "fallback: node 'mish' (Mish): the toy has no Mish" in out
    assert manifest["fallbacks"][0]["rung"] == "exact" and manifest["fallbacks"][0]["into"]
    report = package.verify(path, tmp_path / "b")
    assert report.passed


def test_the_loss_report_names_metadata(edgec, model, tmp_path) -> None:
    proto = onnx.load(model)
    proto.metadata_props.add(key="labels", value="cat,dog")
    onnx.save(proto, model)
    assert edgec("compile", model, "--target", "ort,openvino", "-o", tmp_path / "b")[0] == 0
    kept, lost = (json.loads((tmp_path / "b" / t / "manifest.json").read_text()) for t in ("ort", "openvino"))
    assert kept["losses"] == [] and kept["metadata"] == {"labels": "cat,dog"}
    assert [loss["what"] for loss in lost["losses"] if loss["group"] == "metadata"] == [
        "the manifest keeps labels, the artifact itself does not"
    ]
    assert {p.key for p in onnx.load(tmp_path / "b" / "ort" / "model.onnx").metadata_props} == {"labels"}


def test_predictions(edgec, model, tmp_path) -> None:
    status, out, _ = edgec("compile", model, "--target", "ort,openvino", "-o", tmp_path / "b", "--hardware", "orin-nano")
    assert status == 0 and "latency" in out and "batch = 1" in out
    found = json.loads((tmp_path / "b" / "compare.json").read_text())["targets"][0]["predicted"]
    low, high = found["latency_range_s"]
    assert 0 < low <= found["latency_s"] <= high and found["energy_j"] > 0 and found["assumed"] == {"batch": 1}
    status, out, _ = edgec("support", model, "--target", "ort", "--hardware", "orin-nano", "--json")
    seconds = [node["seconds"] for node in json.loads(out)["targets"][0]["nodes"]]
    assert status == 0 and sum(s or 0 for s in seconds) > 0
    assert edgec("compile", model, "-o", tmp_path / "c", "--hardware", "orin")[0] == 2 and not (tmp_path / "c").exists()


def test_compile_predicts_what_cost_predicts(edgec, model, tmp_path) -> None:
    """Both price the fused kernels that run."""
    status, out, _ = edgec("compile", model, "--target", "ort", "-o", tmp_path / "b", "--hardware", "orin-nano", "--json")
    predicted = json.loads(out)["predicted"]
    assert status == 0 and predicted["assumed"] == {"batch": 1}
    status, out, _ = edgec("cost", model, "--target", "orin-nano", "--dim", "batch=1", "--json")
    cost = json.loads(out)
    assert status == 0 and len(cost["nodes"]) < 5
    assert predicted["latency_s"] == pytest.approx(cost["seconds"][1], rel=1e-3)
    assert predicted["energy_j"] == pytest.approx(cost["joules"][1], rel=1e-3)


def test_prices_of_hardware() -> None:
    from edgec.ir.dtypes import DType
    from edgec.ir.graph import Graph
    from edgec.ir.ops.activation import Relu
    from edgec.ir.types import TensorType
    from edgec.prediction import price_on

    graph = Graph()
    small = graph.add(Relu(), graph.add_input("x", TensorType(DType.FLOAT, (8,))))
    large = graph.add(Relu(), graph.add_input("y", TensorType(DType.FLOAT, (4096, 4096))))
    price = price_on("orin-nano")
    assert 0 < price([small.producer]) < price([large.producer])
    assert price([small.producer, large.producer]) == pytest.approx(price([small.producer]) + price([large.producer]))
