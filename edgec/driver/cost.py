"""`edgec cost`: predicted time, energy and memory of a model on hardware, with what explains them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import did_you_mean
from ..optimizing import Settings
from .arguments import CLOCKS, parse_sweep, usage_error
from .console import emit
from .cost_subject import KERNELS, Opened, open_subject
from .progress import working

if TYPE_CHECKING:
    from ..costmodel.analysis.priority import Weights
    from ..costmodel.analysis.subject import Subject
    from ..costmodel.predict import Predictor
    from ..ir.graph import Graph

REPORT = "edgec.cost-report/1"


@dataclass(frozen=True)
class Request:
    """What the command line asks for; see `edgec cost --help`."""

    targets: tuple[str, ...]
    engine: str | None = None
    threads: int | None = None
    tier: str = "auto"
    precision: str = "native"
    kernels: str = "auto"
    dims: Mapping[str, int] = field(default_factory=dict)
    freeze: Mapping[str, Any] = field(default_factory=dict)
    optimize: bool = True
    sweeps: Sequence[str] = ()
    symbolic: bool = False
    explain_fusion: bool = False
    phases: str | None = None
    priority: str | None = None
    lengths: str | None = None
    length_dim: str | None = None
    length_multiple: int = 1
    buckets: int = 4
    top: int = 12
    html: Path | None = None
    as_json: bool = False


def cost(path: Path, request: Request, settings: Settings) -> None:
    """Print, or write, what a model costs.

    Raises:
        Diagnostic: what reading, the passes and predictions raise; E0801 for options that contradict each other.
    """
    from .cost_lengths import parse_lengths
    from .cost_text import cost_text, symbolic_text

    if not request.targets and not request.symbolic:
        raise usage_error("no target", "--target", "name hardware that `edgec targets` lists, or give --symbolic")
    if request.lengths is not None and not request.targets:
        raise usage_error("lengths are priced on a target", "--lengths", "give --target")
    if request.kernels not in KERNELS:
        raise usage_error(f"there is no kind of kernels '{request.kernels}'", "--kernels", did_you_mean(request.kernels, list(KERNELS)))
    sweeps = [parse_sweep(text) for text in request.sweeps]
    weights = parse_priority(request.priority) if request.priority else None
    lengths = parse_lengths(request.lengths) if request.lengths is not None else None
    with working(f"pricing {path.name}"):
        opened = open_subject(path, settings, request.freeze, request.optimize)
        closed = symbolic_facts(opened, request.precision) if request.symbolic else None
        documents = [_document(opened, name, request, sweeps, weights, lengths) for name in request.targets]
    _add_choices(documents)
    if closed is not None:
        for document in documents:
            document["analysis"]["symbolic"] = closed
    if request.html is not None:
        _write_page(opened, documents, request.html)
    if not documents:
        emit(
            {"schema": "edgec.cost-symbolic/1", "ok": True, "model": opened.name, **(closed or {})}, request.as_json, symbolic_text(closed)
        )
        return
    text = "\n\n".join(
        [*([symbolic_text(closed)] if closed else []), *(cost_text(d, request.top, request.explain_fusion) for d in documents)]
    )
    emit(documents[0] if len(documents) == 1 else documents, request.as_json, text)


def _write_page(opened: Opened, documents: Sequence[Mapping[str, Any]], path: Path) -> None:
    from ..costmodel.report.page import write_report

    write_report({"schema": REPORT, "model": opened.name, "targets": list(documents)}, path)


# -- one target --------------------------------------------------------------------------------------------------------
def _document(
    opened: Opened,
    name: str,
    request: Request,
    sweeps: Sequence[tuple[str, list[float]]],
    weights: Weights | None,
    lengths: Mapping[int, int] | None,
) -> dict[str, Any]:
    from ..costmodel.analysis.analyse import analyse
    from ..costmodel.analysis.subject import Subject, open_target
    from ..costmodel.calibrated import CalibratedTarget
    from ..costmodel.predict import engine_of
    from ..costmodel.roofline import Setting
    from .cost_lengths import length_symbol, padding_facts

    target = open_target(name)
    kind = request.kernels
    if kind == "auto":
        by_ort = isinstance(target, CalibratedTarget) and target.backend == "ort" and opened.config is None
        kind = "ort" if by_ort else "regions"
    if request.threads is not None:
        device = target.target if isinstance(target, CalibratedTarget) else target
        units = engine_of(device, request.engine).units
        if request.threads > units:
            raise usage_error(f"{request.threads} threads on {units} unit{'s' if units > 1 else ''}", "--threads", f"at most {units}")
    setting = Setting(units=request.threads)
    subject = Subject(opened.graph, target, opened.kernels(kind), request.engine, request.tier, request.precision, setting, opened.scopes)
    predictor = subject.predictor()
    wanted = parse_phases(request.phases) if request.phases else None
    point = _point(opened, predictor, request, sweeps, wanted)
    length = length_symbol(subject, predictor, request.length_dim) if lengths else ""
    if lengths:
        point.setdefault(length, -(-max(lengths) // request.length_multiple) * request.length_multiple)
    prediction = predictor.predict(point)
    analysis = analyse(subject, point, predictor=predictor, prediction=prediction, weights=weights)
    analysis["kernels"] = kind
    analysis["sweeps"] = [_sweep(subject, predictor, point, symbol, values) for symbol, values in sweeps]
    if wanted is not None:
        analysis["phases"] = _phases(opened, predictor, wanted, request.precision)
    if lengths:
        analysis["padding"] = padding_facts(subject, predictor, point, length, lengths, request.buckets, request.length_multiple)
    analysis["choices"] = _choices(subject, point)
    facts = prediction.to_json()
    operators = _operators(opened.graph, subject.kernels)
    for node in facts["nodes"]:
        node["operators"] = [operators[name] for name in node["nodes"] if name in operators] or [node["op"]]
    return {
        **facts,
        "ok": True,
        "model": opened.name,
        "optimized": request.optimize,
        "node_count": list(opened.nodes),
        "analysis": analysis,
    }


def _operators(*graphs: Graph) -> dict[str, str]:
    """The operators of the nodes of some graphs by label; the first graph's come first."""
    from ..costmodel.schedule import label

    found: dict[str, str] = {}
    for graph in graphs:
        for node in graph.walk():
            if node.op.op_name != "Region":
                found.setdefault(label(node), node.op.op_name)
    return found


