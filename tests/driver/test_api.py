"""The Python API gives what the commands give."""

import numpy as np
import pytest

import edgec

PASSES = "remove-no-ops,fold-batch-norm,dead-code"


def test_load_binds_dimensions(model) -> None:
    loaded = edgec.load(model, dims={"batch": 3})
    assert loaded.inputs[0].shape == (3, 3, 8, 8) and loaded.outputs[0].shape == (3, 5)
    with pytest.raises(edgec.Diagnostic, match="bach"):
        edgec.load(model, dims={"bach": 3})


def test_optimize_leaves_the_given_model_alone(model, tmp_path) -> None:
    loaded = edgec.load(model)
    before = len(loaded.graph)
    smaller = edgec.optimize(loaded, passes=PASSES)
    assert len(loaded.graph) == before > len(smaller.graph)
    smaller.save(tmp_path / "small.onnx")
    assert edgec.verify(model, tmp_path / "small.onnx").passed


def test_compile_and_run(model, tmp_path) -> None:
    bundle = edgec.compile(model, output=tmp_path / "b", passes=PASSES, options={"threads": 1})
    feeds = {"x": np.ones((1, 3, 8, 8), np.float32)}
    first = bundle.run(feeds)
    second = edgec.load_bundle(tmp_path / "b").run(feeds)
    assert list(first) == ["y"]
    np.testing.assert_array_equal(first["y"], second["y"])
    report = edgec.verify(model, bundle, [feeds])
    assert report.passed and report.to_json()["outputs"][0]["name"] == "y"


def test_text_files_are_models(model, tmp_path) -> None:
    from edgec.ir.text import print_graph

    loaded = edgec.load(model)
    path = tmp_path / "m.edgec"
    path.write_text(print_graph(loaded))
    again = edgec.load(path)
    assert print_graph(again) == print_graph(loaded)
    assert edgec.verify(model, path).passed


def test_plugins_must_exist(model) -> None:
    with pytest.raises(edgec.Diagnostic, match="no_such_plugin"):
        edgec.optimize(model, plugins=["no_such_plugin"])
