"""Comparing what is read from a file with what ONNX Runtime makes of the file."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from edgec.ir.interpreter import interpret
from edgec.ir.verifier import verify
from tests.serial_models import read, run


def compare(made: onnx.ModelProto, feeds: dict[str, Any], tolerance: float = 1e-5) -> list[Any]:
    """The interpreter on the graph that was read gives what ONNX Runtime gives on the original, or on the file written at another opset."""
    expected = run(made, feeds)
    model = read(made)
    verify(model.graph)
    results = list(interpret(model, feeds).values())
    written = run(model.to_bytes(), feeds)
    for found in (results, written):
        assert len(found) == len(expected)
        for reference, result in zip(expected, found, strict=True):
            assert result.dtype == reference.dtype and result.shape == reference.shape, (result.shape, reference.shape)
            np.testing.assert_allclose(result, reference, rtol=tolerance, atol=tolerance)
    return expected
