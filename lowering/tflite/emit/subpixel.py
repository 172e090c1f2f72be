"""Transposed convolutions whose windows do not overlap, as pointwise convolutions whose filters are the positions of a window.

TRANSPOSE_CONV takes two to nine times as long in LiteRT 2.3 with XNNPACK: 0.61 instead of 0.07 ms for one filter of 2 x 2 on 24 channels of
80 x 112, 1.4 instead of 0.4 ms for 128 filters on 256 channels of 20 x 20.
"""

from __future__ import annotations

import numpy as np

from ....ir.graph import Node
from ....ir.ops.channels_last import ChannelsLastConvTranspose
from ..emitter import Emitter
from ..registry import emits, first_of
from .filters import Target, static_weight
from .geometry import Window, as_image, window_options
from .spread import Spread, apart, known_spread, spread_at
from .transposed_convolution import spread_filters

POINT = Window((1, 1), (1, 1), (1, 1), "VALID", (0, 0), (0, 0))


@emits(ChannelsLastConvTranspose, when=first_of(static_weight, known_spread, apart), level="decomposed")
def subpixel_convolution(e: Emitter, node: Node) -> None:
    """CONV_2D to all positions of a window, then DEPTH_TO_SPACE, or RESHAPE where windows extend along rows only."""
    x, weight, bias, found = node.inputs[0], node.inputs[1], node.operand(2), spread_at(node)
    assert isinstance(found, Spread) and x is not None and weight is not None and weight.data is not None
    wide = spread_filters(node, found, weight.data.numpy())
    channels, filters = wide.shape[:2]
    source = as_image(e, e.operand(x)) if wide.ndim == 3 else e.operand(x)
    height, width = found.kernel if len(found.kernel) == 2 else (1, found.kernel[0])
    wide = wide.reshape(channels, filters, height, width)
    kernel = e.constant(np.ascontiguousarray(wide.transpose(2, 3, 1, 0).reshape(-1, 1, 1, channels)), weight.name)
    offsets = np.zeros(filters, np.float32) if bias is None or bias.data is None else bias.data.numpy()
    batch, rows, columns, _ = e.shape(source)
    sizes = [n if n is None else n * s for n, s in zip((rows, columns), (height, width), strict=True)]
    target = Target(e, e.activated(node), sizes, filters)
    y = e.temporary([batch, rows, columns, height * width * filters], e.dtype(source))
    operands = [source, kernel, e.constant(np.tile(offsets, height * width))]
    e.op("CONV_2D", operands, [y], **window_options(POINT), fusedActivationFunction=target.activation)
    if height == 1:
        e.reshape_into(y, target.tensor, e.shape(target.tensor))
    else:
        e.op("DEPTH_TO_SPACE", [y], [target.tensor], blockSize=height)
    target.finish()
