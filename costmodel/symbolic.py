"""Costs of a model in closed form: expressions over batch, sequence and whatever else is symbolic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..ir.dims import Dim
from ..ir.graph import Graph
from .kv import cache_bytes
from .memory import Peak, peak_memory
from .precision import Precision
from .schedule import KernelInstance, Schedule, build_schedule


@dataclass(frozen=True)
class Costs:
    """Costs of one kernel, of one class, or of a model.

    Attributes:
        macs: multiply-accumulates.
        flops: all operations.
        read_bytes: bytes of operands, each touched once, weights included.
        written_bytes: bytes of results.
        weight_bytes: of the bytes read, those of constants.
    """

    macs: Dim
    flops: Dim
    read_bytes: Dim
    written_bytes: Dim
    weight_bytes: Dim

    @property
    def bytes(self) -> Dim:
        """Bytes read and written."""
        return self.read_bytes + self.written_bytes

    def plus(self, other: Costs) -> Costs:
        """The sum."""
        return Costs(
            self.macs + other.macs,
            self.flops + other.flops,
            self.read_bytes + other.read_bytes,
            self.written_bytes + other.written_bytes,
            self.weight_bytes + other.weight_bytes,
        )


NOTHING = Costs(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class SymbolicCosts:
    """Costs of a model in closed form.

    Attributes:
        total: of all kernels.
        macs: multiply-accumulates by the element type that they are computed in.
        classes: by kernel class.
        kernels: name and costs of every kernel, in order.
        weight_bytes: bytes of all constants, each counted once.
        kv_bytes: bytes of the key-value cache after a run.
        peak: the peak of live activations (in the model's own element types).
        unknown: kernels whose costs are not known; they count as what is known of them.
    """

    total: Costs
    macs: Mapping[str, Dim]
    classes: Mapping[str, Costs]
    kernels: tuple[tuple[str, Costs], ...]
    weight_bytes: Dim
    kv_bytes: Dim
    peak: Peak
    unknown: tuple[str, ...]


def symbolic_costs(graph: Graph, precision: str | Precision = "native") -> SymbolicCosts:
    """The closed forms of a graph.

    Raises:
        Diagnostic: E1014 for an unknown precision.
    """
    schedule = build_schedule(graph, precision)
    total = NOTHING
    macs: dict[str, Dim] = {}
    classes: dict[str, Costs] = {}
    kernels: list[tuple[str, Costs]] = []
    for kernel in schedule.kernels:
        costs = kernel_costs(schedule, kernel)
        total = total.plus(costs)
        name = kernel.geometry.kernel
        classes[name] = classes.get(name, NOTHING).plus(costs)
        kernels.append((kernel.name, costs))
        if kernel.macs != 0:
            macs[kernel.dtype] = macs.get(kernel.dtype, 0) + costs.macs
    unknown = tuple(k.name for k in schedule.kernels if not k.known)
    cache = cache_bytes(graph, schedule.precision)
    return SymbolicCosts(total, macs, classes, tuple(kernels), schedule.weight_bytes, cache, peak_memory(graph), unknown)


def kernel_costs(schedule: Schedule, kernel: KernelInstance) -> Costs:
    """The costs of one kernel in all its runs."""
    read: Dim = 0
    written: Dim = 0
    weights: Dim = 0
    for access in kernel.accesses:
        if access.write:
            written = written + access.bytes
        else:
            read = read + access.bytes
            weights = weights + access.bytes if schedule.tensors[access.tensor].role == "weight" else weights
    count = kernel.count
    return Costs(kernel.macs * count, kernel.flops * count, read * count, written * count, weights * count)
