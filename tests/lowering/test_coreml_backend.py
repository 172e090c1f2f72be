"""The Core ML backend: bundles, options, interface, refusals, losses, reproducible bytes."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("coremltools")

import coremltools as ct

import edgec
from edgec.ir.diagnostics import Diagnostic, Exit
from edgec.ir.dtypes import DType
from edgec.ir.model import Model
from edgec.ir.serial.reader import read_model_bytes
from edgec.lowering.backend import REASON_CODES, Refusal
from edgec.lowering.coreml.matrix import problems
from edgec.lowering.coreml.versions import Release
from edgec.lowering.registry import backend
from edgec.lowering.support import query

F = TensorProto.FLOAT
RANDOM = np.random.default_rng(3)
Spec = tuple[str, int, Any]


def model_of(nodes: Sequence[Any], inputs: Sequence[Spec], outputs: Sequence[Spec], weights: dict[str, Any] | None = None) -> Model:
    """A model of a few nodes at opset 21, with metadata."""
    graph = helper.make_graph(
        list(nodes),
        "main",
        [helper.make_tensor_value_info(*spec) for spec in inputs],
        [helper.make_tensor_value_info(*spec) for spec in outputs],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10, producer_name="tests")
    helper.set_model_props(proto, {"labels": "cat,dog"})
    return read_model_bytes(proto.SerializeToString())


def small_net() -> Model:
    """Convolution, pooling and a classifier over a symbolic batch; names that Core ML does not admit."""
    nodes = [
        helper.make_node("Conv", ["in/put:0", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "v"], ["g"], name="classify"),
        helper.make_node("Softmax", ["g"], ["state"], name="softmax"),
    ]
    weights = {"w": RANDOM.normal(size=(64, 3, 3, 3)).astype(np.float32), "v": RANDOM.normal(0, 0.1, (64, 48)).astype(np.float32)}
    return model_of(nodes, [("in/put:0", F, ["N", 3, 8, 8])], [("state", F, ["N", 48])], weights)


NET = small_net()
IMAGE = {"in/put:0": RANDOM.normal(size=(2, 3, 8, 8)).astype(np.float32)}


def refusal(model: Model, folder: Path, **options: Any) -> Diagnostic:
    """The diagnostic that compiling ends with; nothing may be left behind."""
    with pytest.raises(Diagnostic) as caught:
        edgec.compile(model, target="coreml", output=folder / "bundle", options=options)
    assert not (folder / "bundle").exists() and not list(folder.iterdir())
    return caught.value


def spec_of(folder: Path) -> Any:
    return ct.utils.load_spec(str(folder / "model.mlpackage"))


def test_bundle_runs_and_maps_names(tmp_path: Path) -> None:
    bundle = edgec.compile(NET, target="coreml", output=tmp_path / "b")
    result = edgec.load_bundle(tmp_path / "b").run(IMAGE)["state"]
    reference = edgec.compile(NET, target="ort", output=tmp_path / "o").run(IMAGE)["state"]
    np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-7)
    spec = spec_of(bundle.folder)
    assert [f.name for f in spec.description.input] == ["in_put_0"]
    assert [f.name for f in spec.description.output] == ["v_state"], "`state` is a word of MIL"
    assert bundle.manifest["lowering"]["outputs"][0]["name"] == "state"
    assert spec.description.metadata.userDefined["onnx.labels"] == "cat,dog"
    assert not [key for key in spec.description.metadata.userDefined if "coremltools" in key]


def test_same_bytes_twice(tmp_path: Path) -> None:
    """The package's identifiers follow from its contents."""
    contents = []
    for name in ("a", "b"):
        folder = edgec.compile(NET, target="coreml", output=tmp_path / name, options={"weights": "palette4"}).folder
        contents.append({p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()})
    assert contents[0] == contents[1]
    names = [name for name in contents[0] if name.startswith("model.mlpackage")]
    assert any(name.endswith("weights/weight.bin") for name in names)
    manifest = json.loads(contents[0]["model.mlpackage/Manifest.json"])
    assert manifest["rootModelIdentifier"] in manifest["itemInfoEntries"]


