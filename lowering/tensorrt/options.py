"""The options of the TensorRT backend, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...ir.diagnostics import Diagnostic, did_you_mean
from ..backend import E_OPTION
from .precision import PRECISIONS
from .script import DEVICES
from .shapes import parse_profiles

_CAPABILITY = re.compile(r"SM\d{2,3}")


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """All options in their final form.

    Raises:
        Diagnostic: E0506 for an impossible value.
    """
    if options["precision"] not in PRECISIONS:
        hint = did_you_mean(str(options["precision"]), list(PRECISIONS)) or "choose one of: " + ", ".join(PRECISIONS)
        raise Diagnostic(E_OPTION, f"precision={options['precision']!r} is not possible", hint=hint)
    if options["device"] is not None and options["device"] not in DEVICES:
        hint = did_you_mean(str(options["device"]), list(DEVICES)) or "known: " + ", ".join(DEVICES)
        raise Diagnostic(E_OPTION, f"device={options['device']!r} is not known", hint=hint)
    for name in ("tf32", "timing_cache", "reference"):
        if not isinstance(options[name], bool):
            raise Diagnostic(E_OPTION, f"{name}={options[name]!r} is neither true nor false")
    level = options["optimization_level"]
    if level is not None and (not isinstance(level, int) or isinstance(level, bool) or not 0 <= level <= 5):
        raise Diagnostic(E_OPTION, f"optimization_level={level!r} is not one of 0 to 5")
    found = {**options, "keep_f32": _names(options["keep_f32"]), "capabilities": _names(options["capabilities"])}
    found["profiles"] = [{name: list(sizes) for name, sizes in item.items()} for item in parse_profiles(options["profiles"])]
    engine_sets(found)
    return found


def engine_sets(settings: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The sets of compute capabilities that engines are wanted for; those of one set share an engine.

    Raises:
        Diagnostic: E0506 for what is no compute capability.
    """
    if settings["device"] is not None:
        return [(DEVICES[settings["device"]],)]
    sets = []
    for text in settings["capabilities"]:
        names = tuple(sorted(dict.fromkeys(text.upper().split("+")), key=lambda name: (len(name), name)))
        for name in names:
            if not _CAPABILITY.fullmatch(name):
                raise Diagnostic(E_OPTION, f"'{name}' is no compute capability", hint="write SM86, or SM80+SM86 for one engine for both")
        sets.append(names)
    return list(dict.fromkeys(sets))


def _names(given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        return tuple(part.strip() for part in given.split(",") if part.strip())
    if isinstance(given, list | tuple) and all(isinstance(item, str) for item in given):
        return tuple(given)
    raise Diagnostic(E_OPTION, f"{given!r} is no list of names")
