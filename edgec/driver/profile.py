"""Profiles: a bundle measured operator by operator, or a foreign profile in the same form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import usage_error
from .console import emit, say, table
from .progress import working

if TYPE_CHECKING:
    from ..costmodel.calibrated import CalibratedTarget
    from ..costmodel.hardware import Target
    from ..runtime.bundle import Bundle
    from ..runtime.profiling.bundle import BundleProfile
    from ..runtime.profiling.timeline import Profile

SHOWN = 30


def profile(
    folder: Path | None,
    *,
    runs: int = 10,
    threads: int = 1,
    target: str | None = None,
    data: Path | None = None,
    trace: Path | None = None,
    imported: Path | None = None,
    form: str | None = None,
    as_json: bool = False,
) -> None:
    """Profile a bundle, or read a profile; with both, the profile's layers are joined to the bundle's source nodes."""
    from ..runtime.bundle import load_bundle

    bundle = load_bundle(folder) if folder is not None else None
    if imported is not None:
        _import(imported, form, bundle, trace, as_json)
        return
    if bundle is None:
        raise usage_error("there is nothing to profile", "edgec profile", "name a bundle, or a file with --import")
    from ..runtime.profiling.bundle import profile_bundle
    from ..runtime.profiling.timeline import write_trace

    with working("profiling"):
        found = profile_bundle(bundle, _feeds(bundle, data), runs=runs, threads=threads, target=_target(target))
    if trace is not None:
        write_trace(found.profile, trace)
    facts = _facts(found, bundle, threads)
    emit(facts, as_json, _text(facts))


def _feeds(bundle: Bundle, data: Path | None) -> Mapping[str, Any]:
    """The first sample of a data set, or made-up inputs that fit the signature."""
    from ..runtime.dataset import load_dataset

    if data is not None:
        sample = load_dataset(data, bundle.signature, limit=1)[0]
        for warning in sample.warnings:
            say(f"warning: {warning}")
        return sample.feeds
    from ..runtime.profiling.feeds import made_up

    return made_up(bundle)


def _target(name: str | None) -> Target | CalibratedTarget | None:
    if name is None:
        return None
    from ..costmodel.calibrated import is_calibrated, load_calibrated
    from ..costmodel.targets import load_target

    return load_calibrated(name) if is_calibrated(name) else load_target(name)


def _import(path: Path, form: str | None, bundle: Bundle | None, trace: Path | None, as_json: bool) -> None:
    from ..runtime.profiling.importing import FORMATS, import_profile
    from ..runtime.profiling.timeline import with_sources, write_trace

    if form is None:
        raise usage_error("--import needs --format", "--format", f"one of {', '.join(FORMATS)}")
    found = import_profile(path, form)
    if bundle is not None:
        found = with_sources(found, {**bundle.debug.get("tensors", {}), **bundle.debug["nodes"]})
    if trace is not None:
        write_trace(found, trace)
    emit(found.to_json(), as_json, _events(found))


def _events(profile: Profile) -> str:
    totals: dict[tuple[str, str], list[float]] = {}
    for event in profile.events:
        if event.kind != "run":
            totals.setdefault((event.name, event.kind), []).append(event.seconds)
    whole = sum(sum(v) for v in totals.values()) or 1.0
    ordered = sorted(totals.items(), key=lambda item: -sum(item[1]))
    rows = [(name, kind, len(v), f"{sum(v) * 1e6:.1f}", f"{sum(v) / whole:.1%}") for (name, kind), v in ordered[:SHOWN]]
    sums = ", ".join(f"{kind} {seconds * 1e3:.3f} ms" for kind, seconds in profile.totals().items())
    text = table(("name", "kind", "times", "µs in all", "share"), rows, (2, 3, 4))
    return f"{profile.runtime}: {len(profile.events)} events, {profile.runs} runs; {sums}\n{text}"


def _facts(found: BundleProfile, bundle: Bundle, threads: int) -> dict[str, Any]:
    prediction = found.prediction
    return {
        "schema": "edgec.profile/1",
        "target": bundle.target,
        "runtime": found.profile.runtime,
        "runs": found.profile.runs,
        "threads": threads,
        "seconds": found.seconds,
        "predicted_seconds": list(prediction.seconds) if prediction is not None else None,
        "tier": prediction.tier if prediction is not None else None,
        "operators": [
            {
                "name": o.name,
                "op": o.op,
                "sources": list(o.sources),
                "seconds": o.measured,
                "predicted_seconds": list(o.predicted) if o.predicted is not None else None,
                "bound": o.bound,
                "compute_utilisation": o.compute,
                "bandwidth_utilisation": o.bandwidth,
            }
            for o in found.operators
        ],
        "notes": list(found.profile.notes),
    }


def _text(facts: Mapping[str, Any]) -> str:
    total = sum(o["seconds"] for o in facts["operators"]) or 1.0
    predicted = facts["predicted_seconds"] is not None
    rows = []
    for o in sorted(facts["operators"], key=lambda o: -o["seconds"])[:SHOWN]:
        row = [o["name"], o["op"], f"{o['seconds'] * 1e6:.1f}", f"{o['seconds'] / total:.1%}"]
        if predicted:
            expected = o["predicted_seconds"]
            row += [f"{expected[1] * 1e6:.1f}" if expected else "", o["bound"], _percent(o["compute_utilisation"])]
        rows.append([*row, ", ".join(o["sources"])[:60]])
    headings = ["operator", "kind", "µs", "share", *(["predicted", "bound", "of peak"] if predicted else []), "source nodes"]
    lines = [f"one inference: {facts['seconds'] * 1e3:.3f} ms on {facts['runtime']}, {facts['threads']} threads"]
    if predicted:
        low, expected, high = (s * 1e3 for s in facts["predicted_seconds"])
        lines.append(f"predicted: {expected:.3f} ms, from {low:.3f} to {high:.3f} (tier {facts['tier']})")
    lines += [f"note: {note}" for note in facts["notes"]]
    if len(facts["operators"]) > SHOWN:
        lines.append(f"the {SHOWN} longest of {len(facts['operators'])} operators:")
    return "\n".join([*lines, table(headings, rows, (2, 3))])


def _percent(share: float | None) -> str:
    return f"{share:.0%}" if share is not None else ""
