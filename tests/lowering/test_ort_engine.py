"""The session: every element type at the boundary, diagnostics in place of exceptions."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.ir.diagnostics import Diagnostic, Exit
from edgec.lowering.ort.engine import Engine, from_ort, to_ort


def serialized(node: onnx.NodeProto, kinds: dict[str, int], outputs: dict[str, int], opset: int = 21) -> bytes:
    """A model of one node on vectors."""
    graph = helper.make_graph(
        [node],
        "main",
        [helper.make_tensor_value_info(name, kind, ["n"]) for name, kind in kinds.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (np.float32, TensorProto.FLOAT),
        (np.float16, TensorProto.FLOAT16),
        (ml_dtypes.bfloat16, TensorProto.BFLOAT16),
        (ml_dtypes.float8_e4m3fn, TensorProto.FLOAT8E4M3FN),
        (ml_dtypes.float8_e5m2, TensorProto.FLOAT8E5M2),
        (ml_dtypes.int4, TensorProto.INT4),
        (ml_dtypes.uint4, TensorProto.UINT4),
        (np.uint64, TensorProto.UINT64),
        (np.bool_, TensorProto.BOOL),
    ],
)
@pytest.mark.parametrize("shape", [(3,), (0,), (), (2, 3)])
def test_values_travel_unchanged(dtype: type, kind: int, shape: tuple[int, ...]) -> None:
    values = np.arange(int(np.prod(shape, dtype=int))).reshape(shape).astype(dtype)
    sent = to_ort(values)
    assert sent.element_type() == kind
    back = from_ort(sent)
    assert back.dtype == values.dtype and back.shape == shape
    assert back.astype(np.float32).tolist() == values.astype(np.float32).tolist()


def test_unusual_types_run_through_a_model() -> None:
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)
    engine = Engine(serialized(node, {"x": TensorProto.INT4}, {"y": TensorProto.BFLOAT16}))
    found = engine.run({"x": np.array([-8, 0, 7], ml_dtypes.int4)})["y"]
    assert found.dtype == ml_dtypes.bfloat16 and found.tolist() == [-8, 0, 7]


def test_text_runs_through_a_model() -> None:
    node = helper.make_node("StringConcat", ["a", "b"], ["y"])
    engine = Engine(serialized(node, {"a": TensorProto.STRING, "b": TensorProto.STRING}, {"y": TensorProto.STRING}))
    found = engine.run({"a": np.array(["x", "ä"], object), "b": np.array(["1", "2"], object)})
    assert found["y"].tolist() == ["x1", "ä2"]


def test_a_missing_kernel_names_the_node() -> None:
    node = helper.make_node("Identity", ["x"], ["y"], name="copy it")
    with pytest.raises(Diagnostic) as caught:
        Engine(serialized(node, {"x": TensorProto.INT4}, {"y": TensorProto.INT4}))
    assert caught.value.code == "E0504" and caught.value.exit is Exit.TARGET_REFUSED
    assert caught.value.where == "node 'copy it' (Identity)"
    assert caught.value.notes


def test_a_failure_while_running_names_the_node() -> None:
    node = helper.make_node("Add", ["a", "b"], ["y"], name="the sum")
    engine = Engine(serialized(node, {"a": TensorProto.FLOAT, "b": TensorProto.FLOAT}, {"y": TensorProto.FLOAT}))
    with pytest.raises(Diagnostic) as caught:
        engine.run({"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)})
    assert caught.value.code == "E0505" and caught.value.exit is Exit.BAD_INPUT
    assert caught.value.where == "node 'the sum' (Add)"


def test_garbage_and_missing_files_are_diagnostics(tmp_path: Path) -> None:
    for source in (b"not a model", tmp_path / "missing.onnx"):
        with pytest.raises(Diagnostic) as caught:
            Engine(source)
        assert caught.value.code == "E0504"


def test_unknown_levels_and_broken_libraries_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    model = serialized(node, {"x": TensorProto.FLOAT}, {"y": TensorProto.FLOAT})
    with pytest.raises(Diagnostic) as caught:
        Engine(model, level="extendedd")
    assert "did you mean 'extended'" in caught.value.hint
    (tmp_path / "custom.so").write_bytes(b"no library")
    with pytest.raises(Diagnostic) as caught:
        Engine(model, libraries=[tmp_path / "custom.so"])
    assert caught.value.where.endswith("custom.so")


def test_external_weights_of_a_model_in_memory(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "w"], ["y"])
    model = onnx.ModelProto.FromString(serialized(node, {"x": TensorProto.FLOAT}, {"y": TensorProto.FLOAT}))
    (tmp_path / "weights").write_bytes(np.array([1, 2, 3], np.float32).tobytes())
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights")
    model.graph.initializer.append(tensor)
    engine = Engine(model.SerializeToString(), data_folder=tmp_path)
    assert engine.run({"x": np.zeros(3, np.float32)})["y"].tolist() == [1, 2, 3]
