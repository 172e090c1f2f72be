"""The published measurements: complete, on engines that exist, and within what the described hardware can physically do."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from edgec.costmodel.hardware import Engine
from edgec.costmodel.targets import load_target

FILE = Path(__file__).parents[2] / "benchmarks" / "data" / "published.toml"
DATA = tomllib.loads(FILE.read_text(encoding="utf-8"))
POINTS = DATA["point"]
METRICS = {"latency", "throughput", "tokens_per_second", "prefill_tokens_per_second", "energy", "power"}
REQUIRED = {"id", "target", "engine", "model", "metric", "value", "statistic", "batch", "precision", "runtime", "source", "place"}
OPTIONAL = {"units", "clock_hz", "context", "weight_bytes", "conditions", "fitted"}
GIGA_MACS = {  # of one item, from the papers of the networks
    "resnet50": 4.09,
    "resnet18": 1.81,
    "mobilenet-v1": 0.569,
    "mobilenet-v2": 0.301,
    "vgg16": 15.5,
    "vit-b16": 16.9,
    "bert-base-384": 35,
    "bert-large-384": 123,
    "resnet8-cifar": 0.0125,
}


def engine_of(point: dict) -> Engine:
    return next(e for e in load_target(point["target"]).engines if e.name == point["engine"])


def test_there_are_enough_points():
    usable = [point for point in POINTS if "fitted" not in point]
    assert len(usable) >= 20
    assert len({point["target"] for point in usable}) >= 10
    assert {point["metric"] for point in POINTS} == METRICS
    assert len({point["id"] for point in POINTS}) == len(POINTS)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point["id"])
def test_points_are_complete(point):
    assert set(point) >= REQUIRED and set(point) <= REQUIRED | OPTIONAL
    assert point["metric"] in METRICS and point["value"] > 0 and point["batch"] >= 1
    assert point["model"] in DATA["models"] and "family" in DATA["models"][point["model"]]
    source = DATA["sources"][point["source"]]
    assert source["url"].startswith("https://") and len(source["title"]) > 20 and len(point["place"]) > 4
    engine = engine_of(point)
    assert point.get("units", 1) <= engine.units
    assert point.get("clock_hz", 0) <= engine.clock_hz.high
    assert ("weight_bytes" in point) == ("token" in point["metric"])


@pytest.mark.parametrize("point", [p for p in POINTS if p["metric"] == "tokens_per_second"], ids=lambda point: point["id"])
def test_no_decoder_reads_its_weights_faster_than_the_memory_delivers(point):
    read = point["value"] * point["weight_bytes"]
    bandwidth = engine_of(point).memory[-1].bandwidth
    assert 0.25 * bandwidth.low < read < bandwidth.high


@pytest.mark.parametrize(
    "point", [p for p in POINTS if p["model"] in GIGA_MACS and p["metric"] == "latency"], ids=lambda point: point["id"]
)
def test_no_network_runs_faster_than_the_peak(point):
    engine = engine_of(point)
    share = point.get("units", engine.units) / engine.units * point.get("clock_hz", engine.clock_hz.value) / engine.clock_hz.value
    attained = 2e9 * GIGA_MACS[point["model"]] * point["batch"] / point["value"]
    assert 0.005 * engine.peak[point["precision"]].low * share < attained < engine.peak[point["precision"]].high * share
