"""Operators whose meaning or form changed across opsets keep the one they had; each case is compared with ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgec.ir.interpreter import interpret
from tests.ir.serial.comparison import compare
from tests.serial_models import info, proto, read

GENERATOR = np.random.default_rng(0)


def floats(*shape: int) -> Any:
    return GENERATOR.standard_normal(shape).astype(np.float32)


def one(opset: int, op: str, operands: list[Any], *, outputs: int = 1, fixed: tuple[int, ...] = (), **attributes: Any) -> Any:
    """A model of one node, with the operands at the positions ``fixed`` as initializers, and its feeds."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(operands)]
    arrays = {n: np.asarray(a) for n, a in zip(names, operands, strict=True) if a is not None}
    held = {f"x{i}" for i in fixed}
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attributes)
    kinds = {n: helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in arrays.items()}
    made = proto(
        [node],
        [info(n, a.shape, kinds[n]) for n, a in arrays.items() if n not in held],
        [helper.make_empty_tensor_value_info(f"y{i}") for i in range(outputs)],
        [numpy_helper.from_array(a, n) for n, a in arrays.items() if n in held],
        opset=opset,
    )
    return made, {n: a for n, a in arrays.items() if n not in held}


def ints(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


def check(opset: int, op: str, operands: list[Any], *, outputs: int = 1, fixed: tuple[int, ...] = (), **attributes: Any) -> list[Any]:
    made, feeds = one(opset, op, operands, outputs=outputs, fixed=fixed, **attributes)
    return compare(made, feeds)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("opset", [7, 11, 12, 13, 21])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1])
def test_softmax(op: str, opset: int, axis: int | None) -> None:
    """Before opset 13 it runs over everything from ``axis`` on, 1 by default; since then over the axis alone, the last by default."""
    if axis is not None and axis < 0 and opset < 11:
        axis = 2
    (found,) = check(opset, op, [floats(2, 3, 4)], **({} if axis is None else {"axis": axis}))
    if op == "Softmax" and axis in (None, 1):
        axes = (1, 2) if opset < 13 else (2,) if axis is None else (1,)
        np.testing.assert_allclose(found.sum(axis=axes), 1, rtol=1e-5)


@pytest.mark.parametrize("opset", [7, 11, 12, 13, 17])
def test_squeeze_and_unsqueeze(opset: int) -> None:
    x = floats(1, 3, 1, 4)
    if opset < 13:
        check(opset, "Squeeze", [x], axes=[0, 2])
        check(opset, "Unsqueeze", [x], axes=[0, 4])
    else:
        check(opset, "Squeeze", [x, ints(0, 2)], fixed=(1,))
        check(opset, "Unsqueeze", [x, ints(0, -1)], fixed=(1,))
    check(opset, "Squeeze", [x])


REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceSumSquare",
)  # fmt: skip


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("opset", [11, 13, 17, 18, 20])
def test_reductions(op: str, opset: int) -> None:
    x = np.abs(floats(2, 3, 4)) + 0.5
    as_operand = opset >= (13 if op == "ReduceSum" else 18)
    for keep in (0, 1):
        if as_operand:
            check(opset, op, [x, ints(1, -1)], fixed=(1,), keepdims=keep)
        else:
            check(opset, op, [x], axes=[1, -1], keepdims=keep)
    check(opset, op, [x])
    if as_operand:
        check(opset, op, [x, ints()], fixed=(1,), noop_with_empty_axes=1)


@pytest.mark.parametrize("opset", [7, 10, 12, 13, 22])
def test_dropout(opset: int) -> None:
    x = floats(3, 4)
    if opset < 12:
        check(opset, "Dropout", [x], ratio=0.7)
    else:
        check(opset, "Dropout", [x, np.float32(0.7)], fixed=(1,))
        check(opset, "Dropout", [x, np.float32(0.7), np.array(False)], fixed=(1, 2))
    if opset >= 12:  # what the mask holds was not said before
        (_, mask) = check(opset, "Dropout", [x], outputs=2)
        assert mask.dtype == np.bool_ and mask.all()


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 15, 21])
def test_batch_normalization(opset: int) -> None:
    x, scale, bias, mean = floats(2, 3, 4, 4), floats(3), floats(3), floats(3)
    variance = np.abs(floats(3)) + 0.5
    check(opset, "BatchNormalization", [x, scale, bias, mean, variance], epsilon=1e-3)
    if opset < 9:
        check(opset, "BatchNormalization", [x, scale, bias, mean, variance], spatial=1)


