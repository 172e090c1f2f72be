"""A schedule compiled to arrays: all sizes of all kernels for many values of the symbols at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic, code, did_you_mean
from .evaluation import Array, Table
from .residency import Index, Reuse, lifetimes, resident_share, reuse_of
from .schedule import TYPICAL, Schedule

E_UNBOUND = code(
    "E1010",
    "a symbolic dimension has no value",
    "A prediction needs a number for every symbolic dimension of the model's inputs. Give it with `--dim NAME=VALUE`, or sweep it with "
    "`--sweep NAME=LOW:HIGH`. `edgec inspect MODEL` lists the symbols.",
)
E_DIMENSION = code(
    "E1011",
    "a dimension has an impossible value",
    "Dimensions are whole numbers of at least 1. A model on empty tensors does no work, so that no time can be predicted.",
)
E_SYMBOL = code(
    "E1012",
    "the model has no such dimension",
    "`--dim` and `--sweep` name a symbolic dimension of the model. `edgec inspect MODEL` lists them.",
)
ASSUMED = (1, 16, 256)  # low, expected and high value of a size that only the data decide
LARGEST = 1 << 40


@dataclass(frozen=True)
class Group:
    """The kernels of one class: their positions in the schedule and the rows of their sizes."""

    kernels: Index
    rows: Mapping[str, Index]


class CompiledSchedule:
    """Everything about a schedule that does not depend on the values of its symbols.

    Attributes:
        schedule: what was compiled.
        reuse: its reuse structure.
        groups: kernels by class.
    """

    def __init__(self, schedule: Schedule, arena: bool = True) -> None:
        self.schedule = schedule
        self.table = Table()
        kernels = schedule.kernels
        self.tensor_rows = self.table.rows([t.bytes for t in schedule.tensors])
        self.macs_rows = self.table.rows([k.macs for k in kernels])
        self.flops_rows = self.table.rows([k.flops for k in kernels])
        self.count_rows = self.table.rows([k.count for k in kernels])
        self.access_rows = self.table.rows([a.bytes for k in kernels for a in k.accesses])
        self.groups: dict[str, Group] = {}
        for name in dict.fromkeys(k.geometry.kernel for k in kernels):
            members = [i for i, k in enumerate(kernels) if k.geometry.kernel == name]
            keys = list(kernels[members[0]].geometry.sizes)
            rows = {key: self.table.rows([kernels[i].geometry.sizes[key] for i in members]) for key in keys}
            self.groups[name] = Group(np.array(members, np.intp), rows)
        symbols = dict.fromkeys(self.table.symbols, TYPICAL)
        typical = self.table.evaluate(symbols, 1)[self.tensor_rows][:, 0] if len(self.tensor_rows) else np.zeros(0)
        self.reuse: Reuse = reuse_of(schedule, typical, arena)
        self.first, self.final = (np.array(x, np.intp) for x in lifetimes(schedule))
        self.exchanged = np.array(_exchanges(schedule), np.bool_)[:, None]
        accesses = [a for k in kernels for a in k.accesses]
        self.constants = np.array([schedule.tensors[a.tensor].role == "weight" for a in accesses], np.float64)[:, None]
        self.reads = np.array([not a.write and schedule.tensors[a.tensor].role != "weight" for a in accesses], np.float64)[:, None]
        self.loops = _loops(schedule)
        self.activations = np.array([t.role != "weight" for t in schedule.tensors], np.float64)[:, None]

    @property
    def size(self) -> int:
        """The number of kernels."""
        return len(self.schedule.kernels)

    def bind(self, bindings: Mapping[str, Any]) -> tuple[dict[str, Array], int]:
        """Checked values of the symbols, and the number of points; sizes that only the data decide are given their expected value.

        Raises:
            Diagnostic: E1010, E1011 or E1012.
        """
        known = (*self.schedule.inputs, *self.schedule.free)
        for name in bindings:
            if name not in known:
                hint = did_you_mean(name, list(known)) if known else "all dimensions of the model are numbers"
                raise Diagnostic(E_SYMBOL, f"the model has no symbolic dimension '{name}'", hint=hint)
        missing = [name for name in self.schedule.inputs if name not in bindings]
        if missing:
            names = ", ".join(f"'{name}'" for name in missing)
            raise Diagnostic(E_UNBOUND, f"no value for the symbolic dimension {names}", hint=" ".join(f"--dim {n}=…" for n in missing))
        arrays = {name: np.atleast_1d(np.asarray(value)) for name, value in bindings.items()}
        for name, values in arrays.items():
            _check(name, values)
        points = max((v.size for v in arrays.values()), default=1)
        for name, values in arrays.items():
            if values.ndim != 1 or values.size not in (1, points):
                raise Diagnostic(
                    E_DIMENSION, f"'{name}' has {values.size} values where others have {points}", hint="sweep equally long lists"
                )
        bound = {name: np.broadcast_to(v.astype(np.float64), points) for name, v in arrays.items()}
        for name in self.schedule.free:
            bound.setdefault(name, np.full(points, float(ASSUMED[1])))
        return bound, points

    def at(self, bindings: Mapping[str, Any]) -> Sized:
        """The sizes for values of the symbols: numbers, or equally long lists of numbers.

        Raises:
            Diagnostic: E1010, E1011 or E1012.
        """
        bound, points = self.bind(bindings)
        values = self.table.evaluate(bound, points)
        if not np.all(np.isfinite(values)) or np.any(values[self.tensor_rows] < 0):
            raise Diagnostic(E_DIMENSION, "a tensor has no size for these dimensions", hint="larger dimensions may be needed")
        return Sized(self, values, points)


def _exchanges(schedule: Schedule) -> list[bool]:
    """Of every access, whether it is the first read of an input or the write of an output."""
    seen: set[int] = set()
    found: list[bool] = []
    for kernel in schedule.kernels:
        for access in kernel.accesses:
            role = schedule.tensors[access.tensor].role
            found.append(role == "output" and access.write or role == "input" and access.tensor not in seen)
            seen.add(access.tensor)
    return found


def _loops(schedule: Schedule) -> list[tuple[Index, Index]]:
    """Of every row of kernels that run several times: the positions of their accesses, and the tensors that they touch."""
    kernels = schedule.kernels
    starts = np.cumsum([0, *(len(kernel.accesses) for kernel in kernels)])
    found: list[tuple[Index, Index]] = []
    for count, members in groupby(range(len(kernels)), key=lambda i: kernels[i].count):
        inside = list(members)
        tensors = sorted({access.tensor for i in inside for access in kernels[i].accesses})
        if tensors and not (type(count) is int and count <= 1):
            found.append((np.arange(starts[inside[0]], starts[inside[-1] + 1]), np.array(tensors, np.intp)))
    return found


def _check(name: str, values: Any) -> None:
    if not (np.issubdtype(values.dtype, np.integer) or np.issubdtype(values.dtype, np.floating)) or values.size == 0:
        raise Diagnostic(E_DIMENSION, f"'{name}' is {values.tolist()}, not a number")
    for value in values.reshape(-1).tolist():
        if not 1 <= value <= LARGEST or value != int(value):
            raise Diagnostic(E_DIMENSION, f"'{name}' is {value}", hint="a dimension is a whole number from 1 on")


class Sized:
    """The sizes of a schedule for n points.

    Attributes:
        compiled: the schedule.
        points: n.
    """

    def __init__(self, compiled: CompiledSchedule, values: Array, points: int) -> None:
        self.compiled, self.values, self.points = compiled, values, points

    @cached_property
    def macs(self) -> Array:
        """Multiply-accumulates of one run of every kernel ``[kernels, n]``."""
        return self.values[self.compiled.macs_rows]

    @cached_property
    def flops(self) -> Array:
        """All operations of one run of every kernel ``[kernels, n]``."""
        return self.values[self.compiled.flops_rows]

    @cached_property
    def count(self) -> Array:
        """Runs of every kernel in one inference ``[kernels, n]``."""
        return self.values[self.compiled.count_rows]

    @cached_property
    def tensor_bytes(self) -> Array:
        """Sizes of the tensors ``[tensors, n]``."""
        return self.values[self.compiled.tensor_rows]

    @cached_property
    def access_bytes(self) -> Array:
        """Bytes of every access ``[accesses, n]``."""
        return self.values[self.compiled.access_rows]

    @cached_property
    def distances(self) -> Array:
        """Reuse distances of every access ``[accesses, n]``; in loops no more than what an iteration touches: all but one find it there."""
        found = self.compiled.reuse.distances(self.tensor_bytes)
        for accesses, tensors in self.compiled.loops:
            found[accesses] = np.minimum(found[accesses], self.tensor_bytes[tensors].sum(axis=0))
        return found

    @cached_property
    def bytes(self) -> Array:
        """Bytes that every kernel reads and writes, each operand touched once ``[kernels, n]``."""
        return self.per_kernel(self.access_bytes)

    @cached_property
    def weight_bytes(self) -> Array:
        """Bytes of all constants ``[n]``."""
        return (self.tensor_bytes * (1.0 - self.compiled.activations)).sum(axis=0)

    def sizes(self, kernel: str) -> dict[str, Array]:
        """The geometry of the kernels of a class: arrays ``[members, n]`` by name."""
        return {name: self.values[rows] for name, rows in self.compiled.groups[kernel].rows.items()}

    def per_kernel(self, per_access: Array) -> Array:
        """Sums over the accesses of every kernel ``[kernels, n]``."""
        result = np.zeros((self.compiled.size, self.points))
        owners = self.compiled.reuse.kernel
        if len(owners):
            starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
            result[owners[starts]] = np.add.reduceat(per_access, starts, axis=0)
        return result

    def sources(self, capacities: list[float], softness: float, apart: bool = False, only: Array | None = None) -> list[Array]:
        """Bytes of every kernel that come from (or go to) each level and were not found nearer: one ``[kernels, n]`` per level.

        No distance is greater than all memory of the model: weights and the peak of activations.

        Args:
            capacities: bytes that each level but the last keeps from one kernel to the next, the nearest first.
            softness: see `residency.resident_share`.
            apart: the host leaves inputs in the last level and fetches outputs from there.
            only: weights of the accesses ``[accesses, 1]``, for bytes of some of them; all count alike unless given.
        """
        touched = self.access_bytes if only is None else self.access_bytes * only
        distances = np.minimum(self.distances, self.weight_bytes + self.peak_bytes)
        if apart:
            distances = np.where(self.compiled.exchanged, np.inf, distances)
        found: list[Array] = []
        nearer = np.zeros_like(self.access_bytes)
        for capacity in capacities:
            share = np.maximum(resident_share(distances, capacity, softness), nearer) if capacity > 0 else nearer
            found.append(self.per_kernel(touched * (share - nearer)))
            nearer = share
        found.append(self.per_kernel(touched * (1.0 - nearer)))
        return found

    @cached_property
    def live_bytes(self) -> Array:
        """Bytes of inputs, outputs and activations that are alive while every kernel runs ``[kernels, n]``."""
        changes = np.zeros((self.compiled.size + 1, self.points))
        sizes = self.tensor_bytes * self.compiled.activations
        np.add.at(changes, self.compiled.first, sizes)
        np.add.at(changes, self.compiled.final + 1, -sizes)
        return np.cumsum(changes, axis=0)[:-1]

    @cached_property
    def peak_bytes(self) -> Array:
        """The peak of live activations ``[n]``."""
        return self.live_bytes.max(axis=0) if self.compiled.size else np.zeros(self.points)
