"""The commands that execute models: run and verify."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.diagnostics import Exit
from ..ir.serial.atomic import writing
from .arguments import usage_error
from .console import emit, say, table
from .progress import working

LAYERS_SHOWN = 20


def run(folder: Path, source: Path, output: Path, options: Mapping[str, Any], as_json: bool) -> None:
    """Run a bundle on the feeds of one .npz file and write its outputs to another."""
    from ..runtime.bundle import load_bundle
    from ..runtime.dataset import load_dataset

    if output.is_dir() or output.suffix != ".npz":
        raise usage_error(f"'{output}' is not the name of an .npz file", "--output", "write OUT.npz")
    bundle = load_bundle(folder, **options)
    samples = load_dataset(source, bundle.signature)
    if len(samples) != 1:
        raise usage_error(f"'{source}' holds {len(samples)} samples", "--input", "run takes one: name one .npz file")
    for warning in samples[0].warnings:
        say(f"warning: {source.name}: {warning}")
    with working("running") as _:
        began = time.perf_counter()
        results = bundle.run(samples[0].feeds)
        seconds = time.perf_counter() - began
    arrays = storable(results)
    write_npz(output, arrays)
    facts = {
        "schema": "edgec.run/1",
        "ok": True,
        "bundle": str(folder),
        "target": bundle.target,
        "input": str(source),
        "output": str(output),
        "outputs": {name: {"dtype": str(a.dtype), "shape": list(a.shape)} for name, a in arrays.items()},
        "seconds": round(seconds, 6),
    }
    rows = [(name, a.dtype, list(a.shape)) for name, a in arrays.items()]
    emit(facts, as_json, f"{output}:\n{table(('output', 'type', 'shape'), rows)}")


def storable(results: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Outputs as arrays for an .npz file: the items of sequences are numbered, absent optionals are left out, texts are Unicode."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, value in results.items():
        items = {f"{name}.{i}": v for i, v in enumerate(value)} if isinstance(value, list | tuple) else {name: value}
        for key, item in items.items():
            if item is None:
                continue
            array = np.asarray(item)
            arrays[key] = array.astype(np.str_) if array.dtype == object else array
    return arrays


def write_npz(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write an .npz file whole or not at all; the same arrays give the same bytes."""
    with writing(path) as (file,), zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue())


def verify(
    a: Path,
    b: Path,
    data: Path | None,
    chosen: Mapping[str, Any],
    *,
    every_layer: bool,
    as_json: bool,
) -> Exit:
    """Compare two models or bundles; gives the exit status. ``chosen`` holds the other arguments of `edgec.verify`."""
    from ..api import verify as compare

    if data is None:
        say(f"note: no --data given: plausible inputs are made up from seed {chosen['seed']}")
    what = f"comparing {a.name} with {b.name}"
    with working(what) as status:
        report = compare(a, b, data, **chosen, progress=lambda text: status.update(f"{what}: {text}") if status is not None else None)
    facts = {"schema": "edgec.verify/1", "ok": report.passed, **report.to_json()}
    emit(facts, as_json, _verify_text(facts, every_layer))
    return Exit.DONE if report.passed else Exit.GATE_FAILED


def _verify_text(facts: Mapping[str, Any], every_layer: bool) -> str:
    verdict = "passed" if facts["passed"] else "FAILED"
    lines = [f"{facts['a']} and {facts['b']} on {len(facts['samples'])} sample(s): {verdict}", ""]
    rows = [
        (o["name"], _figure(o["error"], "relative"), _figure(o["error"], "tolerance"), _figure(o["error"], "sqnr_db"))
        + (_figure(o["error"], "max_abs"), "ok" if o["passed"] else "FAILED", o["why"])
        for o in facts["outputs"]
    ]
    lines.append(table(("output", "error", "tolerance", "SQNR dB", "max abs", "", ""), rows, right=(1, 2, 3, 4)))
    for output in facts["outputs"]:
        if output["quantiles"] is not None and (every_layer or not output["passed"]):
            lines += ["", *_distribution(output)]
    first = facts["first_diverging"]
    if first is not None:
        lines += ["", f"first diverging layer: {first['name']} ({', '.join(first['operators'])})"]
        if first["sources"]:
            lines.append(f"  made from: {', '.join(first['sources'])}")
        if first["quantiles"] is not None:
            lines += ["", *_distribution(first)]
    if facts["layers"]:
        shown = list(facts["layers"])
        if not every_layer:
            differing = [layer for layer in shown if _severity(layer) > 0]
            shown = sorted(differing, key=lambda layer: -_severity(layer))[:LAYERS_SHOWN]
            lines += ["", f"{len(differing)} of {len(facts['layers'])} layers differ; these most, by their tolerance (--layers lists all):"]
        rows = [
            (la["name"], ",".join(la["operators"]), la["dtype"], _figure(la["isolated"], "relative"))
            + (_figure(la["accumulated"], "relative"), _figure(la["isolated"] or la["accumulated"], "tolerance"))
            + (_drift(la, "mean_shift"), ",".join(la["flags"]))
            for la in shown
        ]
        heads = ("layer", "operators", "type", "isolated", "accumulated", "tolerance", "drift", "flags")
        lines += ["", table(heads, rows, right=(3, 4, 5, 6))]
    lines += [f"note: {note}" for note in facts["notes"]]
    return "\n".join(lines)


def _distribution(item: Mapping[str, Any]) -> list[str]:
    """The quantile table of a tensor in both models, the drift and the saturation."""
    quantiles, drift = item["quantiles"], item["drift"]
    heads = ("", *(f"p{percent:g}" for percent in quantiles["percent"]))
    rows = [("A", *quantiles["a"]), ("B", *quantiles["b"])]
    low, high = (" → ".join(f"{100 * share:.2f} %" for share in drift[f"saturation_{end}"]) for end in ("low", "high"))
    moved = f"mean moved by {drift['mean_shift']:.3g} standard deviations, variance by {drift['variance_shift']:.3g} of itself"
    return [
        f"distribution of {item['name']}:",
        table(heads, rows, right=range(1, len(heads))),
        f"{moved}; elements at the minimum {low}, at the maximum {high}" + (f"; {', '.join(item['flags'])}" if item["flags"] else ""),
    ]


def _figure(figures: Mapping[str, Any] | None, key: str) -> Any:
    return None if figures is None else figures[key]


def _drift(layer: Mapping[str, Any], key: str) -> Any:
    drift = layer["drift"]
    return None if drift is None else drift.get(key)


def _severity(layer: Mapping[str, Any]) -> float:
    figures = layer["isolated"] or layer["accumulated"]
    if figures is None:
        return 0.0
    return float(figures["relative"]) / max(float(figures["tolerance"]), 1e-30)