@pytest.mark.parametrize("opset", [14, 15])
def test_batch_normalization_in_training(opset: int) -> None:
    """ONNX Runtime trains at opset 14 and later: the batch's own statistics, and the running ones after one step."""
    x, scale, bias, mean = floats(4, 3, 5), floats(3), floats(3), floats(3)
    variance = np.abs(floats(3)) + 0.5
    made, feeds = one(opset, "BatchNormalization", [x, scale, bias, mean, variance], outputs=3, training_mode=1, momentum=0.8)
    y, running_mean, running_variance = interpret(read(made), feeds).values()
    batch_mean, batch_variance = x.mean(axis=(0, 2)), x.var(axis=(0, 2))
    spread = [v.reshape(3, 1) for v in (batch_mean, batch_variance, scale, bias)]
    np.testing.assert_allclose(y, (x - spread[0]) / np.sqrt(spread[1] + 1e-5) * spread[2] + spread[3], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(running_mean, 0.8 * mean + 0.2 * batch_mean, rtol=1e-5)
    np.testing.assert_allclose(running_variance, 0.8 * variance + 0.2 * batch_variance, rtol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 1.5, 2.5), (1, 1, 0.6, 0.6)], ids=str)
def test_resize_of_opset_10(mode: str, scales: tuple[float, ...]) -> None:
    """Coordinates are asymmetric, and the nearest one is the lower one."""
    check(10, "Resize", [floats(1, 2, 5, 6), np.array(scales, np.float32)], fixed=(1,), mode=mode)


@pytest.mark.parametrize("opset", [11, 13, 18, 19])
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize(opset: int, coordinates: str, mode: str) -> None:
    x, settings = floats(1, 2, 5, 6), {"mode": mode, "coordinate_transformation_mode": coordinates}
    region = np.zeros(0, np.float32)
    check(opset, "Resize", [x, region, np.array([1, 1, 2, 1.5], np.float32)], fixed=(1, 2), **settings)
    empty = np.zeros(0, np.float32) if opset < 13 else None
    made_region = region if opset < 13 else None
    fixed = (1, 2, 3) if opset < 13 else (3,)
    check(opset, "Resize", [x, made_region, empty, ints(1, 2, 7, 3)], fixed=fixed, **settings)


def test_resize_of_some_axes() -> None:
    check(18, "Resize", [floats(1, 2, 5, 6), None, None, ints(7, 3)], fixed=(3,), axes=[2, 3], mode="linear")


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [7, 9])
def test_upsample(opset: int, mode: str) -> None:
    x, scales = floats(1, 2, 4, 5), [1.0, 1.0, 2.0, 3.0]
    if opset < 9:
        check(opset, "Upsample", [x], scales=scales, mode=mode)
    else:
        check(opset, "Upsample", [x, np.array(scales, np.float32)], fixed=(1,), mode=mode)


@pytest.mark.parametrize("opset", [7, 10, 11, 12, 13])
def test_clip(opset: int) -> None:
    x = 3 * floats(3, 4)
    if opset < 11:
        check(opset, "Clip", [x], min=-1.0, max=2.0)
        check(opset, "Clip", [x], max=2.0)
        check(opset, "Clip", [x])
    else:
        check(opset, "Clip", [x, np.float32(-1), np.float32(2)], fixed=(1, 2))
        check(opset, "Clip", [x, None, np.float32(2)], fixed=(2,))
        check(opset, "Clip", [x, np.float32(-1), np.float32(2)])
        check(opset, "Clip", [x])


@pytest.mark.parametrize("opset", [7, 10, 11, 13, 18])
def test_pad(opset: int) -> None:
    x, pads = floats(2, 3, 4), [0, 1, 2, 0, 0, 1]
    for mode in ("constant", "edge", "reflect"):
        if opset < 11:
            check(opset, "Pad", [x], pads=pads, mode=mode, value=0.5)
        else:
            value = np.float32(0.5) if mode == "constant" else None
            check(opset, "Pad", [x, ints(*pads), value], fixed=(1, 2) if value is not None else (1,), mode=mode)
    if opset >= 18:
        check(opset, "Pad", [x, ints(1, 2, 0, 1), None, ints(1, -1)], fixed=(1, 3))


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 13])
def test_slice(opset: int) -> None:
    x = floats(4, 5, 6)
    if opset < 10:
        check(opset, "Slice", [x], starts=[1, -3], ends=[3, 1000], axes=[0, 2])
        check(opset, "Slice", [x], starts=[1, 0], ends=[-1, 4])
    else:
        check(opset, "Slice", [x, ints(1, -3), ints(3, 1000), ints(0, 2)], fixed=(1, 2, 3))
        check(opset, "Slice", [x, ints(-1, 0), ints(-1000, 4), ints(2, 1), ints(-2, 3)], fixed=(1, 2, 3, 4))
        check(opset, "Slice", [x, ints(1), ints(4), ints(1)])


@pytest.mark.parametrize("opset", [7, 9, 10, 11])
def test_top_k(opset: int) -> None:
    x = floats(3, 7)
    if opset < 10:
        check(opset, "TopK", [x], outputs=2, k=3, axis=1)
        check(opset, "TopK", [x], outputs=2, k=2)
    else:
        check(opset, "TopK", [x, ints(3)], outputs=2, fixed=(1,), axis=1)
    if opset >= 11:
        check(opset, "TopK", [x, ints(2)], outputs=2, fixed=(1,), axis=0, largest=0)


