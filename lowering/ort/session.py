"""An artifact of the ONNX Runtime backend, loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..backend import Session
from ..signature import Signature
from .engine import Engine


class OrtSession(Session):
    """A model in ONNX Runtime behind its public signature."""

    def __init__(
        self,
        path: Path,
        signature: Signature,
        *,
        threads: int | None = None,
        optimization: str = "all",
        libraries: Sequence[Path] = (),
    ) -> None:
        """Load the model at ``path``; `Diagnostic` E0504 when the runtime rejects it."""
        self.signature = signature
        self._engine = Engine(path, level=optimization, threads=threads, libraries=libraries, where=path.name)

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name; see `Session.run`."""
        return self._engine.run(self.signature.check(feeds))
