"""The head of the page: all targets at a glance, written as HTML so that it can be read without scripts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .figures import figure, share

MEMORY_SLOTS = ("far", "near", "nearer", "nearest")


def bound_class(bound: str, levels: Sequence[str]) -> str:
    """The style of what bounds a kernel: memory levels count from the last one.

    >>> [bound_class(name, ["L1", "L2", "DRAM"]) for name in ("compute", "DRAM", "L2", "L1", "dispatch", "run")]
    ['compute', 'far', 'near', 'nearer', 'dispatch', 'run']
    """
    if bound in levels:
        return MEMORY_SLOTS[min(len(levels) - 1 - list(levels).index(bound), len(MEMORY_SLOTS) - 1)]
    return bound if bound in ("compute", "dispatch", "run") else "run"


def bound_text(bound: str) -> str:
    """What bounds, in words."""
    return {"run": "run overhead", "dispatch": "launches"}.get(bound, bound)


def overview(document: Mapping[str, Any]) -> str:
    """Cards of all targets; the buttons in them switch the page.

    Args:
        document: of `document.compact`.
    """
    targets = document["targets"]
    low, high = _span([t["seconds"] for t in targets])
    cards = "\n".join(_card(position, target, low, high) for position, target in enumerate(targets))
    axis = ""
    if len(targets) > 1:
        axis = f'<p class="hint">The bars share one logarithmic axis from {figure(low, "s")} to {figure(high, "s")}.</p>'
    return f'<div class="targets" id="targets" role="group" aria-label="targets">{cards}</div>{axis}'


def _span(ranges: Sequence[Sequence[float]]) -> tuple[float, float]:
    values = [v for r in ranges for v in r if v and v > 0] or [1e-6, 1.0]
    low, high = min(values), max(values)
    return low / 1.15, high * 1.15


def _card(position: int, target: Mapping[str, Any], low: float, high: float) -> str:
    least, expected, most = target["seconds"]
    facts = [("peak activations", figure(target["peak_bytes"], "B"))]
    if target.get("joules"):
        facts.insert(0, ("energy", figure(target["joules"][1], "J")))
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    engine = " · ".join(str(part) for part in (target.get("engine"), target.get("tier")) if part)
    return f"""<button type="button" class="target" data-target="{position}" aria-pressed="{"true" if position == 0 else "false"}">
<span class="name"><b>{escape(str(target["target"]))}</b><span class="dim">{escape(engine)}</span></span>
<span class="figures"><span class="big">{figure(expected, "s")}</span>
<span class="dim range">{figure(least, "s")} – {figure(most, "s")}</span></span>
{_interval(least, expected, most, low, high)}
{_shares(target)}
<dl>{items}</dl></button>"""


def _interval(least: float, expected: float, most: float, low: float, high: float) -> str:
    def place(value: float) -> float:
        return 100.0 * math.log(max(value, low) / low) / math.log(high / low)

    left, right, middle = place(least), place(most), place(expected)
    inner = f'<i style="left:{left:.2f}%;width:{max(right - left, 0.5):.2f}%"></i><b style="left:{middle:.2f}%"></b>'
    return f'<span class="interval" aria-hidden="true">{inner}</span>'


def _shares(target: Mapping[str, Any]) -> str:
    levels = [level["name"] for level in target["roofline"].get("levels", ())]
    shares = target.get("bound_shares") or {}
    if not shares:
        return ""
    order = sorted(shares, key=lambda name: -shares[name])
    parts = "".join(
        f'<i class="b-{bound_class(name, levels)}" style="flex-grow:{shares[name]:.4f}"></i>' for name in order if shares[name] > 0.002
    )
    words = ", ".join(f"{bound_text(name)} {share(shares[name])}" for name in order[:2] if shares[name] >= 0.005)
    return f'<span class="shares" aria-hidden="true">{parts}</span><span class="dim words">bound by {escape(words)}</span>'
