"""`edgec support` and `edgec ops --target`: what becomes of nodes and operators on targets."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgec as package
from edgec.lowering.registry import _made, _registered, register_backend
from edgec.lowering.support import REASON_CODES, REMEDIES, Condition, Support, Verdict, query
from tests.lowering.toy import Toy


@pytest.fixture
def toys():
    """Targets that lack something."""
    register_backend("poor", lambda: Toy(lacks=["Conv"], name="poor"))
    register_backend("parts", lambda: Toy(parts=["MatMul"], name="parts"))
    yield
    for name in ("poor", "parts"):
        _registered.pop(name, None)
        _made.pop(name, None)


def test_every_node_has_its_rung_and_reason(edgec, model, toys) -> None:
    status, out, err = edgec("support", model, "--target", "ort,parts,poor", "--json")
    facts = json.loads(out)
    assert status == 3 and err == "" and facts["schema"] == "edgec.support/1" and not facts["ok"]
    ort, parts, poor = facts["targets"]
    assert ort["ok"] and parts["ok"] and not poor["ok"]
    assert ort["counts"] == {"native": {"nodes": 5, "macs_share": 1.0}}
    rungs = {n["op"]: n["rung"] for n in parts["nodes"]}
    assert rungs["MatMul"] == "decomposed" and rungs["Conv"] == "native"
    conv = next(n for n in poor["nodes"] if n["op"] == "Conv")
    assert (
        conv["rung"] == "other-engine" and "ort" in conv["engines"] and conv["code"] == "operator" and conv["sources"] == ["norm", "conv"]
    )
    assert poor["counts"]["other-engine"]["macs_share"] > 0.9
    assert sum(c["nodes"] for c in poor["counts"].values()) == len(poor["nodes"]) == 5
    assert sum(c["macs_share"] for c in poor["counts"].values()) == pytest.approx(1)
    assert poor["error"]["reason_code"] == "operator" and poor["error"]["hint"] == REMEDIES["operator"]


def test_the_text_groups_what_is_not_native(edgec, model, toys) -> None:
    status, out, _ = edgec("support", model, "--target", "poor")
    assert status == 3 and "cannot take the model" in out and "hint:" in out
    assert any(line.startswith("Conv ") and "other-engine" in line for line in out.splitlines())
    assert not any(line.startswith("Relu ") for line in out.splitlines())
    status, out, _ = edgec("support", model, "--target", "ort", "--nodes")
    assert status == 0 and "relu" in out and "takes the model" in out


def test_nothing_is_written(edgec, model, tmp_path, toys) -> None:
    before = sorted(tmp_path.rglob("*"))
    edgec("support", model, "--target", "ort,poor")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_budget_allows_approximations(edgec, tmp_path) -> None:
    register_backend("toy", lambda: Toy(lacks=["Gelu", "Erf"]))
    try:
        x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 8]) for n in "xy")
        graph = helper.make_graph([helper.make_node("Gelu", ["x"], ["y"], name="gelu")], "g", [x], [y])
        path = tmp_path / "g.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
        assert edgec("support", path, "--target", "toy")[0] == 3
        status, out, _ = edgec("support", path, "--target", "toy", "--max-error", "0.05", "--json")
        node = json.loads(out)["targets"][0]["nodes"][0]
        assert status == 0 and node["rung"] == "approximate" and 0 < node["error"] <= 0.05
    finally:
        _registered.pop("toy", None)
        _made.pop("toy", None)


def test_a_runtime_that_is_not_installed(edgec, model, monkeypatch, toys) -> None:
    monkeypatch.setattr(Toy, "available", lambda self: "the toy is broken")
    status, out, _ = edgec("support", model, "--target", "ort,poor", "--json")
    ort, poor = json.loads(out)["targets"]
    assert status == 3 and ort["ok"] and poor["error"]["code"] == "E0503" and poor["nodes"] == []
    status, _, err = edgec("support", model, "--target", "poor")
    assert status == 3


@pytest.mark.parametrize("name", ["conv", "norm", "relu", "r", "copy"])
def test_a_node_alone_is_a_model(edgec, model, tmp_path, name) -> None:
    path = tmp_path / "node.onnx"
    status, out, _ = edgec("support", model, "--save-node", name, "-o", path, "--json")
    assert status == 0 and json.loads(out)["schema"] == "edgec.save-node/1"
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert len(proto.graph.node) == 1
    expected = {"conv": "Conv", "norm": "Conv", "relu": "Relu", "r": "Relu", "copy": "Identity"}[name]
    assert proto.graph.node[0].op_type == expected and [len(i.type.tensor_type.shape.dim) for i in proto.graph.input] in ([4], [2])
    assert len(proto.graph.initializer) == (2 if expected == "Conv" else 0)
    assert package.load(path).graph.outputs


def test_the_node_alone_shows_the_same_refusal(edgec, model, tmp_path, toys) -> None:
    path = tmp_path / "node.onnx"
    edgec("support", model, "--save-node", "conv", "-o", path)
    whole = json.loads(edgec("support", model, "--target", "poor", "--json")[1])["targets"][0]["error"]
    alone = json.loads(edgec("support", path, "--target", "poor", "--json")[1])["targets"][0]["error"]
    assert alone["message"] == whole["message"] and alone["reason_code"] == whole["reason_code"]


def test_a_node_with_regions_keeps_what_they_read(edgec, tmp_path) -> None:
    def branch(op: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info("o", TensorProto.FLOAT, [2])
        return helper.make_graph([helper.make_node(op, ["a", "w"], ["o"])], op, [], [out])

    graph = helper.make_graph(
        [
            helper.make_node("Neg", ["x"], ["a"]),
            helper.make_node("If", ["c"], ["y"], name="choice", then_branch=branch("Add"), else_branch=branch("Mul")),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]), helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [numpy_helper.from_array(np.array([1, 2], np.float32), "w")],
    )
    path, alone = tmp_path / "m.onnx", tmp_path / "n.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    assert edgec("support", path, "--save-node", "choice", "-o", alone)[0] == 0
    proto = onnx.load(alone)
    onnx.checker.check_model(proto, full_check=True)
    assert [n.op_type for n in proto.graph.node] == ["If"]
    assert len(proto.graph.input) == 2  # the condition, and what both branches read
    assert package.compile(alone, output=tmp_path / "b").signature.inputs


def test_mistakes(edgec, model, tmp_path) -> None:
    status, _, err = edgec("support", model, "--save-node", "cnov", "-o", tmp_path / "n.onnx")
    assert status == 2 and "E0574" in err and "did you mean 'conv'" in err and not (tmp_path / "n.onnx").exists()
    assert "needs a file" in edgec("support", model, "--save-node", "conv")[2]
    assert edgec("support", model, "--target", "otr")[0] == 2
    assert "name a model" in edgec("support")[2]


class Cells(HTMLParser):
    """Collects the explained cells of a page, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[dict[str, str | None]] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        if tag == "button":
            self.cells.append(facts)
        self.loads += [str(facts[key]) for key in ("src", "href") if key in facts]


