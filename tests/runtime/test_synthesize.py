"""Made-up inputs run, repeat, and stay inside vocabularies."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.serial.reader import read_model
from edgec.runtime.synthesize import index_limits, synthesize_feeds

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


def test_other_sizes_are_tried_until_the_model_runs(build: Build) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    model = read_model(build("m", [node], [declare("x", [1, 3, "height", "width"])], [declare("y", None)]))
    made = synthesize_feeds(model, accepts=lambda feeds: feeds["x"].shape[2] >= 200)[0]
    assert made["x"].shape == (1, 3, 224, 224)
    with pytest.raises(Diagnostic) as caught:
        synthesize_feeds(model, accepts=lambda feeds: False)
    assert caught.value.code == "E0606"


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT4, TensorProto.UINT8, TensorProto.BOOL])
def test_every_element_type_has_values(build: Build, kind: int) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    model = read_model(build("m", [node], [declare("x", ["n", 4], kind)], [declare("y", None, kind)], opset=21))
    value = synthesize_feeds(model)[0]["x"]
    assert value.shape == (2, 4) and len(set(value.astype(np.float32).reshape(-1).tolist())) > 1
