"""Capability matrix, choice of opset, refusals, options and custom operator libraries of the ONNX Runtime
backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgec.ir.diagnostics import Diagnostic, Exit
from edgec.ir.dtypes import DType
from edgec.ir.model import Model
from edgec.ir.serial.reader import read_model, read_model_bytes
from edgec.lowering.backend import Backend
from edgec.lowering.ort.engine import Engine
from edgec.lowering.ort.facts import kernels, newest_opset
from edgec.lowering.registry import backend, backend_names, register_backend
from edgec.runtime.bundle import load_bundle, write_bundle


def model_of(node: onnx.NodeProto, inputs: Sequence[tuple[str, int, Any]], kind: int, opset: int, domains: Sequence[str] = ()) -> Model:
    """A model of one node."""
    graph = helper.make_graph(
        [node],
        "main",
        [helper.make_tensor_value_info(name, code, shape) for name, code, shape in inputs],
        [helper.make_tensor_value_info(name, kind, None) for name in node.output],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return read_model_bytes(helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString())


@pytest.fixture
def ort() -> Backend:
    return backend("ort")


def test_the_registry_knows_it_and_suggests_it(ort: Backend) -> None:
    assert "ort" in backend_names() and ort.available() is None
    with pytest.raises(Diagnostic) as caught:
        backend("orrt")
    assert caught.value.code == "E0502" and "did you mean 'ort'" in caught.value.hint


def test_plugins_register_backends(ort: Backend) -> None:
    register_backend("ort-again", lambda: ort)
    try:
        assert backend("ort-again") is ort and "ort-again" in backend_names()
    finally:
        from edgec.lowering import registry

        registry._registered.pop("ort-again")
        registry._made.pop("ort-again")


def test_the_matrix_covers_every_operator_class(ort: Backend) -> None:
    matrix = ort.matrix
    levels = {row.op.op_name: row.level for row in reversed(matrix) if not row.op.domain}  # the first row of each
    assert levels["Conv"] == levels["MatMul"] == levels["If"] == "native"
    assert levels["Mish"] == levels["HardSwish"] == "decomposed"
    assert all(row.evidence for row in matrix)
    conv = next(row for row in matrix if row.op.op_name == "Conv" and not row.op.domain)
    assert conv.to_json()["dtypes"] == ["f32"]
    halves = [row for row in matrix if row.op is conv.op and row is not conv]
    assert [(row.level, row.covers(DType.FLOAT16), row.covers(DType.INT8)) for row in halves] == [("decomposed", True, False)]
    assert all(row.kind in ("schema", "probe") and row.since == ort.version() for row in matrix)


@pytest.mark.parametrize(
    ("name", "kind", "opset", "written"),
    [
        ("Relu", TensorProto.FLOAT, 13, 21),
        ("QuantizeLinear", TensorProto.FLOAT, 28, 21),
        ("Attention", TensorProto.FLOAT, 23, 23),
        ("Mish", TensorProto.FLOAT, 18, 21),
    ],
)
def test_the_opset_is_one_at_which_kernels_exist(ort: Backend, name: str, kind: int, opset: int, written: int) -> None:
    operands = {"Relu": ["x"], "QuantizeLinear": ["x", "s"], "Attention": ["x", "x", "x"], "Mish": ["x"]}[name]
    shapes: dict[str, Any] = {"x": [1, 2, 4, 4], "s": []}
    inputs = [(n, kind, shapes[n]) for n in dict.fromkeys(operands)]
    result = TensorProto.UINT8 if name == "QuantizeLinear" else kind
    artifact = ort.lower(model_of(helper.make_node(name, operands, ["y"]), inputs, result, opset), {})
    assert artifact.facts["opset"] == written


@pytest.mark.parametrize("name", ["Add", "Conv", "Softmax", "Gather", "LayerNormalization", "Einsum"])
def test_native_verdicts_hold(ort: Backend, name: str) -> None:
    """What the matrix calls native for float32 loads; the same node in int8 is refused where there is no
    kernel.
    """
    operands = {"Add": "xx", "Conv": "xx", "Softmax": "x", "Gather": "xi", "LayerNormalization": "xs", "Einsum": "xx"}[name]
    attributes: dict[str, Any] = {"equation": "abcd,abcd->ab"} if name == "Einsum" else {}
    for kind in (TensorProto.FLOAT, TensorProto.INT8):
        declared = {"x": (kind, [2, 2, 2, 2]), "i": (TensorProto.INT64, [1]), "s": (kind, [2])}
        inputs = [(n, *declared[n]) for n in dict.fromkeys(operands)]
        graph = helper.make_graph(
            [helper.make_node(name, list(operands), ["y"], **attributes)],
            "main",
            [helper.make_tensor_value_info(*spec) for spec in inputs],
            [helper.make_tensor_value_info("y", kind, None)],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        try:
            model = read_model_bytes(proto.SerializeToString())
        except Diagnostic:
            continue  # the definition itself does not admit the type
        (node,) = model.graph
        if ort.support(node).level == "native":
            Engine(proto.SerializeToString())
        else:
            with pytest.raises(Diagnostic):
                Engine(proto.SerializeToString(), level="disable")


def test_a_node_without_kernel_is_refused_by_name(ort: Backend) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="the double one")
    shape = [1, 1, 4, 4]
    inputs = [("x", TensorProto.DOUBLE, shape), ("w", TensorProto.DOUBLE, shape)]
    model = model_of(node, inputs, TensorProto.DOUBLE, 21)
    with pytest.raises(Diagnostic) as caught:
        ort.lower(model, {})
    assert caught.value.exit is Exit.TARGET_REFUSED and caught.value.code == "E0501"
    assert "the double one" in caught.value.where
    assert "tensor(double)" in caught.value.message


def test_an_unknown_domain_needs_a_library(ort: Backend, tmp_path: Path) -> None:
    node = helper.make_node("Frobnicate", ["x"], ["y"], name="frob", domain="my.domain")
    model = model_of(node, [("x", TensorProto.FLOAT, [2])], TensorProto.FLOAT, 21, ["my.domain"])
    with pytest.raises(Diagnostic) as caught:
        ort.lower(model, {})
    assert "custom operator library" in caught.value.message and "frob" in caught.value.where
    with pytest.raises(Diagnostic) as caught:
        ort.lower(model, {"custom_op_libraries": [tmp_path / "none.so"]})
    assert "none.so" in caught.value.where
    library = tmp_path / "custom.so"
    library.write_bytes(b"\x7fELF")
    bundle = write_bundle(ort.lower(model, {"custom_op_libraries": [library]}), tmp_path / "bundle", {})
    assert bundle.manifest["options"]["custom_op_libraries"] == ["libraries/custom.so"]
    assert (bundle.folder / "libraries" / "custom.so").read_bytes() == b"\x7fELF"
    with pytest.raises(Diagnostic) as caught:
        load_bundle(bundle.folder).run({"x": np.zeros(2, np.float32)})
    assert caught.value.code == "E0504"


def test_half_precision_is_reported_as_run_in_float32(ort: Backend, tmp_path: Path) -> None:
    inputs = [("x", TensorProto.FLOAT16, [2, 2])]
    model = model_of(helper.make_node("MatMul", ["x", "x"], ["y"], name="mm"), inputs, TensorProto.FLOAT16, 21)
    artifact = ort.lower(model, {})
    assert [loss.kind for loss in artifact.losses] == ["precision"] and artifact.losses[0].where == "mm"
    x = np.array([[1, 2], [3, 4]], np.float16)
    found = write_bundle(artifact, tmp_path / "bundle", {}).run({"x": x})["y"]
    assert found.dtype == np.float16 and found.tolist() == (x @ x).tolist()


def test_options_are_checked_and_can_be_overridden(ort: Backend, tmp_path: Path) -> None:
    model = model_of(helper.make_node("Relu", ["x"], ["y"]), [("x", TensorProto.FLOAT, [2])], TensorProto.FLOAT, 17)
    for wrong in ({"thread": 1}, {"optimization": "best"}, {"threads": -1}):
        with pytest.raises(Diagnostic) as caught:
            ort.lower(model, wrong)
        assert caught.value.code == "E0506"
    assert ort.lower(model, {"opset": 17}).facts["opset"] == 17
    bundle = write_bundle(ort.lower(model, {"threads": 1, "optimization": "basic"}), tmp_path / "bundle", {})
    assert bundle.manifest["options"] == {"threads": 1, "optimization": "basic", "custom_op_libraries": []}
    assert load_bundle(bundle.folder, threads=2).run({"x": [-1.0, 1.0]})["y"].tolist() == [0, 1]
    assert read_model(bundle.folder / "model.onnx").opsets[""] == 21


def test_facts_come_from_the_installed_library() -> None:
    assert newest_opset() >= 25
    assert any(kernel.covers(22) for kernel in kernels()[("", "Conv")])
    assert not any(kernel.covers(22) for kernel in kernels()[("", "RoiAlign")])