def parsed(path: Path) -> tuple[Cells, str]:
    text = path.read_text(encoding="utf-8")
    page = Cells()
    page.feed(text)
    return page, text


def test_the_page_of_a_model_holds_every_cell_and_needs_nothing_else(edgec, model, tmp_path, toys) -> None:
    proto = onnx.load(model)
    proto.graph.node[2].name = "<script>alert('relu')</script>"
    onnx.save(proto, model)
    page = tmp_path / "page.html"
    status, _, err = edgec("support", model, "--target", "ort,poor", "--html", page)
    found, text = parsed(page)
    assert status == 3 and "page.html" in err
    assert len(found.cells) == 2 * 5 and found.loads == [] and "http" not in text
    assert "<script>alert" not in text and text.count("<script>") == 1
    conv = next(c for c in found.cells if c["class"] == "other-engine")
    assert "the toy has no Conv" in conv["data-why"] and "reason code: operator" in conv["data-why"] and "on poor" in conv["aria-label"]
    assert 'name="viewport"' in text
    again = tmp_path / "again.html"
    edgec("support", model, "--target", "ort,poor", "--html", again)
    assert again.read_bytes() == page.read_bytes()


def test_the_page_of_the_operators(edgec, tmp_path, toys) -> None:
    page = tmp_path / "ops.html"
    assert edgec("support", "--target", "ort", "--html", page)[0] == 0
    found, _ = parsed(page)
    conv = next(c for c in found.cells if c["aria-label"] == "Conv: native")
    assert "f32" in conv["data-why"] and "schema: kernel registry of onnxruntime" in conv["data-why"]
    assert len(found.cells) > 150


@pytest.mark.parametrize(
    "arguments, level",
    [
        (["--op", "Conv", "--dtype", "float32"], "native"),
        (["--op", "Conv", "--dtype", "int8"], "none"),
        (["--op", "LayerNormalization", "--dtype", "i8"], "none"),
        (["Mod", "--dtype", "f32"], "partial"),
        (["--op", "QLinearConv", "--dtype", "u8"], "native"),
    ],
)
def test_the_query(edgec, arguments, level) -> None:
    status, out, _ = edgec("ops", "--target", "ort", *arguments, "--json")
    rows = json.loads(out)["rows"]
    assert status == 0 and [row["level"] for row in rows] == [level] and rows[0]["evidence"] and rows[0]["kind"] in ("schema", "probe")
    assert edgec("ops", "--target", "ort", *arguments)[0] == 0


def test_mistakes_in_queries(edgec) -> None:
    assert "did you mean 'int8'" in edgec("ops", "--target", "ort", "--op", "Conv", "--dtype", "int9")[2]
    assert "did you mean 'Conv'" in edgec("ops", "--target", "ort", "--op", "Covn")[2]
    assert edgec("ops", "--op", "Conv", "--dtype", "f32")[0] == 2


def test_rows_by_version_type_and_hardware() -> None:
    from edgec.ir.dtypes import DType
    from edgec.ir.ops.activation import Gelu

    half = frozenset({DType.FLOAT16})
    rows = [
        Support(Gelu, "decomposed", None, None, "1.0", "1.9", "a probe", "probe"),
        Support(Gelu, "native", half, None, "1.10", "", "a document", "document", ("gpu",)),
    ]

    def levels(**asked) -> list[str]:
        return [level for _, level in query(rows, "Gelu", **asked)]

    assert levels(version="1.2.3") == ["decomposed"] and levels(version="1.9.9") == ["decomposed"]
    assert levels(version="1.10") == ["native"] and levels(version="0.9") == ["none"]
    assert levels(version="2.0", dtype=DType.FLOAT) == ["none"] and levels(version="2.0", dtype=DType.FLOAT16) == ["native"]
    assert levels(version="2.0", hardware="cpu") == ["none"]
    assert list(query(rows, "Relu")) == []
    assert rows[1].to_json()["hardware"] == ["gpu"]


def test_codes_have_remedies() -> None:
    assert list(REASON_CODES) == list(REMEDIES) and all(REMEDIES.values())
    with pytest.raises(ValueError, match="no reason code"):
        Verdict("none", "why", code="nonsense")
    condition = Condition("dtype", lambda node: "wrong", "right types")
    assert condition.obstacle(None) == ("dtype", "wrong")  # type: ignore[arg-type]
