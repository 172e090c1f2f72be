"""The fallback ladder as the compiler uses it: with the other targets, a price, and an error measured by running models."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .ir.model import Model

if TYPE_CHECKING:
    from .lowering.backend import Backend
    from .lowering.ladder import Ladder
    from .optimizing import Settings
    from .runtime.bundle import Bundle


def ladder(target: str, settings: Settings, budget: float | None, reference: Callable[[], Model]) -> Ladder:
    """The ladder of a target.

    Args:
        target: its name.
        settings: give the data set for measuring errors (inputs are made up without one), the hardware for prices, a limit of the opset.
        budget: the relative error at the outputs that approximations may cause; infinite when any is permitted, None for none.
        reference: gives the model that errors are measured against.
    """
    from .lowering.ladder import Ladder
    from .lowering.price import work_price
    from .lowering.registry import backend, backend_names
    from .prediction import price_on

    @cache
    def others() -> tuple[Backend, ...]:
        runners = [backend(name) for name in backend_names()]
        return tuple(runner for runner in runners if runner.available() is None)

    def measure(model: Model) -> float:
        """Through ONNX Runtime, which takes whatever the decompositions are made of."""
        with tempfile.TemporaryDirectory(prefix="edgec-ladder-") as folder:
            return output_error(reference(), _in_reference_runtime(model, Path(folder) / "changed"), settings.data)

    return Ladder(
        backend(target),
        budget,
        measure if budget is not None and budget != float("inf") else None,
        price=work_price if settings.hardware is None else price_on(settings.hardware),
        others=others,
        opsets={} if settings.opset is None else {"": settings.opset},
    )


def output_error(reference: Model, changed: Bundle | Model, data: Any = None) -> float:
    """The greatest relative error at any output, on any sample.

    Raises:
        Diagnostic: one of the two does not run.
    """
    from .runtime.verify import verify

    with tempfile.TemporaryDirectory(prefix="edgec-ladder-") as folder:
        before = _in_reference_runtime(reference, Path(folder) / "reference")
        report = verify(before, changed, data, layers=False)
    return max((output.error.worst for output in report.outputs), default=0.0)


def _in_reference_runtime(model: Model, folder: Path) -> Bundle:
    from .lowering.registry import backend
    from .optimizing import Settings, run_pipeline
    from .runtime.bundle import write_bundle

    runner = backend("ort")
    settings = Settings(target="ort")
    result = run_pipeline(model.copy(), settings)
    artifact = runner.lower(result.model, runner.options({}))
    return write_bundle(artifact, folder, {"versions": {"ort": runner.version()}})
