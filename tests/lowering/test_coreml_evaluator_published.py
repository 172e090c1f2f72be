"""The results that coremltools' own operator tests expect of Core ML on devices, asked of the package evaluator.

coremltools installs those tests. Each builds one operator and compares Core ML's results with stored numbers (off macOS the comparison is
left out); here the comparison goes to the evaluator. They decide what the documentation leaves open: how the nearest neighbour is found,
what an unwritten list element holds, what fills the places that no box takes.
"""

import inspect
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coremltools")
pytest.importorskip("attrs")

import coremltools as ct

from edgec.ir.diagnostics import Diagnostic
from edgec.lowering.coreml.evaluator import PackageEvaluator
from tests.lowering.coreml_programs import TARGETS

TESTS = "coremltools.converters.mil.mil.ops.tests"
MODULES = {
    "iOS14.test_image_resizing": 15,
    "iOS15.test_image_resizing": 15,
    "iOS17.test_image_resizing": 17,
    "iOS14.test_tensor_operation": 15,
    "iOS14.test_control_flow": 15,
    "iOS14.test_scatter_gather": 15,
    "iOS14.test_normalization": 15,
    "iOS14.test_pool": 15,
    "iOS16.test_tensor_transformation": 17,
}
DIGITS = 1e-3  # the stored results are rounded to three decimals at the least
CHOICES = {"is_symbolic": False, "rank": 3, "axis": 0, "keep_dims": True, "N": 3, "num_dims": 2}
CHOICES |= {"coordinates_dtype": np.float32, "x_dtype": np.float32}
# Of local response normalisation the stored result contradicts that of PyTorch, with which another of the tests compares; of boxes the
# stored result is that of one box beyond the image whose end lies before its begin.
REFUSED = {"TestNormalizationLocalResponseNorm", "TestCropResize.test_builder_to_backend_smoke"}


def _module(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(f"{TESTS}.{name}")


def _methods(module: Any) -> Iterator[tuple[type, str, dict[str, Any]]]:
    """The tests of a module that hold stored results, with a choice for each of their parameters."""
    for class_name, cls in sorted(vars(module).items()):
        if not class_name.startswith("Test") or cls.__module__ != module.__name__:
            continue
        for name, method in sorted(vars(cls).items()):
            if not name.startswith("test_") or not ("smoke" in name or "resize" in name or name.endswith("ios17")):
                continue
            wanted = set(inspect.signature(method).parameters) - {"self", "compute_unit", "backend"}
            counts_casts = cls.__name__ == "TestResample" and "iOS15" in module.__name__  # of half precision, which is not used here
            if wanted <= set(CHOICES) and "inherit" not in name and not counts_casts:
                yield cls, name, {key: CHOICES[key] for key in wanted}


@pytest.mark.parametrize("name", MODULES)
def test_published_results(name, tmp_path, monkeypatch):
    module = _module(name)
    from coremltools.converters.mil.testing_reqs import BackendConfig

    compared: list[str] = []

    def compare(mlmodel: Any, input_key_values: Any, expected_outputs: Any = None, **_: Any) -> None:
        if expected_outputs is None:
            return
        path = tmp_path / f"{len(list(Path(tmp_path).iterdir()))}.mlpackage"
        mlmodel.save(str(path))
        evaluator = PackageEvaluator(path)
        feeds = {}
        for spec in evaluator.signature.inputs:
            value = np.asarray(input_key_values[spec.name]).astype(spec.dtype.numpy if spec.dtype else None)
            feeds[spec.name] = value.reshape(1) if spec.shape == (1,) else value
        results = evaluator.run(feeds)
        for output, expected in expected_outputs.items():
            np.testing.assert_allclose(results[output].astype(np.float64), np.asarray(expected), 1e-5, DIGITS, err_msg=current)
        compared.append(current)

    monkeypatch.setattr(f"{TESTS}.testing_utils.compare_backend", compare)
    backend = BackendConfig(backend="mlprogram", precision="fp32", opset_version=TARGETS[MODULES[name]])
    found = list(_methods(module))
    for cls, method, parameters in found:
        current = f"{cls.__name__}.{method}"
        arguments = {"compute_unit": ct.ComputeUnit.CPU_ONLY, "backend": backend} | parameters
        accepted = inspect.signature(getattr(cls, method)).parameters
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                getattr(cls(), method)(**{k: v for k, v in arguments.items() if k in accepted})
            except Diagnostic as refusal:
                assert REFUSED & {cls.__name__, current} and refusal.code == "E0542", f"{current}: {refusal}"
            except (pytest.skip.Exception, pytest.xfail.Exception):
                continue
    assert compared, "every test was skipped"
