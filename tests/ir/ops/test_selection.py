"""NonZero, TopK, Unique, Compress, ReverseSequence."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.ops.selection import Compress, NonZero, ReverseSequence, TopK, Unique
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats
from tests.ir.ops.shapes import BATCH, SEQ, f32, vector


def test_shapes() -> None:
    assert NonZero().infer(f32(BATCH, 3)) == TensorType(DType.INT64, (2, None))  # type: ignore[arg-type]
    assert [t.shape for t in TopK(axis=1).infer(f32(BATCH, SEQ), vector(5))] == [(BATCH, 5)] * 2
    assert [t.shape for t in TopK().infer(f32(BATCH, SEQ), TensorType(DType.INT64, (1,)))] == [(BATCH, None)] * 2
    assert [t.shape for t in Unique().infer(f32(BATCH, 3))] == [(None,), (None,), (3 * BATCH,), (None,)]
    assert Unique(axis=0).infer(f32(BATCH, 3))[0].shape == (None, 3)
    assert Compress(axis=1).infer(f32(BATCH, 3), TensorType(DType.BOOL, (3,), (1, 0, 1))).shape == (BATCH, 2)
    assert Compress().infer(f32(BATCH, 3), TensorType(DType.BOOL, (SEQ,))).shape == (None,)
    assert ReverseSequence().infer(f32(SEQ, BATCH), vector(1)).shape == (SEQ, BATCH)


def test_contradictions() -> None:
    for action, words in (
        (lambda: TopK().infer(f32(2, 3), vector(4)), "K is 4"),
        (lambda: Compress().infer(f32(3), vector(1)), "must be bool"),
        (lambda: ReverseSequence(time_axis=2).infer(f32(2, 3), vector(1)), "time_axis 2"),
    ):
        with pytest.raises(Diagnostic, match=words):
            action()


@pytest.mark.parametrize("largest", [0, 1])
def test_top_k_values_with_ties(largest: int) -> None:
    data = np.array([[1, 3, 3, 0], [2, 2, 2, -5]], np.float32)
    check_against_onnxruntime(TopK(largest=largest), [data, np.array([3])], 2)
    check_against_onnxruntime(TopK(axis=0, largest=largest), [data.astype(np.int64), np.array([1])], 2)
    half = data.astype(DType.BFLOAT16.numpy)
    values, places = TopK(largest=largest).evaluate(half, np.array([2]))
    assert values.dtype == half.dtype and places.tolist() == TopK(largest=largest).evaluate(data, np.array([2]))[1].tolist()


def test_values() -> None:
    data = floats(np.random.default_rng(0), 4, 3)
    repeated = np.array([[2, 1, 1], [3, 4, 3], [2, 1, 1]], np.float32)
    check_against_onnxruntime(NonZero(), [np.where(data > 0, data, 0)])
    for axis in (None, 0, 1):
        for ordered in (0, 1):
            check_against_onnxruntime(Unique(axis, ordered), [repeated], 4)
    check_against_onnxruntime(Compress(0), [data, np.array([True, False, True])])
    check_against_onnxruntime(Compress(), [data, np.array([True, False, True])])
    lengths = np.array([1, 4, 2])
    check_against_onnxruntime(ReverseSequence(), [data, lengths])
    check_against_onnxruntime(ReverseSequence(0, 1), [data, np.array([1, 3, 2, 1])])
