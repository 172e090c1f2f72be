"""Several signatures in one file: the same model for different sizes, with one copy of the weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostic, did_you_mean
from ...ir.inference import bind_dims
from ...ir.model import Model
from ...passes.context import Context
from ...passes.manager import PassManager
from ..backend import E_LOAD, E_OPTION, E_RUN, Session
from ..signature import Signature
from .quiet import Printed, quiet_stderr

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
Sizes = Mapping[str, Mapping[str, int]]


def parse_signatures(given: Any) -> dict[str, dict[str, int]]:
    """The sizes of symbolic dimensions by signature, also from text such as ``prefill:sequence=32;decode:sequence=1``.

    Raises:
        Diagnostic: E0506 when it is something else.
    """
    if not given:
        return {}
    if isinstance(given, str):
        given = {key.strip(): sizes for key, _, sizes in (part.partition(":") for part in given.split(";") if part.strip())}
    hint = "write signatures='prefill:sequence=32;decode:sequence=1'"
    if not isinstance(given, Mapping):
        raise Diagnostic(E_OPTION, f"signatures={given!r} is no mapping", hint=hint)
    found: dict[str, dict[str, int]] = {}
    for key, sizes in given.items():
        if isinstance(sizes, str):
            sizes = {name.strip(): _integer(size) for name, _, size in (part.partition("=") for part in sizes.split(",") if part.strip())}
        if not isinstance(key, str) or not _KEY.match(key) or not isinstance(sizes, Mapping):
            raise Diagnostic(E_OPTION, f"signatures: '{key}' with {sizes!r} is not possible", hint=hint)
        wrong = [name for name, size in sizes.items() if not isinstance(size, int) or isinstance(size, bool) or size < 1]
        if wrong:
            raise Diagnostic(E_OPTION, f"signatures: the size of '{wrong[0]}' in '{key}' is not a positive number", hint=hint)
        found[key] = dict(sizes)
    return found


def _integer(text: str) -> Any:
    return int(text) if text.strip().isdigit() else text


def specialised(model: Model, signatures: Sizes, passes: str) -> dict[str, Model]:
    """The model for the sizes of each signature, after the passes that depend on sizes.

    Raises:
        Diagnostic: E0506 when a signature sizes a dimension that the inputs do not have.
    """
    found = {}
    for key, sizes in signatures.items():
        variant = model.copy()
        try:
            bind_dims(variant, sizes)
        except Diagnostic as error:
            raise Diagnostic(E_OPTION, f"signature '{key}': {error.message}", error.where, error.hint, error.notes) from error
        PassManager(passes).run(variant, Context())
        found[key] = variant
    return found


def choose(manifest: Mapping[str, Any], wanted: str | None) -> tuple[str, Signature]:
    """The signature of a bundle that is to run; the first one when none is named.

    Raises:
        Diagnostic: E0506 for a name that the bundle does not have.
    """
    known = manifest["lowering"]["signatures"]
    key = wanted or next(iter(known))
    if key not in known:
        raise Diagnostic(E_OPTION, f"the bundle has no signature '{key}'", hint=did_you_mean(key, list(known)))
    return key, Signature.from_json(known[key])


class SignatureSession(Session):
    """One signature of a .tflite file."""

    def __init__(self, path: Path, key: str, signature: Signature, options: Mapping[str, Any]) -> None:
        """Load the model at ``path``; `Diagnostic` E0504 when the runtime rejects it."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self.signature = signature
        kernels = OpResolverType.AUTO if options["xnnpack"] else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        printed = Printed()
        try:
            with quiet_stderr(printed):
                self._interpreter = Interpreter(
                    model_path=str(path), num_threads=options["threads"] or 1, experimental_op_resolver_type=kernels
                )
                self._runner = self._interpreter.get_signature_runner(key)
        except (RuntimeError, ValueError) as error:
            notes = [str(error)[:2000], *printed.lines()]
            raise Diagnostic(E_LOAD, "LiteRT does not load the model", path.name, notes=notes) from error

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name; see `Session.run`."""
        arrays = {name: np.asarray(array) for name, array in self.signature.check(feeds).items()}
        printed = Printed()
        try:
            with quiet_stderr(printed):
                results = self._runner(**arrays)
        except (RuntimeError, ValueError) as error:
            notes = [str(error)[:2000], *printed.lines()]
            raise Diagnostic(E_RUN, "LiteRT stopped while running", notes=notes) from error
        return {spec.name: results[spec.name] for spec in self.signature.outputs}
