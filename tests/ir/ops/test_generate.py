"""Range, ConstantOfShape, EyeLike, OneHot, Trilu, and the operators that select by value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgec.ir.data import ArrayData
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import maximum, substitute, symbol
from edgec.ir.dtypes import DType
from edgec.ir.ops.generate import ConstantOfShape, EyeLike, OneHot, Range, Trilu, range_length
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats
from tests.ir.ops.shapes import BATCH, PAST, SEQ, f32, scalar, vector


def test_range_lengths() -> None:
    assert Range().infer(scalar(PAST), scalar(PAST + SEQ), scalar(1)).shape == (SEQ,)
    assert Range().infer(scalar(0), scalar(SEQ), scalar(2)).shape == ((SEQ + 1) // 2,)
    assert Range().infer(scalar(0), scalar(SEQ - PAST), scalar(1)).shape == (maximum(SEQ - PAST, 0),)
    assert Range().infer(scalar(SEQ), scalar(SEQ + 3), scalar(1)).content == (SEQ, SEQ + 1, SEQ + 2)
    assert Range().infer(scalar(5), scalar(0), scalar(-2)).content == (5, 3, 1)
    assert Range().infer(scalar(5), scalar(0), scalar(1)).shape == (0,)
    assert Range().infer(f32(), f32(), f32()).shape == (None,)
    with pytest.raises(Diagnostic, match="step of Range is 0"):
        Range().infer(scalar(0), scalar(1), scalar(0))
    with pytest.raises(Diagnostic, match="must agree"):
        Range().infer(scalar(0), f32(), scalar(1))


@given(st.integers(0, 9), st.integers(0, 9), st.integers(-4, 4).filter(bool))
def test_range_length_agrees_with_python(start: int, limit: int, delta: int) -> None:
    expected = len(range(start, limit, delta))
    assert range_length(start, limit, delta) == expected
    length = range_length(symbol("a"), symbol("b"), delta)
    assert length is not None and substitute(length, {"a": start, "b": limit}) == expected


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32, np.float64])
def test_range_values(dtype: type) -> None:
    for start, limit, delta in ((0, 7, 2), (5, -3, -3), (2, 2, 1)):
        check_against_onnxruntime(Range(), [np.array(v, dtype) for v in (start, limit, delta)])


def test_constant_of_shape() -> None:
    ones = ConstantOfShape(ArrayData([1], DType.INT64))
    assert ones.infer(vector(BATCH, 3)) == TensorType(DType.INT64, (BATCH, 3))
    assert ones.infer(vector(3)).content == (1, 1, 1)
    assert ConstantOfShape().infer(vector(2, None)) == TensorType(DType.FLOAT, (2, None))  # type: ignore[arg-type]
    assert ConstantOfShape().infer(TensorType(DType.INT64, (2,))).shape == (None, None)
    assert ones.infer(vector(10**6, 10**6)).content is None
    assert ones.evaluate(np.array([2, 0])).shape == (2, 0)
    assert ones.evaluate(np.array([2])).tolist() == [1, 1]
    assert ConstantOfShape().evaluate(np.array([], np.int64)) == np.float32(0)
    with pytest.raises(Diagnostic, match="impossible dimension -1"):
        ones.infer(vector(-1))


def test_eye_like_and_one_hot() -> None:
    assert EyeLike(DType.DOUBLE).infer(f32(BATCH, 3)) == TensorType(DType.DOUBLE, (BATCH, 3))
    assert EyeLike().evaluate(np.zeros((2, 3), np.int32)).tolist() == [[1, 0, 0], [0, 1, 0]]
    with pytest.raises(Diagnostic, match="matrix"):
        EyeLike().infer(f32(2))
    assert OneHot(axis=1).infer(TensorType(DType.INT64, (BATCH, SEQ)), scalar(10), f32(2)).shape == (BATCH, 10, SEQ)
    values = np.array([0.5, 2.0], np.float32)
    for axis in (0, -1, 1):
        check_against_onnxruntime(OneHot(axis), [np.array([[1, -1], [5, 0]]), np.array(4), values])


def test_trilu() -> None:
    data = floats(np.random.default_rng(0), 2, 3, 4)
    assert Trilu().infer(f32(BATCH, SEQ, SEQ)).shape == (BATCH, SEQ, SEQ)
    with pytest.raises(Diagnostic, match="at least two"):
        Trilu().infer(f32(3))
    for upper in (0, 1):
        check_against_onnxruntime(Trilu(upper), [data])
        check_against_onnxruntime(Trilu(upper), [data, np.array(-1)])
