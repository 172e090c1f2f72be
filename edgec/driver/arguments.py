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
