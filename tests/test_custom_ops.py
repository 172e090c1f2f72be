"""The three routes of custom operators on the same models, against numpy, from Python and from the command line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgec
from edgec.cli import main
from edgec.ir.custom import CUSTOM_OPS, in_python, libraries_of, route_of, routes
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.interpreter import interpret
from edgec.ir.op import OPS, Op
from edgec.ir.ops.binary import Add, Max, Min, Mul
from edgec.ir.types import TensorType
from edgec.passes.explain import explain_rule
from edgec.passes.registry import RULES

extensions = pytest.importorskip("onnxruntime_extensions", reason="the library of kernels comes with onnxruntime-extensions")
LIBRARY = extensions.get_library_path()
CONTRIB = "ai.onnx.contrib"
NEGPOS = f"{CONTRIB}.NegPos"
ROUTES = ("keep", "decompose", "python")
FEEDS = {"x": np.random.default_rng(7).normal(size=(3, 6)).astype(np.float32)}
WEIGHTS = np.random.default_rng(8).normal(size=(6, 4)).astype(np.float32)


def expected() -> np.ndarray:
    product = FEEDS["x"] @ WEIGHTS
    return np.maximum(product, 0) + np.minimum(product, 0) / 4


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Forget what a test registers, but not the rules of targets, which are registered once in a process, when they are first used."""
    for target in ("openvino", "tflite", "coreml", "tensorrt"):
        import_module(f"edgec.lowering.{target}.rewrites")
    kept = dict(OPS), dict(CUSTOM_OPS), dict(RULES)
    yield
    for registry, before in zip((OPS, CUSTOM_OPS, RULES), kept, strict=True):
        registry.clear()  # type: ignore[attr-defined]
        registry.update(before)  # type: ignore[attr-defined]


def split(node: Any, b: Any) -> Any:
    """NegPos by Min and Max."""
    x = node.inputs[0]
    zero = b.scalar_like(x, 0)
    return b.add(Min(), x, zero), b.add(Max(), x, zero)


def negpos_class() -> type[Op]:
    @dataclass(frozen=True)
    class NegPos(Op):
        """min(x, 0) and max(x, 0)."""

        domain: ClassVar[str] = CONTRIB
        outputs: ClassVar[int] = 2

        def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
            return TensorType(x.dtype, x.shape), TensorType(x.dtype, x.shape)

        def evaluate(self, x: Any) -> Any:
            return np.minimum(x, x.dtype.type(0)), np.maximum(x, x.dtype.type(0))

    return NegPos


def leaky(path: Path, domain: str = CONTRIB, declared: bool = False) -> Path:
    """pos(x·w) + neg(x·w) / 4, with NegPos of some domain."""
    constants = [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(np.float32(0.25), "slope")]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], name="project"),
        helper.make_node("NegPos", ["p"], ["neg", "pos"], name="split", domain=domain),
        helper.make_node("Mul", ["neg", "slope"], ["d"], name="damp"),
        helper.make_node("Add", ["pos", "d"], ["y"], name="join"),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", size]) for n, size in (("x", 6), ("y", 4)))
    inner = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4]) for n in ("neg", "pos")] if declared else []
    graph = helper.make_graph(nodes, "leaky", [x], [y], constants, value_info=inner)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return leaky(tmp_path / "leaky.onnx")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def command(*arguments: object) -> tuple[int, str, str]:
        status = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


# -- the same model on every route ----------------------------------------------------------------------------------------
def test_keep(model, tmp_path) -> None:
    edgec.register_op(negpos_class(), route="keep", library=LIBRARY)
    bundle = edgec.compile(model, output=tmp_path / "b")
    name = f"libraries/{Path(LIBRARY).name}"
    assert name in bundle.manifest["files"] and bundle.manifest["options"]["custom_op_libraries"] == [name]
    assert bundle.manifest["custom_ops"] == {NEGPOS: "keep"}
    assert "NegPos" in operators(tmp_path / "b" / "model.onnx")
    np.testing.assert_allclose(edgec.load_bundle(tmp_path / "b").run(FEEDS)["y"], expected(), rtol=1e-5, atol=1e-6)
    report = edgec.verify(model, bundle, [FEEDS])
    assert report.passed and not any("Python" in note for note in report.notes)


