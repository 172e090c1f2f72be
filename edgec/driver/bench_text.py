"""What `edgec bench` prints for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .console import table
from .cost_text import seconds_text

Facts = Mapping[str, Any]
METHODS = ("memory_pressure", "core_clock")


def bench_text(facts: Facts) -> str:
    """The report of measurements."""
    dims = "".join(f", {name}={size}" for name, size in facts["dims"].items())
    threads = f"{facts['threads']} thread{'s' if facts['threads'] > 1 else ''}"
    clock = "processor time" if facts["clock"] == "thread" else "wall time"
    head = f"{facts['model']} on {facts['backend']} {facts['version']}, {threads}{dims}"
    lines = [head, f"  least of {facts['rounds']} interleaved rounds, {clock}; medians with quartiles", "", _sizes(facts)]
    if facts["hardware"] is not None:
        lines.append(f"predicted for {facts['hardware']}, tier {facts['tier']}; 90 % intervals in brackets")
    if facts["examination"] is not None:
        lines += ["", *(_bound(facts, row) for row in facts["bounds"]), *_methods(facts["examination"])]
        lines.append(
            f"launches    {seconds_text(facts['launch']['run'])} an inference and {seconds_text(facts['launch']['kernel'])} a kernel"
        )
    if facts["truth"] is not None:
        lines.append(f"truth       {facts['truth']}: what this kernel is made to be bound by")
    return "\n".join(lines)


def _sizes(facts: Facts) -> str:
    predicted = facts["hardware"] is not None
    headings = [facts["symbol"] or "", "time", "median", "items/s", "efficiency", "predicted", "efficiency", "error"]
    rows = []
    for row in facts["sizes"]:
        low, high = row["quartiles"]
        cells = [
            row["size"] if facts["symbol"] else "",
            seconds_text(row["seconds"]),
            f"{seconds_text(row['median'])} [{seconds_text(low)}, {seconds_text(high)}]",
            f"{row['throughput']:.4g}",
            f"{row['efficiency']:.0%}",
        ]
        if predicted:
            found = row["predicted"]
            least, middle, most = (seconds_text(value) for value in found["seconds"])
            outside = "" if found["inside"] else ", outside"
            cells += [f"{middle} [{least}, {most}]", f"{found['efficiency']:.0%}", f"{found['error']:+.0%}{outside}"]
        rows.append(cells)
    if facts["symbol"] is None:  # one point: neither items nor efficiency
        kept = (1, 2, 5, 7) if predicted else (1, 2)
        return table([headings[i] for i in kept], [[cells[i] for i in kept] for cells in rows])
    return table(headings[: 8 if predicted else 5], rows, right=(0, 3, 4, 6))


def _bound(facts: Facts, row: Facts) -> str:
    place = f" at {facts['symbol']} {row['size']}" if facts["symbol"] else ""
    batch = "" if row["batch"] is None else f", {facts['symbol']} {row['batch']:+.2f}"
    if row["core"] is None:
        return f"bound{place}: {row['bound']}{batch and '; ' + batch[2:]}"
    slopes = f"core clock {row['core']:+.2f}, memory clock {row['memory']:+.2f}{batch}; launches {row['overhead']:.0%}"
    return f"bound{place}: {row['bound']}; {slopes}"


def _methods(examination: Facts) -> list[str]:
    lines = []
    if METHODS[0] in examination["methods"]:
        found = examination[METHODS[0]]
        slower = f"a pure stream {found['stream']:.2f} times as long, arithmetic in registers {found['registers']:.2f} times"
        lines.append(f"method      memory pressure: streams on {found['cores']:.0f} other cores make {slower}")
    if METHODS[1] in examination["methods"]:
        found = examination[METHODS[1]]
        clocks = f"{found['low_hz'] / 1e9:.3g} in place of {found['high_hz'] / 1e9:.3g} GHz"
        lines.append(f"method      core clock: {clocks} makes arithmetic in registers {found['registers']:.2f} times as long")
    inferred = {METHODS[:1]: "core", METHODS[1:]: "memory"}.get(tuple(examination["methods"]))
    if inferred is not None:
        lines.append(f"            the share of the {inferred} clock is what the other and launches leave; it was not measured")
    lines += [f"no {name.replace('_', ' ')}: {examination['reasons'][name]}" for name in METHODS if name in examination["reasons"]]
    return lines


# -- simulations -------------------------------------------------------------------------------------------------------
def simulation_text(facts: Facts) -> str:
    """The report of an examination of the cost model."""
    lines = [f"{facts['model']} on {facts['target']} ({facts['engine']}), simulated by the tier {facts['tier']}", ""]
    headings = (
        facts["symbol"] or "size",
        "time",
        "efficiency",
        "truth",
        "share",
        "by clocks",
        "core",
        "memory",
        "batch",
        "by pressure",
        "core",
        "memory",
    )
    lines.append(table(headings, [_simulated(row) for row in facts["sizes"]], right=(0, 2, 4, 6, 7, 8, 10, 11)))
    agreed = sum(row["agrees"] for row in facts["sizes"])
    lines.append(f"both experiments find what the model is bound by at {agreed} of {len(facts['sizes'])} sizes")
    return "\n".join(lines)


def _simulated(row: Facts) -> Sequence[Any]:
    clocks, pressure = row["clocks"], row["pressure"]
    return (
        row["size"],
        seconds_text(row["seconds"]),
        f"{row['efficiency']:.0%}",
        row["truth"],
        f"{row['truth_share']:.0%}",
        clocks["bound"],
        f"{clocks['core']:+.2f}",
        f"{clocks['memory']:+.2f}",
        "" if clocks["batch"] is None else f"{clocks['batch']:+.2f}",
        pressure["bound"],
        f"{pressure['core']:+.2f}",
        f"{pressure['memory']:+.2f}",
    )
