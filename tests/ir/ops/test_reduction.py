"""Types, symbolic shapes, contents and diagnostics of reductions, softmax, losses, windows and random generators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from edgec.ir.data import ArrayData
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import constant_type
from edgec.ir.op import OPS, infer_types
from edgec.ir.ops.losses import NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss
from edgec.ir.ops.random import Bernoulli, Dropout, Multinomial, RandomNormal, RandomUniformLike
from edgec.ir.ops.reduction import (
    ArgMax,
    CumProd,
    CumSum,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
    Reduction,
)
from edgec.ir.ops.signal_windows import HannWindow, MelWeightMatrix
from edgec.ir.ops.softmax import LogSoftmax, LpNormalization, Softmax
from edgec.ir.types import UNKNOWN, TensorType
from tests.ir.ops.operator_lists import MATHEMATICS, RANDOM, REDUCTIONS

BATCH, LENGTH = symbol("batch"), symbol("length")
IMAGE = TensorType(DType.FLOAT, (BATCH, 3, LENGTH, 8))


def ints(*values: Any) -> TensorType:
    return TensorType(DType.INT64, (len(values),), values)


def scalar(value: Any) -> TensorType:
    return TensorType(DType.INT64, (), (value,))


@pytest.mark.parametrize("name", sorted({*REDUCTIONS, *RANDOM}))
def test_since_and_attributes_are_those_of_the_schema(name: str) -> None:
    history = [s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == name and not s.domain]
    required = {"shape": (1,)} if name in ("RandomNormal", "RandomUniform") else {}
    op = OPS[("", name)](**required)
    assert op.since == min(history)
    assert {n for n, _ in op.attributes()} == set(onnx.defs.get_schema(name).attributes)


def test_reduced_shapes() -> None:
    assert ReduceMean().infer(IMAGE, ints(-1, 2)) == TensorType(DType.FLOAT, (BATCH, 3, 1, 1))
    assert ReduceMean(keepdims=0).infer(IMAGE, ints(-1, 2)).shape == (BATCH, 3)
    assert ReduceMean().infer(IMAGE).shape == (1, 1, 1, 1)
    assert ReduceMean(keepdims=0).infer(IMAGE, TensorType(DType.INT64, (0,))).shape == ()
    assert ReduceMean(noop_with_empty_axes=1).infer(IMAGE) == IMAGE
    assert ArgMax(axis=1, keepdims=0).infer(IMAGE) == TensorType(DType.INT64, (BATCH, LENGTH, 8))


def test_reduced_shapes_of_unknown_axes() -> None:
    axes = TensorType(DType.INT64, (2,))
    assert ReduceSum().infer(TensorType(DType.FLOAT, (BATCH, 1, 5)), axes).shape == (None, 1, None)
    assert ReduceSum(keepdims=0).infer(IMAGE, axes).shape == (None, None)
    assert ReduceSum(keepdims=0).infer(IMAGE, TensorType(DType.INT64, None)).shape is None
    assert ReduceSum(keepdims=0).infer(TensorType(DType.FLOAT, None)).shape == ()
    assert ReduceSum().infer(IMAGE, UNKNOWN).shape == (None, None, None, None)  # type: ignore[arg-type]
    assert ReduceSum().infer(UNKNOWN) == UNKNOWN  # type: ignore[arg-type]


def test_contents_of_shapes_are_reduced() -> None:
    shape = ints(BATCH, 3, LENGTH, 8)
    assert ReduceProd(keepdims=0).infer(shape) == TensorType(DType.INT64, ())
    assert ReduceProd(keepdims=0).infer(shape).content == (BATCH * LENGTH * 24,)
    assert ReduceSum().infer(shape, ints(0)).content == (BATCH + LENGTH + 11,)
    assert ReduceMin().infer(ints(4, 2, 9)).content == (2,)
    assert ReduceMax().infer(ints(4, None, 9)).content is None
    assert ReduceMean().infer(shape).content is None


@pytest.mark.parametrize("op", [ReduceSum(), ReduceProd(keepdims=0), ReduceMax(keepdims=0), ReduceMin()], ids=repr)
@pytest.mark.parametrize("axes", [None, [0], [1], [-1, 0]])
def test_contents_equal_evaluation(op: Reduction, axes: list[int] | None) -> None:
    data = np.random.default_rng(5).integers(-9, 9, (2, 3, 4)).astype(np.int32)
    operands = [data] if axes is None else [data, np.array(axes)]
    inferred = op.infer(*(constant_type(ArrayData(o)) for o in operands))
    wanted = op.evaluate(*operands)
    assert inferred.static_shape == wanted.shape
    assert inferred.dtype.numpy == wanted.dtype
    assert inferred.content == tuple(int(v) for v in wanted.reshape(-1))


def test_integer_and_half_means() -> None:
    assert ReduceMean().evaluate(np.array([-3, -4], np.int32)).tolist() == [-3]
    halves = np.full(4096, 100, np.float16)
    assert ReduceMean(keepdims=0).evaluate(halves) == 100
    assert ReduceSum(keepdims=0).evaluate(np.full(300, 1, DType.BFLOAT16.numpy)).astype(np.float32) == 300


def test_cumulative() -> None:
    data = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    assert CumSum(exclusive=1, reverse=1).evaluate(data, np.array(1)).tolist() == [[5, 3, 0], [11, 6, 0]]
    assert CumProd(exclusive=1).evaluate(data, np.array(-1)).tolist() == [[1, 1, 2], [1, 4, 20]]
    assert CumSum().infer(IMAGE, scalar(-1)) == IMAGE


def test_softmax() -> None:
    assert Softmax(axis=1).infer(IMAGE) == IMAGE
    huge = np.array([[1e4, 1e4, 0]], np.float32)
    np.testing.assert_allclose(Softmax().evaluate(huge), [[0.5, 0.5, 0]])
    np.testing.assert_allclose(np.exp(LogSoftmax().evaluate(huge)), [[0.5, 0.5, 0]], atol=1e-7)
    assert Softmax().evaluate(np.zeros((2, 0), np.float32)).shape == (2, 0)
    assert LpNormalization(p=1).evaluate(np.array([[0.0, 0.0], [1.0, 3.0]])).tolist() == [
        [0, 0],
        [0.25, 0.75],
    ]


@pytest.mark.parametrize("name", sorted({*MATHEMATICS, *REDUCTIONS} - {"Identity", "Clip"}))
def test_results_do_not_carry_the_numbers_of_constants(name: str) -> None:
    """The numbers of a constant operand must not be taken for those of the result."""
    op = OPS[("", name)](**({"direction": "LEFT"} if name == "BitShift" else {}))
    least, _ = op.arity()
    held = TensorType(DType.FLOAT, (2, 2), numbers=(1.0, 2.0, 3.0, 4.0))
    try:
        results = infer_types(op, [held] * least, 1)
    except Diagnostic:
        assert name not in ("Relu", "Exp", "Softmax", "Hardmax", "Add", "ReduceMax")
        return
    assert all(r.numbers is None for r in results if isinstance(r, TensorType))


def test_losses() -> None:
    scores, labels = TensorType(DType.FLOAT, (BATCH, 5, LENGTH)), TensorType(DType.INT64, (BATCH, LENGTH))
    assert NegativeLogLikelihoodLoss(reduction="none").infer(scores, labels).shape == (BATCH, LENGTH)
    assert infer_types(SoftmaxCrossEntropyLoss(), [scores, labels], 2) == (
        TensorType(DType.FLOAT, ()),
        scores,
    )
    unnamed = NegativeLogLikelihoodLoss(reduction="none").infer(TensorType(DType.FLOAT, None), labels)
    assert unnamed.shape == (BATCH, LENGTH)


def test_windows() -> None:
    assert HannWindow().infer(scalar(BATCH)) == TensorType(DType.FLOAT, (BATCH,))
    assert HannWindow().infer(TensorType(DType.INT64, ())).shape == (None,)
    np.testing.assert_allclose(HannWindow(periodic=0).evaluate(np.array(5)), [0, 0.5, 1, 0.5, 0], atol=1e-7)
    hertz = TensorType(DType.FLOAT, ())
    kind = MelWeightMatrix(output_datatype=DType.DOUBLE).infer(scalar(8), scalar(LENGTH), scalar(8192), hertz, hertz)
    assert kind == TensorType(DType.DOUBLE, (LENGTH // 2 + 1, 8))


def test_random_types_and_seeds() -> None:
    op = RandomNormal(shape=(2, 300), dtype=DType.FLOAT16, mean=3.0, scale=0.5, seed=1.5)
    drawn = op.evaluate()
    assert drawn.dtype == np.float16 and drawn.shape == (2, 300)
    assert abs(float(drawn.mean()) - 3) < 0.2
    np.testing.assert_array_equal(drawn, op.evaluate())
    assert RandomUniformLike(dtype=DType.DOUBLE).infer(IMAGE) == IMAGE.with_dtype(DType.DOUBLE)
    assert Bernoulli(dtype=DType.BOOL).infer(IMAGE).dtype is DType.BOOL
    ones = Bernoulli(seed=2.0).evaluate(np.full(1000, 0.25))
    assert set(np.unique(ones)) == {0, 1} and 0.2 < ones.mean() < 0.3
    likely = np.log(np.array([[0.001, 0.998, 0.001]], np.float32))
    classes = Multinomial(sample_size=200, seed=1.0).evaluate(likely)
    assert classes.shape == (1, 200) and classes.dtype == np.int32 and (classes == 1).mean() > 0.95
    assert not RandomNormal.pure and not Dropout.pure


def test_dropout() -> None:
    data = np.ones((100, 100), np.float32)
    kept, mask = Dropout(seed=3).evaluate(data, np.array(0.25, np.float32), np.array(True))
    assert 0.7 < mask.mean() < 0.8
    np.testing.assert_allclose(kept[mask], 4 / 3, rtol=1e-6)
    assert not kept[~mask].any()
    same, mask = Dropout(seed=3).evaluate(data, np.array(0.25, np.float32))
    assert same is data and mask.all()
    assert infer_types(Dropout(), [IMAGE], 2) == (IMAGE, IMAGE.with_dtype(DType.BOOL))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReduceSum().infer(IMAGE, ints(4)), "axis 4 is out of range for rank 4"),
        (lambda: ReduceSum().infer(IMAGE, ints(1, -3)), "repeat an axis"),
        (lambda: ReduceSum().infer(IMAGE, TensorType(DType.INT32, (1,), (0,))), "axes must be i64, not i32"),
        (lambda: ReduceSum().infer(TensorType(DType.BOOL, (2,))), "ReduceSum is not defined for bool"),
        (lambda: ArgMax(axis=7).infer(IMAGE), "axis 7 is out of range"),
        (lambda: CumSum().infer(IMAGE, scalar(9)), "axis 9 is out of range"),
        (lambda: Softmax(axis=4).infer(IMAGE), "axis 4 is out of range"),
        (lambda: Softmax().infer(ints(1)), "Softmax is not defined for i64"),
        (lambda: LpNormalization(p=3).infer(IMAGE), "p is 1 or 2, not 3"),
        (lambda: SoftmaxCrossEntropyLoss(reduction="max").infer(IMAGE, ints(1)), "reduction is 'max'"),
        (lambda: SoftmaxCrossEntropyLoss().infer(IMAGE, ints(1)), "do not fit scores"),
        (
            lambda: NegativeLogLikelihoodLoss().infer(TensorType(DType.FLOAT, (2, 5)), ints(1, 2), TensorType(DType.FLOAT, (4,))),
            "number of classes: 4 and 5",
        ),
        (lambda: HannWindow().infer(ints(1, 2)), "size must be a scalar"),
        (lambda: Multinomial().infer(IMAGE), "Multinomial needs"),
        (lambda: RandomNormal(shape=(2, -1)).infer(), "negative dimension"),
    ],
)
def test_diagnostics(make: Any, message: str) -> None:
    with pytest.raises(Diagnostic, match=message):
        make()