def test_decompose(model, tmp_path) -> None:
    edgec.register_op(negpos_class(), route="decompose", decompose=split)
    smaller = edgec.optimize(model, check_each_pass=True, data=[FEEDS])
    assert {node.op.qualified_name for node in smaller.graph} == {"MatMul", "Min", "Max", "Mul", "Add"}
    bundle = edgec.compile(model, output=tmp_path / "b")
    assert set(bundle.manifest["files"]) == {"debug.json", "model.onnx"} and bundle.manifest["custom_ops"] == {NEGPOS: "decompose"}
    np.testing.assert_allclose(bundle.run(FEEDS)["y"], expected(), rtol=1e-5, atol=1e-6)
    report = edgec.verify(model, bundle, [FEEDS])
    assert report.passed and {layer.reference for layer in report.layers} >= {"p", "neg", "pos", "d", "y"}


def test_python(model, tmp_path) -> None:
    edgec.register_op(negpos_class(), route="python", library=LIBRARY, decompose=split)
    np.testing.assert_allclose(interpret(edgec.load(model), FEEDS)["y"], expected(), rtol=1e-5, atol=1e-6)
    kept = edgec.optimize(model, check_each_pass=True, data=[FEEDS])
    assert any(node.op.qualified_name == NEGPOS for node in kept.graph)
    plain = edgec.optimize(model, op_routes={NEGPOS: "decompose"})
    report = edgec.verify(kept, plain, [FEEDS])
    assert report.passed and any(NEGPOS in note and "Python" in note for note in report.notes)
    assert report.layers and all(layer.isolated is not None for layer in report.layers)
    with pytest.raises(Diagnostic, match="its route is 'python'") as refused:
        edgec.compile(model, output=tmp_path / "b")
    error = refused.value
    assert int(error.exit) == 3 and "split" in error.where and "--op-route" in error.hint and not (tmp_path / "b").exists()


def test_python_route_finds_a_wrong_decomposition(model) -> None:
    def wrong(node: Any, b: Any) -> Any:
        x = node.inputs[0]
        return b.add(Min(), x, b.scalar_like(x, 0)), b.add(Max(), x, b.scalar_like(x, 0.01))

    edgec.register_op(negpos_class(), route="decompose", decompose=wrong)
    with pytest.raises(Diagnostic, match="pass 'decompose-custom' changed the model") as caught:
        edgec.optimize(model, check_each_pass=True, data=[FEEDS])
    assert caught.value.code == "E0621" and f"decompose-{NEGPOS}" in caught.value.message
    with routes({NEGPOS: "keep"}):
        kept = edgec.optimize(model)
    report = edgec.verify(kept, edgec.optimize(model), [FEEDS])
    assert not report.passed and report.first_diverging is not None and report.first_diverging.reference == "pos"


PLUGIN = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
import edgec
from edgec.ir.op import Op
from edgec.ir.ops.binary import Max, Min
from edgec.ir.types import TensorType

@dataclass(frozen=True)
class NegPos(Op):
    domain: ClassVar[str] = "ai.onnx.contrib"
    outputs: ClassVar[int] = 2
    def infer(self, x):
        return TensorType(x.dtype, x.shape), TensorType(x.dtype, x.shape)
    def evaluate(self, x):
        return np.minimum(x, x.dtype.type(0)), np.maximum(x, x.dtype.type(0))

def split(node, b):
    zero = b.scalar_like(node.inputs[0], 0)
    return b.add(Min(), node.inputs[0], zero), b.add(Max(), node.inputs[0], zero)

