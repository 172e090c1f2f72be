"""Image, detection and signal operators: against onnxruntime, symbolic shapes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.ops.detection import MaxRoiPool, NonMaxSuppression, RoiAlign
from edgec.ir.ops.signal import DFT, STFT
from edgec.ir.ops.vision import AffineGrid, CenterCropPad, DepthToSpace, GridSample, ImageDecoder, SpaceToDepth
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats

F32 = DType.FLOAT


def _r() -> Any:
    return np.random.default_rng(0)


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
def test_grid_sample(mode: str, padding: str, corners: int) -> None:
    r = _r()
    op = GridSample(mode=mode, padding_mode=padding, align_corners=corners)
    grid = r.uniform(-1.6, 1.6, (2, 4, 3, 2)).astype(np.float32)
    check_against_onnxruntime(op, [floats(r, 2, 3, 5, 6), grid], atol=5e-5)
    if mode != "cubic":
        volume = r.uniform(-1.3, 1.3, (2, 2, 4, 3, 3)).astype(np.float32)
        check_against_onnxruntime(op, [floats(r, 2, 2, 3, 5, 6), volume], atol=5e-5)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 3, 3, 4, 5)])
def test_affine_grid(corners: int, size: tuple[int, ...]) -> None:
    rank = len(size) - 2
    check_against_onnxruntime(AffineGrid(corners), [floats(_r(), 2, rank, rank + 1), np.asarray(size, np.int64)])


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space(mode: str) -> None:
    x = floats(_r(), 2, 12, 3, 4)
    (spread,) = check_against_onnxruntime(DepthToSpace(2, mode), [x])
    np.testing.assert_array_equal(SpaceToDepth(2, mode).evaluate(spread), x)
    check_against_onnxruntime(SpaceToDepth(2), [floats(_r(), 1, 3, 4, 6)])


@pytest.mark.parametrize("axes,shape", [((1, 2), (4, 9)), ((-1,), (3,)), (None, (2, 8, 5))])
def test_center_crop_pad(axes: Any, shape: tuple[int, ...]) -> None:
    check_against_onnxruntime(CenterCropPad(axes), [floats(_r(), 2, 7, 6), np.asarray(shape, np.int64)])


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("overlap,least,most", [(0.3, 0.4, 5), (0.6, None, 100), (None, 0.2, 3), (0.5, 0.5, 0)])
def test_non_max_suppression(center: int, overlap: Any, least: Any, most: int) -> None:
    r = _r()
    boxes, scores = r.uniform(0, 1, (2, 30, 4)).astype(np.float32), r.uniform(0, 1, (2, 3, 30)).astype(np.float32)
    limits = [None if v is None else np.asarray([v], np.float32) for v in (overlap, least)]
    operands = [boxes, scores, np.asarray([most], np.int64), *limits]
    check_against_onnxruntime(NonMaxSuppression(center), operands, rtol=0, atol=0)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("coordinates", ["half_pixel", "output_half_pixel"])
def test_roi_align(mode: str, ratio: int, coordinates: str) -> None:
    r = _r()
    corners = r.uniform(0, 16, (5, 2))
    rois = np.concatenate((corners, corners + r.uniform(0.5, 12, (5, 2))), axis=1).astype(np.float32)
    op = RoiAlign(coordinates, mode, 3, 2, ratio, 0.5)
    check_against_onnxruntime(op, [floats(r, 2, 3, 8, 9), rois, r.integers(0, 2, 5)], opset=16)


def test_max_roi_pool() -> None:
    r = _r()
    corners = r.uniform(0, 12, (4, 2))
    rois = np.concatenate((r.integers(0, 2, (4, 1)), corners, corners + r.uniform(0, 9, (4, 2))), axis=1)
    check_against_onnxruntime(MaxRoiPool((3, 2), 0.5), [floats(r, 2, 3, 8, 9), rois.astype(np.float32)], opset=16)


@pytest.mark.parametrize("inverse,onesided,parts", [(0, 0, 1), (0, 0, 2), (0, 1, 1), (1, 0, 2)])
@pytest.mark.parametrize("length", [None, 8, 5])
@pytest.mark.parametrize("axis", [None, 1])
def test_fourier_transform(inverse: int, onesided: int, parts: int, length: Any, axis: Any) -> None:
    operands = [floats(_r(), 2, 6, 7, parts)]
    operands += [None if length is None else np.asarray(length, np.int64), None if axis is None else np.asarray(axis, np.int64)]
    check_against_onnxruntime(DFT(inverse, onesided), operands, atol=1e-4)


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("windowed,framed", [(True, True), (True, False), (False, True)])
def test_short_time_fourier_transform(onesided: int, windowed: bool, framed: bool) -> None:
    r = _r()
    operands = [floats(r, 2, 30, 1), np.asarray(5, np.int64)]
    operands += [floats(r, 8) if windowed else None, np.asarray(8, np.int64) if framed else None]
    check_against_onnxruntime(STFT(onesided), operands, atol=1e-4)


def test_symbolic_shapes() -> None:
    b, h, w = symbol("batch"), symbol("h"), symbol("w")
    image = TensorType(F32, (b, 12, h, w))
    assert str(DepthToSpace(2).infer(image)) == "f32[batch, 3, 2*h, 2*w]"
    assert SpaceToDepth(2).infer(image).shape == (b, 48, h // 2, w // 2)
    grid = TensorType(F32, (b, h, w, 2))
    assert str(GridSample().infer(image, grid)) == "f32[batch, 12, h, w]"
    size = TensorType(DType.INT64, (4,), (b, 3, h, w))
    assert str(AffineGrid().infer(TensorType(F32, (b, 2, 3)), size)) == "f32[batch, h, w, 2]"
    boxes = NonMaxSuppression().infer(TensorType(F32, (b, h, 4)), TensorType(F32, (b, 80, h)))
    assert str(boxes) == "i64[?, 3]"
    assert str(ImageDecoder("Grayscale").infer(TensorType(DType.UINT8, (h,)))) == "u8[?, ?, 1]"
    step, frame = (TensorType(DType.INT64, (), (n,)) for n in (160, 400))
    sound = TensorType(F32, (b, h, 1))
    assert STFT().infer(sound, step, None, frame).shape == (b, (h - 400) // 160 + 1, 201, 2)
    assert DFT(onesided=1).infer(sound).shape == (b, h // 2 + 1, 2)


def test_errors() -> None:
    x = TensorType(F32, (2, 10, 5, 6))
    with pytest.raises(Diagnostic, match="number of channels 10 is not divisible by 4"):
        DepthToSpace(2).infer(x)
    with pytest.raises(Diagnostic, match="the height 5 is not divisible by 2"):
        SpaceToDepth(2).infer(x)
    with pytest.raises(Diagnostic, match="last dimension of grid"):
        GridSample().infer(x, TensorType(F32, (2, 4, 4, 3)))
    with pytest.raises(Diagnostic, match="numbers of boxes and scores: 5 and 6"):
        NonMaxSuppression().infer(TensorType(F32, (1, 5, 4)), TensorType(F32, (1, 2, 6)))
    with pytest.raises(Diagnostic, match="axis 3 is not a signal axis"):
        DFT().infer(x, None, TensorType(DType.INT64, (), (3,)))
    with pytest.raises(Diagnostic, match="mode is 'XYZ'"):
        DepthToSpace(2, "XYZ").infer(x)
