"""Random graphs through the TFLite target against the interpreter."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("ai_edge_litert")

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.lowering.registry import backend
from edgec.lowering.tflite.session import TfLiteSession
from edgec.passes.default_pipeline import default_pipeline
from edgec.passes.manager import run_passes
from tests.strategies import Case, cases

SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def run_lowered(case: Case, xnnpack: bool) -> dict[str, Any] | None:
    """What LiteRT computes, None when the target refuses the graph."""
    target = backend("tflite")
    model = Model(case.graph)
    options = target.options({"xnnpack": xnnpack})
    try:
        run_passes(model.graph, target.pipeline(options).replace("default", default_pipeline(), 1))
        artifact = target.lower(model, options)
    except Diagnostic as error:
        assert error.code == "E0501", error
        return None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        write = artifact.files["model.tflite"]
        assert callable(write)
        write(path)
        return TfLiteSession(path, artifact.signature, options).run(case.feeds)


@settings(max_examples=60, suppress_health_check=SLOW, deadline=None, derandomize=True)
@given(case=cases(), xnnpack=st.booleans())
def test_random_graphs_compute_the_same(case: Case, xnnpack: bool) -> None:
    expected = interpret(case.graph, case.feeds)
    found = run_lowered(case, xnnpack)
    if found is None:
        return
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape, name
        if array.dtype.kind == "f":
            scale = float(np.abs(array[np.isfinite(array)]).max(initial=1.0))
            share = 4 * 2.0**-10 if array.dtype == np.float16 else 2e-4  # float16 results of every operator are rounded on either side
            np.testing.assert_allclose(found[name], array, rtol=2e-3, atol=share * scale, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], array, err_msg=name)
