"""Pooling: against onnxruntime on random geometry, symbolic shapes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.ops.pooling import (
    AveragePool,
    GlobalAveragePool,
    GlobalLpPool,
    GlobalMaxPool,
    LpPool,
    MaxPool,
    MaxUnpool,
)
from edgec.ir.types import TensorType, bind
from tests.ir.ops.oracle import check_against_onnxruntime, floats


@st.composite
def poolings(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Attributes that all window poolings share, and an input shape."""
    rank = draw(st.integers(1, 3))
    small = st.integers(1, 3)
    kernel = tuple(draw(st.lists(small, min_size=rank, max_size=rank)))
    strides = tuple(draw(st.lists(small, min_size=rank, max_size=rank)))
    dilations = tuple(draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank)))
    auto_pad = draw(st.sampled_from(("NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")))
    if auto_pad[0] == "S":
        dilations = (1,) * rank
        kernel = tuple(max(k, s) for k, s in zip(kernel, strides, strict=True))
    pads = tuple(draw(st.integers(0, kernel[i % rank] - 1)) for i in range(2 * rank)) if auto_pad == "NOTSET" else None
    spatial = []
    for axis in range(rank):
        extent = (kernel[axis] - 1) * dilations[axis] + 1
        spatial.append(draw(st.integers(extent, extent + (8 if rank < 3 else 4))))
    attributes = {
        "kernel_shape": kernel,
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "auto_pad": auto_pad,
        "ceil_mode": int(draw(st.booleans())) if auto_pad == "NOTSET" else 0,
    }
    return attributes, (draw(st.integers(1, 2)), draw(st.integers(1, 2)), *spatial)


def _input(shape: tuple[int, ...]) -> Any:
    return floats(np.random.default_rng(sum(shape)), *shape)


_RANDOM = settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@_RANDOM
@given(poolings(), st.booleans())
def test_max_pool(case: Any, column_major: bool) -> None:
    attributes, shape = case
    op = MaxPool(**attributes, storage_order=int(column_major))
    expected = check_against_onnxruntime(op, [_input(shape)], 2)
    symbolic = TensorType(DType.FLOAT, tuple(symbol(f"n{i}") for i in range(len(shape))))
    bound = bind(op.infer(symbolic)[0], {f"n{i}": d for i, d in enumerate(shape)})
    assert isinstance(bound, TensorType) and bound.shape == expected[0].shape


@_RANDOM
@given(poolings(), st.booleans())
def test_average_pool(case: Any, count_pads: bool) -> None:
    attributes, shape = case
    check_against_onnxruntime(AveragePool(**attributes, count_include_pad=int(count_pads)), [_input(shape)])


@_RANDOM
@given(poolings(), st.integers(1, 3))
def test_lp_pool(case: Any, p: int) -> None:
    attributes, shape = case
    check_against_onnxruntime(LpPool(**attributes, p=p), [_input(shape)])


@pytest.mark.parametrize("op", [GlobalAveragePool(), GlobalMaxPool(), GlobalLpPool(), GlobalLpPool(p=3)])
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 5), (1, 2, 3, 2, 4)])
def test_global_pools(op: Any, shape: tuple[int, ...]) -> None:
    check_against_onnxruntime(op, [_input(shape)], opset=18)


def test_max_pool_of_bytes_and_half_floats() -> None:
    r = np.random.default_rng(0)
    op = MaxPool(kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    for dtype in (np.int8, np.uint8):
        check_against_onnxruntime(op, [r.integers(0, 100, (1, 2, 5, 5)).astype(dtype)])
    check_against_onnxruntime(op, [_input((1, 2, 5, 5)).astype(np.float16)])


def test_max_unpool_restores_positions() -> None:
    pooled, positions = MaxPool(kernel_shape=(2, 2), strides=(2, 2)).evaluate(_input((1, 2, 4, 6)))
    check_against_onnxruntime(MaxUnpool(kernel_shape=(2, 2), strides=(2, 2)), [pooled, positions])
    sized = [pooled, positions, np.asarray([1, 2, 5, 7], np.int64)]
    assert MaxUnpool(kernel_shape=(2, 2), strides=(2, 2)).evaluate(*sized).shape == (1, 2, 5, 7)


def test_symbolic_shapes() -> None:
    h, w = symbol("h"), symbol("w")
    x = TensorType(DType.FLOAT, (symbol("batch"), 3, h, w))
    plain = MaxPool(kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1)).infer(x)
    halves = (symbol("batch"), 3, (h + 1) // 2, (w + 1) // 2)
    assert plain[0].shape == halves
    assert plain[1].dtype is DType.INT64
    ceiled = AveragePool(kernel_shape=(2, 2), strides=(2, 2), ceil_mode=1).infer(x)
    assert ceiled.shape == halves
    same = AveragePool(kernel_shape=(3, 3), strides=(1, 1), auto_pad="SAME_UPPER").infer(x)
    assert str(same) == "f32[batch, 3, h, w]"
    assert str(GlobalAveragePool().infer(x)) == "f32[batch, 3, 1, 1]"
    assert str(MaxPool(kernel_shape=(2,)).infer(TensorType(DType.FLOAT, None))[0]) == "f32[?, ?, ?]"


def test_errors() -> None:
    x = TensorType(DType.FLOAT, (1, 3, 4, 4))
    with pytest.raises(Diagnostic, match="spans 7 elements along spatial axis 0, the padded input has only 4"):
        MaxPool(kernel_shape=(7, 2)).infer(x)
    with pytest.raises(Diagnostic, match="needs an input of rank 3"):
        AveragePool(kernel_shape=(2,)).infer(x)
    with pytest.raises(Diagnostic, match="strides .* does not fit 2 spatial dimensions"):
        LpPool(kernel_shape=(2, 2), strides=(1,)).infer(x)
    with pytest.raises(Diagnostic, match="auto_pad is 'SAME'"):
        MaxPool(kernel_shape=(2, 2), auto_pad="SAME").infer(x)
    with pytest.raises(Diagnostic, match="does not take i32"):
        MaxPool(kernel_shape=(2, 2)).infer(TensorType(DType.INT32, (1, 3, 4, 4)))
