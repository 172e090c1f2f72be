"""`edgec roofline`: peaks, bandwidths and ridge points of hardware, and where convolutions stand under its roofs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import did_you_mean
from .arguments import usage_error
from .console import emit, quantity, say, table

if TYPE_CHECKING:
    from ..costmodel.analysis.convolutions import Convolution
    from ..costmodel.hardware import Target
    from ..costmodel.roofline import Roofs

SCHEMA = "edgec.roofline/1"
KERNELS = "1x1,3x3,dw3x3"
CHANNELS, SIZES = "64,256", "56,28"
USUAL = ("f32", "f16", "i8")  # element types of the table where none are asked for
MOST_ROWS = 4096
_KERNEL = re.compile(r"(dw|depthwise-?)?(\d+)(?:x(\d+))?$")
_NUMBER = re.compile(r"\s*([0-9.]+(?:[eE][+-]?\d+)?)\s*([^\d.\s].*)?$")


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `edgec roofline --help`."""

    peaks: Sequence[str] = ()
    bandwidth: str | None = None
    target: str | None = None
    engine: str | None = None
    threads: int | None = None
    kernels: str = KERNELS
    channels: str = CHANNELS
    sizes: str = SIZES
    dtypes: str | None = None
    batch: int = 1
    html: Path | None = None
    as_json: bool = False


def roofline(request: Request) -> None:
    """Print the roofs and the table of convolutions.

    Raises:
        Diagnostic: E0801 for options that are wrong or contradict each other; what opening a target raises.
    """
    from ..costmodel.analysis.convolutions import convolution_facts, convolutions
    from ..costmodel.predict import engine_of
    from ..costmodel.roofline import Setting, roofs_of

    target = _target(request)
    engine = engine_of(target, request.engine)
    if request.threads is not None and request.threads > engine.units:
        raise usage_error(f"{request.threads} threads on {engine.units} units", "--threads", f"at most {engine.units}")
    roofs = roofs_of(engine, Setting(units=request.threads))
    dtypes = parse_dtypes(request.dtypes) if request.dtypes else _usual(request, roofs)
    sizes = (parse_sizes(request.channels, "--channels"), parse_sizes(request.sizes, "--size"))
    kernels = parse_kernels(request.kernels)
    if len(kernels) * len(sizes[0]) * len(sizes[1]) * len(dtypes) > MOST_ROWS:
        raise usage_error(f"the table has more than {MOST_ROWS} rows", hint="ask for fewer kernels, channels, sizes or types")
    cases = convolutions(kernels, *sizes, dtypes, request.batch)
    facts = {
        "schema": SCHEMA,
        "ok": True,
        "target": target.name,
        **_roof_facts(roofs, dtypes),
        "convolutions": [convolution_facts(case, roofs) for case in cases],
    }
    if request.html is not None:
        _write_page(target, roofs, cases, request.html)
    emit(facts, request.as_json, _text(facts, target))


def _target(request: Request) -> Target:
    from ..costmodel.analysis.convolutions import stated_target
    from ..costmodel.analysis.subject import open_target
    from ..costmodel.calibrated import CalibratedTarget

    stated = bool(request.peaks) or request.bandwidth is not None
    if request.target is not None:
        if stated:
            raise usage_error("--target has peaks and bandwidths of its own", "--peak, --bw", "give --target, or --peak and --bw")
        found = open_target(request.target)
        return found.target if isinstance(found, CalibratedTarget) else found
    if request.engine is not None or request.threads is not None:
        raise usage_error("engines and threads are those of a target", "--engine, --threads", "give --target")
    if not request.peaks or request.bandwidth is None:
        missing = "--bw" if request.peaks else "--peak" if request.bandwidth is not None else "--target"
        raise usage_error("no roofs", missing, "give --target NAME, or --peak 1e12 --bw 25.6e9")
    default, peaks = parse_peaks(request.peaks)
    return stated_target(peaks, parse_rate(request.bandwidth, "--bw", "B/s"), default)


def _usual(request: Request, roofs: Roofs) -> list[str]:
    """The element types of the table: two where one peak was given for all, else those that the engine computes in."""
    if request.target is None:
        return list(parse_peaks(request.peaks)[1]) or list(USUAL[:2])
    return [dtype for dtype in USUAL if roofs.peak(dtype)[1]] or ["f32"]


