"""The analysis of a model on a target as one document of plain data, which reports draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...ir.diagnostics import Diagnostic
from ..predict import Predictor
from ..prediction import GraphPrediction
from ..roofline import Roofs
from .advice import Findings, advise
from .batching import BatchCurve, batch_curve, best_batch, grown_batch
from .bottleneck import bottleneck_facts, bottlenecks, bound_shares, roofline_facts
from .elasticity import elasticities
from .fusion_report import explain_fusion
from .layouts import layout_locality
from .phases import PhaseSymbols, decode_crossover, generation_phases, phase_intensity
from .priority import Weights, priorities
from .rollup import layer_rollup, node_shares, scope_rollup, typical_shares
from .subject import Subject, batch_symbol

CURVE = (1, 2, 4, 8, 16, 32, 64)
FORMATS = ("f16", "bf16", "i8", "w8", "w4")


def analyse(
    subject: Subject,
    bindings: Mapping[str, int],
    *,
    predictor: Predictor | None = None,
    prediction: GraphPrediction | None = None,
    weights: Weights | None = None,
    batches: Sequence[int] = CURVE,
    fusion: bool = True,
) -> dict[str, Any]:
    """Everything that the analysis finds at one point: see docs/cost-analysis.md for the keys.

    Args:
        subject: a model on a target.
        bindings: values of the symbols.
        predictor: of the subject's kernels, when it was made already.
        prediction: at that point, when it was made already.
        weights: of the priority ranking.
        batches: of the curve over the batch.
        fusion: explain fused kernels.

    Raises:
        Diagnostic: E1010 to E1012 as `Predictor.predict`.
    """
    predictor = predictor or subject.predictor()
    prediction = prediction or predictor.predict(bindings)
    roofs = predictor.roofs
    found = bottlenecks(prediction, roofs)
    symbol = batch_symbol(predictor.compiled.schedule.inputs, subject.plain)
    slopes = elasticities(predictor, bindings, symbol)
    # the kernels of a backend's own graph are the graph whose structure is known; regions stand for nodes of the plain graph
    flat = subject.plain if _covers(prediction, subject) else subject.kernels
    plain = subject.predictor(flat)
    shares = node_shares(prediction, flat, plain.compiled)
    typical = typical_shares(prediction, shares)
    curve = batch_curve(predictor, symbol, batches, bindings) if symbol else None
    cases = []
    if fusion and flat is subject.plain and subject.kernels is not subject.plain:
        cases = explain_fusion(plain.predict(bindings), prediction, subject.kernels, roofs)
    formats = precision_seconds(subject, bindings, roofs)
    capacity = subject.device.dram.bytes.value
    findings = Findings(
        prediction, roofs, found, slopes, curve, cases, typical["seconds"], {n: f["seconds"][1] for n, f in formats.items()}, capacity
    )
    return {
        "roofline": roofline_facts(roofs),
        "bound_shares": bound_shares(prediction),
        "bottlenecks": bottleneck_facts(found),
        "elasticities": slopes.to_json(),
        "layers": layer_rollup(prediction, shares),
        "shares": typical,
        "scopes": scope_rollup(prediction, subject.scopes),
        "priorities": [p.to_json() for p in priorities(prediction, roofs, weights)],
        "batching": batching_facts(curve, capacity) if curve is not None else None,
        "fusion": [case.to_json() for case in cases],
        "precisions": formats,
        "locality": layout_locality(flat, prediction),
        "advice": [advice.to_json() for advice in advise(findings)],
    }


def _covers(prediction: GraphPrediction, subject: Subject) -> bool:
    from ..schedule import label

    names = {label(node) for node in subject.plain.walk()}
    return all(name in names for node in prediction.nodes for name in node.nodes)


def precision_seconds(subject: Subject, bindings: Mapping[str, int], roofs: Roofs) -> dict[str, dict[str, Any]]:
    """Seconds, joules and bytes of the model in other precisions, as far as the engine computes in them natively."""
    found: dict[str, dict[str, Any]] = {}
    for name in FORMATS:
        if name == subject.precision or name in ("f16", "bf16", "i8") and not roofs.peak(name)[1]:
            continue
        prediction = subject.predictor(precision=name).predict(bindings)
        found[name] = {
            "seconds": list(prediction.seconds),
            "joules": list(prediction.joules),
            "weight_bytes": prediction.weight_bytes,
            "peak_bytes": prediction.peak_bytes,
        }
    return found


def batching_facts(curve: BatchCurve, capacity: float) -> dict[str, Any]:
    """The curve, the best batch for throughput in the target's memory, and the rule of thumb's."""
    best = best_batch(curve, memory=capacity)
    return {**curve.to_json(), "best": asdict(best) if best.batch is not None else None, "rule_of_thumb": grown_batch(curve, capacity)}


def phase_facts(
    predictor: Predictor, symbols: PhaseSymbols, prompt: int, generated: int, batch: int, vocabulary: int, weight_bits: float
) -> dict[str, Any]:
    """The phases of a generation, their intensities, and the batch from which decoding is bound by compute."""
    phases = generation_phases(predictor, symbols, prompt, generated, batch, vocabulary)
    kernels = predictor.compiled.schedule.kernels
    dtype = next((k.dtype for k in kernels if k.macs != 0), "f32")
    peak, last = predictor.roofs.peak(dtype)[0].value, predictor.roofs.levels[-1].bandwidth.value
    ridge = peak / last
    facts = {**phases.to_json(), "symbols": symbols.to_json(), "ridge": ridge}
    least = 1 if symbols.past else 0
    facts["intensity_prefill"] = float(phase_intensity(predictor, symbols, batch, prompt, least)[0])
    facts["intensity_decode"] = float(phase_intensity(predictor, symbols, batch, 1, max(prompt, least))[0])
    if symbols.batch and symbols.past:
        facts["crossover"] = asdict(decode_crossover(predictor, symbols, prompt, ridge, weight_bits))
    return facts


def pareto_facts(choices: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All choices of target, precision and batch, each with whether nothing beats it in seconds and joules per item and in bits.

    Args:
        choices: ``seconds`` and ``joules`` per item and ``bits`` of the arithmetic, a stand-in for quality, of each.
    """
    from .pareto import pareto_front

    order = list(range(len(choices)))
    kept = set(pareto_front(order, [(c["seconds"], c["joules"], -c["bits"]) for c in choices]))
    return [{**choice, "best": i in kept} for i, choice in enumerate(choices)]


def phase_symbols_or_none(graph: Any) -> PhaseSymbols | None:
    """The symbols of a model of token sequences, None for others."""
    from .phases import phase_symbols

    try:
        return phase_symbols(graph)
    except Diagnostic:
        return None