def _point(
    opened: Opened, predictor: Predictor, request: Request, sweeps: Sequence[tuple[str, list[float]]], phases: Mapping[str, Any] | None
) -> dict[str, int]:
    """The sizes to price: those given, the first of every sweep, and a step of decoding where phases are asked for."""
    known = (*predictor.compiled.schedule.inputs, *predictor.compiled.schedule.free)
    point = {symbol: int(values[0]) for symbol, values in sweeps if symbol not in CLOCKS or symbol in known}
    if phases is not None:
        from ..costmodel.analysis.phases import phase_symbols

        symbols = phase_symbols(opened.graph)
        point = {**{k: int(v) for k, v in symbols.bind(phases["batch"], 1, max(phases["prompt"], 1)).items()}, **point}
        point = {name: size for name, size in point.items() if name in known}
    return {**point, **request.dims}


def _sweep(subject: Subject, predictor: Predictor, point: Mapping[str, int], symbol: str, values: Sequence[float]) -> dict[str, Any]:
    """Seconds, joules and peak bytes over a dimension or a clock."""
    known = (*predictor.compiled.schedule.inputs, *predictor.compiled.schedule.free)
    if symbol in CLOCKS and symbol not in known:
        from dataclasses import replace

        from ..costmodel.roofline import Setting

        rows = []
        for factor in values:
            given = subject.setting or Setting()
            found = replace(subject, setting=replace(given, **{symbol: factor})).predictor().predict(point)
            rows.append((list(found.seconds), list(found.joules), found.peak_bytes))
    else:
        swept = predictor.sweep({**point, symbol: [int(v) for v in values]})
        rows = [(swept.seconds[:, i].tolist(), swept.joules[:, i].tolist(), float(swept.peak_bytes[i])) for i in range(len(values))]
    columns = list(zip(*rows, strict=True))
    return {"symbol": symbol, "values": list(values), "seconds": columns[0], "joules": columns[1], "peak_bytes": columns[2]}


def _phases(opened: Opened, predictor: Predictor, wanted: Mapping[str, Any], precision: str) -> dict[str, Any]:
    from ..costmodel.analysis.analyse import phase_facts
    from ..costmodel.analysis.phases import phase_symbols
    from ..costmodel.precision import precision_of

    symbols = phase_symbols(opened.graph)
    last = opened.graph.outputs[0].shape if opened.graph.outputs else None
    vocabulary = last[-1] if last and isinstance(last[-1], int) else 0
    bits = precision_of(precision).effective_bits(True)
    kind = next((v.dtype.bits for n in opened.graph for v in n.inputs if v is not None and v.is_constant and v.dtype and v.rank == 2), 32)
    return phase_facts(
        predictor, symbols, wanted["prompt"], wanted["generate"], wanted["batch"], vocabulary, float(bits if bits is not None else kind)
    )


