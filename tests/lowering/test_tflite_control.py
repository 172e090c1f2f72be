"""Branches, loops and recurrent layers of the TFLite target, executed in LiteRT beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

import onnx
from onnx import TensorProto, helper, numpy_helper

import edgec


def model(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], constants: dict[str, Any] | None = None) -> Any:
    held = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def value(name: str, shape: Sequence[Any] | None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def check(proto: Any, runs: Sequence[dict[str, Any]], folder: Path, rtol: float = 1e-5) -> dict[str, int]:
    """Compile a model once, compare every run with ONNX Runtime, and give the operators of the file."""
    import onnxruntime

    onnx.checker.check_model(proto)
    path = folder / "model.onnx"
    onnx.save(proto, path)
    bundle = edgec.compile(path, target="tflite", output=folder / "bundle")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for feeds in runs:
        found, expected = bundle.run(feeds), map(np.asarray, session.run(None, feeds))
        for name, wanted in zip([o.name for o in session.get_outputs()], expected, strict=True):
            array = found[name]
            assert array.shape == wanted.shape and array.dtype == wanted.dtype, name
            np.testing.assert_allclose(array, wanted, rtol=rtol, atol=1e-6)
    return bundle.manifest["lowering"]["operators"]


def test_a_branch_reads_values_around_it_and_returns_one_of_them(tmp_path: Path) -> None:
    then = helper.make_graph([helper.make_node("Mul", ["x", "y"], ["a"])], "then", [], [value("a", [3])])
    other = helper.make_graph([helper.make_node("Identity", ["y"], ["b"])], "other", [], [value("b", [3])])
    node = helper.make_node("If", ["c"], ["z"], then_branch=then, else_branch=other)
    proto = model([node], [value("c", [], TensorProto.BOOL), value("x", [3]), value("y", [3])], [value("z", [3])])
    x, y = np.arange(3, dtype=np.float32), np.full(3, 2, np.float32)
    operators = check(proto, [{"c": np.array(c), "x": x, "y": y} for c in (True, False, True)], tmp_path)
    assert operators["IF"] == 1


def test_a_loop_ends_early_and_stacks_what_it_saw(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["total", "step"], ["sum"]),
            helper.make_node("ReduceMax", ["sum"], ["top"], keepdims=0),
            helper.make_node("Less", ["top", "limit"], ["again"]),
            helper.make_node("Mul", ["sum", "step"], ["seen"]),
        ],
        "body",
        [value("i", [], TensorProto.INT64), value("going", [], TensorProto.BOOL), value("total", [2])],
        [value("again", [], TensorProto.BOOL), value("sum", [2]), value("seen", [2])],
    )
    node = helper.make_node("Loop", ["n", "", "start"], ["end", "stack"], body=body)
    inputs = [value("n", [], TensorProto.INT64), value("start", [2]), value("step", [2])]
    proto = model([node], inputs, [value("end", [2]), value("stack", ["k", 2])], {"limit": np.float32(5)})
    start, step = np.array([0, 0.5], np.float32), np.array([1, 0.25], np.float32)
    runs = [{"n": np.array(n, np.int64), "start": start, "step": step} for n in (3, 100, 1)]
    assert check(proto, runs, tmp_path)["WHILE"] == 1


def test_a_scan_of_any_length_in_both_directions(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Mul", ["state", "decay"], ["kept"]), helper.make_node("Add", ["kept", "part"], ["next"]),
         helper.make_node("Identity", ["next"], ["out"])],
        "body", [value("state", [3]), value("part", [3])], [value("next", [3]), value("out", [3])],
    )  # fmt: skip
    for turned in (0, 1):
        node = helper.make_node(
            "Scan", ["first", "x"], ["last", "series"], body=body, num_scan_inputs=1, scan_input_directions=[turned],
            scan_output_directions=[turned], scan_input_axes=[1], scan_output_axes=[1],
        )  # fmt: skip
        proto = model(
            [node],
            [value("first", [3]), value("x", [3, "t"])],
            [value("last", [3]), value("series", [3, "t"])],
            {"decay": np.array([0.5, 2, -1], np.float32)},
        )
        folder = tmp_path / str(turned)
        folder.mkdir()
        rng = np.random.default_rng(turned)
        first = rng.normal(size=3).astype(np.float32)
        check(proto, [{"first": first, "x": rng.normal(size=(3, n)).astype(np.float32)} for n in (4, 1, 7)], folder)


KINDS = {"RNN": 1, "GRU": 3, "LSTM": 4}


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("length", [5, "t"])
def test_recurrent_layers(kind: str, direction: str, length: Any, tmp_path: Path) -> None:
    gates, n, size, hidden, batch = KINDS[kind], 1 + (direction == "bidirectional"), 3, 4, 2
    rng = np.random.default_rng(gates)
    held = {
        "w": rng.normal(size=(n, gates * hidden, size)), "r": rng.normal(size=(n, gates * hidden, hidden)),
        "b": rng.normal(size=(n, 2 * gates * hidden)),
    }  # fmt: skip
    names = ["x", "w", "r", "b", "lengths", "h"] + ["c"] * (kind == "LSTM")
    results = ["y", "y_h"] + ["y_c"] * (kind == "LSTM")
    fields: dict[str, Any] = {"linear_before_reset": 1} if kind == "GRU" else {}
    node = helper.make_node(kind, names, results, hidden_size=hidden, direction=direction, **fields)
    states = names[5:]
    inputs = [value("x", [length, batch, size]), value("lengths", [batch], TensorProto.INT32)]
    inputs += [value(name, [n, batch, hidden]) for name in states]
    outputs = [value("y", [length, n, batch, hidden]), *(value(name, [n, batch, hidden]) for name in results[1:])]
    proto = model([node], inputs, outputs, {name: array.astype(np.float32) for name, array in held.items()})
    runs = []
    for steps in (5, 5) if length == 5 else (3, 6):
        feeds: dict[str, Any] = {name: rng.normal(size=(n, batch, hidden)).astype(np.float32) for name in states}
        feeds["x"] = rng.normal(size=(steps, batch, size)).astype(np.float32)
        feeds["lengths"] = np.array([steps, steps - 2], np.int32)
        runs.append(feeds)
    operators = check(proto, runs, tmp_path, 1e-4)
    assert operators.get("WHILE", 0) == (0 if length == 5 else n)


@pytest.mark.zoo
def test_basic_pitch_agrees_with_its_publishers_file(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    models = Path.home() / ".cache" / "edgec" / "models"
    if not (models / "basic_pitch_tflite.tflite").exists() or not (models / "basic_pitch.onnx").exists():
        pytest.skip("basic_pitch is not cached")
    interpreter = Interpreter(model_path=str(models / "basic_pitch_tflite.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    source = edgec.load(models / "basic_pitch.onnx")
    entry = source.graph.inputs[0]
    bundle = edgec.compile(source, target="tflite", output=tmp_path / "bundle")
    rng = np.random.default_rng(0)
    time = np.arange(43844) / 22050
    tones = 0.5 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 329.6 * time)
    for audio in (tones + 0.01 * rng.normal(size=43844), 0.1 * rng.normal(size=43844), np.zeros(43844)):
        feed = audio.astype(np.float32).reshape(1, -1, 1)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], feed)
        interpreter.invoke()
        published = {d["name"]: interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()}
        for name, array in bundle.run({entry.name: feed}).items():
            np.testing.assert_allclose(array, published[name], rtol=1e-4, atol=1e-6)