@pytest.mark.parametrize(
    ("options", "operator", "limit"),
    [
        ({"weights": "f16"}, "constexpr_cast", 1e-3),
        ({"weights": "int8"}, "constexpr_affine_dequantize", 2e-2),
        ({"weights": "palette8"}, "constexpr_lut_to_dense", 2e-2),
        ({"weights": "palette6", "minimum_target": "iOS18"}, "constexpr_lut_to_dense", 6e-2),
        ({"weights": "int4-blockwise", "minimum_target": "iOS18", "block_size": 16}, "constexpr_blockwise_shift_scale", 0.3),
    ],
)
def test_compressed_weights(options: dict[str, Any], operator: str, limit: float, tmp_path: Path) -> None:
    exact = edgec.compile(NET, target="coreml", output=tmp_path / "e").run(IMAGE)["state"]
    bundle = edgec.compile(NET, target="coreml", output=tmp_path / "b", options={"weight_threshold": 512, **options})
    (block,) = spec_of(bundle.folder).mlProgram.functions["main"].block_specializations.values()
    assert operator in {op.type for op in block.operations}
    error = np.linalg.norm(bundle.run(IMAGE)["state"] - exact) / np.linalg.norm(exact)
    assert 0 < error < limit
    assert any(loss["kind"] == "precision" and loss["where"] == "weights" for loss in bundle.manifest["losses"])


def test_half_precision_with_exceptions(tmp_path: Path) -> None:
    bundle = edgec.compile(NET, target="coreml", output=tmp_path / "b", options={"precision": "f16", "keep_f32": "conv,softmax"})
    (block,) = spec_of(bundle.folder).mlProgram.functions["main"].block_specializations.values()
    kinds = {op.type: op.outputs[0].type.tensorType.dataType for op in block.operations if op.type != "const"}
    data_type = ct.proto.MIL_pb2.DataType
    assert kinds["conv"] == data_type.FLOAT32 and kinds["softmax"] == data_type.FLOAT32
    assert kinds["relu"] == data_type.FLOAT16
    placement = bundle.manifest["lowering"]["placement"]
    assert placement["estimate"] and placement["operators"]["gpu"] > 0


def test_placement_names_reasons_and_sources(tmp_path: Path) -> None:
    """Enumerated sizes in float16 fit the Neural Engine; a sorted result does not."""
    nodes = [helper.make_node("Relu", ["x"], ["r"], name="relu"), helper.make_node("TopK", ["r", "k"], ["y", "i"], name="top")]
    model = model_of(nodes, [("x", F, [1, 40])], [("y", F, [1, 3]), ("i", TensorProto.INT64, [1, 3])], {"k": np.array([3])})
    bundle = edgec.compile(model, target="coreml", output=tmp_path / "b", options={"precision": "f16"})
    units = {p["op"]: p for p in json.loads((bundle.folder / "placement.json").read_text())}
    assert units["relu"]["unit"] == "ane" and "reason" not in units["relu"]
    assert units["topk"]["unit"] == "cpu" and units["topk"]["source"]
    exact = edgec.compile(model, target="coreml", output=tmp_path / "e")
    assert exact.manifest["lowering"]["placement"]["operators"]["ane"] == 0, "float32 runs on the GPU or the CPU"


def test_flexible_shapes(tmp_path: Path) -> None:
    ranged = edgec.compile(NET, target="coreml", output=tmp_path / "r", options={"shapes": "N=1..4"})
    sizes = spec_of(ranged.folder).description.input[0].type.multiArrayType.shapeRange.sizeRanges
    assert (sizes[0].lowerBound, sizes[0].upperBound) == (1, 4)
    listed = edgec.compile(NET, target="coreml", output=tmp_path / "l", options={"shapes": {"N": [1, 2]}})
    assert len(spec_of(listed.folder).description.input[0].type.multiArrayType.enumeratedShapes.shapes) == 2
    np.testing.assert_allclose(listed.run(IMAGE)["state"], ranged.run(IMAGE)["state"], rtol=1e-6)
    with pytest.raises(Diagnostic):
        ranged.run({"in/put:0": np.zeros((5, 3, 8, 8), np.float32)})
    assert refusal(NET, _empty(tmp_path), shapes="M=1..4").code == "E0506"
    assert refusal(NET, _empty(tmp_path), shapes="N=4..1").code == "E0506"