def _choices(subject: Subject, point: Mapping[str, int]) -> list[dict[str, Any]]:
    """Seconds and joules per item in every precision and batch."""
    from ..costmodel.analysis.analyse import CURVE, FORMATS
    from ..costmodel.analysis.subject import batch_symbol
    from ..costmodel.precision import BITS, precision_of

    found: list[dict[str, Any]] = []
    for name in dict.fromkeys((subject.precision, *FORMATS)):
        predictor = subject.predictor(precision=name)
        if name in ("f16", "bf16", "i8") and name != subject.precision and not predictor.roofs.peak(name)[1]:
            continue
        symbol = batch_symbol(predictor.compiled.schedule.inputs, subject.plain)
        batches = list(CURVE) if symbol else [1]
        swept = predictor.sweep({**point, symbol: batches} if symbol else point)
        weights = precision_of(name).effective_bits(True)
        main = next((k.dtype for k in predictor.compiled.schedule.kernels if k.macs != 0), "f32")
        for i, batch in enumerate(batches):
            found.append(
                {
                    "target": subject.device.name,
                    "precision": name,
                    "batch": batch,
                    "seconds": float(swept.seconds[1, i]) / batch,
                    "latency": float(swept.seconds[1, i]),
                    "joules": float(swept.joules[1, i]) / batch,
                    "bits": float(weights) if weights is not None else float(BITS.get(main, 32)),
                }
            )
    return found


def _add_choices(documents: Sequence[dict[str, Any]]) -> None:
    """Replace the choices of single targets by all of them, with those marked that nothing beats."""
    from ..costmodel.analysis.analyse import pareto_facts

    marked = pareto_facts([choice for document in documents for choice in document["analysis"].pop("choices")])
    for document in documents:
        document["analysis"]["pareto"] = marked


# -- closed forms ------------------------------------------------------------------------------------------------------
def symbolic_facts(opened: Opened, precision: str) -> dict[str, Any]:
    """Work and memory of a model in closed form, as texts (numbers where nothing is symbolic)."""
    from ..costmodel.symbolic import Costs, symbolic_costs

    found = symbolic_costs(opened.graph, precision)

    def plain(costs: Costs) -> dict[str, Any]:
        names = ("macs", "flops", "read_bytes", "written_bytes", "weight_bytes")
        return {name: _closed(getattr(costs, name)) for name in names}

    return {
        "total": plain(found.total),
        "macs_by_type": {name: _closed(dim) for name, dim in found.macs.items()},
        "classes": {name: plain(costs) for name, costs in found.classes.items()},
        "weight_bytes": _closed(found.weight_bytes),
        "kv_bytes": _closed(found.kv_bytes),
        "peak_bytes": _closed(found.peak.bytes) if found.peak.readable else [_closed(size) for size, _ in found.peak.moments],
        "unknown": list(found.unknown),
    }


def _closed(dim: Any) -> Any:
    return dim if isinstance(dim, int) else str(dim)


# -- options -----------------------------------------------------------------------------------------------------------
def parse_phases(text: str) -> dict[str, int]:
    """``prompt=512,generate=128,batch=1``; what is left out is 512, 128 and 1.

    >>> parse_phases("prompt=100")
    {'prompt': 100, 'generate': 128, 'batch': 1}
    """
    from .arguments import parse_dims

    found = {"prompt": 512, "generate": 128, "batch": 1}
    for name, size in parse_dims([text] if text else []).items():
        if name not in found:
            raise usage_error(f"'{name}' is no part of the phases", "--phases", did_you_mean(name, list(found)))
        if size < 1:
            raise usage_error(f"'{name}' is {size}", "--phases", "at least 1")
        found[name] = size
    return found


def parse_priority(text: str) -> Weights:
    """``time=1,potential=2,ease=0.5,gemm=0.9``: exponents, and the ease of kernel classes."""
    from ..costmodel.analysis.priority import Weights
    from ..costmodel.hardware import KERNEL_CLASSES

    exponents, eases = {}, {}
    for piece in text.split(","):
        name, _, value = (part.strip() for part in piece.partition("="))
        try:
            number = float(value)
        except ValueError:
            raise usage_error(f"'{piece}' is not NAME=NUMBER", "--priority", "such as time=1,potential=1,ease=0.5,gemm=0.9") from None
        if not 0 <= number < float("inf"):
            raise usage_error(f"'{name}' is {number}", "--priority", "weights are not negative")
        if name in ("time", "potential", "ease"):
            exponents[name] = number
        elif name in KERNEL_CLASSES:
            eases[name] = number
        else:
            raise usage_error(f"'{name}' is no weight", "--priority", did_you_mean(name, ["time", "potential", "ease", *KERNEL_CLASSES]))
    return Weights(**exponents, eases=eases)
