"""The options of the backend, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...ir.diagnostics import Diagnostic, did_you_mean
from ..backend import E_OPTION
from ..caches import check_cache_length
from .session import RUNTIMES
from .states import AUTOMATIC
from .versions import RELEASES, Release

WEIGHTS = {
    "f32": Release.IOS15,
    "f16": Release.IOS16,
    "int8": Release.IOS16,
    "int4-blockwise": Release.IOS18,
    "palette4": Release.IOS16,
    "palette6": Release.IOS16,
    "palette8": Release.IOS16,
}
"""The forms in which weights are stored, and the releases since which they can be."""
DEFAULTS: dict[str, Any] = {
    "minimum_target": "iOS17",
    "precision": "f32",
    "keep_f32": (),
    "weights": "f32",
    "block_size": 32,
    "weight_threshold": 2048,
    "shapes": None,
    "images": None,
    "states": None,
    "kv_cache": None,
    "metadata": None,
    "runtime": "auto",
}


def check_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options in their final form; `Diagnostic` E0506 for impossible values."""
    _one_of(options, "minimum_target", list(RELEASES))
    _one_of(options, "precision", ["f32", "f16"])
    _one_of(options, "weights", list(WEIGHTS))
    _one_of(options, "runtime", list(RUNTIMES))
    keep = options["keep_f32"]
    options["keep_f32"] = [part.strip() for part in keep.split(",") if part.strip()] if isinstance(keep, str) else list(keep or ())
    if options["states"] == AUTOMATIC:
        options["states"] = {AUTOMATIC: AUTOMATIC}
    check_cache_length(options["kv_cache"])
    for name in ("shapes", "images", "states", "metadata"):
        options[name] = _mapping(name, options[name])
    for name in ("block_size", "weight_threshold"):
        value = options[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise Diagnostic(E_OPTION, f"{name}={value!r} is not a positive number")
    release = Release.of(options["minimum_target"])
    needed = WEIGHTS[options["weights"]]
    if release < needed:
        raise Diagnostic(E_OPTION, f"weights={options['weights']} needs minimum_target {needed.text} or newer, not {release.text}")
    if options["states"] and release < Release.IOS18:
        raise Diagnostic(E_OPTION, f"states need minimum_target iOS18, not {release.text}")
    return options


def _one_of(options: Mapping[str, Any], name: str, choices: list[str]) -> None:
    if options[name] not in choices:
        hint = did_you_mean(str(options[name]), choices) or "choose one of: " + ", ".join(choices)
        raise Diagnostic(E_OPTION, f"{name}={options[name]!r} is not possible", hint=hint)


def _mapping(name: str, given: Any) -> dict[str, Any]:
    """A mapping, also from text such as ``batch=1..8;tokens=128``."""
    if given is None or given == "":
        return {}
    if isinstance(given, Mapping):
        return {str(key): value for key, value in given.items()}
    if isinstance(given, str):
        pairs = [part.partition("=") for part in given.split(";") if part.strip()]
        if all(separator for _, separator, _ in pairs):
            return {key.strip(): value.strip() for key, _, value in pairs}
    raise Diagnostic(E_OPTION, f"{name}={given!r} is no mapping", hint=f"write {name}='first=…;second=…'")