def _roof_facts(roofs: Roofs, dtypes: Sequence[str]) -> dict[str, Any]:
    """Those of `roofline_facts` with nominal bandwidths; of types that no target states, only those asked for."""
    from ..costmodel.analysis.bottleneck import roofline_facts
    from ..costmodel.analysis.convolutions import nominal_bandwidths

    facts = roofline_facts(roofs)
    shown = [d for d in facts["peaks"] if d in dtypes] if facts["engine"] == "stated" else list(facts["peaks"])
    facts["peaks"] = {dtype: facts["peaks"][dtype] for dtype in shown}
    for level, nominal in zip(facts["levels"], nominal_bandwidths(roofs), strict=True):
        level["bytes"] = level["bytes"] if math.isfinite(level["bytes"]) else None
        level["nominal_bandwidth"] = nominal
        level["ridge"] = {dtype: level["ridge"][dtype] for dtype in shown}
    return facts


# -- options -----------------------------------------------------------------------------------------------------------
def parse_rate(text: str, option: str, unit: str) -> float:
    """A number in SI units, or with a unit: ``25.6e9``, ``25.6GB/s``, ``1Tops/s``, ``1TFLOP/s``.

    >>> parse_rate("25.6GB/s", "--bw", "B/s"), parse_rate("1 TFLOP/s", "--peak", "ops/s"), parse_rate("1e12", "--peak", "ops/s")
    (25600000000.0, 1000000000000.0, 1000000000000.0)
    """
    from ..costmodel.targets.units import si_unit, to_si

    found = _NUMBER.match(text)
    written = (found[2] or unit).strip().replace("FLOP/s", "ops/s").replace("FLOPS", "ops/s") if found else ""
    hint = f"such as 25.6e9 or 25.6GB/s, in {unit}" if unit == "B/s" else "such as 1e12 or 1Tops/s, in operations per second"
    try:
        value = to_si(float(found[1]), written) if found and si_unit(written) == unit else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise usage_error(f"'{text}' is no rate", option, hint)
    return value


def parse_peaks(items: Sequence[str]) -> tuple[float | None, dict[str, float]]:
    """``1e12`` for every element type, ``f16=2e12`` for one; several times or separated by commas.

    >>> parse_peaks(["1e12,f16=2e12"])
    (1000000000000.0, {'f16': 2000000000000.0})
    """
    default: float | None = None
    peaks: dict[str, float] = {}
    for item in (piece.strip() for text in items for piece in text.split(",") if piece.strip()):
        name, equals, value = item.rpartition("=")
        rate = parse_rate(value, "--peak", "ops/s")
        if not equals:
            default = rate
        else:
            peaks[parse_dtypes(name, "--peak")[0]] = rate
    return default, peaks


def parse_dtypes(text: str, option: str = "--dtype") -> list[str]:
    """``f32,f16``: short names of element types of numbers."""
    from ..costmodel.precision import BITS

    known = [name for name, bits in BITS.items() if bits and name[0] != "c" and name not in ("bool", "string")]
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in known:
            raise usage_error(f"there is no element type '{name}'", option, did_you_mean(name, known))
    if not names:
        raise usage_error("no element type", option, "such as f32,f16")
    return names


def parse_sizes(text: str, option: str) -> list[int]:
    """``64,128``: whole numbers from 1 on."""
    pieces = [piece.strip() for piece in text.split(",") if piece.strip()]
    if not pieces or not all(piece.isdecimal() and 0 < int(piece) < 1 << 24 for piece in pieces):
        raise usage_error(f"'{text}' is no list of sizes", option, "whole numbers from 1 on, such as 64,128")
    return [int(piece) for piece in pieces]


def parse_kernels(text: str) -> list[tuple[int, bool]]:
    """``1x1,3x3,dw3x3`` or ``1,3,dw3``: side, and whether every channel has a kernel of its own.

    >>> parse_kernels("1,5x5,dw3")
    [(1, False), (5, False), (3, True)]
    """
    found = []
    for piece in (piece.strip() for piece in text.split(",") if piece.strip()):
        match = _KERNEL.match(piece)
        if match is None or match[3] not in (None, match[2]) or not 0 < int(match[2]) < 256:
            raise usage_error(f"'{piece}' is no kernel", "--kernel", f"square ones, such as {KERNELS}; dw stands for depthwise")
        found.append((int(match[2]), match[1] is not None))
    if not found:
        raise usage_error("no kernel", "--kernel", f"such as {KERNELS}")
    return found


