"""`edgec cost --html` in a real browser: what is drawn, what a click does, on a screen as wide as a desk's and as a telephone's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.costmodel.report.figures import figure, share

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

TARGETS = ("x86-avx2", "orin-nano")
FIGURES = (0.0056851, 13951272.0, 0.0, 999.96, 12.0, 1.23e-10, 0.5, 4.5e13)
SHARES = (0.4321, 0.004, 0.00002, 0.0, 1.0)

# The page runs in a frame of the wanted width, errors are kept, and what is found is written where --dump-dom prints it.
WATCH = """<script>window.problems = [];
addEventListener("error", e => problems.push(String(e.message)));
for (const name of ["error", "warn"]) console[name] = (...parts) => problems.push(parts.join(" "));</script>"""
PROBE = r"""
const result = {}, page = frame.contentDocument, view = frame.contentWindow, run = code => view.eval(code);
const all = query => [...page.querySelectorAll(query)], count = query => all(query).length;
const text = query => page.querySelector(query).textContent.replaceAll("\u00a0", " ");
const change = (select, value) => { select.value = value; select.dispatchEvent(new view.Event("change")); };
const click = (node, x, y) => node.dispatchEvent(new view.MouseEvent("click", { bubbles: true, clientX: x, clientY: y }));

const drawn = () => ({
  dots: count("#roofline circle.dot"), memory: all("#roofline .roof.memory").map(r => r.dataset.roof),
  peaks: all("#roofline .roof.peak").map(r => r.dataset.roof), bars: count("#layers .bar"), whiskers: count("#layers .row .whisker"),
  sections: all("main > section").map(s => s.id), cells: count("#breakdown .cell"), curves: count("#sweeps .curve svg"),
  lines: all("#memory [data-line]").map(l => l.dataset.line), choices: count("#pareto .choice"), latency: text("#summary dd"),
  colours: [...new Set(all("#roofline circle.dot").map(d => d.getAttribute("class").split(" ").pop()))],
  values: all("#layers .row text:last-of-type").map(t => t.textContent.replaceAll("\u00a0", " ")),
  live: page.querySelector("#memory .live").getAttribute("d").split("V").length - 2,
});
const outside = () => all("svg").flatMap(s => { const box = s.getBoundingClientRect(); return [...s.querySelectorAll("text")]
  .map(t => [t.textContent, t.getBoundingClientRect()])
  .filter(([, b]) => b.width && (b.left < box.left - 1 || b.right > box.right + 1 || b.top < box.top - 1 || b.bottom > box.bottom + 1))
  .map(([t]) => t); });
const overlaps = () => all("svg").flatMap(s => { const found = [...s.querySelectorAll("text")]
  .map(t => [t.textContent, t.getBoundingClientRect()]).filter(([t, b]) => t && b.width); const clashes = [];
  for (let i = 0; i < found.length; i++) for (let j = i + 1; j < found.length; j++) { const a = found[i][1], b = found[j][1];
    if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3)
      clashes.push([found[i][0], found[j][0]]); }
  return clashes; });
const nameless = () => all("main svg, select, input, button").filter(e => !e.getAttribute("aria-label") && !e.closest("label")
  && !e.textContent.trim() && !e.closest("[aria-hidden]")).map(e => e.outerHTML.slice(0, 80));
const tipShown = () => page.getElementById("tip").hidden ? "" : page.getElementById("tip").textContent.replaceAll("\u00a0", " ");

result.width = [page.documentElement.scrollWidth, view.innerWidth];
result.targets = [drawn()];
result.outside = outside(); result.overlaps = overlaps(); result.nameless = nameless();

// a dot explains itself, and Escape hides it
const dot = page.querySelector("#roofline circle.dot:not(.free)"), at = dot.getBoundingClientRect();
click(dot, at.left + at.width / 2, at.top + at.height / 2);
result.tip = tipShown(); result.marked = count(".row.chosen");
page.dispatchEvent(new view.KeyboardEvent("keydown", { key: "Escape" })); result.tipAfter = tipShown();
result.sheet = page.getElementById("tip").classList.contains("sheet");

// arrow keys go from node to node
const chart = page.querySelector("#roofline svg");
chart.dispatchEvent(new view.KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true })); result.byKey = tipShown();
page.dispatchEvent(new view.KeyboardEvent("keydown", { key: "Escape" }));

