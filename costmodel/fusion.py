"""What fusion saves: the roofline of kernels one by one against that of one kernel, weights and spills included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """A kernel before fusion.

    Attributes:
        flops: its operations.
        bytes: everything that it reads and writes, weights included.
        inner_bytes: of these, intermediates of the fused group.
    """

    flops: float
    bytes: float
    inner_bytes: float = 0.0


@dataclass(frozen=True)
class FusionGain:
    """Before and after.

    Attributes:
        seconds_before: the sum over kernels of the greater of compute and memory time, and a launch each.
        seconds_after: one launch and the greater of compute and memory time of the whole.
        intensity_before: operations per byte over the kernels' traffic.
        intensity_after: operations per byte over the traffic that remains.
        bytes_before: traffic of the kernels one by one.
        bytes_after: traffic of the fused kernel with its spills.
    """

    seconds_before: float
    seconds_after: float
    intensity_before: float
    intensity_after: float
    bytes_before: float
    bytes_after: float

    @property
    def gain(self) -> float:
        """Seconds saved; negative when fusion costs time."""
        return self.seconds_before - self.seconds_after


def fusion_gain(
    pieces: Sequence[Piece], peak: float, bandwidth: float, launch: float = 0.0, spill_bytes: float = 0.0, saved_flops: float = 0.0
) -> FusionGain:
    """Time before and after fusing kernels into one.

    T_before = Σ max(F_i / P, B_i / BW) + n launches. T_after = max((ΣF − saved) / P, (ΣB − inner + spills) / BW) + 1 launch.

    Args:
        pieces: the kernels; an intermediate counts as `inner_bytes` where it is written and where it is read.
        peak: operations per second.
        bandwidth: bytes per second.
        launch: seconds per kernel.
        spill_bytes: traffic of intermediates that do not fit near memory and pass through the far one after all.
        saved_flops: operations that fusion removes (a folded normalisation).
    """
    flops = sum(p.flops for p in pieces)
    before = sum(p.bytes for p in pieces)
    after = before - sum(p.inner_bytes for p in pieces) + spill_bytes
    return FusionGain(
        sum(max(p.flops / peak, p.bytes / bandwidth) + launch for p in pieces),
        max((flops - saved_flops) / peak, after / bandwidth) + launch,
        flops / before if before else float("inf"),
        (flops - saved_flops) / after if after else float("inf"),
        before,
        after,
    )


def batched_traffic(weights: float, activations: float, batch: int) -> float:
    """Bytes of one batched inference: weights once, activations per item."""
    return weights + batch * activations


def batched_working_set(weights: float, peak_activations: float, batch: int) -> float:
    """Bytes that must fit: weights once, peak activations per item."""
    return weights + batch * peak_activations
