"""Concat, Split and Pad, Transpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.ops.concat import Concat, Pad, Split
from edgec.ir.ops.transpose import Transpose
from edgec.ir.types import UNKNOWN, TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats
from tests.ir.ops.shapes import BATCH, PAST, SEQ, f32, vector


def test_concat_shapes_and_contents() -> None:
    assert Concat(axis=1).infer(f32(BATCH, PAST, 8), f32(BATCH, SEQ, 8)).shape == (BATCH, PAST + SEQ, 8)
    assert Concat(axis=-1).infer(f32(BATCH, 2), f32(4, 3)).shape == (4, 5)
    assert Concat(axis=0).infer(vector(BATCH), TensorType(DType.INT64, (1,)), vector(64)).content == (BATCH, None, 64)
    matrix = TensorType(DType.INT64, (1, 2), (1, BATCH))
    assert Concat(axis=0).infer(matrix, matrix).content == (1, BATCH, 1, BATCH)
    assert Concat(axis=0).infer(f32(2, 3), UNKNOWN).shape == (None, 3)


@pytest.mark.parametrize(
    ("operands", "words"),
    [
        ((f32(2, 3), f32(2, 3, 4)), "differ in rank"),
        ((f32(2, 3), f32(4, 5)), "3 and 5 must be equal"),
        ((f32(2, 3), vector(1)), "must agree"),
        ((f32(2),), "out of range"),
    ],
)
def test_concat_contradictions(operands: Any, words: str) -> None:
    with pytest.raises(Diagnostic) as error:
        Concat(axis=0 if len(operands) > 1 else 4).infer(*operands)
    assert words in error.value.message


def test_split_shapes_and_contents() -> None:
    assert [t.shape for t in Split(axis=-1).infer(f32(BATCH, 9), vector(2, 3, 4))] == [(BATCH, 2), (BATCH, 3), (BATCH, 4)]
    assert [t.shape for t in Split(axis=1, num_outputs=3).infer(f32(2, SEQ * 3))] == [(2, SEQ)] * 3
    assert [t.shape for t in Split(num_outputs=3).infer(f32(7))] == [(3,), (3,), (1,)]
    assert [t.content for t in Split(num_outputs=2).infer(vector(BATCH, 3))] == [(BATCH,), (3,)]
    assert [t.shape for t in Split(num_outputs=4).infer(f32(5))] == [(None,)] * 4  # impossible, but perhaps never run
    with pytest.raises(Diagnostic, match="does not add up to 9"):
        Split(axis=0).infer(f32(9), vector(2, 3))
    with pytest.raises(Diagnostic, match="num_outputs"):
        Split().infer(f32(9))


def test_split_values() -> None:
    data = floats(np.random.default_rng(0), 7, 4)
    check_against_onnxruntime(Split(num_outputs=3), [data], 3)
    check_against_onnxruntime(Split(axis=-1), [data, np.array([1, 0, 3])], 3)
    with pytest.raises(ValueError, match="cannot be split"):
        Split(num_outputs=4).evaluate(data[:5])


def test_pad_shapes() -> None:
    assert Pad().infer(f32(BATCH, 3), vector(0, 1, 0, 2)).shape == (BATCH, 6)
    assert Pad().infer(f32(BATCH, SEQ), vector(0, SEQ), None, vector(-1)).shape == (BATCH, 2 * SEQ)
    assert Pad().infer(f32(BATCH, 3), TensorType(DType.INT64, (4,))).shape == (None, None)
    assert Pad().infer(f32(BATCH, 3), vector(0, None, 0, 0)).shape == (BATCH, None)
    for operands, words in (((f32(2), vector(1)), "1 pads"), ((f32(2), vector(-2, -1)), "leave -1")):
        with pytest.raises(Diagnostic, match=words):
            Pad().infer(*operands)
    with pytest.raises(Diagnostic, match="mode"):
        Pad(mode="mirror").infer(f32(2), vector(0, 0))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad_values(mode: str) -> None:
    data = floats(np.random.default_rng(1), 3, 4)
    check_against_onnxruntime(Pad(mode=mode), [data, np.array([1, 2, 0, 1])])
    check_against_onnxruntime(Pad(mode=mode), [data, np.array([1, 1]), np.array(3, np.float32), np.array([-1])])
    if mode == "constant":
        check_against_onnxruntime(Pad(mode=mode), [data, np.array([-1, 2, 0, -1]), np.array(2, np.float32)])


def test_transpose() -> None:
    assert Transpose().infer(f32(BATCH, 3, SEQ)).shape == (SEQ, 3, BATCH)
    assert Transpose((0, 2, 1)).infer(f32(BATCH, 3, SEQ)).shape == (BATCH, SEQ, 3)
    assert Transpose().infer(TensorType(DType.INT64, (2, 2), (1, 2, 3, BATCH))).content == (1, 3, 2, BATCH)
    assert Transpose((1, 0)).infer(TensorType(DType.FLOAT, None)).shape == (None, None)
    with pytest.raises(Diagnostic, match="not a permutation"):
        Transpose((0, 0)).infer(f32(2, 3))
    for perm in (None, (1, 2, 0)):
        check_against_onnxruntime(Transpose(perm), [floats(np.random.default_rng(2), 2, 3, 4)])


def test_concat_values() -> None:
    generator = np.random.default_rng(3)
    check_against_onnxruntime(Concat(axis=-1), [floats(generator, 2, 3), floats(generator, 2, 1)])
