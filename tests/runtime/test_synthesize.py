"""Made-up inputs run, repeat, and stay inside vocabularies."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgec.ir.diagnostics import Diagnostic, Exit
from edgec.ir.serial.reader import read_model
from edgec.lowering.backend import E_RUN
from edgec.runtime.subject import Subject
from edgec.runtime.synthesize import index_limits, scalar_choices, synthesize_feeds

from .conftest import Build, declare


def test_integers_stay_inside_the_vocabulary(build: Build) -> None:
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["wide", "zero"], ["row"]),
        helper.make_node("Gather", ["table", "row"], ["y"]),
    ]
    constants = {"table": np.zeros((11, 4), np.float32), "zero": np.array([0], np.int64)}
    ids = declare("input_ids", ["batch_size", "sequence_length"], TensorProto.INT32)
    path = build("m", nodes, [ids], [declare("y", None)], constants)
    model = read_model(path)
    assert list(index_limits(model.inputs[0])) == [11]
    first, second = synthesize_feeds(model, 3, count=2)
    assert first["input_ids"].shape == (2, 8) and first["input_ids"].dtype == np.int32
    assert 0 <= first["input_ids"].min() and first["input_ids"].max() < 11
    assert first["input_ids"].max() > 2
    assert not np.array_equal(first["input_ids"], second["input_ids"])
    again = synthesize_feeds(model, 3)[0]
    assert np.array_equal(first["input_ids"], again["input_ids"])


def test_masks_and_positions(build: Build) -> None:
    shape = ["batch", "seq"]
    inputs = [declare("attention_mask", shape, TensorProto.INT64), declare("position_ids", shape, TensorProto.INT64)]
    node = helper.make_node("Add", ["attention_mask", "position_ids"], ["y"])
    model = read_model(build("m", [node], inputs, [declare("y", None, TensorProto.INT64)]))
    made = synthesize_feeds(model, dims={"batch": 3, "seq": 5})[0]
    assert made["attention_mask"].tolist() == [[1] * 5] * 3
    assert made["position_ids"].tolist() == [[0, 1, 2, 3, 4]] * 3


def _refuse(reason: str) -> None:
    raise Diagnostic(E_RUN, reason)


def test_other_sizes_are_tried_until_the_model_runs(build: Build) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    model = read_model(build("m", [node], [declare("x", [1, 3, "height", "width"])], [declare("y", None)]))
    made = synthesize_feeds(model, attempt=lambda feeds: feeds["x"].shape[2] >= 200 or _refuse("too small"))[0]
    assert made["x"].shape == (1, 3, 224, 224)
    with pytest.raises(Diagnostic) as caught:
        synthesize_feeds(model, attempt=lambda feeds: _refuse("never"))
    error = caught.value
    assert error.code == "E0606" and error.exit is Exit.BAD_INPUT
    assert "x: f32[1, 3, height, width]" in error.hint and ".npz" in error.hint
    assert error.notes[0] == "tried height=64, width=64: never" and len(error.notes) == 2


def test_scalars_that_select_a_branch_get_what_they_are_compared_with(build: Build) -> None:
    """A recurrent model of audio: the window needs 512 samples, the state shares the batch, the rate picks a window."""
    node = helper.make_node
    nodes = [
        node("Equal", ["sr", "low"], ["slow"]),
        node("Where", ["slow", "eight", "sixteen"], ["window"]),
        node("Unsqueeze", ["audio", "one"], ["wide"]),
        node("Conv", ["wide", "kernel"], ["conv"], strides=[128]),
        node("ReduceMean", ["conv"], ["mean"], axes=[2], keepdims=0),
        node("Slice", ["state", "zero", "one"], ["first"]),
        node("Squeeze", ["first", "zero"], ["flat"]),
        node("Concat", ["mean", "flat"], ["joined"], axis=1),
        node("Cast", ["window"], ["factor"], to=TensorProto.FLOAT),
        node("Mul", ["joined", "factor"], ["y"]),
    ]
    constants = {
        "low": np.array(8000, np.int64), "eight": np.array(1, np.int64), "sixteen": np.array(2, np.int64),
        "zero": np.array([0], np.int64), "one": np.array([1], np.int64), "kernel": np.ones((4, 1, 300), np.float32),
    }  # fmt: skip
    inputs = [declare("audio", [None, None]), declare("state", [2, None, 16]), declare("sr", [], TensorProto.INT64)]
    path = build("audio", nodes, inputs, [declare("y", None)], constants)
    model = read_model(path)
    assert scalar_choices(model.inputs[2]) == [8000, 16000]
    assert scalar_choices(model.inputs[0]) == []
    with Subject(path) as subject:
        made = synthesize_feeds(model, attempt=subject.run)[0]
    assert made["audio"].shape[1] >= 300 and made["state"].shape[1] == made["audio"].shape[0]
    assert made["sr"].shape == () and made["sr"] == 8000 and made["sr"].dtype == np.int64


def test_what_is_cached_and_what_is_new_add_up(build: Build) -> None:
    shapes = {"x": ["batch", "sequence_length"], "past": ["batch", "past_sequence_length"], "mask": ["batch", "total_sequence_length"]}
    nodes = [helper.make_node("Concat", ["past", "x"], ["both"], axis=1), helper.make_node("Mul", ["both", "mask"], ["y"])]
    model = read_model(build("m", nodes, [declare(name, shape) for name, shape in shapes.items()], [declare("y", None)]))
    made = synthesize_feeds(model)[0]
    assert made["mask"].shape[1] == made["x"].shape[1] + made["past"].shape[1]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT4, TensorProto.UINT8, TensorProto.BOOL])
def test_every_element_type_has_values(build: Build, kind: int) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    model = read_model(build("m", [node], [declare("x", ["n", 4], kind)], [declare("y", None, kind)], opset=21))
    value = synthesize_feeds(model)[0]["x"]
    assert value.shape == (2, 4) and len(set(value.astype(np.float32).reshape(-1).tolist())) > 1
