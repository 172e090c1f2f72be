"""Normalisations: against onnxruntime, symbolic shapes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.op import infer_types
from edgec.ir.ops.normalization import (
    LRN,
    BatchNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    MeanVarianceNormalization,
    RMSNormalization,
)
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats

F32 = DType.FLOAT


def _r() -> Any:
    return np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 4, 5), (1, 3, 2, 3, 4)])
def test_batch_normalization(shape: tuple[int, ...]) -> None:
    r = _r()
    vectors = [floats(r, 3), floats(r, 3), floats(r, 3), np.abs(floats(r, 3))]
    check_against_onnxruntime(BatchNormalization(epsilon=1e-3), [floats(r, *shape), *vectors])


@pytest.mark.parametrize("axis,scale", [(-1, (4,)), (1, (3, 4)), (2, (1,)), (0, (2, 3, 4))])
def test_layer_normalization(axis: int, scale: tuple[int, ...]) -> None:
    r = _r()
    operands = [floats(r, 2, 3, 4), floats(r, *scale), floats(r, *scale)]
    check_against_onnxruntime(LayerNormalization(axis=axis), operands, 3)
    check_against_onnxruntime(LayerNormalization(axis=axis), operands[:2])
    check_against_onnxruntime(RMSNormalization(axis=axis), operands[:2])


def test_half_precision() -> None:
    r = _r()
    operands = [floats(r, *s).astype(np.float16) for s in ((2, 3, 64), (64,), (64,))]
    check_against_onnxruntime(LayerNormalization(), operands, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("op", [InstanceNormalization(epsilon=1e-3), GroupNormalization(2), GroupNormalization(4, epsilon=1e-3)])
def test_per_channel(op: Any) -> None:
    r = _r()
    check_against_onnxruntime(op, [floats(r, 2, 4, 3, 5), floats(r, 4), floats(r, 4)])


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response(size: int) -> None:
    check_against_onnxruntime(LRN(size, alpha=0.01, beta=0.5, bias=2.0), [floats(_r(), 2, 6, 3, 3)])


@pytest.mark.parametrize("axes", [(0, 2, 3), (2, 3), (1,)])
def test_mean_variance(axes: tuple[int, ...]) -> None:
    op = MeanVarianceNormalization(axes)
    x = floats(_r(), 2, 3, 4, 5)
    y = op.evaluate(x)
    np.testing.assert_allclose(y.mean(axis=axes), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=axes), 1, atol=1e-4)
    assert str(op.infer(TensorType(F32, x.shape))) == "f32[2, 3, 4, 5]"


def test_symbolic_shapes() -> None:
    x, vector = TensorType(F32, (symbol("batch"), symbol("tokens"), 8)), TensorType(F32, (8,))
    types = infer_types(LayerNormalization(), [x, vector, vector], 3)
    assert [str(t) for t in types] == ["f32[batch, tokens, 8]", "f32[batch, tokens, 1]", "f32[batch, tokens, 1]"]
    image, channel = TensorType(F32, (symbol("batch"), 3, symbol("h"), 4)), TensorType(F32, (3,))
    trained = infer_types(BatchNormalization(training_mode=1), [image, *(channel,) * 4], 3)
    assert [str(t) for t in trained] == ["f32[batch, 3, h, 4]", "f32[3]", "f32[3]"]
    with pytest.raises(Diagnostic, match="has 1 results, the node names 3"):
        infer_types(BatchNormalization(), [image, *(channel,) * 4], 3)


def test_errors() -> None:
    x = TensorType(F32, (2, 6, 4))
    with pytest.raises(Diagnostic, match="scale must have 6 elements, not 5"):
        BatchNormalization().infer(x, *(TensorType(F32, (5,)),) * 4)
    with pytest.raises(Diagnostic, match="number of channels 6 is not divisible by 4"):
        GroupNormalization(4).infer(x, TensorType(F32, (6,)), TensorType(F32, (6,)))
    with pytest.raises(Diagnostic, match=r"Scale \[3\] does not broadcast to the normalised \[4\]"):
        LayerNormalization().infer(x, TensorType(F32, (3,)))
    with pytest.raises(Diagnostic, match="axis 3 is out of range for rank 3"):
        LayerNormalization(axis=3).infer(x, TensorType(F32, (4,)))
    with pytest.raises(Diagnostic, match="stash_type 7"):
        LayerNormalization(stash_type=7).infer(x, TensorType(F32, (4,)))
