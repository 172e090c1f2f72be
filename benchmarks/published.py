"""Predictions from specification sheets against published measurements: how many lie inside the printed interval.

    python benchmarks/published.py            prints the table and writes benchmarks/results/published.md
    python benchmarks/published.py --check    exits with 1 when fewer than 80 % of the points lie inside

Points that were used to choose a number of a target file are listed, and left out of the counts.
"""

from __future__ import annotations

import argparse
import math
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from architectures import build_model, llm_config  # noqa: E402

from edgec.costmodel.analysis.phases import phase_symbols  # noqa: E402
from edgec.costmodel.precision import Precision  # noqa: E402
from edgec.costmodel.predict import Predictor, engine_of  # noqa: E402
from edgec.costmodel.roofline import Setting  # noqa: E402
from edgec.costmodel.schedule import build_schedule  # noqa: E402
from edgec.costmodel.targets import load_target  # noqa: E402
from edgec.ir.graph import Graph  # noqa: E402

HERE = Path(__file__).parent
DATA = HERE / "data" / "published.toml"
TABLE = HERE / "results" / "published.md"
GOAL = 0.8
GROUP = 128
SECONDS = ("latency", "throughput", "tokens_per_second", "prefill_tokens_per_second")


@dataclass(frozen=True)
class Outcome:
    """One point with its prediction in the units of the point.

    Attributes:
        point: the measurement.
        low: of the predicted interval.
        expected: the prediction.
        high: of the predicted interval.
    """

    point: Mapping[str, Any]
    low: float
    expected: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the interval."""
        return self.low <= self.point["value"] <= self.high

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.expected / self.point["value"]

    @property
    def fitted(self) -> bool:
        """Whether the point was used to choose a number of the target."""
        return "fitted" in self.point


@cache
def published() -> dict[str, Any]:
    """The file of measurements."""
    return tomllib.loads(DATA.read_text(encoding="utf-8"))


@cache
def grouped(model: str) -> Graph:
    """The kernels that a runtime makes of a model: products with what follows them, chains of elementwise operators."""
    from edgec.passes.context import Context
    from edgec.passes.regions import GroupRegions

    graph = build_model(published()["models"][model])
    GroupRegions().run(graph, Context())
    return graph


def precision_of_point(point: Mapping[str, Any]) -> Precision:
    """How the point's model was stored and computed; weights of decoders have the bits that the published file size gives."""
    name = point["precision"]
    if name in ("f32", "f16", "i8"):
        return Precision(name, name, name, name)
    if name == "i4 weights, i16":
        return Precision("w4a16", "i16", "i4", "i16", group=GROUP)
    bits = 4
    wide = name == "i8 weights"
    scale = 16
    if "weight_bytes" in point:
        bits = point["weight_bytes"] * 8 / llm_config(published()["models"][point["model"]]).parameters
        wide = bits > 6.5
        scale = max(round((bits - (8 if wide else 4)) * GROUP), 0)
    return Precision(name, "f16", "i8" if wide else "i4", "f16", group=GROUP if scale else 0, scale_bits=scale)


def outcome(point: Mapping[str, Any]) -> Outcome:
    """Predict one point."""
    target = load_target(point["target"])
    engine = engine_of(target, point["engine"])
    clock = point.get("clock_hz")
    setting = Setting(units=point.get("units"), core=clock / engine.clock_hz.value if clock else 1.0)
    graph = grouped(point["model"])
    schedule = build_schedule(graph, precision_of_point(point))
    predictor = Predictor(schedule, target, engine=point["engine"], setting=setting, tier="spec")
    batch, metric = point["batch"], point["metric"]
    if "tokens" in metric:
        symbols = phase_symbols(graph)
        context = point.get("context", 512)
        prefill = metric.startswith("prefill")
        found = predictor.predict(symbols.bind(batch, context if prefill else 1, 1 if prefill else context))
        tokens = batch * (context if prefill else 1)
        return Outcome(point, *(tokens / found.seconds[i] for i in (2, 1, 0)))
    found = predictor.predict({"batch": batch})
    if metric == "throughput":
        return Outcome(point, *(batch / found.seconds[i] for i in (2, 1, 0)))
    if metric == "energy":
        return Outcome(point, *found.joules)
    if metric == "power":
        low, expected, high = (j / s for j, s in zip(found.joules, found.seconds, strict=True))
        return Outcome(point, min(low, expected, high), expected, max(low, expected, high))
    return Outcome(point, *found.seconds)


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many lie inside, and how far predictions are off."""
    if not outcomes:
        return "none"
    inside = sum(o.inside for o in outcomes)
    spread = math.exp(sum(abs(math.log(o.ratio)) for o in outcomes) / len(outcomes))
    widths = sorted(o.high / o.low for o in outcomes)
    share = f"{inside} of {len(outcomes)} ({inside / len(outcomes):.0%}) inside"
    return f"{share}; typically off by a factor of {spread:.2f}; the intervals span a factor of {widths[len(widths) // 2]:.1f} (median)"


def report(outcomes: Sequence[Outcome]) -> str:
    """The table as Markdown."""
    judged = [o for o in outcomes if not o.fitted]
    lines = [
        "# Predictions from specification sheets against published measurements",
        "",
        "`benchmarks/published.py` writes this table. Predictions know the target file and the architecture, nothing else.",
        "",
        f"All points: {summary(judged)}. Goal: {GOAL:.0%} inside.",
        "",
        *(
            f"- {target}: {summary([o for o in judged if o.point['target'] == target])}"
            for target in dict.fromkeys(o.point["target"] for o in judged)
        ),
        "",
        "| point | measured | low | predicted | high | predicted / measured | inside |",
        "|---|---|---|---|---|---|---|",
    ]
    for o in outcomes:
        verdict = "not judged: its target was adjusted to it" if o.fitted else "yes" if o.inside else "**no**"
        lines.append(
            f"| {o.point['id']} | {o.point['value']:.4g} | {o.low:.4g} | {o.expected:.4g} | {o.high:.4g} | {o.ratio:.2f} | {verdict} |"
        )
    misses = [o for o in judged if not o.inside]
    lines += ["", "## Misses", ""]
    lines += [
        f"- {o.point['id']}: {'above' if o.point['value'] > o.high else 'below'} the interval; {o.point['runtime']}" for o in misses
    ] or ["None."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Evaluate all points."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with 1 when the goal is missed")
    parser.add_argument("--only", default="", help="points whose id contains this; writes nothing")
    arguments = parser.parse_args()
    outcomes = [outcome(point) for point in published()["point"] if arguments.only in point["id"]]
    text = report(outcomes)
    print(text)
    if not arguments.only:
        TABLE.write_text(text, encoding="utf-8")
    judged = [o for o in outcomes if not o.fitted]
    return int(arguments.check and sum(o.inside for o in judged) < GOAL * len(judged))


if __name__ == "__main__":
    sys.exit(main())
