"""Predictions as people and scripts read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Range = tuple[float, float, float]
SCHEMA = "edgec.cost/1"


@dataclass(frozen=True)
class Prediction:
    """The time of one kernel, all its runs in one inference taken together.

    Attributes:
        name: the node.
        op: its operator.
        kernel: its kernel class.
        dtype: the element type that it computes in.
        seconds: low, expected and high.
        bound: what takes most of the time: ``dispatch``, ``compute`` or the name of a memory level.
        flops: operations.
        macs: multiply-accumulates.
        bytes: bytes read and written, every operand touched once.
        traffic: bytes through every memory level, by its name.
        tier: which model said so.
        known: whether operator and sizes are known.
        nodes: the graph's nodes that the kernel computes.
        sources: the nodes of the imported model that they came from.
        live_bytes: activations alive while it runs.
        joules: expected, at the wall.
    """

    name: str
    op: str
    kernel: str
    dtype: str
    seconds: Range
    bound: str
    flops: float
    macs: float
    bytes: float
    traffic: Mapping[str, float]
    tier: str
    known: bool
    nodes: tuple[str, ...]
    sources: tuple[str, ...]
    live_bytes: float
    joules: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "op": self.op,
            "kernel": self.kernel,
            "dtype": self.dtype,
            "seconds": list(self.seconds),
            "bound": self.bound,
            "flops": round(self.flops),
            "macs": round(self.macs),
            "bytes": round(self.bytes),
            "traffic": {name: round(value) for name, value in self.traffic.items()},
            "known": self.known,
            "nodes": list(self.nodes),
            "sources": list(self.sources),
            "live_bytes": round(self.live_bytes),
            "joules": self.joules,
        }


@dataclass(frozen=True)
class GraphPrediction:
    """The cost of one inference on one engine of a target.

    Attributes:
        target: its name.
        engine: the engine's name.
        tier: which model said so.
        precision: in which the model is priced.
        bindings: values of the symbols.
        seconds: low, expected and high: the limits of a 90 % interval.
        joules: the same for energy at the wall; `energy` has the parts.
        peak_bytes: greatest sum of activations alive at a time.
        weight_bytes: bytes of constants.
        kv_bytes: bytes of keys and values that attention keeps from one step to the next.
        nodes: the kernels.
        run_seconds: overhead of one inference, part of `seconds`.
        energy: joules by part, each as low, expected and high.
        assumed: values that were assumed for sizes that only the data decide.
        notes: what a reader should know.
    """

    target: str
    engine: str
    tier: str
    precision: str
    bindings: Mapping[str, int]
    seconds: Range
    joules: Range
    peak_bytes: float
    weight_bytes: float
    kv_bytes: float
    nodes: tuple[Prediction, ...]
    run_seconds: Range
    energy: Mapping[str, Range] = field(default_factory=dict)
    assumed: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def macs(self) -> float:
        """Multiply-accumulates of all kernels."""
        return sum(node.macs for node in self.nodes)

    @property
    def flops(self) -> float:
        """Operations of all kernels."""
        return sum(node.flops for node in self.nodes)

    def to_json(self) -> dict[str, Any]:
        """Plain data: ``target``, ``tier``, ``seconds``, ``joules``, ``peak_bytes``, ``nodes`` and more."""
        return {
            "schema": SCHEMA,
            "target": self.target,
            "engine": self.engine,
            "tier": self.tier,
            "precision": self.precision,
            "dims": dict(self.bindings),
            "assumed": dict(self.assumed),
            "seconds": list(self.seconds),
            "joules": list(self.joules),
            "peak_bytes": round(self.peak_bytes),
            "weight_bytes": round(self.weight_bytes),
            "kv_bytes": round(self.kv_bytes),
            "macs": round(self.macs),
            "flops": round(self.flops),
            "run_seconds": list(self.run_seconds),
            "energy": {name: list(value) for name, value in self.energy.items()},
            "nodes": [node.to_json() for node in self.nodes],
            "notes": list(self.notes),
        }