// bytes of another level move the dots; the legend fades what is switched off
const places = () => all("#roofline circle.dot").map(d => d.getAttribute("cx") + " " + d.getAttribute("cy")).sort().join();
const before = places(); change(page.querySelector("#roofline select"), "DRAM"); result.moved = places() !== before;
page.querySelector("#roofline .legend button").click(); result.faded = count("#roofline circle.dot[opacity]");
page.querySelector("#roofline .legend button").click(); result.restored = count("#roofline circle.dot[opacity]");

// filter and order
const operator = page.querySelector("#layers select"), options = [...operator.options].map(o => o.value);
result.filtered = options.map(value => { change(operator, value); return count("#layers .bar"); });
change(operator, "");
change(all("#layers select")[1], "time");
result.widths = all("#layers .bar").map(b => Number(b.getAttribute("width")));

// the icicle zooms in and out again
const cells = () => all("#breakdown .cell").map(c => [
  c.dataset.name, Number(c.dataset.depth), Number(c.getAttribute("width")), c.dataset.node ?? null]);
result.icicle = cells();
const part = all("#breakdown .cell").find(c => c.dataset.depth === "1" && !c.dataset.node);
if (part) { result.part = part.dataset.name; click(part, 5, 5); result.zoomed = cells(); result.crumbs = text("#breakdown .crumbs");
  page.querySelector("#breakdown .crumbs button").click(); result.unzoomed = cells(); }
result.metrics = [...page.querySelector("#breakdown select").options].map(o => { change(page.querySelector("#breakdown select"), o.value);
  return [o.value, text("#breakdown .crumbs")]; });

// tables have a row for every node
result.tables = ["#roofline", "#layers", "#memory"].map(id => { const d = page.querySelector(id + " details"); d.open = true; return d; });
result.figures = FIGURES.map(v => run(`si(${v}, "s")`).replaceAll("\u00a0", " "));
result.shares = SHARES.map(v => run(`percent(${v})`));

setTimeout(() => {
  result.tables = result.tables.map(d => d.querySelectorAll("tbody tr").length);
  result.widthOpen = page.documentElement.scrollWidth;
  const second = all(".target")[1]; second.click();
  result.pressed = all(".target").map(t => t.getAttribute("aria-pressed")); result.chosen = page.querySelector("#bar select").value;
  result.targets.push(drawn()); result.outside.push(...outside()); result.overlaps.push(...overlaps());
  result.dark = view.matchMedia("(prefers-color-scheme: dark)").matches;
  result.back = view.getComputedStyle(page.body).backgroundColor; result.ink = view.getComputedStyle(page.body).color;
  result.problems = view.problems;
  const out = document.createElement("pre"); out.id = "result"; out.textContent = JSON.stringify(result);
  document.body.replaceChildren(out);
}, 300);
"""


def browse(page: str, folder: Path, width: int, *flags: str) -> dict[str, Any]:
    """What the probe finds on a page in a frame of that width."""
    assert CHROMIUM is not None
    inside = json.dumps(page.replace("<head>", "<head>" + WATCH, 1)).replace("<", "\\u003c")
    probe = PROBE.replace("FIGURES", json.dumps(FIGURES), 1).replace("SHARES", json.dumps(SHARES), 1)
    harness = folder / f"harness{width}.html"
    harness.write_text(
        f"""<!DOCTYPE html><meta charset="utf-8"><body><iframe id="frame" style="border:0;width:{width}px;height:844px"></iframe>
