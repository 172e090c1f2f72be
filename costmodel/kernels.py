"""Features of every kernel class: the quantities to which time is proportional.

Each function is written once and works on expressions over the symbolic dimensions as well as on numpy arrays: it uses sums, products,
floor divisions and `largest` only. The units are operations and elements; what a feature costs on an engine is a matter of a tier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.dims import maximum, minimum

Size = Any  # int, Expr or an array of float64
Sizes = Mapping[str, Size]
CONTRACTIONS = ("gemm", "gemv", "conv-direct", "conv-im2col", "conv-depthwise", "conv-grouped", "attention", "recurrent")

PANEL = 12  # rows of a result that the inner kernels of matrix products keep in registers
TOGETHER = 6  # positions of a row that the inner kernels of convolutions in blocked layouts compute at once …
SETS = 4  # … and for how many vectors of filters


@dataclass(frozen=True)
class Blocks:
    """The granularity of an engine's arithmetic: rows, columns and depth of a matrix product are padded to multiples of these."""

    rows: int = 1
    columns: int = 1
    depth: int = 1


@dataclass(frozen=True)
class KernelClass:
    """What the model knows of a class of kernels.

    Attributes:
        name: one of `hardware.KERNEL_CLASSES`.
        features: compute features, in the order of `compute`'s result.
        compute: their values from sizes and blocks. The first feature of a contraction is its multiply-accumulates, the second the same
            with padding.
        scratch: elements of temporary memory that is written and read again, and how often each is touched; None for none.
        stall: how much longer than the least a byte of a constant takes that comes from beyond the nearest level, between 0 and 1; None
            where constants cost what other operands cost.
    """

    name: str
    features: tuple[str, ...]
    compute: Callable[[Sizes, Blocks], tuple[Size, ...]]
    scratch: Callable[[Sizes], tuple[Size, int]] | None = None
    stall: Callable[[Sizes], Size] | None = None


def largest(left: Size, right: Size) -> Size:
    """The greater of two sizes, of whatever kind they are."""
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return np.maximum(left, right)
    return maximum(left, right)


def smallest(left: Size, right: Size) -> Size:
    """The lesser of two sizes, of whatever kind they are."""
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return np.minimum(left, right)
    return minimum(left, right)


def ceiling(size: Size, unit: int) -> Size:
    """A size divided by a unit, rounded up."""
    return size if unit == 1 else (size + (unit - 1)) // unit


def padded(size: Size, unit: int) -> Size:
    """A size rounded up to a multiple of a unit."""
    return size if unit == 1 else ceiling(size, unit) * unit


def _gemm(s: Sizes, b: Blocks) -> tuple[Size, ...]:
    batch, m, n, k = s["batch"], s["m"], s["n"], s["k"]
    grown = batch * padded(m, b.rows) * padded(n, b.columns) * padded(k, b.depth)
    panels = batch * ceiling(m, PANEL) * padded(n, b.columns) * k
    return batch * m * n * k, grown, batch * k * n * (1 - s["fixed"]), batch * m * k, batch * m * n, panels, batch, s["flops"]


def _convolution(s: Sizes, b: Blocks) -> tuple[Size, ...]:
    batch, groups, positions = s["batch"], s["groups"], s["positions"]
    depth = s["inputs"] * s["taps"]
    macs = batch * groups * positions * s["outputs"] * depth
    filters = padded(s["outputs"], b.columns)
    grown = (
        batch * groups * padded(positions, b.rows) * filters * padded(depth, b.depth)
        - batch * groups * filters * s["inputs"] * s["skipped"]
    )
    results = batch * groups * s["outputs"] * positions
    weights = groups * s["outputs"] * depth
    panels = batch * groups * ceiling(s["outputs"], PANEL) * padded(positions, b.columns) * depth
    singles = batch * groups * ceiling(s["outputs"], SETS * b.columns) * _singles(s) * depth
    copies = batch * groups * s["inputs"] * _copied_rows(s)
    operand = batch * groups * s["inputs"] * s["area"]
    return macs, grown, results, operand, weights, panels, singles, copies, s["activated"], s["flops"]


def _copied_rows(s: Sizes) -> Size:
    """Pieces in which an operand is unfolded: one for every row and tap that is not all padding."""
    width = largest(s["width"], 1)
    return s["positions"] // width * s["taps"] - s["outside"] // width


