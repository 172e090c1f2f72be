"""`edgec cost`: the documents that scripts read, options, sweeps, several targets, and bad input."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.costmodel.calibrated import CalibratedTarget, ClassScalar, save_calibrated
from edgec.costmodel.targets import load_target
from edgec.driver.cost import parse_phases, parse_priority, parse_sweep
from edgec.ir.diagnostics import Diagnostic

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def llm(tmp_path: Path) -> Path:
    """The sizes of a small decoder."""
    path = tmp_path / "llm.toml"
    path.write_text("layers = 2\nhidden = 64\nheads = 4\nkv_heads = 2\nintermediate = 160\nvocabulary = 500\n")
    return path


def document(edgec: Run, *arguments: object) -> dict:
    status, out, err = edgec("cost", *arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def test_the_json_has_the_promised_keys(edgec: Run, model: Path) -> None:
    found = document(edgec, model, "--target", "orin-nano", "--dim", "batch=4")
    assert found["target"] == "orin-nano" and found["tier"] == "spec" and found["dims"] == {"batch": 4}
    for key in ("seconds", "joules"):
        low, expected, high = found[key]
        assert 0 < low < expected < high
    assert found["peak_bytes"] > 0
    for node in found["nodes"]:
        assert {"name", "op", "seconds", "bound", "flops", "bytes"} <= set(node)
        assert node["seconds"][0] <= node["seconds"][1] <= node["seconds"][2]
    total = sum(node["seconds"][1] for node in found["nodes"]) + found["run_seconds"][1]
    assert found["seconds"][1] == pytest.approx(total)
    operators = [operator for node in found["nodes"] for operator in node["operators"]]
    assert "Conv" in operators and "BatchNormalization" not in operators  # folded before pricing
    assert found["node_count"][0] == 7 and found["optimized"]


def test_the_model_can_be_priced_as_it_is(edgec: Run, model: Path) -> None:
    plain = document(edgec, model, "--target", "orin-nano", "--dim", "batch=4", "--no-optimize", "--kernels", "nodes")
    assert [node["op"] for node in plain["nodes"]].count("BatchNormalization") == 1
    optimised = document(edgec, model, "--target", "orin-nano", "--dim", "batch=4")
    assert plain["seconds"][1] > optimised["seconds"][1]


def test_several_targets_give_a_list_with_common_choices(edgec: Run, model: Path) -> None:
    found = document(edgec, model, "--target", "orin-nano,raspberry-pi-5", "--dim", "batch=1")
    assert isinstance(found, list) and [d["target"] for d in found] == ["orin-nano", "raspberry-pi-5"]
    choices = found[0]["analysis"]["pareto"]
    assert choices == found[1]["analysis"]["pareto"] and {c["target"] for c in choices} == {"orin-nano", "raspberry-pi-5"}
    best = [c for c in choices if c["best"]]
    axes = ("seconds", "joules")
    for one in best:
        assert not any(all(o[a] < one[a] for a in axes) and o["bits"] > one["bits"] for o in choices)
    assert 0 < len(best) < len(choices)


def test_a_sweep_gives_every_point(edgec: Run, model: Path) -> None:
    found = document(edgec, model, "--target", "orin-nano", "--sweep", "batch=1:8", "--sweep", "core=0.5:1.5")
    batches, clocks = found["analysis"]["sweeps"]
    assert batches["values"] == list(range(1, 9)) and found["dims"] == {"batch": 1}
    assert [s[1] for s in batches["seconds"]] == sorted(s[1] for s in batches["seconds"])
    assert batches["seconds"][0] == pytest.approx(found["seconds"])
    single = document(edgec, model, "--target", "orin-nano", "--dim", "batch=8")
    assert batches["seconds"][-1] == pytest.approx(single["seconds"])
    assert clocks["values"][0] == 0.5 and clocks["values"][-1] == 1.5
    assert clocks["seconds"][0][1] >= clocks["seconds"][-1][1]


def test_the_text_says_what_matters(edgec: Run, model: Path) -> None:
    status, out, _ = edgec("cost", model, "--target", "rtx-4090", "--dim", "batch=1", "--explain-fusion", "--sweep", "batch=1:4")
    assert status == 0
    for words in ("time ", "energy ", "bound by ", "elasticity ", "fusion: ", "sweep of batch", "advice: ", "because "):
        assert words in out, words
    assert "launch-bound: " in out and "Conv+Relu" in out


def test_closed_forms(edgec: Run, model: Path, llm: Path) -> None:
    status, out, _ = edgec("cost", model, "--symbolic")
    macs = 4 * 3 * 9 * 64 + 4 * 5
    assert status == 0 and f"{macs}*batch" in out
    found = document(edgec, llm, "--symbolic")
    assert "batch*sequence*past" in found["total"]["macs"] or "past" in found["total"]["macs"]
    both = document(edgec, model, "--symbolic", "--target", "orin-nano", "--dim", "batch=1")
    assert both["analysis"]["symbolic"]["total"]["macs"] == f"{macs}*batch"


def test_phases_of_a_language_model(edgec: Run, llm: Path) -> None:
    found = document(edgec, llm, "--target", "orin-nano", "--phases", "prompt=32,generate=8,batch=2")
    phases = found["analysis"]["phases"]
    assert found["dims"] == {"batch": 2, "sequence": 1, "past": 32}
    for i in range(3):
        parts = sum(phases[name][i] for name in ("init", "prefill", "decode", "post"))
        assert phases["total"][i] == pytest.approx(parts, rel=1e-9)
    assert len(phases["decode_steps"]) == 7 and phases["intensity_prefill"] > phases["intensity_decode"]
    status, out, _ = edgec("cost", llm, "--target", "orin-nano", "--phases", "prompt=32,generate=8")
    assert status == 0 and "tokens/s" in out and "ridge x bytes / 2" in out


def test_threads_and_precision(edgec: Run, model: Path) -> None:
    one = document(edgec, model, "--target", "raspberry-pi-5", "--dim", "batch=64", "--threads", "1")
    four = document(edgec, model, "--target", "raspberry-pi-5", "--dim", "batch=64", "--threads", "4")
    assert one["seconds"][1] > four["seconds"][1]
    narrow = document(edgec, model, "--target", "raspberry-pi-5", "--dim", "batch=64", "--precision", "i8")
    assert narrow["weight_bytes"] < four["weight_bytes"] / 3 and narrow["precision"] == "i8"


def test_module_scopes_of_exporters_are_read(edgec: Run, tmp_path: Path) -> None:
    weights = [numpy_helper.from_array(np.ones((8, 8), np.float32), name) for name in ("a", "b")]
    nodes = [helper.make_node("MatMul", ["x", "a"], ["t"], name="first"), helper.make_node("MatMul", ["t", "b"], ["y"], name="second")]
    for node, scope in zip(nodes, ("model.layers.0.up", "model.layers.1.up"), strict=True):
        parts = ["", "model", ".".join(scope.split(".")[:3]), scope, "linear"]
        node.metadata_props.append(onnx.StringStringEntryProto(key="pkg.torch.onnx.name_scopes", value=str(parts)))
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 8]) for n in "xy")
    path = tmp_path / "scoped.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights), ir_version=10), path)
    found = document(edgec, path, "--target", "orin-nano", "--dim", "batch=1")
    tree = found["analysis"]["scopes"]
    assert tree["name"] == "model" and [c["name"] for c in tree["children"]] == ["layers.0", "layers.1"]
    assert tree["children"][0]["children"][0]["name"] == "up"


def test_a_calibrated_file_prices_what_onnx_runtime_runs(edgec: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "host.toml"
    scalars = (ClassScalar("conv-direct", "f32", 3.0), ClassScalar("gemm", "f32", 3.0))
    save_calibrated(CalibratedTarget(load_target("x86-avx2"), "ort", 1, scalars=scalars), path)
    found = document(edgec, model, "--target", path, "--dim", "batch=2", "--threads", "1")
    assert found["tier"] == "scalar" and found["analysis"]["kernels"] == "ort" and found["target"] == "x86-avx2"
    assert not found["analysis"]["elasticities"]["follows_clocks"]
    assert "BatchNormalization" not in [node["op"] for node in found["nodes"]]
    plain = document(edgec, model, "--target", path, "--dim", "batch=2", "--threads", "1", "--kernels", "regions")
    assert plain["analysis"]["kernels"] == "regions" and plain["analysis"]["fusion"]
    status, out, _ = edgec("cost", model, "--target", path, "--dim", "batch=2", "--threads", "1")
    assert status == 0 and "of the roofline: measured coefficients hold for one clock" in out


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        ((), "E0801", "no target"),
        (("--target", "orin-nani"), "E1001", "orin-nan"),
        (("--target", "orin-nano"), "E1010", "--dim batch="),
        (("--target", "orin-nano", "--dim", "bach=1"), "E1012", "batch"),
        (("--target", "orin-nano", "--dim", "batch=0"), "E1011", "from 1 on"),
        (("--target", "orin-nano", "--dim", "batch=1", "--engine", "gpuu"), "E1013", "gpu"),
        (("--target", "orin-nano", "--dim", "batch=1", "--precision", "f8"), "E1014", "f16"),
        (("--target", "orin-nano", "--dim", "batch=1", "--tier", "scalar"), "E1016", "calibrate"),
        (("--target", "orin-nano", "--dim", "batch=1", "--kernels", "region"), "E0801", "regions"),
        (("--target", "raspberry-pi-5", "--dim", "batch=1", "--threads", "99"), "E0801", "at most 4"),
        (("--target", "orin-nano", "--sweep", "batch=8:1"), "E0801", "empty"),
        (("--target", "orin-nano", "--dim", "batch=1", "--phases", "prompt=8"), "E1022", "dynamic axes"),
        (("--target", "missing.toml", "--dim", "batch=1"), "E1002", "missing.toml"),
    ],
)
def test_bad_input_is_explained(edgec: Run, model: Path, arguments: tuple[str, ...], code: str, words: str) -> None:
    status, _, err = edgec("cost", model, *arguments)
    assert status == 2 and f"error[{code}]" in err and words in err, err
    assert "Traceback" not in err


def test_options_are_parsed() -> None:
    assert parse_sweep("seq=8:64:8") == ("seq", [8, 16, 24, 32, 40, 48, 56, 64])
    assert parse_phases("") == {"prompt": 512, "generate": 128, "batch": 1}
    weights = parse_priority("time=2,gemm=0.9")
    assert weights.time == 2 and weights.potential == 1 and weights.eases == {"gemm": 0.9}
    for wrong in ("batch", "batch=1", "batch=1:2:3:4", "batch=a:b", "batch=1:99999", "batch=1.5:3"):
        with pytest.raises(Diagnostic):
            parse_sweep(wrong)
    for wrong in ("time", "tme=1", "time=-1"):
        with pytest.raises(Diagnostic):
            parse_priority(wrong)
    with pytest.raises(Diagnostic):
        parse_phases("prompt=0")


def test_a_report_of_five_hundred_nodes_is_quick(edgec: Run, tmp_path: Path) -> None:
    """The goal is two seconds of an idle machine; the processor time leaves slack for slow ones."""
    path = tmp_path / "large.toml"
    path.write_text("layers = 32\nhidden = 256\nheads = 8\nintermediate = 512\nvocabulary = 1000\n")
    document(edgec, path, "--target", "orin-nano", "--dim", "batch=1,sequence=1,past=16")  # imports
    began = time.process_time()
    found = document(edgec, path, "--target", "orin-nano", "--dim", "batch=1,sequence=1,past=16", "--explain-fusion")
    assert found["node_count"][0] >= 480
    assert time.process_time() - began < 4.0
