"""Predictions against published measurements: the architectures are the right ones, and enough measurements lie inside the intervals."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from edgec.costmodel.work import graph_work

FOLDER = Path(__file__).parents[2] / "benchmarks"
GIGA_MACS = {  # of one item, from the papers of the networks
    "resnet50": 4.09, "resnet18": 1.81, "mobilenet-v1": 0.569, "mobilenet-v2": 0.301, "vgg16": 15.5, "vit-b16": 17.6,
    "efficientnet-b0": 0.386, "mobilenet-v3-large": 0.217, "mobilenet-v3-small": 0.0565, "inception-v1": 1.58, "bert-base-384": 35.3,
    "bert-large-384": 123.2, "resnet8-cifar": 0.0125, "ds-cnn": 0.00266,
}  # fmt: skip
MILLION_WEIGHTS = {
    "resnet50": 25.5,
    "vgg16": 138.4,
    "vit-b16": 86.6,
    "llama-2-7b": 6738,
    "llama-3-8b": 8030,
    "phi-2": 2779,
    "tinyllama-1.1b": 1100,
}


@pytest.fixture(scope="module")
def published() -> ModuleType:
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("published_benchmark", FOLDER / "published.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def test_the_architectures_do_the_work_of_their_papers(published: ModuleType) -> None:
    models = published.published()["models"]
    for name, expected in GIGA_MACS.items():
        macs = graph_work(published.build_model(models[name])).macs
        assert macs.substitute({"batch": 1}) / 1e9 == pytest.approx(expected, rel=0.01), name
    for name, expected in MILLION_WEIGHTS.items():
        graph = published.build_model(models[name])
        held = {id(v.data): v.data.array.size for n in graph for v in n.inputs if v is not None and v.data is not None}
        assert sum(held.values()) / 1e6 == pytest.approx(expected, rel=0.01), name


def test_enough_measurements_lie_inside_the_intervals(published: ModuleType) -> None:
    outcomes = [published.outcome(point) for point in published.published()["point"]]
    judged = [o for o in outcomes if not o.fitted]
    assert len(judged) >= 20
    assert sum(o.inside for o in judged) >= 0.8 * len(judged)
    widths = sorted(o.high / o.low for o in judged)
    assert widths[len(widths) // 2] < 10  # an interval that holds everything says nothing
    text = published.report(outcomes)
    assert f"{sum(o.inside for o in judged)} of {len(judged)} (" in text and text.count("\n| ") == len(outcomes) + 1
