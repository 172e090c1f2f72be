"""The ONNX backend suite's node cases of the neural-network operators."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from tests.ir.ops.backend_cases import cases_of, check_case

OPERATORS = (
    *("Conv", "ConvTranspose", "DeformConv", "Col2Im", "CausalConvWithState"),
    *("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"),
    *("MaxUnpool", "MaxRoiPool", "RoiAlign", "NonMaxSuppression", "MatMul", "Gemm", "Einsum"),
    *("BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization"),
    *("RMSNormalization", "LRN", "MeanVarianceNormalization"),
    *("Attention", "RotaryEmbedding", "LinearAttention", "RNN", "GRU", "LSTM"),
    *("Resize", "Upsample", "GridSample", "AffineGrid", "DepthToSpace", "SpaceToDepth"),
    *("ImageDecoder", "CenterCropPad", "DFT", "STFT"),
)
CASES = cases_of(OPERATORS)


def _tolerance(name: str) -> float | None:
    """The suite's bfloat16 results are rounded after every step; ours are computed in float32 and rounded once."""
    return 0.01 if name.startswith("test_attention") and name.endswith("bf16") else None


@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_node_case(case: Any) -> None:
    if case.name.startswith("test_image_decoder") and find_spec("PIL") is None:
        pytest.skip("decoding images needs Pillow")
    check_case(case, rtol=_tolerance(case.name))


def test_the_suite_was_found() -> None:
    assert len(CASES) > 380