def _empty(folder: Path) -> Path:
    made = folder / "empty"
    made.mkdir(exist_ok=True)
    return made


def test_image_input(tmp_path: Path) -> None:
    options = {"images": "in/put:0=RGB/255", "shapes": "N=1"}
    bundle = edgec.compile(NET, target="coreml", output=tmp_path / "b", options=options)
    assert spec_of(bundle.folder).description.input[0].type.WhichOneof("Type") == "imageType"
    pixels = RANDOM.integers(0, 256, (1, 3, 8, 8))
    feeds = {"in/put:0": (pixels / 255).astype(np.float32)}
    plain = edgec.compile(NET, target="coreml", output=tmp_path / "p").run(feeds)["state"]
    np.testing.assert_allclose(bundle.run(feeds)["state"], plain, rtol=1e-4, atol=1e-6)
    assert refusal(NET, _empty(tmp_path), images="in/put:0=GRAYSCALE").code == "E0506"


def test_states_live_between_runs(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "past"], ["present"], name="add"), helper.make_node("Neg", ["present"], ["y"], name="neg")]
    model = model_of(nodes, [("x", F, [1, 4]), ("past", F, [1, 4])], [("y", F, [1, 4]), ("present", F, [1, 4])])
    options = {"states": "past=present", "minimum_target": "iOS18"}
    bundle = edgec.compile(model, target="coreml", output=tmp_path / "b", options=options)
    assert [s.name for s in bundle.signature.inputs] == ["x"] and [s.name for s in bundle.signature.outputs] == ["y"]
    one = np.ones((1, 4), np.float32)
    assert [float(bundle.run({"x": one})["y"][0, 0]) for _ in range(3)] == [-1, -2, -3]
    assert [f.name for f in spec_of(bundle.folder).description.state] == ["past"]
    assert refusal(model, _empty(tmp_path), states="past=present").code == "E0506", "states need iOS18"


def test_integer_and_bool_interface(tmp_path: Path) -> None:
    nodes = [helper.make_node("Where", ["c", "a", "b"], ["y"], name="where"), helper.make_node("Not", ["c"], ["n"], name="not")]
    specs = [("c", TensorProto.BOOL, [3]), ("a", TensorProto.INT64, [3]), ("b", TensorProto.INT64, [])]
    model = model_of(nodes, specs, [("y", TensorProto.INT64, [3]), ("n", TensorProto.BOOL, [3])])
    bundle = edgec.compile(model, target="coreml", output=tmp_path / "b")
    feeds = {"c": np.array([True, False, True]), "a": np.array([1, 2, 2**31 - 1]), "b": np.array(-7)}
    results = bundle.run(feeds)
    assert results["y"].dtype == np.int64 and results["y"].tolist() == [1, -7, 2**31 - 1]
    assert results["n"].dtype == np.bool_ and results["n"].tolist() == [False, True, False]
    assert {loss["kind"] for loss in bundle.manifest["losses"]} >= {"interface-type", "interface-rank", "integer-width"}
    with pytest.raises(Diagnostic) as caught:
        bundle.run({**feeds, "b": np.array(2**31)})
    assert caught.value.code == "E0505"


BAD: list[tuple[str, Model, str]] = [
    (
        "int64-range",
        model_of([helper.make_node("Add", ["x", "c"], ["y"], name="n")], [("x", TensorProto.INT64, [2])], [("y", TensorProto.INT64, [2])],
                 {"c": np.array([1, 2**40])}),
        "int64-range",
    ),
    ("zero-size", model_of([helper.make_node("Neg", ["x"], ["y"], name="n")], [("x", F, [0, 2])], [("y", F, [0, 2])]), "zero-size"),
    (
        "nan",
        model_of([helper.make_node("Add", ["x", "c"], ["y"], name="n")], [("x", F, [2])], [("y", F, [2])],
                 {"c": np.array([1, np.nan], np.float32)}),
        "not-finite",
    ),
    (
        "string",
        model_of([helper.make_node("Identity", ["x"], ["y"], name="n")], [("x", TensorProto.STRING, [2])],
                 [("y", TensorProto.STRING, [2])]),
        "string",
    ),
    ("rank", model_of([helper.make_node("Neg", ["x"], ["y"], name="n")], [("x", F, [1] * 6)], [("y", F, [1] * 6)]), "rank"),
]  # fmt: skip