@pytest.mark.parametrize("opset", [7, 11, 13, 17, 18])
def test_split(opset: int) -> None:
    x = floats(2, 6)
    if opset < 13:
        check(opset, "Split", [x], outputs=2, axis=1, split=[2, 4])
    else:
        check(opset, "Split", [x, ints(2, 4)], outputs=2, fixed=(1,), axis=1)
    if opset < 18:
        check(opset, "Split", [x], outputs=3, axis=1)
    else:
        check(opset, "Split", [x], outputs=3, axis=1, num_outputs=3)
        check(opset, "Split", [floats(2, 7)], outputs=3, axis=1, num_outputs=3)


@pytest.mark.parametrize("opset", [18, 20, 21])
def test_group_normalization(opset: int) -> None:
    """Scale and bias are one number per group before opset 21, one per channel since."""
    size = 6 if opset >= 21 else 3
    x, scale, bias = floats(2, 6, 4, 4), floats(size), floats(size)
    groups = x.astype(np.float64).reshape(2, 3, -1)
    normal = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 1e-5)
    wide = [np.repeat(v, 6 // size).reshape(6, 1, 1) for v in (scale, bias)]
    expected = normal.reshape(x.shape) * wide[0] + wide[1]
    made, feeds = one(opset, "GroupNormalization", [x, scale, bias], fixed=(1, 2), num_groups=3)
    (found,) = interpret(read(made), feeds).values()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    if opset >= 21:
        check(opset, "GroupNormalization", [x, scale, bias], num_groups=3)


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("attributes", [{}, {"onesided": 1}, {"inverse": 1}], ids=str)
def test_dft(opset: int, attributes: dict[str, int]) -> None:
    """The axis is an attribute, 1 by default, before opset 20, and an operand, −2 by default, since."""
    x = floats(2, 8, 3, 2) if attributes.get("inverse") else floats(2, 8, 3, 1)
    if opset < 20:
        check(opset, "DFT", [x], axis=1, **attributes)
        check(opset, "DFT", [x], **attributes)
    else:
        check(opset, "DFT", [x, None, np.int64(1)], fixed=(2,), **attributes)
        check(opset, "DFT", [x], **attributes)


@pytest.mark.parametrize(
    ("opset", "mode"), [(16, "bilinear"), (16, "nearest"), (16, "bicubic"), (20, "linear"), (20, "nearest"), (20, "cubic")], ids=str
)
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample(opset: int, mode: str, padding: str) -> None:
    grid = np.random.default_rng(5).uniform(-1.2, 1.2, (1, 3, 4, 2)).astype(np.float32)
    made, feeds = one(opset, "GridSample", [floats(1, 2, 5, 6), grid], mode=mode, padding_mode=padding)
    compare(made, feeds, 1e-4)
    if opset < 20:
        made, feeds = one(opset, "GridSample", [floats(1, 2, 5, 6), grid], align_corners=1)
        compare(made, feeds, 1e-4)


@pytest.mark.parametrize("opset", [11, 13, 14, 19, 21])
def test_reshape_with_zeros(opset: int) -> None:
    check(opset, "Reshape", [floats(2, 3, 4), ints(0, -1)], fixed=(1,))
    if opset >= 14:
        check(opset, "Reshape", [np.zeros((0, 3), np.float32), ints(3, 0)], fixed=(1,), allowzero=1)


@pytest.mark.parametrize("opset", [13, 15, 19, 21])
def test_shape_ranges(opset: int) -> None:
    check(opset, "Shape", [floats(2, 3, 4)])
    if opset >= 15:
        check(opset, "Shape", [floats(2, 3, 4)], start=1)
        check(opset, "Shape", [floats(2, 3, 4)], start=-2, end=-1)


@pytest.mark.parametrize("opset", [9, 10, 11])
def test_max_pool_of_old_opsets(opset: int) -> None:
    check(opset, "MaxPool", [floats(1, 2, 7, 7)], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    if opset >= 10:
        check(opset, "MaxPool", [floats(1, 2, 8, 8)], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)


@pytest.mark.parametrize("opset", [11, 13, 19])
def test_cast_saturates_nothing_before_float8(opset: int) -> None:
    made, feeds = one(opset, "Cast", [np.array([-1.5, 0.0, 2.7], np.float32)], to=TensorProto.INT32)
    assert list(read(made).graph)[0].op == list(read(one(23, "Cast", list(feeds.values()), to=TensorProto.INT32)[0]).graph)[0].op
    compare(made, feeds)


@pytest.mark.parametrize("opset", [7, 9, 10, 11])
def test_gemm_and_flatten_of_old_opsets(opset: int) -> None:
    c = floats(3, 5)
    check(opset, "Gemm", [floats(3, 4), floats(4, 5), c], alpha=0.5, beta=2.0)
    check(opset, "Flatten", [floats(2, 3, 4)], axis=2)
