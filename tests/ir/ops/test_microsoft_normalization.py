"""Normalisations of onnxruntime's optimiser against its kernels."""

from __future__ import annotations

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.op import infer_types
from edgec.ir.ops.microsoft_normalization import (
    EmbedLayerNormalization,
    SimplifiedLayerNormalization,
    SkipLayerNormalization,
    SkipSimplifiedLayerNormalization,
)
from edgec.ir.types import TensorType
from tests.ir.ops.oracle import check_against_onnxruntime, floats

SUM = (0, 3)


@pytest.mark.parametrize("skip", [(2, 3, 8), (1, 3, 8), (3, 8)])
@pytest.mark.parametrize("biased", [False, True])
def test_skip_layer_normalization(skip: tuple[int, ...], biased: bool) -> None:
    r = np.random.default_rng(0)
    operands = [floats(r, 2, 3, 8), floats(r, *skip), floats(r, 8), floats(r, 8), floats(r, 8) if biased else None]
    check_against_onnxruntime(SkipLayerNormalization(epsilon=1e-05), operands, 4, wanted=SUM)
    check_against_onnxruntime(SkipLayerNormalization(), [*operands[:3], None, operands[4]], 4, wanted=SUM)
    check_against_onnxruntime(SkipSimplifiedLayerNormalization(), [*operands[:3], operands[4]], 4, wanted=SUM)


def test_skip_layer_normalization_in_half_precision() -> None:
    r = np.random.default_rng(1)
    operands = [floats(r, *s).astype(np.float16) for s in ((2, 3, 8), (2, 3, 8), (8,), (8,))]
    check_against_onnxruntime(SkipLayerNormalization(), operands, 4, wanted=SUM, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("axis", [-1, 1])
def test_simplified_layer_normalization(axis: int) -> None:
    r = np.random.default_rng(2)
    scale = floats(r, 4) if axis == -1 else floats(r, 3, 4)
    check_against_onnxruntime(SimplifiedLayerNormalization(axis=axis, epsilon=1e-06), [floats(r, 2, 3, 4), scale], opset=17)


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_embed_layer_normalization(segments: bool, masked: bool) -> None:
    r = np.random.default_rng(3)
    ids, kinds = (r.integers(0, n, (2, 4), dtype=np.int32) for n in (11, 2))
    mask = np.asarray([[1, 1, 0, 0], [1, 1, 1, 1]], np.int32)
    operands = [
        ids,
        kinds if segments else None,
        floats(r, 11, 8),
        floats(r, 6, 8),
        floats(r, 2, 8) if segments else None,
        floats(r, 8),
        floats(r, 8),
        mask if masked else None,
    ]
    check_against_onnxruntime(EmbedLayerNormalization(), operands, 3)


def test_symbolic_shapes_and_errors() -> None:
    x = TensorType(DType.FLOAT, (symbol("batch"), symbol("tokens"), 8))
    vector = TensorType(DType.FLOAT, (8,))
    types = infer_types(SkipLayerNormalization(), [x, x, vector], 4)
    assert [str(t) for t in types] == ["f32[batch, tokens, 8]", *["f32[batch, tokens, 1]"] * 2, "f32[batch, tokens, 8]"]
    with pytest.raises(Diagnostic, match="gamma must have 8 elements, not 7"):
        infer_types(SkipLayerNormalization(), [x, x, TensorType(DType.FLOAT, (7,))], 1)
    with pytest.raises(Diagnostic, match=r"skip \[2, 9\] does not broadcast"):
        infer_types(SkipLayerNormalization(), [x, TensorType(DType.FLOAT, (2, 9)), vector], 1)
