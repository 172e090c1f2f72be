"""Values of command-line options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..ir.diagnostics import Diagnostic, code

E_USAGE = code(
    "E0801",
    "the command line is wrong",
    "A command, option or option value is not understood. `edgec --help` and `edgec COMMAND --help` describe them all.",
)


CLOCKS = ("core", "memory")  # what a sweep may scale instead of a dimension
CLOCK_STEPS = 13
MOST_POINTS = 1024


def usage_error(message: str, where: str = "", hint: str = "") -> Diagnostic:
    """A mistake on the command line."""
    return Diagnostic(E_USAGE, message, where, hint)


def _split(text: str, option: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise usage_error(f"'{text}' is not of the form {form}", option)
    return name.strip(), value.strip()


def _size(text: str, option: str, form: str) -> int:
    try:
        size = int(text)
    except ValueError:
        raise usage_error(f"'{text}' is not a whole number", option, f"write {form}") from None
    if size < 0:
        raise usage_error(f"a size cannot be {size}", option)
    return size


def parse_dims(items: Sequence[str]) -> dict[str, int]:
    """``batch=8``, several times or separated by commas."""
    form = "NAME=SIZE, such as batch=8"
    found: dict[str, int] = {}
    for item in _pieces(items):
        name, value = _split(item, "--dim", form)
        size = _size(value, "--dim", form)
        if found.setdefault(name, size) != size:
            raise usage_error(f"'{name}' is bound to {found[name]} and to {size}", "--dim")
    return found


def parse_ranges(items: Sequence[str]) -> dict[str, tuple[int, int]]:
    """``batch=1:8``, several times or separated by commas."""
    form = "NAME=LOW:HIGH, such as batch=1:8"
    found: dict[str, tuple[int, int]] = {}
    for item in _pieces(items):
        name, value = _split(item, "--range", form)
        low_text, _, high_text = value.partition(":")
        low = _size(low_text, "--range", form)
        high = _size(high_text, "--range", form) if high_text else low
        if low > high:
            raise usage_error(f"the range {low}:{high} of '{name}' is empty", "--range", f"write {name}={high}:{low}")
        found[name] = (low, high)
    return found


def parse_sweep(text: str) -> tuple[str, list[float]]:
    """``batch=1:64``, ``batch=8:64:8``, or ``core=0.5:1.5``.

    >>> parse_sweep("batch=1:4")
    ('batch', [1, 2, 3, 4])
    >>> parse_sweep("sequence=32:128:32")[1]
    [32, 64, 96, 128]
    """
    name, _, span = text.partition("=")
    form = "write NAME=LOW:HIGH or NAME=LOW:HIGH:STEP, such as batch=1:64"
    pieces = span.split(":")
    if not name.strip() or len(pieces) not in (2, 3):
        raise usage_error(f"'{text}' is no sweep", "--sweep", form)
    try:
        numbers = [float(piece) for piece in pieces]
    except ValueError:
        raise usage_error(f"'{text}' is no sweep", "--sweep", form) from None
    low, high = numbers[:2]
    if not 0 < low <= high < float("inf"):
        raise usage_error(f"the sweep {pieces[0]}:{pieces[1]} is empty or not positive", "--sweep", form)
    if name.strip() in CLOCKS:
        return name.strip(), [low + (high - low) * i / (CLOCK_STEPS - 1) for i in range(CLOCK_STEPS)]
    step = numbers[2] if len(numbers) == 3 else 1.0
    if step <= 0 or any(n != int(n) for n in numbers) or (high - low) / step >= MOST_POINTS:
        raise usage_error(f"'{text}' is not a sweep of at most {MOST_POINTS} whole numbers", "--sweep", form)
    return name.strip(), list(range(int(low), int(high) + 1, int(step)))


def parse_options(items: Sequence[str]) -> dict[str, Any]:
    """``threads=1`` for the target; values are JSON where that is possible, else texts."""
    return _parse_json(items, "--option", "NAME=VALUE, such as threads=1")


def parse_values(items: Sequence[str]) -> dict[str, Any]:
    """``sampling_rate=16000`` or ``size=[224,224]`` for inputs that become constants."""
    return _parse_json(items, "--freeze", "INPUT=VALUE, such as sampling_rate=16000")


def _parse_json(items: Sequence[str], option: str, form: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        name, value = _split(item, option, form)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def parse_routes(items: Sequence[str]) -> dict[str, str]:
    """``com.acme.Swoosh=decompose``, several times or separated by commas."""
    return dict(_split(item, "--op-route", "NAME=ROUTE, such as com.acme.Swoosh=decompose") for item in _pieces(items))


def _pieces(items: Sequence[str]) -> list[str]:
    return [piece.strip() for item in items for piece in item.split(",") if piece.strip()]