edgec.register_op(NegPos, library={library!r}, decompose=split)
"""


def test_the_command_line_selects_routes(model, tmp_path, run, monkeypatch) -> None:
    plugin = tmp_path / "negpos_plugin.py"
    plugin.write_text(PLUGIN.replace("{library!r}", repr(LIBRARY)))
    np.savez(tmp_path / "in.npz", **FEEDS)
    results = {}
    for route in ("keep", "decompose"):
        folder = tmp_path / route
        arguments = ["--plugin", plugin, "--op-route", f"{NEGPOS}={route}"]
        status, out, err = run("compile", model, "-o", folder, *arguments, "--check-each-pass", "--data", tmp_path / "in.npz", "--json")
        assert status == 0, err
        assert any("libraries/" in name for name in json.loads(out)["files"]) == (route == "keep")
        status, _, err = run("run", folder, "--input", tmp_path / "in.npz", "--output", tmp_path / f"{route}.npz")
        assert status == 0, err
        results[route] = np.load(tmp_path / f"{route}.npz")["y"]
    status, out, err = run("verify", model, tmp_path / "decompose", "--data", tmp_path / "in.npz", *_python(plugin), "--json")
    assert status == 0, err
    report = json.loads(out)
    assert report["passed"] and any(NEGPOS in note for note in report["notes"])
    for result in results.values():
        np.testing.assert_allclose(result, expected(), rtol=1e-5, atol=1e-6)
    status, _, err = run("compile", model, "-o", tmp_path / "b", *_python(plugin))
    assert status == 3 and "node 'split'" in err and "serves verification only" in err
    status, out, _ = run("ops", NEGPOS, "--plugin", plugin, "--json")
    assert json.loads(out)["ops"][0]["routes"] == {"route": "keep", "possible": ["keep", "decompose", "python"], "library": LIBRARY}
    status, out, _ = run("inspect", model, "--plugin", plugin, "--tensors", "--json")
    assert {t["name"]: t["shape"] for t in json.loads(out)["tensors"]}["neg"] == ["batch", 4]
    __import__("sys").modules.pop("negpos_plugin")


def _python(plugin: Path) -> list[object]:
    return ["--plugin", plugin, "--op-route", f"{NEGPOS}=python"]


# -- operators that nobody registered -------------------------------------------------------------------------------------
def test_an_unknown_operator_is_refused_with_the_three_routes(model, tmp_path, run) -> None:
    status, _, err = run("compile", model, "-o", tmp_path / "b")
    assert status == 3 and "node 'split'" in err and not (tmp_path / "b").exists()
    assert all(words in err for words in ("--custom-op-library", "decompose=FUNCTION", "implement it in Python"))
    status, _, err = run("verify", model, model)
    assert status == 3 and "--custom-op-library" in err


def test_a_library_from_the_command_line(model, tmp_path, run) -> None:
    np.savez(tmp_path / "in.npz", **FEEDS)
    given = ["--custom-op-library", LIBRARY]
    optimised = tmp_path / "o.onnx"
    status, _, err = run("optimize", model, "-o", optimised, *given, "--check-each-pass", "--data", tmp_path / "in.npz")
    assert status == 0 and "NegPos" in operators(optimised), err
    assert run("compile", model, "-o", tmp_path / "b", *given)[0] == 0
    for extra in ([], given):
        arguments = ["--input", tmp_path / "in.npz", "--output", tmp_path / "out.npz", *extra]
        status, _, err = run("run", tmp_path / "b", *arguments)
        assert status == 0, err
        np.testing.assert_allclose(np.load(tmp_path / "out.npz")["y"], expected(), rtol=1e-5, atol=1e-6)
    status, out, err = run("verify", model, tmp_path / "b", "--data", tmp_path / "in.npz", *given, "--json")
    assert status == 0 and json.loads(out)["passed"], err


def test_a_library_without_the_kernel_is_refused_before_anything_is_written(tmp_path) -> None:
    path = leaky(tmp_path / "m.onnx", "com.acme", declared=True)
    with pytest.raises(Diagnostic) as caught:
        edgec.compile(path, output=tmp_path / "b", custom_op_libraries=[LIBRARY])
    assert int(caught.value.exit) == 3 and not (tmp_path / "b").exists()
    with pytest.raises(Diagnostic, match="does not exist") as caught:
        edgec.compile(path, output=tmp_path / "b", custom_op_libraries=[tmp_path / "none.so"])
    assert int(caught.value.exit) == 2


def test_an_operator_without_a_class_can_be_kept_and_decomposed(model, tmp_path) -> None:
    edgec.register_op(NEGPOS, library=LIBRARY, decompose=split)
    assert OPS.get((CONTRIB, "NegPos")) is None
    for route in ("keep", "decompose"):
        result = edgec.compile(model, output=tmp_path / route, op_routes={NEGPOS: route}).run(FEEDS)["y"]
        np.testing.assert_allclose(result, expected(), rtol=1e-5, atol=1e-6)
    with pytest.raises(Diagnostic, match="no implementation in Python"):
        edgec.verify(model, model, op_routes={NEGPOS: "python"})


def test_a_decomposition_serves_verification_too(tmp_path) -> None:
    """No class, no library: the original can only run by its decomposition."""
    path = leaky(tmp_path / "m.onnx", "com.acme")
    edgec.register_op("com.acme.NegPos", route="decompose", decompose=split)
    report = edgec.verify(path, edgec.optimize(path), [FEEDS])
    assert report.passed and any("com.acme.NegPos" in note for note in report.notes)


def test_an_unknown_operator_of_the_runtime_can_be_decomposed(tmp_path) -> None:
    path = leaky(tmp_path / "m.onnx", "com.microsoft")
    with pytest.raises(Diagnostic, match="com.microsoft.NegPos") as caught:
        edgec.compile(path, output=tmp_path / "b")
    assert int(caught.value.exit) == 3 and "--op-route com.microsoft.NegPos=decompose" in caught.value.hint
    edgec.register_op("com.microsoft.NegPos", route="decompose", decompose=split)
    np.testing.assert_allclose(edgec.compile(path, output=tmp_path / "b").run(FEEDS)["y"], expected(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("route", ROUTES)
def test_openvino_takes_what_is_decomposed(model, tmp_path, route) -> None:
    pytest.importorskip("openvino")
    edgec.register_op(negpos_class(), route=route, library=LIBRARY, decompose=split)
    if route == "decompose":
        result = edgec.compile(model, target="openvino", output=tmp_path / "b").run(FEEDS)["y"]
        np.testing.assert_allclose(result, expected(), rtol=1e-4, atol=1e-5)
        return
    with pytest.raises(Diagnostic, match="target 'openvino' cannot run ai.onnx.contrib.NegPos") as caught:
        edgec.compile(model, target="openvino", output=tmp_path / "b")
    assert int(caught.value.exit) == 3 and "split" in caught.value.where and "three routes" in caught.value.hint


def test_segment_sum_keeps_its_integers(tmp_path) -> None:
    """An operator with an operand of another type, through the library and in Python."""

    @dataclass(frozen=True)
    class SegmentSum(Op):
        """Sums of rows that share a segment number."""

        domain: ClassVar[str] = CONTRIB

        def infer(self, data: TensorType, segment_ids: TensorType) -> TensorType:
            return TensorType(data.dtype, None if data.shape is None else (None, *data.shape[1:]))

        def evaluate(self, data: Any, segment_ids: Any) -> Any:
            sums = np.zeros((int(segment_ids.max()) + 1, *data.shape[1:]), data.dtype)
            np.add.at(sums, segment_ids, data)
            return sums

    edgec.register_op(SegmentSum, library=LIBRARY)
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2]), helper.make_tensor_value_info("s", TensorProto.INT64, ["n"])]
    nodes = [
        helper.make_node("Exp", ["x"], ["e"], name="exp"),
        helper.make_node("SegmentSum", ["e", "s"], ["t"], name="sum", domain=CONTRIB),
        helper.make_node("Log", ["t"], ["y"], name="log"),
    ]
    graph = helper.make_graph(nodes, "g", ends, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", 2])])
    path = tmp_path / "segments.onnx"
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    feeds = {"x": np.arange(8, dtype=np.float32).reshape(4, 2) / 8, "s": np.array([0, 0, 1, 2])}
    wanted = np.log(np.stack([np.exp(feeds["x"][rows]).sum(0) for rows in ([0, 1], [2], [3])]))
    bundle = edgec.compile(path, output=tmp_path / "b")
    np.testing.assert_allclose(bundle.run(feeds)["y"], wanted, rtol=1e-5)
    report = edgec.verify(path, bundle, [feeds], op_routes={f"{CONTRIB}.SegmentSum": "python"})
    assert report.passed and report.outputs[0].error.worst < 1e-6


def test_a_custom_operator_in_a_branch(tmp_path) -> None:
    """A node that contains the operator in a region runs in Python as a whole."""
    edgec.register_op(negpos_class(), route="python", decompose=split)
    branches = []
    for name, result in (("then", "pos"), ("else", "neg")):
        node = helper.make_node("NegPos", ["twice"], [f"{name}_neg", f"{name}_pos"], domain=CONTRIB)
        out = helper.make_tensor_value_info(f"{name}_{result}", TensorProto.FLOAT, ["n"])
        branches.append(helper.make_graph([node], name, [], [out]))
    nodes = [
        helper.make_node("Add", ["x", "x"], ["twice"], name="twice"),
        helper.make_node("If", ["up"], ["part"], name="choose", then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Neg", ["part"], ["y"], name="negate"),
    ]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"]), helper.make_tensor_value_info("up", TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "g", ends, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])])
    path = tmp_path / "branch.onnx"
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    x = np.array([-1, 2, -3], np.float32)
    samples = [{"x": x, "up": np.array(up)} for up in (True, False)]
    plain = edgec.optimize(path, op_routes={NEGPOS: "decompose"})
    assert not any(node.op.qualified_name == NEGPOS for node in plain.graph.walk())
    assert edgec.verify(path, plain, samples).passed
    for sample, wanted in zip(samples, (-np.maximum(2 * x, 0), -np.minimum(2 * x, 0)), strict=True):
        np.testing.assert_array_equal(interpret(plain, sample)["y"], wanted)


# -- registration -----------------------------------------------------------------------------------------------------------
def test_impossible_registrations() -> None:
    cls = negpos_class()
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (cls, {"route": "kepe"}, "there is no route 'kepe'"),
        (cls, {"route": "decompose"}, "no decomposition is registered"),
        (cls, {"library": "absent.so"}, "does not exist"),
        ("com.acme.Foo", {"route": "python"}, "no implementation in Python"),
        ("Conv", {}, "not one for custom operators"),
        ("ai.onnx.ml.TreeEnsemble", {}, "not one for custom operators"),
    ]
    for op, arguments, message in cases:
        with pytest.raises(Diagnostic, match=message) as caught:
            edgec.register_op(op, **arguments)
        assert caught.value.code == "E0209" and caught.value.hint
    assert NEGPOS not in CUSTOM_OPS and "com.acme.Foo" not in CUSTOM_OPS


def test_two_modules_cannot_register_one_operator() -> None:
    edgec.register_op("com.acme.Foo")
    with pytest.raises(Diagnostic, match="registered twice: by .*test_custom_ops and by elsewhere"):
        exec("import edgec; edgec.register_op('com.acme.Foo')", {"__name__": "elsewhere"})


def test_selected_routes_end_with_their_block() -> None:
    edgec.register_op(negpos_class(), decompose=split)
    with routes({NEGPOS: "decompose"}):
        assert route_of(NEGPOS) == "decompose"
        with routes({NEGPOS: "python"}):
            assert route_of(NEGPOS) == "python"
        assert route_of(NEGPOS) == "decompose"
    assert route_of(NEGPOS) == "keep"


def test_selected_operators_must_exist(model, run, tmp_path) -> None:
    status, _, err = run("optimize", model, "-o", tmp_path / "o.onnx", "--op-route", "ai.onnx.contrib.NegPas=keep")
    assert status == 2 and "did you mean 'ai.onnx.contrib.NegPos'?" in err
    status, _, err = run("optimize", model, "-o", tmp_path / "o.onnx", "--op-route", "NegPos")
    assert status == 2 and "NAME=ROUTE" in err


def test_libraries_follow_the_route(model) -> None:
    edgec.register_op(negpos_class(), library=LIBRARY, decompose=split)
    loaded = edgec.load(model)
    assert libraries_of(loaded) == (LIBRARY,) and in_python([NEGPOS], [LIBRARY]) == []
    with routes({NEGPOS: "python"}):
        assert libraries_of(loaded) == () and in_python([NEGPOS, "Conv"], [LIBRARY]) == [NEGPOS]
    assert in_python([NEGPOS], []) == [NEGPOS]  # kept, but nothing is at hand to run it


@pytest.mark.parametrize(
    "body, message",
    [
        (lambda node, b: b.add(Mul(), node.inputs[0], None), "a required operand of Mul is absent"),
        (lambda node, b: node.inputs[0], "gave 1 of 2 results"),
        (lambda node, b: ("text", "text"), "gave a str"),
        (lambda node, b: (b.add(Add(), node.inputs[0], node.inputs[0]),) * 3, "gave 3 of 2 results"),
        (lambda node, b: 1 // 0, "ZeroDivisionError"),
    ],
)
def test_faulty_decompositions_are_named(model, body, message) -> None:
    edgec.register_op(negpos_class(), route="decompose", decompose=body)
    with pytest.raises(Diagnostic) as caught:
        edgec.optimize(model)
    text = str(caught.value)
    assert "node 'split'" in text and "test_custom_ops.<lambda>" in text and message in text


def test_a_decomposition_may_decline(model) -> None:
    from edgec.passes.rewriter import Decline

    edgec.register_op(negpos_class(), route="decompose", decompose=lambda node, b: Decline("not today", node))
    from edgec.optimizing import Settings, open_model, run_pipeline

    result = run_pipeline(open_model(model), Settings())
    assert any("not today" in note.message and "split" in note.where for note in result.context.notes)
    assert explain_rule(f"decompose-{NEGPOS}", result.model).declines[0].reason == "not today"
    with routes({NEGPOS: "keep"}):
        assert "its route is 'keep'" in explain_rule(f"decompose-{NEGPOS}", result.model).declines[0].reason


def test_a_bundle_loads_only_its_own_libraries(model, tmp_path) -> None:
    edgec.compile(model, output=tmp_path / "b", custom_op_libraries=[LIBRARY])
    manifest = tmp_path / "b" / "manifest.json"
    facts = json.loads(manifest.read_text())
    facts["options"]["custom_op_libraries"] = [LIBRARY]
    manifest.write_text(json.dumps(facts))
    with pytest.raises(Diagnostic, match="not a file of the bundle"):
        edgec.load_bundle(tmp_path / "b").run(FEEDS)
