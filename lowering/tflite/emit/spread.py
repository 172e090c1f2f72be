"""The geometry of transposed convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from ....ir.graph import Node
from ....ir.ops.channels_last import ChannelsLastConvTranspose
from ....ir.ops.windows import per_axis
from ...backend import Verdict
from ..registry import no


@dataclass(frozen=True)
class Spread:
    """A transposed convolution as: place every input at its stride, lay the kernel there, crop.

    Attributes:
        kernel: sizes of the kernel with the zeros of dilation and, at its end, of output padding.
        strides: distances of the inputs.
        same: whether the kernel's own SAME padding is exactly the wanted crop.
        begins: elements cropped at the start of the whole result.
        ends: likewise at the end.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    same: bool
    begins: tuple[int, ...]
    ends: tuple[int, ...]


def spread_at(node: Node) -> Spread | str:
    """The geometry of a node, or why it is not known before the run."""
    op, x, weight = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, ChannelsLastConvTranspose) and x is not None and weight is not None and x.shape is not None
    taps = weight.tensor.static_shape[2:]  # type: ignore[index]
    rank = len(taps)
    strides, dilations = per_axis(op.strides, rank, "strides"), per_axis(op.dilations, rank, "dilations")
    spatial, result = x.shape[1:-1], node.output.shape
    assert result is not None
    extra = op.output_padding or (0,) * rank
    kernel, begins, ends = [], [], []
    sized = op.output_shape or op.auto_pad in ("SAME_UPPER", "SAME_LOWER")
    for i in range(rank):
        extent = (taps[i] - 1) * dilations[i] + 1
        if not sized:
            pads = op.pads if op.pads and op.auto_pad == "NOTSET" else (0,) * (2 * rank)
            begin, end = pads[i], pads[i + rank] - extra[i]
        elif op.output_shape is None:
            total = extent + extra[i] - strides[i]  # of the whole result beyond size · stride
            begin = _first(max(total, 0), op.auto_pad)
            end = extent - strides[i] - begin
        elif isinstance(spatial[i], int):
            size = op.output_shape[-rank:][i]
            total = max((spatial[i] - 1) * strides[i] + extent + extra[i] - size, 0)
            begin = _first(total, op.auto_pad)
            end = (spatial[i] - 1) * strides[i] + extent - begin - size
        else:
            return "output_shape fixes sizes while those of the input are known at run time only"
        kernel.append(extent + max(-end, 0))
        begins.append(begin)
        ends.append(max(end, 0))
    same = all(k >= s and (b, e) == ((k - s) // 2, k - s - (k - s) // 2) for k, s, b, e in zip(kernel, strides, begins, ends, strict=True))
    return Spread(tuple(kernel), strides, same, tuple(begins), tuple(ends))


def _first(total: int, auto_pad: str) -> int:
    return total // 2 if auto_pad == "SAME_UPPER" else total - total // 2


def known_spread(node: Node) -> Verdict | str | None:
    found = spread_at(node)
    if isinstance(found, str):
        return no(found, "dynamic-shape")
    if any(b < 0 for b in found.begins):
        return "negative pads at the start of a transposed convolution"
    return None


def apart(node: Node) -> Verdict | None:
    """Whether windows lie side by side, in blocks that DEPTH_TO_SPACE or a change of shape puts in place."""
    op, weight, bias = node.op, node.inputs[1], node.operand(2)
    found = spread_at(node)
    assert isinstance(op, ChannelsLastConvTranspose) and isinstance(found, Spread) and weight is not None
    blocks = len(found.kernel) == 1 or len(found.kernel) == 2 and (found.kernel[0] == found.kernel[1] or found.kernel[0] == 1)
    if found.kernel != found.strides or any(found.begins) or any(found.ends) or not blocks:
        return no("windows overlap, are cropped, or are not square")
    if op.group != 1 or weight.data is None or bias is not None and bias.data is None:
        return no("filters are computed at run time, or belong to groups")
    if max(found.kernel) == 1 or node.output.shape is None or sum(not isinstance(n, int) for n in node.output.shape) > 1:
        return no("sizes are known at run time only", "dynamic-shape")
    return None


def overlapping(node: Node) -> Verdict | None:
    """The opposite of `apart`."""
    return no("the windows lie side by side") if apart(node) is None else None
