"""Random convolutions against onnxruntime: inference gives its shape, evaluation its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.ops.conv import Conv, ConvTranspose
from edgec.ir.types import TensorType, bind
from tests.ir.ops.oracle import check_against_onnxruntime

CASES = 1000


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Conv, tuple[int, ...], tuple[int, ...], bool]:
    """A convolution with an input shape, a weight shape and whether there is a bias."""
    rank = draw(st.integers(1, 3))
    small = st.integers(1, 3)
    kernel = tuple(draw(st.lists(small, min_size=rank, max_size=rank)))
    strides = tuple(draw(st.lists(small, min_size=rank, max_size=rank)))
    dilations = tuple(draw(st.lists(small, min_size=rank, max_size=rank)))
    auto_pad = draw(st.sampled_from(("NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")))
    if auto_pad[0] == "S":
        dilations = (1,) * rank  # onnxruntime refuses to dilate then
    pads = tuple(draw(st.lists(st.integers(0, 3), min_size=2 * rank, max_size=2 * rank))) if auto_pad == "NOTSET" else None
    kind = draw(st.sampled_from(("dense", "grouped", "depthwise", "multiplied")))
    group = 1 if kind == "dense" else draw(st.integers(2, 4))
    per_group = 1 if kind in ("depthwise", "multiplied") else draw(small)
    filters = group if kind == "depthwise" else group * draw(small)
    largest = 9 if rank < 3 else 6
    spatial = []
    for axis in range(rank):
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        room = pads[axis] + pads[axis + rank] if pads else 0
        least = max(extent - room, 1) if auto_pad in ("NOTSET", "VALID") else 1
        spatial.append(draw(st.integers(least, least + largest)))
    stated = draw(st.booleans())
    op = Conv(
        auto_pad=auto_pad,
        dilations=dilations if draw(st.booleans()) or max(dilations) > 1 else None,
        group=group,
        kernel_shape=kernel if stated else None,
        pads=pads,
        strides=strides,
    )
    batch = draw(st.integers(1, 2))
    return op, (batch, group * per_group, *spatial), (filters, per_group, *kernel), draw(st.booleans())


def _arrays(x_shape: Any, w_shape: Any, biased: bool, filters: int) -> list[Any]:
    generator = np.random.default_rng(sum(x_shape) * 31 + sum(w_shape))
    shapes = (x_shape, w_shape, (filters,))[: 3 if biased else 2]
    return [generator.uniform(-1, 1, s).astype(np.float32) for s in shapes]


@settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(convolutions())
def test_conv_equals_onnxruntime(case: Any) -> None:
    op, x_shape, w_shape, biased = case
    (expected,) = check_against_onnxruntime(op, _arrays(x_shape, w_shape, biased, w_shape[0]))
    names = ["batch", None, *(f"n{i}" for i in range(len(x_shape) - 2))]
    symbolic = TensorType(DType.FLOAT, tuple(d if n is None else symbol(n) for n, d in zip(names, x_shape, strict=True)))
    inferred = op.infer(symbolic, TensorType(DType.FLOAT, w_shape))
    bound = bind(inferred, {n: d for n, d in zip(names, x_shape, strict=True) if n is not None})
    assert isinstance(bound, TensorType) and bound.shape == expected.shape


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(convolutions(), st.integers(0, 2), st.booleans())
def test_transposed_conv_equals_onnxruntime(case: Any, extra: int, sized: bool) -> None:
    forward, x_shape, w_shape, biased = case
    rank = len(x_shape) - 2
    strides, dilations = forward.strides, forward.dilations or (1,) * rank
    pads = forward.pads
    natural = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(x_shape[2:], strides, w_shape[2:], dilations, strict=True)]
    if pads is not None and any(n - pads[i] - pads[i + rank] < 1 for i, n in enumerate(natural)):
        pads = None
    # where SAME would need negative pads onnxruntime departs from the definition and returns a smaller result
    assume(forward.auto_pad[0] != "S" or all(n >= x * s for n, x, s in zip(natural, x_shape[2:], strides, strict=True)))
    padding = tuple(min(extra, s - 1) for s in strides)
    shaped = sized and forward.auto_pad == "NOTSET"
    op = ConvTranspose(
        auto_pad=forward.auto_pad,
        dilations=forward.dilations,
        group=forward.group,
        output_padding=padding if any(padding) else None,
        output_shape=tuple(max(n - 1, 1) for n in natural) if shaped else None,
        pads=pads if forward.auto_pad == "NOTSET" and not shaped else None,
        strides=strides,
    )
    filters = w_shape[0] // forward.group
    weight = (x_shape[1], filters, *w_shape[2:])
    check_against_onnxruntime(op, _arrays(x_shape, weight, biased, filters * forward.group))
