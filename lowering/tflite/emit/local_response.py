"""Local response normalisation with channels last."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....ir.graph import Node
from ....ir.ops.channels_last import ChannelsLastLRN
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import emits, first_of, no
from ..schema import enumerator
from .geometry import as_image, as_line_into, product_of

MOST_CHANNELS = 512
"""Up to which a product with a band of ones takes less time than LiteRT's kernel, which computes a power per element on one lane."""

BLOCK = 16
"""Channels of a block; from so many channels on, sums look at neighbouring blocks only …"""
FROM = 128
"""… because a whole band is mostly zeros: 192 channels of 56 x 56 take 0.5 instead of 0.9 ms."""


def _normalizable(node: Node) -> Verdict | None:
    x = node.inputs[0]
    assert x is not None
    if x.rank not in (3, 4, 5):
        return no("one to three spatial dimensions are needed", "rank")
    if x.rank == 5 and sum(not isinstance(d, int) for d in x.tensor.shape or ()) > 1:
        return no("axes are merged whose sizes are known at run time only", "dynamic-shape")
    if x.shape is None or not isinstance(x.shape[-1], int):
        return no("the number of channels is known at run time only", "dynamic-shape")
    return None


def _banded(node: Node) -> Verdict | None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, ChannelsLastLRN) and x is not None and x.shape is not None
    channels = x.shape[-1]
    assert isinstance(channels, int)
    if op.size % 2 and (op.beta not in (0.5, 0.75, 1.0) or channels > MOST_CHANNELS):
        return no("the kernel of LiteRT is faster for this exponent or so many channels")
    return None


@emits(ChannelsLastLRN, when=first_of(_normalizable, _banded), level="decomposed")
def banded_response(e: Emitter, node: Node) -> None:
    """Sums of squares over neighbouring channels as a convolution with a band of ones, and roots for the exponent."""
    op = node.op
    assert isinstance(op, ChannelsLastLRN)

    def write(x: int, y: int) -> None:
        channels = e.shape(x)[-1]
        assert channels is not None
        rows, columns = e.shape(x)[1:3]
        if channels >= FROM and channels % BLOCK == 0 and op.size // 2 <= BLOCK and rows is not None and columns is not None:
            blocks = e.reshaped(x, [e.shape(x)[0], rows * columns, channels // BLOCK, BLOCK])
            result = e.like(blocks, e.shape(blocks))
            scale(blocks, _band(BLOCK, op.size, 1), result)
            e.reshape_into(result, y, e.shape(y))
        else:
            scale(x, _band(channels, op.size, 0), y)

    def scale(x: int, band: np.ndarray, y: int) -> None:
        scaled = e.temporary(e.shape(x), e.dtype(x))
        options = {"padding": enumerator("Padding", "SAME"), "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
        parameters = [e.constant(band * np.float32(op.alpha / op.size)), e.constant(np.full(len(band), op.bias, np.float32))]
        e.op("CONV_2D", [e.binary("MUL", x, x), *parameters], [scaled], **options, fusedActivationFunction=0)
        if op.beta in (0.5, 0.75):
            root = e.unary("RSQRT", scaled)
            factor = root if op.beta == 0.5 else e.binary("MUL", root, e.unary("SQRT", root))
            e.op("MUL", [x, factor], [y], fusedActivationFunction=0)
            return
        divisor = scaled if op.beta == 1.0 else e.binary("POW", scaled, e.number(op.beta))
        e.op("DIV", [x, divisor], [y], fusedActivationFunction=0)

    _on_images(e, node, write)


@emits(ChannelsLastLRN, when=_normalizable)
def local_response(e: Emitter, node: Node) -> None:
    """LOCAL_RESPONSE_NORMALIZATION, for an odd number of channels."""
    op = node.op
    assert isinstance(op, ChannelsLastLRN)

    def write(x: int, y: int) -> None:
        e.op("LOCAL_RESPONSE_NORMALIZATION", [x], [y], radius=op.size // 2, bias=op.bias, alpha=op.alpha / op.size, beta=op.beta)

    _on_images(e, node, write)


def _band(channels: int, size: int, around: int) -> np.ndarray:
    """Which channels are summed for each: ones ``[channels, 1, 1 + 2 around, channels]``, with so many blocks of channels on either side.

    Of an even number of channels the extra one lies behind.
    """
    distance = np.arange(-around * channels, (1 + around) * channels)[None, :] - np.arange(channels)[:, None]
    ones = (distance >= -((size - 1) // 2)) & (distance <= size // 2)
    return ones.astype(np.float32).reshape(channels, 1, 1 + 2 * around, channels)


def _on_images(e: Emitter, node: Node, write: Callable[[int, int], None]) -> None:
    """Lines and volumes as images."""
    source, result = e.operand(node.inputs[0]), e.result(node.output)
    shape = e.shape(source)
    x = as_image(e, source) if len(shape) == 3 else source
    x = e.reshaped(x, [product_of(shape[:2]), *shape[2:]]) if len(shape) == 5 else x
    y = result if len(shape) == 4 else e.temporary(e.shape(x), e.dtype(x))
    write(x, y)
    if len(shape) == 3:
        as_line_into(e, y, result)
    elif len(shape) == 5:
        e.reshape_into(y, result, e.shape(result))
