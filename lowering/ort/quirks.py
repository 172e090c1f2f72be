"""Nodes that ONNX Runtime's kernels refuse at start-up or compute with fewer digits than a decomposition does.

Unlike the restrictions these do not forbid a node; they make `legalize` look for something better.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.dtypes import DType
from ...ir.graph import Node
from ...ir.op import Op
from ...ir.ops.attention import Attention
from ...ir.ops.random import Bernoulli
from ...ir.ops.recurrent import GRU, LSTM, RNN
from ...ir.ops.signal import DFT, STFT
from ...ir.ops.text import StringNormalizer

_LONGEST_TRANSFORM = 1024  # beyond it a matrix product is too slow to be worth the digits


def quirk(node: Node) -> str | None:
    """Why the runtime's kernel is a poor choice for this node, or None."""
    check = _CHECKS.get(type(node.op))
    return None if check is None else check(node)


def _attention(node: Node) -> str | None:
    query = node.inputs[0]
    half = query is not None and query.dtype is DType.FLOAT16
    return "its float16 kernel rounds every product to float16" if half else None


def _recurrent(node: Node) -> str | None:
    return "its kernel knows only layout=0" if getattr(node.op, "layout", 0) else None


def _transform(node: Node) -> str | None:
    x = node.inputs[0]
    if x is None or x.shape is None:
        return None
    if isinstance(node.op, STFT):
        length, window = node.operand(3), node.operand(2)
        sizes: Any = length.ints if length is not None else window.shape if window is not None else None
    else:
        length, axis = node.operand(1), node.operand(2)
        place = (-2,) if axis is None else axis.ints
        sizes = length.ints if length is not None else (x.shape[place[0]],) if place else None
    size = sizes[0] if sizes else None
    if isinstance(size, int) and size <= _LONGEST_TRANSFORM and (size & (size - 1) or isinstance(node.op, STFT)):
        return "its kernel loses digits that a product with the matrix of the transform keeps"
    return None


def _bernoulli(node: Node) -> str | None:
    return "the function body in its place draws with the probabilities of zero and one exchanged"


def _string_normalizer(node: Node) -> str | None:
    return None if getattr(node.op, "locale", None) else "its default locale is missing on bare machines"


_CHECKS: dict[type[Op], Callable[[Node], str | None]] = {
    Attention: _attention,
    Bernoulli: _bernoulli,
    DFT: _transform,
    GRU: _recurrent,
    LSTM: _recurrent,
    RNN: _recurrent,
    STFT: _transform,
    StringNormalizer: _string_normalizer,
}
