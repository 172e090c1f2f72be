"""The rows that a calibration fits: features and bytes of every kernel, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .compiled import Sized
from .kernels import KERNELS
from .model import compute_features, level_sources, stall_of
from .roofline import Roofs, fetched, level_traffic


@dataclass(frozen=True)
class FeatureRow:
    """What the time of one kernel is fitted to.

    Attributes:
        name: the kernel's name.
        kernel, variant, dtype: the key of its coefficients.
        compute: features of its class by name.
        memory: bytes that come from each memory level, by its name.
        known: whether operator and sizes are known.
        reads: bytes of activations that are fetched from each memory level.
        stalls: bytes of constants from each memory level times the class's stall.
    """

    name: str
    kernel: str
    variant: str
    dtype: str
    compute: Mapping[str, float]
    memory: Mapping[str, float]
    known: bool
    reads: Mapping[str, float] = field(default_factory=dict)
    stalls: Mapping[str, float] = field(default_factory=dict)


def feature_rows(sized: Sized, roofs: Roofs, point: int = 0) -> list[FeatureRow]:
    """The rows of all kernels of a schedule at one point, in order.

    With coefficients c a kernel takes constant + ‖Σ c.compute · compute, Σ c.memory · memory + Σ c.reads · reads +
    Σ c.stalls · stalls‖ₚ; see
    `calibrated.ClassCoefficients`.
    """
    kernels = sized.compiled.schedule.kernels
    sources, (reads, constants) = level_sources(level_traffic(sized, roofs)), fetched(sized, roofs)
    levels = [level.name for level in roofs.levels]
    rows: list[FeatureRow | None] = [None] * len(kernels)
    for name, group in sized.compiled.groups.items():
        sizes = sized.sizes(name)
        stalls = stall_of(name, sizes)
        for row, index in enumerate(group.kernels):
            kernel = kernels[index]
            values = compute_features(name, {k: v[row : row + 1] for k, v in sizes.items()}, roofs.blocks(kernel.dtype))[:, 0, point]
            compute = dict(zip(KERNELS[name].features, (float(v) for v in values), strict=True))
            memory = {level: float(sources[i, index, point]) for i, level in enumerate(levels)}
            stall = float(stalls[row, point])
            fetches = {level: float(reads[i, index, point]) for i, level in enumerate(levels)}
            stalled = {level: float(constants[i, index, point]) * stall for i, level in enumerate(levels)} if stall > 0 else {}
            rows[index] = FeatureRow(
                kernel.name, name, kernel.geometry.variant, kernel.dtype, compute, memory, kernel.known, fetches, stalled
            )
    return [row for row in rows if row is not None]
