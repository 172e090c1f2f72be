"""The backends by name: the built-in ones and those of plugins."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ..ir.diagnostics import Diagnostic, did_you_mean
from .backend import E_TARGET, Backend

_BUILT_IN = {
    "coreml": (".coreml.backend", "CoreMlBackend"),
    "openvino": (".openvino.backend", "OpenVinoBackend"),
    "ort": (".ort.backend", "OrtBackend"),
    "tensorrt": (".tensorrt.backend", "TensorRtBackend"),
    "tflite": (".tflite.backend", "TfLiteBackend"),
}
_registered: dict[str, Callable[[], Backend]] = {}
_made: dict[str, Backend] = {}


def register_backend(name: str, factory: Callable[[], Backend]) -> None:
    """Add a backend under a name (plugins call this when they are imported); a second one of the same name
    replaces the first.
    """
    _registered[name] = factory
    _made.pop(name, None)


def backend_names() -> list[str]:
    """The names of all known backends, sorted."""
    return sorted({name for name in _BUILT_IN if _exists(name)} | set(_registered))


def backend(name: str) -> Backend:
    """The backend with this name; `Diagnostic` E0502 when there is none."""
    if name not in _made:
        if name in _registered:
            _made[name] = _registered[name]()
        elif name in _BUILT_IN and _exists(name):
            module, attribute = _BUILT_IN[name]
            _made[name] = getattr(import_module(module, __package__), attribute)()
        else:
            raise Diagnostic(E_TARGET, f"there is no target '{name}'", hint=did_you_mean(name, backend_names()))
    return _made[name]


def _exists(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(_BUILT_IN[name][0], __package__) is not None
