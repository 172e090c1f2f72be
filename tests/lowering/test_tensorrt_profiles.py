"""Optimisation profiles from traces: the least expected latency, and the command."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgec.cli import main
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.serial.reader import read_model, read_model_bytes
from edgec.lowering.tensorrt.profiles import MISMATCH, bindings, propose, work_cost
from edgec.lowering.tensorrt.shapes import parse_profiles, profile_of, trtexec_flags


def linear(sizes) -> float:
    """A cost that grows with the elements."""
    return 1e-5 + 1e-6 * math.prod(sizes.values())


def brute_force(trace: list[dict[str, int]], count: int) -> float:
    """The least expected latency over all choices of optima; every request runs in the nearest."""
    points = sorted({tuple(item.values()) for item in trace})
    best = math.inf
    for optima in itertools.combinations(points, min(count, len(points))):
        total = 0.0
        for item in trace:
            here = tuple(item.values())
            apart = min(sum(abs(math.log2(a / b)) for a, b in zip(here, optimum, strict=True)) for optimum in optima)
            total += linear(item) * (1 + MISMATCH * apart)
        best = min(best, total / len(trace))
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_dimension_is_solved_exactly(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    trace = [{"n": int(size)} for size in rng.integers(1, 200, 14)]
    found = propose(trace, count, linear)
    assert found.seconds == pytest.approx(brute_force(trace, count), rel=1e-12)
    assert len(found.profiles) <= count and found.ideal <= found.seconds <= found.single + 1e-15


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_several_dimensions_come_close_to_the_best(seed: int, count: int) -> None:
    """At most 2 % above what trying every choice gives."""
    rng = np.random.default_rng(seed)
    trace = [{"n": int(n), "s": int(s)} for n, s in zip(rng.integers(1, 16, 12), rng.integers(8, 512, 12), strict=True)]
    assert propose(trace, count, linear).seconds <= brute_force(trace, count) * 1.02


def test_the_profiles_hold_every_request() -> None:
    rng = np.random.default_rng(0)
    trace = [{"n": int(n), "s": int(s)} for n, s in zip(rng.integers(1, 9, 40), rng.integers(1, 64, 40), strict=True)]
    found = propose(trace, 3, linear)
    for item in trace:
        assert any(all(p.ranges[name][0] <= size <= p.ranges[name][2] for name, size in item.items()) for p in found.profiles)
    assert sum(p.requests for p in found.profiles) == 40
    assert all(low <= best <= high for p in found.profiles for low, best, high in p.ranges.values())


def test_two_kinds_of_requests_get_a_profile_each() -> None:
    trace = [{"n": 1}] * 50 + [{"n": 32}] * 50 + [{"n": 30}]
    found = propose(trace, 2, linear)
    assert [p.ranges["n"] for p in found.profiles] == [(1, 1, 1), (30, 32, 32)]
    assert found.seconds < found.single


@pytest.mark.parametrize("trace", [[], [{}], [{"n": 1}, {"m": 1}]])
def test_useless_traces_are_refused(trace: list[dict[str, int]]) -> None:
    with pytest.raises(Diagnostic) as caught:
        propose(trace, 2, linear)
    assert caught.value.code == "E0561"


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A product over a symbolic batch and length."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length", 32])],
        [onnx.numpy_helper.from_array(np.zeros((64, 32), np.float32), "w")],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_shapes_bind_dimensions(model_file: Path) -> None:
    inputs = read_model(model_file).graph.inputs
    assert bindings(inputs, {"x": [2, 5, 64]}) == {"batch": 2, "length": 5}
    assert bindings(inputs, {"length": [7], "batch": [1]}) == {"batch": 1, "length": 7}
    for wrong in ({"x": [2, 5]}, {"x": [2, 5, 63]}, {"batch": [1]}, {"z": [1]}):
        with pytest.raises(Diagnostic) as caught:
            bindings(inputs, wrong)
        assert caught.value.code == "E0561"


def test_the_proxy_grows_with_the_work(model_file: Path) -> None:
    cost = work_cost(read_model(model_file))
    assert 0 < cost({"batch": 1, "length": 1}) < cost({"batch": 64, "length": 512}) < cost({"batch": 64, "length": 1024})


def test_profiles_are_read_in_every_form(tmp_path: Path, model_file: Path) -> None:
    text = parse_profiles("batch=1:2:4,length=8:16:32;batch=1:1:1,length=1:1:1")
    assert text == parse_profiles([{"batch": [1, 2, 4], "length": [8, 16, 32]}, {"batch": [1, 1, 1], "length": [1, 1, 1]}])
    file = tmp_path / "profiles.json"
    file.write_text(json.dumps({"profiles": [dict(item) for item in text]}))
    assert parse_profiles(str(file)) == text and parse_profiles(None) == ()
    inputs = read_model(model_file).graph.inputs
    flags = trtexec_flags([profile_of(inputs, ranges) for ranges in text])
    assert flags[:3] == ["--profile=0", "--minShapes=x:1x8x64", "--optShapes=x:2x16x64"] and "--profile=1" in flags


def test_the_command(tmp_path: Path, model_file: Path, capsys) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text("".join(json.dumps({"x": [b, n, 64]}) + "\n" for b, n in [(1, 16)] * 6 + [(8, 128)] * 3))
    output = tmp_path / "profiles.json"
    status = main(["profile-shapes", str(model_file), "--trace", str(trace), "-k", "2", "-o", str(output), "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert status == 0 and facts["requests"] == 9
    assert [p["ranges"] for p in facts["profiles"]] == [
        {"batch": [1, 1, 1], "length": [16, 16, 16]},
        {"batch": [8, 8, 8], "length": [128, 128, 128]},
    ]
    assert "--optShapes=x:8x128x64" in facts["trtexec"]
    assert parse_profiles(str(output))[1] == {"batch": (8, 8, 8), "length": (128, 128, 128)}
    assert main(["profile-shapes", str(model_file), "--trace", str(trace)]) == 0
    assert "by a model of the GPU, not measured" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{", "[1]", '{"x": "a"}', '{"x": [1, 2, 3]}'])
def test_bad_traces_name_the_line(tmp_path: Path, model_file: Path, text: str, capsys) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text('{"x": [1, 1, 64]}\n' + text + "\n")
    assert main(["profile-shapes", str(model_file), "--trace", str(trace)]) == 2
    told = capsys.readouterr().err
    assert "E0561" in told and "line 2" in told


def test_a_model_without_symbols_has_nothing_to_choose(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "main", [x], [y])
    model = read_model_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString())
    assert bindings(model.graph.inputs, {"x": [2]}) == {}