def test_float64_is_computed_in_float32(tmp_path: Path) -> None:
    """The interface stays float64, the loss is reported, and numbers that float32 cannot hold are refused when they are fed."""
    nodes = [helper.make_node("Softmax", ["x"], ["s"]), helper.make_node("Add", ["s", "c"], ["y"])]
    constant = {"c": np.array([1.5, -2.0, 1e-3])}
    model = model_of(nodes, [("x", TensorProto.DOUBLE, [2, 3])], [("y", TensorProto.DOUBLE, [2, 3])], constant)
    bundle = edgec.compile(model, target="coreml", output=tmp_path / "bundle")
    x = np.array([[0.1, 2.0, -3.0], [5.0, 5.0, 5.0]])
    found = bundle.run({"x": x})["y"]
    exact = np.exp(x) / np.exp(x).sum(1, keepdims=True) + constant["c"]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert any(loss["kind"] == "precision" and "float64" in loss["what"] for loss in bundle.manifest["losses"])
    with pytest.raises(Diagnostic) as caught:
        bundle.run({"x": np.full((2, 3), 1e200)})
    assert caught.value.code == "E0505" and "'x'" in caught.value.where


def test_constants_beyond_float32_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "c"], ["y"], name="n")
    model = model_of([node], [("x", TensorProto.DOUBLE, [2])], [("y", TensorProto.DOUBLE, [2])], {"c": np.array([1.0, 1e100])})
    assert refusal(model, tmp_path).code == "E0501"


@pytest.mark.parametrize(("model", "reason"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_refusals_have_a_reason_code(model: Model, reason: str, tmp_path: Path) -> None:
    error = refusal(model, tmp_path)
    assert error.code == "E0501" and error.exit == Exit.TARGET_REFUSED
    assert isinstance(error, Refusal) and error.reason_code == reason and reason in REASON_CODES


@pytest.mark.parametrize(
    "options",
    [{"minimum_target": "iOS14"}, {"precision": "f8"}, {"weights": "int4-blockwise"}, {"block_size": 0}, {"runtime": "tpu"}, {"shapes": 3}],
)
def test_impossible_options(options: dict[str, Any]) -> None:
    with pytest.raises(Diagnostic) as caught:
        backend("coreml").options(options)
    assert caught.value.code == "E0506"


def test_matrix_tells_the_truth_about_nodes() -> None:
    """What the matrix calls native, decomposed or none is what happens to nodes."""
    target = backend("coreml")
    assert {row.level for row in target.matrix} <= {"native", "decomposed", "partial", "none"}
    assert all(row.evidence for row in target.matrix)
    norm = [row for row in target.matrix if row.op.op_name == "LayerNormalization"]
    assert {row.since for row in norm} == {"iOS15"} and norm[0].level == "native" and "layer_norm" in norm[0].evidence
    levels = {v: next(level for _, level in query(target.matrix, "Attention", DType.FLOAT, v)) for v in ("iOS15", "iOS17", "iOS18")}
    assert levels == {"iOS15": "decomposed", "iOS17": "decomposed", "iOS18": "native"}
    mish = model_of([helper.make_node("HardSwish", ["x"], ["y"])], [("x", F, [2])], [("y", F, [2])])
    assert [target.support(node).level for node in mish.graph] == ["decomposed"]
    assert not problems(list(mish.graph), Release.IOS15)


@pytest.mark.skipif(platform.system() != "Darwin", reason="Core ML runs on macOS alone")
def test_core_ml_agrees_with_the_evaluator(tmp_path: Path) -> None:
    bundle = edgec.compile(NET, target="coreml", output=tmp_path / "b", options={"shapes": "N=2"})
    evaluated = edgec.load_bundle(bundle.folder, runtime="evaluator").run(IMAGE)["state"]
    np.testing.assert_allclose(edgec.load_bundle(bundle.folder, runtime="coreml").run(IMAGE)["state"], evaluated, rtol=1e-3, atol=1e-4)