def _singles(s: Sizes) -> Size:
    """Positions that kernels for several positions of a row at once leave over: beside the padding, and at the end of a row."""
    inner = s["width"] - s["edge"]
    return s["positions"] // largest(s["width"], 1) * (s["edge"] + inner - inner // TOGETHER * TOGETHER)


def _unfolded(s: Sizes, b: Blocks) -> tuple[Size, ...]:
    columns = s["batch"] * s["groups"] * s["positions"] * s["inputs"] * s["taps"]
    return *_convolution(s, b), columns


def _depthwise(s: Sizes, b: Blocks) -> tuple[Size, ...]:
    channels = s["groups"] * s["outputs"]
    macs = s["batch"] * channels * s["positions"] * s["taps"] * s["inputs"]
    grown = s["batch"] * padded(channels, b.columns) * (s["positions"] * s["taps"] - s["skipped"]) * s["inputs"]
    singles = s["batch"] * ceiling(channels, b.columns) * _singles(s) * s["taps"]
    rows = s["batch"] * channels * (s["positions"] // largest(s["width"], 1))
    results, operand = s["batch"] * channels * s["positions"], s["batch"] * s["groups"] * s["inputs"] * s["area"]
    spread = s["batch"] * channels * padded(s["positions"], b.columns) * s["taps"] * s["inputs"]
    copies = s["batch"] * channels * _copied_rows(s)
    tails = s["batch"] * s["positions"] * s["taps"] * s["tail"]
    return macs, grown, results, operand, rows, singles, copies, spread, tails, s["batch"] * channels, s["activated"], s["flops"]


def _grouped(s: Sizes, b: Blocks) -> tuple[Size, ...]:
    return *_convolution(s, b), s["batch"] * s["groups"]


def _attention(s: Sizes, b: Blocks) -> tuple[Size, ...]:
    matrices = s["batch"] * s["heads"]
    scores = matrices * s["queries"] * s["keys"]
    macs = scores * (s["size"] + s["value_size"])
    rows = padded(s["queries"], b.rows)
    grown = matrices * rows * (padded(s["keys"], b.columns) * padded(s["size"], b.depth) + s["keys"] * padded(s["value_size"], b.columns))
    cache = s["batch"] * s["shared"] * s["keys"] * (s["size"] + s["value_size"])
    return macs + s["projection"], grown + s["projection"], scores, cache, matrices, s["projection"], s["flops"]


def _rows(s: Sizes, b: Blocks) -> tuple[Size, ...]:
    return s["rows"] * s["columns"], s["rows"] * padded(s["columns"], b.columns), s["rows"], s["flops"]


def _elements(s: Sizes, b: Blocks) -> tuple[Size, ...]:
    return padded(s["elements"], b.columns), s["flops"]


def _pieces(s: Sizes) -> Size:
    """Runs of elements after the first, whose cost is that of the launch."""
    return largest(s["elements"] // largest(s["run"], 1), 1) - 1


def _spans(s: Sizes, b: Blocks) -> tuple[Size, ...]:
    return padded(s["elements"], b.columns), _pieces(s), s["flops"]


def _movement(s: Sizes, b: Blocks) -> tuple[Size, ...]:
    return s["elements"], _pieces(s), s["flops"]


def _reduction(s: Sizes, b: Blocks) -> tuple[Size, ...]:
    return s["elements"], s["results"], _pieces(s), s["flops"]


def _recurrent(s: Sizes, b: Blocks) -> tuple[Size, ...]:
    rows, gates = s["steps"] * s["batch"], s["gates"]
    macs = rows * gates * (s["inputs"] + s["hidden"])
    grown = rows * padded(gates, b.columns) * (padded(s["inputs"], b.depth) + padded(s["hidden"], b.depth))
    return macs, grown, s["steps"] * gates * s["hidden"], s["steps"], s["flops"]


def _attention_scratch(s: Sizes) -> tuple[Size, int]:
    """The scores: written, normalised in place, read."""
    return s["batch"] * s["heads"] * s["queries"] * s["keys"], 4


def _panel_stall(s: Sizes) -> Size:
    """The more rows of a result an inner kernel computes at once, the more arithmetic lies between its loads, and the fewer it overlaps."""
    return smallest(s["m"], PANEL) / PANEL


def _whole_stall(s: Sizes) -> Size:
    return 1


def _columns_scratch(s: Sizes) -> tuple[Size, int]:
    """The unfolded operand: written and read."""
    return s["batch"] * s["groups"] * s["positions"] * s["inputs"] * s["taps"], 2


_PRODUCT = ("macs", "padded", "packed", "left", "results", "panels", "calls", "flops")
_CONV = ("macs", "padded", "results", "operand", "weights", "panels", "singles", "copies", "activated", "flops")
KERNELS: dict[str, KernelClass] = {
    k.name: k
    for k in (
        KernelClass("gemm", _PRODUCT, _gemm, stall=_panel_stall),
        KernelClass("gemv", _PRODUCT, _gemm),
        KernelClass("conv-direct", _CONV, _convolution, stall=_whole_stall),
        KernelClass("conv-im2col", (*_CONV, "columns"), _unfolded, _columns_scratch, _whole_stall),
        KernelClass(
            "conv-depthwise",
            ("macs", "padded", "results", "operand", "rows", "singles", "copies", "spread", "tails", "calls", "activated", "flops"),
            _depthwise,
        ),
        KernelClass("conv-grouped", (*_CONV, "calls"), _grouped),
        KernelClass("attention", ("macs", "padded", "scores", "cache", "matrices", "projection", "flops"), _attention, _attention_scratch),
        KernelClass("recurrent", ("macs", "padded", "state", "steps", "flops"), _recurrent),
        KernelClass("normalization", ("elements", "padded", "rows", "flops"), _rows),
        KernelClass("softmax", ("elements", "padded", "rows", "flops"), _rows),
        KernelClass("reduction", ("elements", "results", "pieces", "flops"), _reduction),
        KernelClass("movement", ("elements", "pieces", "flops"), _movement),
        KernelClass("elementwise", ("elements", "pieces", "flops"), _spans),
        KernelClass("quantize", ("elements", "pieces", "flops"), _spans),
        KernelClass("control", ("elements", "flops"), _elements),
        KernelClass("view", ("elements", "flops"), _elements),
        KernelClass("unknown", ("elements", "flops"), _elements),
    )
}


def features(kernel: str, sizes: Sizes, blocks: Blocks | None = None) -> dict[str, Size]:
    """The compute features of a kernel of some class, as expressions or arrays, by name."""
    described = KERNELS[kernel]
    return dict(zip(described.features, described.compute(sizes, blocks or Blocks()), strict=True))


def tiles(kernel: str, sizes: Sizes, rows: int, columns: int) -> Size | None:
    """Tiles of the result of a contraction, the units of work that an engine hands to its cores; None for other classes."""
    if kernel in ("gemm", "gemv"):
        return sizes["batch"] * ceiling(sizes["m"], rows) * ceiling(sizes["n"], columns)
    if kernel in ("conv-direct", "conv-im2col", "conv-grouped"):
        return sizes["groups"] * ceiling(sizes["batch"] * sizes["positions"], rows) * ceiling(sizes["outputs"], columns)
    if kernel == "attention":
        return sizes["batch"] * sizes["heads"] * ceiling(sizes["queries"], rows)
    return None


def matrix_shape(kernel: str, sizes: Sizes) -> tuple[Size, Size, Size, Size, Size] | None:
    """Number, rows, columns and depth of the matrix products that a contraction amounts to, and elements of their left operand; None for
    other classes. Kernels that slide over their operand read it as it is, others in the unfolded form."""
    if kernel in ("gemm", "gemv"):
        return sizes["batch"], sizes["m"], sizes["n"], sizes["k"], sizes["m"] * sizes["k"]
    if kernel in ("conv-direct", "conv-im2col", "conv-grouped"):
        depth = sizes["inputs"] * sizes["taps"]
        unfolded = sizes["positions"] * depth
        slides = sizes["slides"] if kernel != "conv-im2col" else 0
        left = unfolded + slides * (sizes["area"] * sizes["inputs"] - unfolded)
        return sizes["batch"] * sizes["groups"], sizes["positions"], sizes["outputs"], depth, left
    return None