<script>const frame = document.getElementById("frame");
frame.onload = () => {{ if (!frame.contentDocument.getElementById("main")) return; {probe} }};
frame.srcdoc = {inside};</script></body>""",
        encoding="utf-8",
    )
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
    command += [
        "--hide-scrollbars",
        "--no-first-run",
        f"--user-data-dir={folder / f'profile{width}'}",
        f"--window-size={max(width, 800) + 40},900",
        *flags,
    ]
    command += ["--virtual-time-budget=10000", "--dump-dom", harness.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    return json.loads(unescape(found[1]))


def blocks(count: int = 6, channels: int = 48, size: int = 56) -> onnx.ModelProto:
    """Residual blocks with a depthwise convolution, named as exporters name modules, and a head; work and bytes differ a lot."""
    rng = np.random.default_rng(7)
    weights, nodes = [], []

    def weight(name: str, *shape: int) -> str:
        weights.append(numpy_helper.from_array(0.1 * rng.normal(size=shape).astype(np.float32), name))
        return name

    before = "x"
    for i in range(count):
        scope = f"/net/stage.{i // 3}/block.{i % 3}"
        wide, deep, narrow = (
            weight(f"w{i}", channels, channels, 3, 3),
            weight(f"d{i}", channels, 1, 3, 3),
            weight(f"n{i}", channels, channels, 1, 1),
        )
        nodes += [
            helper.make_node("Conv", [before, wide], [f"a{i}"], name=f"{scope}/expand/Conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"a{i}"], [f"b{i}"], name=f"{scope}/act/Relu"),
            helper.make_node("Conv", [f"b{i}", deep], [f"c{i}"], name=f"{scope}/depth/Conv", pads=[1, 1, 1, 1], group=channels),
            helper.make_node("Sigmoid", [f"c{i}"], [f"s{i}"], name=f"{scope}/gate/Sigmoid"),
            helper.make_node("Conv", [f"s{i}", narrow], [f"e{i}"], name=f"{scope}/reduce/Conv"),
            helper.make_node("Add", [f"e{i}", before], [f"f{i}"], name=f"{scope}/Add"),
        ]
        before = f"f{i}"
    nodes += [
        helper.make_node("Transpose", [before], ["t"], name="/net/head/Transpose", perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["t"], ["m"], name="/net/head/ReduceMean", axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["m", weight("fc", channels, 4096)], ["l"], name="/net/head/MatMul"),
        helper.make_node("Softmax", ["l"], ["y"], name="/net/head/Softmax"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", channels, size, size])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4096])
    graph = helper.make_graph(nodes, "blocks", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def report(edgec: Callable[..., tuple[int, str, str]], tmp_path: Path) -> tuple[str, list[dict[str, Any]]]:
    """The page of a model on two targets, and the documents of the same figures."""
    path, model = tmp_path / "report.html", tmp_path / "blocks.onnx"
    onnx.save(blocks(), model)
    arguments = ("cost", model, "--target", ",".join(TARGETS), "--dim", "batch=2", "--sweep", "core=0.5:1.5")
    status, out, err = edgec(*arguments, "--html", path, "--json")
    assert status == 0, err
    return path.read_text(encoding="utf-8"), json.loads(out)


@pytest.mark.parametrize(("width", "flags"), [(1280, ()), (390, ("--force-dark-mode", "--blink-settings=preferredColorScheme=0"))])
def test_the_page_in_a_browser(report: tuple[str, list[dict[str, Any]]], tmp_path: Path, width: int, flags: tuple[str, ...]) -> None:
    page, documents = report
    found = browse(page, tmp_path, width, *flags)
    assert found["problems"] == []
    assert found["width"] == [width, width] and found["widthOpen"] == width
    assert found["outside"] == [] and found["overlaps"] == [] and found["nameless"] == []
    for document, drawn in zip(documents, found["targets"], strict=True):
        check_drawn(document, drawn)
    check_reading(documents[0], found, width)
    check_icicle(documents[0], found)
    assert found["pressed"] == ["false", "true"] and found["chosen"] == "1"
    assert found["figures"] == [figure(value, "s") for value in FIGURES]
    assert found["shares"] == [share(value) for value in SHARES]
    assert found["dark"] == bool(flags) and found["back"] == ("rgb(20, 23, 28)" if flags else "rgb(255, 255, 255)")


def check_drawn(document: dict[str, Any], drawn: dict[str, Any]) -> None:
    """Everything in the document is on the page."""
    nodes, analysis = document["nodes"], document["analysis"]
    timed = [node for node in nodes if node["seconds"][1] > 0]
    assert drawn["dots"] == len(nodes) > 12
    assert drawn["memory"] == [level["name"] for level in analysis["roofline"]["levels"]]
    peaks = analysis["roofline"]["peaks"]
    assert sorted(" ".join(drawn["peaks"]).split()) == sorted(peaks) and len(drawn["peaks"]) == len(set(peaks.values()))
    assert drawn["bars"] == drawn["whiskers"] == len(timed)
    assert drawn["values"] == [figure(node["seconds"][1], "s") for node in timed]  # in the order of the schedule
    assert drawn["latency"].startswith(figure(document["seconds"][1], "s"))
    assert drawn["live"] == len(nodes)
    assert {"capacity", "weights"} <= set(drawn["lines"])
    assert drawn["choices"] == len(analysis["pareto"])
    assert drawn["curves"] == 4 + 2  # the batch: latency, throughput, energy, working set; the clock: latency and energy
    wanted = [
        "summary",
        "advice",
        "roofline",
        "layers",
        "breakdown",
        "memory",
        "energy",
        "sweeps",
        "precision",
        "pareto",
        "fusion",
        "notes",
    ]
    absent = {"fusion"} if not analysis["fusion"] else set()
    assert drawn["sections"] == [name for name in wanted if name not in absent]  # no phases: this is no language model


def check_reading(document: dict[str, Any], found: dict[str, Any], width: int) -> None:
    """Explanations, filters, tables."""
    nodes = document["nodes"]
    timed = [node for node in nodes if node["seconds"][1] > 0]
    names = {node["name"]: i for i, node in enumerate(nodes)}
    name = found["tip"].split(" · ")[0]
    assert figure(nodes[names[name]]["seconds"][1], "s") in found["tip"]
    assert document["analysis"]["bottlenecks"][names[name]]["evidence"] in found["tip"]
    assert found["marked"] == 1 and found["tipAfter"] == "" and found["byKey"].split(" · ")[0] in names
    assert found["sheet"] == (width < 640)
    assert found["moved"] and found["faded"] > 0 and found["restored"] == 0
    assert found["filtered"][0] == len(timed) == sum(found["filtered"][1:]) and len(found["filtered"]) > 2
    assert found["widths"] == sorted(found["widths"], reverse=True)
    assert found["tables"] == [len(nodes), len(timed), len(nodes)]


def check_icicle(document: dict[str, Any], found: dict[str, Any]) -> None:
    """The parts of a row fill the one above; a click makes a part the whole."""
    timed = [i for i, node in enumerate(document["nodes"]) if node["seconds"][1] > 0]
    whole = found["icicle"][0]
    assert whole[:2] == [document["model"], 0]
    leaves = {int(node): name for name, _, _, node in found["icicle"] if node is not None}
    assert len(leaves) > 0.8 * len(timed) and set(leaves) <= set(timed)  # a part below a third of a pixel is not drawn
    assert all(document["nodes"][i]["name"].endswith(name.rpartition("/")[2]) for i, name in leaves.items())
    assert sum(w for _, depth, w, _ in found["icicle"] if depth == 1) == pytest.approx(whole[2], rel=0.02)
    assert found["zoomed"][0][0] == found["part"] and found["zoomed"][0][2] == whole[2]
    assert len(found["zoomed"]) < len(found["icicle"]) == len(found["unzoomed"])
    assert found["part"] in found["crumbs"] and found["crumbs"].startswith(document["model"])
    metrics = dict(found["metrics"])
    assert list(metrics) == ["time", "energy", "bytes", "macs"]
    assert figure(sum(node["joules"] for node in document["nodes"]), "J") in metrics["energy"]
    assert figure(sum(node["bytes"] for node in document["nodes"] if node["bytes"]), "B") in metrics["bytes"]


def test_a_document_with_little_in_it(tmp_path: Path) -> None:
    from edgec.costmodel.report.page import report_page

    node = {"name": "a", "op": "Conv", "seconds": [1e-3, 2e-3, 4e-3], "bound": "compute", "flops": 10, "bytes": 20}
    page = report_page({"target": "chip", "seconds": [1e-3, 2e-3, 4e-3], "nodes": [node]})
    assert CHROMIUM is not None
    path = tmp_path / "page.html"
    path.write_text(page.replace("<head>", "<head>" + WATCH, 1), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
    command += ["--no-first-run", f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert re.findall(r'<section id="(\w+)"', done.stdout) == ["summary", "advice", "layers", "breakdown"], done.stderr[-2000:]
    assert "Uncaught" not in done.stderr
