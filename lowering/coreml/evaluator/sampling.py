"""Sampling images at computed positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import undefined, unsupported
from .registry import Call, operator
from .resizing import grid
from .values import Array


def _bilinear(image: Array, rows: Array, columns: Array, fill: Any) -> Array:
    """``image [channels, height, width]`` at positions; the elements outside of it are ``fill``."""
    height, width = image.shape[1:]
    top, left = np.floor(rows), np.floor(columns)
    down, right = (rows - top).astype(np.float32), (columns - left).astype(np.float32)
    total = np.zeros((image.shape[0], *rows.shape), np.float32)
    for y, weight_y in ((top, 1 - down), (top + 1, down)):
        for x, weight_x in ((left, 1 - right), (left + 1, right)):
            total += _at(image, y, x, height, width, fill) * (weight_y * weight_x)
    return total


def _at(image: Array, y: Array, x: Array, height: int, width: int, fill: Any) -> Array:
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    rows, columns = np.clip(y, 0, height - 1).astype(np.int64), np.clip(x, 0, width - 1).astype(np.int64)
    return np.where(inside, image[:, rows, columns], np.float32(fill))


@operator("affine")
def affine(
    x: Array,
    transform_matrix: Array,
    output_height: Any,
    output_width: Any,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Any,
    coordinates_mode: str,
    align_corners: Any,
) -> Array:
    """Sample an image at linearly transformed positions."""
    modes = sampling_mode.lower(), padding_mode.lower(), coordinates_mode.lower()
    if modes != ("bilinear", "constant", "normalized_minus_one_to_one") or not bool(align_corners) or float(padding_value) != 0:
        unsupported(f"its modes are {', '.join(modes)}, align_corners {bool(align_corners)}, padding {float(padding_value)}")
    height, width = int(output_height), int(output_width)
    if height == 1 or width == 1:
        undefined("the documentation does not say where the only element of an axis lies")
    b, a = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    results = []
    for index, image in enumerate(x):
        a0, a1, a2, b0, b1, b2 = transform_matrix[index if len(transform_matrix) > 1 else 0].astype(np.float64)
        columns = (a0 * a + a1 * b + a2 + 1) / 2 * (x.shape[3] - 1)
        rows = (b0 * a + b1 * b + b2 + 1) / 2 * (x.shape[2] - 1)
        results.append(_bilinear(image, rows, columns, 0))
    return np.stack(results)


def _unnormalised(places: Array, length: int, mode: str, aligned: bool) -> Array:
    if mode == "unnormalized":
        return places
    if mode == "normalized_minus_one_to_one":
        places = (places + 1) / 2
    elif mode != "normalized_zero_to_one":
        unsupported(f"its coordinates_mode is '{mode}'")
    return places * (length - 1) if aligned else places * length - 0.5


def _inside(places: Array, length: int, mode: str) -> Array:
    """Positions moved into the image as the padding mode says (``constant`` leaves them)."""
    if mode == "constant":
        return places
    if mode == "border":
        return np.clip(places, 0, length - 1)
    if mode == "reflection":
        if length == 1:
            return np.zeros_like(places)
        span = 2 * (length - 1)
        folded = np.mod(places, span)
        return np.where(folded > length - 1, span - folded, folded)
    if mode == "symmetric":
        folded = np.mod(places + 0.5, 2 * length)
        return np.clip(np.where(folded > length, 2 * length - folded, folded) - 0.5, 0, length - 1)
    return unsupported(f"its padding_mode is '{mode}'")


@operator("resample")
def resample(
    x: Array,
    coordinates: Array,
    sampling_mode: str,
    padding_mode: str,
    padding_value: Any,
    coordinates_mode: str,
    align_corners: Any,
) -> Array:
    """Sample images at positions ``(x, y)``.

    Of positions half-way between two elements it is known only that between the first two the first is the nearest (a stored result of
    coremltools' tests); so the even one is taken above an even element, and there is no result above an odd one.
    """
    results = []
    for image, points in zip(x, coordinates.astype(np.float64), strict=True):
        columns = _unnormalised(points[..., 0], x.shape[3], coordinates_mode.lower(), bool(align_corners))
        rows = _unnormalised(points[..., 1], x.shape[2], coordinates_mode.lower(), bool(align_corners))
        columns, rows = _inside(columns, x.shape[3], padding_mode.lower()), _inside(rows, x.shape[2], padding_mode.lower())
        if sampling_mode.lower() == "bilinear":
            results.append(_bilinear(image, rows, columns, padding_value))
        elif sampling_mode.lower() == "nearest":
            if np.any(np.abs(np.mod((rows, columns), 2) - 1.5) < 1e-6):
                undefined("a sample lies between two elements, and it is not known which one is the nearest")
            results.append(_at(image, np.rint(rows), np.rint(columns), x.shape[2], x.shape[3], padding_value))
        else:
            unsupported(f"its sampling_mode is '{sampling_mode}'")
    return np.stack(results)


def _corners(box: Array, mode: str) -> tuple[float, float, float, float]:
    """Top, left, bottom and right of a box."""
    first, second, third, fourth = (float(v) for v in box)
    if mode.endswith("WIDTH_FIRST"):
        first, second, third, fourth = second, first, fourth, third
    if mode.startswith("CENTER_SIZE"):
        return first - third / 2, second - fourth / 2, first + third / 2, second + fourth / 2
    if not mode.startswith("CORNERS"):
        unsupported(f"its box_coordinate_mode is '{mode}'")
    return first, second, third, fourth


def _samples(begin: float, end: float, size: int, mode: str) -> Array:
    """Where the samples of a box lie along an axis: the grid of an axis that has as many elements as the box spans."""
    if mode == "ALIGN_CORNERS" and size == 1:
        return np.array([(begin + end) / 2])
    if mode in ("ALIGN_CORNERS", "STRICT_ALIGN_CORNERS"):
        return np.linspace(begin, end, size)
    if mode == "OFFSET_CORNERS":
        return begin + (np.arange(size) + 0.5) * max(1.0, end - begin) / size
    grid(mode, 1, 1)
    return undefined(f"the documentation does not say what '{mode}' means for a box")


@operator("crop_resize")
def crop_resize(
    x: Array,
    call: Call,
    roi: Array | None = None,
    boxes: Array | None = None,
    box_indices: Array | None = None,
    target_height: Any = 1,
    target_width: Any = 1,
    normalized_coordinates: Any = False,
    spatial_scale: Any = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: Any = None,
) -> Array:
    """Bilinear samples of boxes; samples outside of the image are ``pad_value``."""
    height, width = x.shape[2:]
    scale_y, scale_x = (height - 1, width - 1) if bool(normalized_coordinates) else (1, 1)

    def crop(image: Array, box: Array) -> Array:
        top, left, bottom, right = _corners(box, box_coordinate_mode)
        factor = float(spatial_scale)
        rows = _samples(top * scale_y * factor, bottom * scale_y * factor, int(target_height), sampling_mode)
        columns = _samples(left * scale_x * factor, right * scale_x * factor, int(target_width), sampling_mode)
        outside = ((rows < 0) | (rows > height - 1))[:, None] | ((columns < 0) | (columns > width - 1))
        if pad_value is None and call.opset < 16 and outside.any():
            undefined("a box reaches beyond the image")
        y, z = np.meshgrid(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1), indexing="ij")
        return np.where(outside, np.float32(0 if pad_value is None else pad_value), _bilinear(image, y, z, 0))

    if boxes is not None:
        chosen = range(len(boxes)) if box_indices is None else [int(i) for i in box_indices]
        return np.stack([crop(x[i], box) for i, box in zip(chosen, boxes, strict=True)])
    if roi is None:
        undefined("it has no boxes")
    regions = roi.reshape(roi.shape[0], -1)
    if regions.shape[1] == 5:
        return np.stack([crop(x[int(r[0])], r[1:])[None] for r in regions])
    return np.stack([np.stack([crop(image, r) for image in x]) for r in regions])
