"""Gather and scatter operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.ops.gather import Gather, GatherElements, GatherND
from edgec.ir.ops.scatter import ScatterElements, ScatterND, TensorScatter
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats
from tests.ir.ops.shapes import BATCH, SEQ, f32, scalar, vector


def indices(*shape: Any) -> TensorType:
    return TensorType(DType.INT64, shape)


def test_gather_shapes_and_contents() -> None:
    assert Gather().infer(f32(30522, 768), indices(BATCH, SEQ)).shape == (BATCH, SEQ, 768)
    assert Gather(axis=1).infer(f32(BATCH, SEQ, 8), scalar(0)).shape == (BATCH, 8)
    assert Gather().infer(vector(BATCH, SEQ, 64), scalar(-2)) == TensorType(DType.INT64, ())
    assert Gather().infer(vector(BATCH, SEQ, 64), scalar(-2)).content == (SEQ,)
    assert Gather().infer(vector(BATCH, SEQ, 64), vector(2, 0)).content == (64, BATCH)
    assert Gather().infer(vector(1, 2), scalar(5)).content is None
    assert Gather().infer(f32(2), TensorType(DType.INT64, None)).shape is None
    with pytest.raises(Diagnostic, match="must be integers"):
        Gather().infer(f32(2), f32(1))


def test_gather_elements_and_nd_shapes() -> None:
    assert GatherElements(axis=1).infer(f32(BATCH, 9), indices(BATCH, 4)).shape == (BATCH, 4)
    assert GatherND().infer(f32(BATCH, 5, 6), indices(SEQ, 2)).shape == (SEQ, 6)
    assert GatherND(batch_dims=1).infer(f32(BATCH, 5, 6), indices(BATCH, 3, 1)).shape == (BATCH, 3, 6)
    assert GatherND().infer(vector(BATCH, 7), TensorType(DType.INT64, (1, 1), (1,))).content == (7,)
    for action, words in (
        (lambda: GatherElements().infer(f32(2, 3), indices(2)), "differ in rank"),
        (lambda: GatherElements().infer(f32(2, 3), indices(2, 4)), "exceeds"),
        (lambda: GatherND().infer(f32(2, 3), indices(1, 3)), "address 3 dimensions"),
    ):
        with pytest.raises(Diagnostic, match=words):
            action()


def test_scatter_shapes_and_contents() -> None:
    assert ScatterElements().infer(f32(BATCH, 3), indices(1, 3), f32(1, 3)).shape == (BATCH, 3)
    written = ScatterND().infer(vector(BATCH, 1, 2), TensorType(DType.INT64, (1, 1), (1,)), vector(SEQ))
    assert written.content == (BATCH, SEQ, 2)
    assert TensorScatter().infer(f32(BATCH, 8, 100, 64), f32(BATCH, 8, SEQ, 64), indices(BATCH)).shape == (BATCH, 8, 100, 64)
    for action, words in (
        (lambda: ScatterElements(reduction="mean").infer(f32(2), indices(1), f32(1)), "mean"),
        (lambda: ScatterElements().infer(f32(2), indices(1, 1), f32(1)), "differ in rank"),
        (lambda: ScatterND().infer(f32(2, 3), indices(1, 1), f32(1)), "should have the shape"),
        (lambda: TensorScatter().infer(f32(2, 8, 4, 5), f32(2, 8, 6, 5)), "does not fit the cache"),
    ):
        with pytest.raises(Diagnostic, match=words):
            action()


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_values(axis: int) -> None:
    data = floats(np.random.default_rng(0), 3, 4, 5)
    check_against_onnxruntime(Gather(axis=axis), [data, np.array([[0, -1], [2, 1]])])
    check_against_onnxruntime(Gather(axis=axis), [data, np.array(1)])
    check_against_onnxruntime(GatherElements(axis=axis), [data, np.array([[[0, -1]], [[2, 1]]])])


def test_gather_nd_values() -> None:
    data = floats(np.random.default_rng(1), 2, 3, 4)
    check_against_onnxruntime(GatherND(), [data, np.array([[0, 1], [1, -1]])])
    check_against_onnxruntime(GatherND(batch_dims=1), [data, np.array([[[1], [0]], [[2], [2]]])])


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_values(reduction: str) -> None:
    generator = np.random.default_rng(2)
    data = floats(generator, 4, 5)
    places = np.array([[0, 1, 2], [3, 0, -1]])
    check_against_onnxruntime(ScatterElements(1, reduction), [data, places, floats(generator, 2, 3)])
    check_against_onnxruntime(ScatterND(reduction), [data, np.array([[1], [3]]), floats(generator, 2, 5)])


def test_scatter_accumulates_half_types_in_order() -> None:
    data = np.zeros(2, np.dtype(DType.BFLOAT16.numpy))
    ones = np.ones(3, data.dtype)
    result = ScatterElements(reduction="add").evaluate(data, np.array([0, 0, 1]), ones)
    assert result.dtype == data.dtype and result.astype(np.float32).tolist() == [2.0, 1.0]