# -- output ------------------------------------------------------------------------------------------------------------
def _text(facts: Mapping[str, Any], target: Target) -> str:
    dtypes = list(facts["peaks"])
    peaks = ", ".join(f"{dtype} {quantity(rate, 'op/s')}" for dtype, rate in facts["peaks"].items())
    head = f"{target.name}: {target.title}" if target.name != "stated" else "stated roofs"
    engine = f", engine {facts['engine']} ({facts['kind']}, {facts['units']} units)" if target.name != "stated" else ""
    last = facts["levels"][-1]
    ridges = ", ".join(f"{dtype} {_ridge(last['ridge'][dtype])}" for dtype in dtypes)
    if len({last["ridge"][dtype] for dtype in dtypes}) == 1:
        ridges = _ridge(last["ridge"][dtypes[0]])
    levels = [
        (
            level["name"],
            "" if level["bytes"] is None else quantity(level["bytes"], "B"),
            quantity(level["nominal_bandwidth"], "B/s"),
            quantity(level["bandwidth"], "B/s"),
            *(_ridge(level["ridge"][dtype]) for dtype in dtypes),
        )
        for level in facts["levels"]
    ]
    headings = ("level", "capacity", "nominal", "attained", *(f"ridge {dtype}" for dtype in dtypes))
    rows = [
        (
            row["kernel"],
            row["channels"],
            f"{row['size']}x{row['size']}",
            row["dtype"] + ("" if row["native"] else "*"),
            f"{row['intensity']:.4g}",
            quantity(row["attainable"], "op/s"),
            f"{row['share']:.0%}",
            row["bound"],
            row["near"] if row["near"] != last["name"] else "",
        )
        for row in facts["convolutions"]
    ]
    lines = [
        head + engine,
        f"peak        {peaks}",
        f"ridge       {ridges} FLOP/B at {last['name']}",
        "",
        table(headings, levels, right=tuple(range(1, len(headings)))),
        "",
        f"convolutions, batch {facts['convolutions'][0]['batch']}, every operand read once from {last['name']}:",
        table(("kernel", "channels", "size", "type", "AI FLOP/B", "attainable", "of peak", "bound", "fits"), rows, right=(1, 2, 4, 5, 6)),
    ]
    foreign = dict.fromkeys(row["dtype"] for row in facts["convolutions"] if not row["native"])
    return "\n".join([*lines, *([f"* no {', '.join(foreign)} arithmetic: another type's rate is used"] if foreign else [])])


def _ridge(value: float) -> str:
    return f"{value:.4g}"


def _write_page(target: Target, roofs: Roofs, cases: Sequence[Convolution], path: Path) -> None:
    """The page of `edgec cost` of a graph that holds the convolutions side by side, one document for every element type."""
    from ..costmodel.analysis.bottleneck import bottleneck_facts, bottlenecks, bound_shares, roofline_facts
    from ..costmodel.analysis.convolutions import convolution_graph
    from ..costmodel.precision import PRECISIONS
    from ..costmodel.predict import Predictor
    from ..costmodel.report.page import write_report

    documents = []
    dtypes = list(dict.fromkeys(case.dtype for case in cases))
    drawn = [dtype for dtype in dtypes if dtype in PRECISIONS]
    if not drawn:
        raise usage_error(f"no page is drawn for {', '.join(dtypes)}", "--html", "ask for f32, f16, bf16 or i8")
    if drawn != dtypes:
        say(f"warning: the page leaves out {', '.join(d for d in dtypes if d not in PRECISIONS)}")
    graph = convolution_graph([case for case in cases if case.dtype == drawn[0]])
    for dtype in drawn:
        predictor = Predictor(graph, target, engine=roofs.engine.name, precision=dtype, setting=roofs.setting)
        found = predictor.predict()
        analysis = {
            "roofline": roofline_facts(predictor.roofs),
            "bound_shares": bound_shares(found),
            "bottlenecks": bottleneck_facts(bottlenecks(found, predictor.roofs)),
        }
        documents.append({**found.to_json(), "target": f"{target.name}, {dtype}", "analysis": analysis})
    write_report({"model": f"convolutions on {target.name}", "targets": documents}, path)
