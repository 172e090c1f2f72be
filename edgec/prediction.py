"""Latency and energy of models and nodes on hardware that the cost model knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compiling import Compiled
    from .costmodel.schedule import Schedule
    from .ir.graph import Graph, Node
    from .ir.model import Model

_BATCH = re.compile(r"batch|^n$|^b$|^bs$", re.IGNORECASE)


def predictor(hardware: str | None) -> Callable[[Compiled], dict[str, Any]] | None:
    """What predicts the figures of a compiled model on some hardware; None when no hardware is named.

    The figures: ``hardware``, ``engine``, ``tier``, ``latency_s`` and ``energy_j`` with their 90 % intervals ``latency_range_s`` and
    ``energy_range_j``, and ``assumed``, the sizes taken for dimensions that are free.

    Raises:
        Diagnostic: E1001 when the cost model does not know the hardware.
    """
    if hardware is None:
        return None
    from .costmodel.analysis.subject import open_target
    from .costmodel.calibrated import CalibratedTarget
    from .costmodel.predict import predict

    target = open_target(hardware)

    def figures(compiled: Compiled) -> dict[str, Any]:
        model = compiled.result.model
        by_ort = isinstance(target, CalibratedTarget) and target.backend == "ort"
        schedule = _schedule(kernels_of_ort(model) if by_ort else fused_kernels(model))
        assumed = assumed_sizes(schedule.inputs)
        found = predict(schedule, target, assumed)
        return {
            "hardware": found.target,
            "engine": found.engine,
            "tier": found.tier,
            "latency_s": _short(found.seconds[1]),
            "latency_range_s": [_short(found.seconds[0]), _short(found.seconds[2])],
            "energy_j": _short(found.joules[1]),
            "energy_range_j": [_short(found.joules[0]), _short(found.joules[2])],
            "assumed": assumed,
        }

    return figures


def node_seconds(model: Model, hardware: str) -> list[float | None]:
    """The predicted latency of every node of a model on some hardware, in the order of the nodes, in seconds.

    The time of a kernel that computes several nodes is shared evenly among them; None stands for nodes without a kernel of their own.
    """
    from .costmodel.analysis.subject import open_target
    from .costmodel.predict import predict
    from .costmodel.schedule import label

    schedule = _schedule(model.graph)
    found = predict(schedule, open_target(hardware), assumed_sizes(schedule.inputs))
    seconds: dict[str, float] = {}
    for kernel in found.nodes:
        for name in kernel.nodes:
            seconds[name] = seconds.get(name, 0.0) + kernel.seconds[1] / len(kernel.nodes)
    return [seconds.get(label(node)) for node in model.graph.walk()]


def price_on(hardware: str) -> Callable[[Sequence[Node]], float | None]:
    """The price of nodes for the ladder: their predicted seconds on some hardware, each run by itself; None where it is not known."""
    from .costmodel.analysis.subject import open_target
    from .costmodel.predict import predict
    from .ir.clone import isolated_node

    target = open_target(hardware)

    def price(nodes: Sequence[Node]) -> float | None:
        total = 0.0
        for node in nodes:
            schedule = _schedule(isolated_node(node))
            kernels = predict(schedule, target, assumed_sizes(schedule.inputs)).nodes
            if not all(kernel.known for kernel in kernels):
                return None
            total += sum(kernel.seconds[1] for kernel in kernels)
        return total

    return price


def assumed_sizes(symbols: Iterable[str]) -> dict[str, int]:
    """What free dimensions are taken for: batches for 1, everything else for `NOMINAL_SIZE`.

    >>> assumed_sizes(["batch", "sequence"])
    {'batch': 1, 'sequence': 16}
    """
    from .lowering.price import NOMINAL_SIZE

    return {name: 1 if _BATCH.search(name) else NOMINAL_SIZE for name in symbols}


def fused_kernels(model: Model) -> Graph:
    """The graph of the kernels that runtimes make of a model, as `edgec cost` prices it: nodes grouped into regions. The model stays."""
    from .passes.context import Context
    from .passes.regions import GroupRegions

    graph = model.copy().graph
    GroupRegions().run(graph, Context())
    return graph


def kernels_of_ort(model: Model) -> Graph:
    """The graph that ONNX Runtime makes of a model, whose kernels a calibration with it has measured.

    Raises:
        Diagnostic: E1017 when the runtime refuses the model.
    """
    import tempfile
    from pathlib import Path

    from .costmodel.ort_graph import optimized_by_ort

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model.save(path)
        return optimized_by_ort(path).graph


def _schedule(graph: Graph) -> Schedule:
    from .costmodel.schedule import build_schedule

    return build_schedule(graph)


def _short(number: float) -> float:
    return float(f"{number:.4g}")
