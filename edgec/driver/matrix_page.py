"""Capability matrices as one page of HTML: no other files, readable on a telephone, reasons where one points or taps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from ..costmodel.report.shell import html_page
from ..ir.op import EDGEC
from ..lowering.backend import Backend, Condition, Support
from ..lowering.ladder import RUNGS, Step
from ..supporting import NodeFacts, SupportReport, TargetSupport
from .console import quantity
from .page_parts import SCRIPT, STYLE

MARKS = {
    "native": "●",
    "partial": "◐",
    "decomposed": "◇",
    "exact": "◆",
    "approximate": "≈",
    "other-engine": "→",
    "refused": "✕",
    "none": "✕",
}
LEVELS = {
    "native": "the target has it",
    "partial": "the target has it, with a condition",
    "decomposed": "it runs in smaller pieces",
    "none": "the target does not take it",
}


@dataclass(frozen=True)
class Cell:
    """One cell: its kind (a rung or level), the heading and the text of its explanation."""

    kind: str
    head: str
    why: str


@dataclass(frozen=True)
class Line:
    """One row: the name, a smaller line below it, and a cell for each column (None where there is nothing to say)."""

    name: str
    detail: str
    cells: tuple[Cell | None, ...]


def model_page(report: SupportReport) -> str:
    """The page of a model: nodes by targets."""
    from .. import __version__

    columns = report.targets
    lines = []
    for index, node in enumerate(report.nodes):
        cells = tuple(_step_cell(node, found, index) for found in columns)
        sources = f" · from {', '.join(node.sources[:3])}" if node.sources and node.sources != (node.name,) else ""
        lines.append(Line(node.name, f"{node.op}{sources}", cells))
    cards = "".join(_card(report, found) for found in columns)
    macs = quantity(sum(node.macs for node in report.nodes))
    text = f"{len(report.nodes)} nodes after the portable passes, {macs} multiply-accumulates; edgec {__version__}"
    names = [f"{found.target} {found.version}".strip() for found in columns]
    return _page(f"{report.name} on {', '.join(found.target for found in columns)}", text, cards, RUNGS.items(), "node", names, lines)


def operator_page(runners: Sequence[Backend]) -> str:
    """The page of the operators: all operators by targets."""
    from .. import __version__

    matrices: list[dict[str, list[Support]]] = []
    for runner in runners:
        rows: dict[str, list[Support]] = {}
        for row in runner.matrix:
            if row.op.domain != EDGEC:  # what only passes make
                rows.setdefault(row.name, []).append(row)
        matrices.append(rows)
    names = sorted({name for rows in matrices for name in rows}, key=str.lower)
    lines = [Line(name, "", tuple(_rows_cell(name, rows.get(name)) for rows in matrices)) for name in names]
    heads = [f"{runner.name} {runner.version()}" for runner in runners]
    text = f"Every cell has its evidence: a run (probe), the runtime's own registry (schema), or a document; edgec {__version__}"
    return _page(f"Operators of {', '.join(r.name for r in runners)}", text, "", LEVELS.items(), "operator", heads, lines)


def _card(report: SupportReport, found: TargetSupport) -> str:
    state = "takes the model" if found.goes else "cannot take the model"
    kind = "native" if found.goes else "none"
    items = "".join(
        f'<li><span class="{rung}">{MARKS[rung]}</span> {count["nodes"]} {escape(rung)}, {count["macs_share"]:.1%} of the MACs</li>'
        for rung, count in report.counts(found).items()
    )
    refusal = "" if found.refusal is None else f"<p>{escape(found.refusal.code)}: {escape(found.refusal.message)}</p>"
    return f'<section class="card"><h2>{escape(found.target)} <span class="{kind}">{state}</span></h2>{refusal}<ul>{items}</ul></section>'


def _step_cell(node: NodeFacts, found: TargetSupport, index: int) -> Cell | None:
    if index >= len(found.steps):
        return None
    step: Step = found.steps[index]
    lines = [RUNGS[step.rung] if step.rung == "native" else str(step)]
    if step.code:
        lines.append(f"reason code: {step.code}")
    lines += [f"tried: {text}" for text in step.tried]
    if step.evidence:
        lines.append(f"evidence: {step.evidence}")
    lines.append(f"result {node.result}" + (f", {quantity(node.macs)} MACs" if node.macs else ""))
    if node.attributes:
        lines.append(node.attributes)
    return Cell(step.rung, f"{node.name} ({node.op}) on {found.target}: {step.rung}", "\n".join(lines))


def _rows_cell(name: str, rows: Sequence[Support] | None) -> Cell | None:
    if not rows:
        return None
    order = list(LEVELS)
    best = min(rows, key=lambda row: order.index(row.level))
    return Cell(best.level, f"{name}: {best.level}", "\n\n".join(_row_text(row) for row in rows))


def _row_text(row: Support) -> str:
    lines = [LEVELS[row.level]]
    if isinstance(row.when, Condition) and row.when.text:
        lines.append(f"condition [{row.when.code}]: {row.when.text}")
    elif row.when is not None:
        lines.append("under a condition on its attributes and operands")
    if row.dtypes:
        lines.append("element types: " + " ".join(sorted(d.short for d in row.dtypes)))
    span = f"{row.since or 'the first'} to {row.until}" if row.until else f"{row.since} on" if row.since else ""
    if span:
        lines.append(f"versions: {span}")
    if row.hardware:
        lines.append(f"hardware: {', '.join(row.hardware)}")
    if row.evidence:
        lines.append(f"{row.kind}: {row.evidence}")
    return "\n".join(lines)


def _page(
    title: str, text: str, cards: str, legend: Iterable[tuple[str, str]], what: str, columns: Sequence[str], lines: Sequence[Line]
) -> str:
    legends = "".join(f'<li><span class="{kind}">{MARKS[kind]}</span> {escape(kind)}: {escape(meaning)}</li>' for kind, meaning in legend)
    heads = "".join(f"<th scope=col>{escape(name)}</th>" for name in columns)
    rows = "\n".join(_row(line) for line in lines)
    hint = "Point at a cell for the reason; tap or press Enter to hold it."
    body = f"""<h1>{escape(title)}</h1>
<p>{escape(text)}</p>
<div class="cards">{cards}</div>
<div class="controls"><input type="search" id="find" placeholder="filter by {what}" aria-label="filter by {what}">
<label><input type="checkbox" id="only"> only what is not native everywhere</label></div>
<div class="frame"><table>
<thead><tr><th scope=col>{what}</th>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
<ul class="legend">{legends}</ul>
<div id="why" role="status" aria-live="polite">{hint}</div>"""
    return html_page(title, STYLE, body, SCRIPT)


def _row(line: Line) -> str:
    plain = int(all(cell is None or cell.kind == "native" for cell in line.cells))
    words = escape(f"{line.name} {line.detail}".lower(), quote=True)
    detail = f"<small>{escape(line.detail)}</small>" if line.detail else ""
    cells = "".join(f"<td>{_button(cell)}</td>" for cell in line.cells)
    return f'<tr data-plain="{plain}" data-text="{words}"><th scope=row>{escape(line.name)}{detail}</th>{cells}</tr>'


def _button(cell: Cell | None) -> str:
    if cell is None:
        return ""
    head, why = escape(cell.head, quote=True), escape(cell.why, quote=True)
    return f'<button type="button" class="{cell.kind}" aria-label="{head}" data-head="{head}" data-why="{why}">{MARKS[cell.kind]}</button>'
