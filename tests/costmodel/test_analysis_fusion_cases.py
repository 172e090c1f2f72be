"""The cases of the fusion benchmark: both versions compute the same, and verdicts compare the right figures."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "fusion_advice.py"
SMALL = ["conv-norm-128x14-k1", "conv-relu-128x14-k1", "bias-1x256x256", "gemm-relu-1x256x256", "gelu-1x256",
         "bias-gelu-1x256", "layer-norm-1x384", "skip-norm-16x384", "softmax-16x384", "attention-4x16x32", "scaled-product-32x64",
         "hard-swish-1000"]  # fmt: skip


@pytest.fixture(scope="module")
def advice() -> ModuleType:
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("fusion_advice_benchmark", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SMALL)
def test_both_versions_compute_the_same(advice: ModuleType, name: str, tmp_path: Path) -> None:
    body = dict(advice.cases())[name]
    results = []
    for fused in (False, True):
        draft = advice.Draft()
        draft.save(body(draft, fused), tmp_path / "model.onnx")
        version = advice.open_version(tmp_path / "model.onnx", draft)
        results.append(version.session.run(None, version.feeds)[0])
    if not name.startswith("conv-norm"):  # folding a normalisation changes the weights, which are random here
        np.testing.assert_allclose(results[0], results[1], rtol=2e-4, atol=2e-5)
    assert results[0].shape == results[1].shape


def test_verdicts(advice: ModuleType) -> None:
    def verdict(split: float, fused: float, predicted_split: float, predicted_fused: float) -> str:
        figures = {"split": split, "fused": fused, "predicted_split": predicted_split, "predicted_fused": predicted_fused}
        return advice.verdict(figures)

    assert verdict(2, 1, 3, 2) == "right" and verdict(1, 2, 2, 3) == "right"
    assert verdict(2, 1, 2, 3) == "wrong" and verdict(1, 2, 3, 2) == "wrong" and verdict(2, 1, 2, 2) == "wrong"
    assert verdict(1, 1.01, 3, 2) == "tie"
    assert len({name for name, _ in advice.cases()}) == len(list(advice.cases())) >= 40
