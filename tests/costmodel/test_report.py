"""The report of predicted costs as a file: what it holds, what it refuses, and that it is the same each time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgec.costmodel.report.page
from edgec.costmodel.analysis.analyse import analyse
from edgec.costmodel.analysis.subject import Subject, open_target
from edgec.costmodel.report.document import compact
from edgec.costmodel.report.overview import bound_class, overview
from edgec.costmodel.report.page import SCRIPTS, report_page, write_report
from edgec.costmodel.report.shell import embedded
from edgec.ir.diagnostics import Diagnostic
from tests.costmodel.samples import mlp

FOLDER = Path(edgec.costmodel.report.page.__file__).parent
MINIMAL = {
    "target": "chip",
    "tier": "spec",
    "seconds": [1e-3, 2e-3, 4e-3],
    "joules": [0.1, 0.2, 0.4],
    "peak_bytes": 1000,
    "nodes": [{"name": "a", "op": "Conv", "seconds": [1e-3, 2e-3, 4e-3], "bound": "compute", "flops": 10, "bytes": 20}],
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """An analysed prediction as `edgec cost --json` prints it."""
    graph = mlp(8)
    subject = Subject(graph, open_target("x86-avx2"), graph)
    predictor = subject.predictor()
    prediction = predictor.predict()
    return {**prediction.to_json(), "model": "mlp", "analysis": analyse(subject, {}, predictor=predictor, prediction=prediction)}


def test_the_page_embeds_the_figures_of_the_document(document: dict[str, Any]) -> None:
    page = report_page(document)
    found = re.search(r"const DATA = (.*);\n", page)
    assert found is not None
    data = json.loads(found[1])
    target = data["targets"][0]
    assert target["seconds"] == pytest.approx(document["seconds"], rel=1e-5)
    nodes = target["nodes"]
    assert len(nodes["seconds"]) == len(document["nodes"]) == len(data["graphs"][0]["name"])
    assert nodes["flops"] == [node["flops"] for node in document["nodes"]]
    assert nodes["evidence"] == [one["evidence"] for one in document["analysis"]["bottlenecks"]]
    assert nodes["joules"] == pytest.approx([node["joules"] for node in document["nodes"]], rel=1e-5)


def test_the_page_needs_no_network(document: dict[str, Any]) -> None:
    page = report_page(document)
    addresses = set(re.findall(r"[a-z]+://[^\"' )]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place
    assert not re.search(r"<(script|img|iframe)[^>]* src=|@import|url\(", page)
    assert "<link" not in page
    assert 'name="viewport"' in page


def test_targets_with_the_same_graph_share_it(document: dict[str, Any]) -> None:
    other = {**document, "target": "other"}
    data = compact([document, other])
    assert len(data["graphs"]) == 1 and [t["graph"] for t in data["targets"]] == [0, 0]
    renamed = {**document, "nodes": [{**node, "name": node["name"] + "x"} for node in document["nodes"]]}
    assert len(compact([document, renamed])["graphs"]) == 2


def test_scopes_are_paths_of_the_nodes() -> None:
    def leaf(name: str) -> dict[str, Any]:
        return {"name": name, "seconds": 1.0, "children": []}

    tree = {"name": "", "seconds": 2.0, "children": [{"name": "net", "seconds": 2.0, "children": [leaf("b"), leaf("a")]}]}
    nodes = [{**MINIMAL["nodes"][0], "name": name} for name in ("a", "b", "/x/y/c")]  # type: ignore[index]
    graph = compact({**MINIMAL, "nodes": nodes, "analysis": {"scopes": tree}})["graphs"][0]
    assert graph["scopes"] == [[-1, "net"], [-1, "x"], [1, "y"]]
    assert graph["scope"] == [0, 0, 2]


def test_names_cannot_leave_their_place() -> None:
    evil = "</script><script>alert(1)</script><b>\u2028"
    page = report_page({**MINIMAL, "target": evil, "model": evil, "nodes": [{**MINIMAL["nodes"][0], "name": evil}]})  # type: ignore[index]
    assert page.count("<script>") == 1 and "<b>\u2028" not in page and "alert(1)</script>" not in page
    assert json.loads(embedded({"a": evil}).replace("\\u003c", "<"))["a"] == evil


def test_the_same_data_give_the_same_bytes_in_one_step(tmp_path: Path, document: dict[str, Any]) -> None:
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    first.write_text("old")
    write_report({"model": "m", "targets": [document]}, first)
    write_report({"model": "m", "targets": [json.loads(json.dumps(document))]}, second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_what_every_document_has_is_enough() -> None:
    page = report_page(MINIMAL)
    assert "chip" in page and "2 ms" in page
    assert compact(MINIMAL)["targets"][0]["roofline"] == {}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "no 'target'"),
        ([], "no target"),
        ("text", "no target"),
        ({"targets": []}, "no target"),
        ([{"target": "x"}], "no 'seconds' and no 'nodes'"),
        ({**MINIMAL, "nodes": [{"name": "a"}]}, "has no 'op'"),
    ],
)
def test_other_data_are_refused(data: Any, text: str, tmp_path: Path) -> None:
    with pytest.raises(Diagnostic, match=text) as raised:
        write_report(data, tmp_path / "page.html")
    assert raised.value.code == "E1040"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Diagnostic, match="nowhere") as raised:
        write_report(MINIMAL, tmp_path / "nowhere" / "page.html")
    assert raised.value.code == "E0309"


def test_the_head_can_be_read_without_scripts(document: dict[str, Any]) -> None:
    text = overview(compact([document, MINIMAL]))
    assert text.count('class="target"') == 2 and text.count('aria-pressed="true"') == 1
    assert "x86-avx2" in text and "chip" in text and "logarithmic axis" in text
    assert bound_class("L1", ["L1", "L2", "L3", "SLC", "DRAM"]) == "nearest"  # there are four colours for memory


# how protanopes and deuteranopes see linear sRGB: Machado, Oliveira and Fernandes, IEEE TVCG 2009, severity 1
PROTANOPIA = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))


def _linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def _oklab(linear: np.ndarray) -> np.ndarray:
    cones = np.array([[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]]) @ np.clip(linear, 0, 1)
    return np.array([[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]]) @ np.cbrt(cones)


def test_colours_have_contrast_and_keep_apart_for_the_colour_blind() -> None:
    light, _, dark = (FOLDER / "style.css").read_text().partition("@media (prefers-color-scheme: dark)")
    kinds = ("compute", "far", "near", "nearer", "nearest", "dispatch", "run")
    for style, back in ((light, "#ffffff"), (dark.partition("} }")[0], "#14171c")):
        colours = dict(re.findall(r"--([\w]+): (#[0-9a-f]{6});", style))
        shine = [
            float(_linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (back, *(colours[k] for k in (*kinds, *(f"c{i}" for i in range(7)))))
        ]
        assert min((max(s, shine[0]) + 0.05) / (min(s, shine[0]) + 0.05) for s in shine[1:]) >= 3.0
        for names in (kinds, [f"c{i}" for i in range(7)]):
            for matrix in (np.eye(3), np.array(PROTANOPIA), np.array(DEUTERANOPIA)):
                seen = [_oklab(matrix @ _linear(colours[name])) for name in names]
                gaps = {(a, b): np.linalg.norm(seen[i] - seen[j]) for i, a in enumerate(names) for j, b in enumerate(names) if i < j}
                assert min(gaps.values()) >= 0.08, min(gaps, key=lambda pair: gaps[pair])


def test_all_scripts_are_in_the_page() -> None:
    assert sorted(SCRIPTS) == sorted(path.name for path in FOLDER.glob("*.js"))
