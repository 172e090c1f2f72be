"""Resize against onnxruntime, symbolic shapes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.ops.resize import Resize
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats

MODES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]


def _sizes(*values: int) -> Any:
    return np.asarray(values, np.int64)


def _x() -> Any:
    return floats(np.random.default_rng(0), 1, 2, 6, 7)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", MODES)
@pytest.mark.parametrize("size", [(9, 4), (12, 14), (3, 1), (6, 10)])
def test_sizes(mode: str, coordinates: str, size: tuple[int, int]) -> None:
    op = Resize(mode=mode, coordinate_transformation_mode=coordinates)
    check_against_onnxruntime(op, [_x(), None, None, _sizes(1, 2, *size)], atol=2e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "pytorch_half_pixel"])
@pytest.mark.parametrize("scales", [(2.0, 2.0), (0.6, 1.7), (1.0, 3.0)])
def test_scales(mode: str, coordinates: str, scales: tuple[float, float]) -> None:
    op = Resize(mode=mode, coordinate_transformation_mode=coordinates)
    check_against_onnxruntime(op, [_x(), None, np.asarray([1, 1, *scales], np.float32)], atol=2e-5)


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
def test_nearest_rounding(rounding: str, coordinates: str) -> None:
    op = Resize(nearest_mode=rounding, coordinate_transformation_mode=coordinates)
    for size in ((3, 14), (9, 5), (12, 21)):
        check_against_onnxruntime(op, [_x(), None, None, _sizes(1, 2, *size)])


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("size", [(3, 3), (2, 5), (9, 9)])
@pytest.mark.parametrize("outside", [0, 1])
def test_antialias(mode: str, size: tuple[int, int], outside: int) -> None:
    op = Resize(mode=mode, antialias=1, exclude_outside=outside)
    y = op.evaluate(_x(), None, None, _sizes(1, 2, *size))
    assert y.shape == (1, 2, *size)
    np.testing.assert_allclose(op.evaluate(np.ones((1, 2, 6, 7), np.float32), None, None, _sizes(1, 2, *size)), 1, atol=1e-6)
    if outside or mode == "linear":
        check_against_onnxruntime(op, [_x(), None, None, _sizes(1, 2, *size)], atol=2e-5)


def test_cubic_options() -> None:
    op = Resize(mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1)
    check_against_onnxruntime(op, [_x(), None, None, _sizes(1, 2, 9, 4)], atol=2e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_crop_and_resize(mode: str) -> None:
    op = Resize(mode=mode, coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=9.0)
    roi = np.asarray([0, 0, 0.3, -0.2, 1, 1, 0.8, 1.3], np.float32)
    check_against_onnxruntime(op, [_x(), roi, None, _sizes(1, 2, 4, 5)], atol=2e-5)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_aspect_ratio(policy: str) -> None:
    op = Resize(keep_aspect_ratio_policy=policy, axes=(2, 3), mode="linear")
    check_against_onnxruntime(op, [_x(), None, None, _sizes(9, 20)], atol=2e-5)


def test_other_types() -> None:
    r = np.random.default_rng(1)
    pixels = r.integers(0, 255, (1, 1, 4, 4), dtype=np.uint8)
    check_against_onnxruntime(Resize(), [pixels, None, None, _sizes(1, 1, 8, 7)])
    check_against_onnxruntime(Resize(mode="linear"), [pixels, None, None, _sizes(1, 1, 8, 8)], atol=1)
    half = _x().astype(np.float16)
    check_against_onnxruntime(Resize(), [half, None, None, _sizes(1, 2, 12, 14)])
    volume = floats(r, 1, 1, 3, 4, 5)
    check_against_onnxruntime(Resize(mode="linear"), [volume, None, None, _sizes(1, 1, 5, 8, 3)], atol=2e-5)


def test_symbolic_shapes() -> None:
    b, h, w = symbol("batch"), symbol("h"), symbol("w")
    x = TensorType(DType.FLOAT, (b, 3, h, w))
    scales = TensorType(DType.FLOAT, (4,), None, (1.0, 1.0, 2.0, 0.5))
    assert Resize().infer(x, None, scales).shape == (b, 3, 2 * h, w // 2)
    sizes = TensorType(DType.INT64, (4,), (b, 3, 2 * w, 7))
    assert Resize().infer(x, None, None, sizes).shape == (b, 3, 2 * w, 7)
    assert Resize(axes=(2, 3)).infer(x, None, None, TensorType(DType.INT64, (2,), (8, 9))).shape == (b, 3, 8, 9)
    assert str(Resize().infer(x, None, TensorType(DType.FLOAT, (4,)))) == "f32[?, ?, ?, ?]"
    odd = TensorType(DType.FLOAT, (4,), None, (1.0, 1.0, 0.3, 1.0))
    assert str(Resize().infer(x, None, odd)) == "f32[batch, 3, ?, w]"


def test_errors() -> None:
    x = TensorType(DType.FLOAT, (1, 3, 4, 4))
    with pytest.raises(Diagnostic, match="either scales or sizes"):
        Resize().infer(x)
    with pytest.raises(Diagnostic, match="sizes has 2 elements for 4 axes"):
        Resize().infer(x, None, None, TensorType(DType.INT64, (2,), (8, 8)))
    with pytest.raises(Diagnostic, match="'lanczos' is not possible"):
        Resize(mode="lanczos").infer(x, None, None, TensorType(DType.INT64, (4,)))
