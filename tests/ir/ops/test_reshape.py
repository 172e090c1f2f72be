"""Reshape, Flatten, Squeeze, Unsqueeze, Expand, Tile, Shape, Size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.ops.reshape import Expand, Flatten, Reshape, Shape, Size, Squeeze, Tile, Unsqueeze
from edgec.ir.types import UNKNOWN, SequenceType, TensorType
from tests.ir.ops.oracle import check_against_onnxruntime
from tests.ir.ops.shapes import BATCH, PAST, SEQ, f32, scalar, vector

I64 = np.int64


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ((2, 3, 4), (0, -1), (2, 12)),
        ((2, 3, 4), (4, 6), (4, 6)),
        ((2, 3, 4), (24,), (24,)),
        ((BATCH, SEQ, 768), (0, 0, 12, 64), (BATCH, SEQ, 12, 64)),
        ((BATCH, SEQ, 768), (BATCH, -1, 12, 64), (BATCH, SEQ, 12, 64)),
        ((BATCH, SEQ, 768), (-1, 768), (BATCH * SEQ, 768)),
        ((BATCH, SEQ, 12, 64), (BATCH, SEQ, None), (BATCH, SEQ, 768)),
        ((BATCH, SEQ, 768), (None, None, 768), (None, None, 768)),
        ((BATCH, PAST + SEQ, 8, 64), (BATCH, -1, 512), (BATCH, PAST + SEQ, 512)),
        ((BATCH, 49, 96), (-1, 64, 49, 96), (BATCH // 64, 64, 49, 96)),
    ],
)
def test_reshape_resolves_dimensions(source: Any, target: Any, expected: Any) -> None:
    assert Reshape().infer(f32(*source), vector(*target)).shape == expected


def test_reshape_of_unknown_operands() -> None:
    rank_only = TensorType(DType.INT64, (3,))
    assert Reshape().infer(f32(2, 3), rank_only).shape == (None, None, None)
    assert Reshape().infer(f32(BATCH, 3), TensorType(DType.INT64, (1,))).shape == (3 * BATCH,)
    assert Reshape().infer(f32(2, 3), TensorType(DType.INT64, None)).shape is None
    assert Reshape().infer(TensorType(DType.FLOAT, None), vector(0, -1, 4)).shape == (None, None, 4)
    assert Reshape().infer(UNKNOWN, vector(1)) is UNKNOWN


def test_reshape_allowzero_keeps_zero() -> None:
    assert Reshape(allowzero=1).infer(f32(0, 3), vector(3, 0)).shape == (3, 0)


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ((2, 3), (4, 2), "6 elements of [2, 3] do not fit [4, 2]"),
        ((2, 3), (4, -1), "6 elements of [2, 3] do not fit [4, -1]"),
        ((2, 3), (-1, -1), "more than one -1"),
        ((2,), (2, 0), "copies dimension 1"),
        ((2, 3), (-2, 3), "impossible dimension -2"),
        ((0, 3), (0, -1), "ambiguous"),
    ],
)
def test_reshape_contradictions(source: Any, target: Any, words: str) -> None:
    assert words in _message(lambda: Reshape().infer(f32(*source), vector(*target)))


def _message(action: Any) -> str:
    with pytest.raises(Diagnostic) as error:
        action()
    return error.value.message


def test_content_survives_reshaping() -> None:
    assert Reshape().infer(vector(BATCH, 2, 3, 4), vector(2, 2)).content == (BATCH, 2, 3, 4)
    assert Unsqueeze().infer(scalar(SEQ), vector(0)).content == (SEQ,)
    assert Squeeze().infer(vector(SEQ), vector(0)).content == (SEQ,)
    assert Expand().infer(vector(7), vector(3)).content == (7, 7, 7)
    assert Tile().infer(vector(1, BATCH), vector(2)).content == (1, BATCH, 1, BATCH)


def test_flatten() -> None:
    assert Flatten(axis=2).infer(f32(BATCH, 3, 4, 5)).shape == (3 * BATCH, 20)
    assert Flatten(axis=0).infer(f32(2, 3)).shape == (1, 6)
    assert "out of range" in _message(lambda: Flatten(axis=3).infer(f32(2, 3)))
    for axis in (-2, 0, 1, 3):
        check_against_onnxruntime(Flatten(axis=axis), [np.zeros((2, 3, 4), np.float32)])


def test_squeeze_and_unsqueeze() -> None:
    assert Squeeze().infer(f32(1, BATCH, 1), vector(0, -1)).shape == (BATCH,)
    assert Squeeze().infer(f32(1, 3, 1)).shape == (3,)
    assert Squeeze().infer(f32(1, BATCH)).shape is None  # batch may be 1
    assert Squeeze().infer(f32(1, BATCH, 1), TensorType(DType.INT64, (2,))).shape == (None,)
    assert "is not 1" in _message(lambda: Squeeze().infer(f32(2, 3), vector(0)))
    assert Unsqueeze().infer(f32(BATCH, 3), vector(-1, 0)).shape == (1, BATCH, 3, 1)
    assert "repeat" in _message(lambda: Unsqueeze().infer(f32(3), vector(0, -3)))
    check_against_onnxruntime(Squeeze(), [np.zeros((1, 3, 1, 2), np.float32), np.array([0, 2])])
    check_against_onnxruntime(Squeeze(), [np.zeros((1, 3, 1, 2), np.float32)])
    check_against_onnxruntime(Unsqueeze(), [np.zeros((3, 2), np.float32), np.array([0, -1])])


def test_expand() -> None:
    assert Expand().infer(f32(BATCH, 1, 64), vector(BATCH, SEQ, 1)).shape == (BATCH, SEQ, 64)
    assert Expand().infer(f32(3, 1), vector(BATCH, 1, SEQ)).shape == (BATCH, 3, SEQ)
    assert Expand().infer(f32(3, 1), vector(None, None)).shape == (3, None)
    assert "do not broadcast" in _message(lambda: Expand().infer(f32(3), vector(4)))
    check_against_onnxruntime(Expand(), [np.arange(3, dtype=np.float32).reshape(3, 1), np.array([2, 1, 4])])
    check_against_onnxruntime(Expand(), [np.array(5, np.float32), np.array([], I64)])


def test_tile() -> None:
    assert Tile().infer(f32(BATCH, 3), vector(2, SEQ)).shape == (2 * BATCH, 3 * SEQ)
    assert Tile().infer(f32(BATCH, 3), TensorType(DType.INT64, (2,))).shape == (None, None)
    assert "repeats" in _message(lambda: Tile().infer(f32(2, 3), vector(2)))
    check_against_onnxruntime(Tile(), [np.arange(6, dtype=np.float32).reshape(2, 3), np.array([2, 3])])


def test_shape_and_size() -> None:
    assert Shape().infer(f32(BATCH, 3, SEQ)) == TensorType(DType.INT64, (3,))
    assert Shape().infer(f32(BATCH, 3, SEQ)).content == (BATCH, 3, SEQ)
    assert Shape(start=-2, end=-1).infer(f32(BATCH, 3, SEQ)).content == (3,)
    assert Size().infer(f32(BATCH, 3)).content == (3 * BATCH,)
    assert Shape().infer(UNKNOWN).shape == (None,)
    with pytest.raises(Diagnostic, match="tensor"):
        Shape().infer(SequenceType(f32(1)))
    for op in (Shape(), Shape(start=1), Shape(start=-3, end=9), Shape(start=2, end=1), Size()):
        check_against_onnxruntime(op, [np.zeros((2, 3, 4), np.float32)])


def test_reshape_values() -> None:
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for target in ([0, -1], [4, 6], [2, 0, 2, -1]):
        check_against_onnxruntime(Reshape(), [data, np.array(target, I64)])
    assert Reshape(allowzero=1).evaluate(np.zeros((0, 3), np.float32), np.array([3, 0])).shape == (3, 0)
    assert str(Reshape().infer(f32(symbol("h") // 2, 8), vector(-1)).shape[0]) == "8*(h // 2)"
