"""A package, loaded: evaluated operator by operator, or run by Core ML on macOS."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...ir.diagnostics import Diagnostic
from ..backend import E_LOAD, E_RUN, Session
from ..signature import Signature
from .images import Image
from .interface import Port, to_program, to_public

RUNTIMES = ("auto", "evaluator", "coreml")


class CoreMlSession(Session):
    """A package behind its public signature."""

    def __init__(self, path: Path, signature: Signature, lowering: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        """Load the package at ``path``; `Diagnostic` E0504 when it is damaged."""
        self.signature = signature
        self._inputs = [Port.from_json(facts) for facts in lowering["inputs"]]
        self._images = {name: Image.from_json(facts) for name, facts in lowering.get("images", {}).items()}
        self._outputs = [Port.from_json(facts) for facts in lowering["outputs"]]
        wanted = options["runtime"]
        native = wanted == "coreml" or wanted == "auto" and sys.platform == "darwin"
        try:
            self._engine: Any = _native(path) if native else _evaluator(path)
        except Diagnostic:
            raise
        except Exception as error:
            raise Diagnostic(
                E_LOAD, "the package cannot be loaded", path.name, notes=[f"{type(error).__name__}: {error}"[:2000]]
            ) from error

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name; see `Session.run`."""
        checked = self.signature.check(feeds)
        given = {port.feature: self._given(checked[port.name], port) for port in self._inputs if port.feature}
        try:
            results = self._engine(given)
        except Diagnostic:
            raise
        except Exception as error:
            notes = [f"{type(error).__name__}: {error}"[:2000]]
            raise Diagnostic(E_RUN, "the program stopped while running", notes=notes) from error
        return {port.name: to_public(results[port.feature], port) for port in self._outputs}

    def _given(self, array: Any, port: Port) -> Any:
        image = self._images.get(port.name)
        return to_program(array, port) if image is None else image.pixels(array)


def _evaluator(path: Path) -> Any:
    from .evaluator import PackageEvaluator

    return PackageEvaluator(path).run


def _native(path: Path) -> Any:
    """Core ML itself; it exists on macOS alone."""
    import coremltools

    return coremltools.models.MLModel(str(path)).predict
