"""The report of predicted costs: one page of HTML with everything in it."""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import Any

from ...ir.serial.atomic import writing
from .document import compact
from .overview import overview
from .shell import embedded, html_page

SCRIPTS = (
    "base.js", "tooltip.js", "roofline.js", "layers.js", "icicle.js", "memory.js", "curves.js", "pareto.js", "tables.js", "main.js",
)  # fmt: skip


def write_report(data: Any, path: str | os.PathLike[str]) -> None:
    """Write the page of the document that `edgec cost --json` prints; the file appears when it is complete.

    The same data give the same bytes.

    Args:
        data: the document of one target, a list of them, or an object with ``targets`` and the ``model``'s name.
        path: of the file.

    Raises:
        Diagnostic: E1040 for data of another form, E0309 when the file cannot be written.
    """
    page = report_page(data).encode()
    with writing(Path(path)) as (file,):
        file.write(page)


def report_page(data: Any) -> str:
    """The page as text.

    Raises:
        Diagnostic: E1040 for data of another form.
    """
    document = compact(data)
    first = document["targets"][0]
    dims = ", ".join(f"{name} = {size}" for name, size in {**(first["dims"] or {}), **(first["assumed"] or {})}.items())
    facts = [dims, f"precision {first['precision']}" if first.get("precision") else "", _nodes(first)]
    body = f"""<header>
<h1>{escape(document["model"])}</h1>
<p class="facts">{escape(" · ".join(fact for fact in facts if fact))}</p>
{overview(document)}
</header>
<nav id="bar" aria-label="target and sections"></nav>
<main id="main"><noscript><p>The charts are drawn by a script in this page; scripts are switched off.</p></noscript></main>
<footer><p>Times, energies and bytes are predictions with 90 % intervals.
<code>edgec cost --json</code> prints the same figures.</p></footer>
<div id="tip" role="status" aria-live="polite" hidden></div>"""
    parts = (f'"use strict";\nconst DATA = {embedded(document)};\n', *(_asset(name) for name in SCRIPTS))
    return html_page(f"{document['model']}: predicted cost", _asset("style.css"), body, "".join(parts))


def _nodes(target: Any) -> str:
    count = target.get("node_count")
    kernels = len(target["nodes"]["seconds"])
    return f"{count[0]} nodes, {count[1]} after the passes, {kernels} kernels" if count else f"{kernels} kernels"


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
