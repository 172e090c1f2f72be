"""Pipelines as text: ``canonicalize,fix{max=5}(fold-constants{limit=65536},dead-code)``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args, get_origin, get_type_hints

from ..ir.diagnostics import Diagnostic, code, did_you_mean
from .base import Pass
from .registry import find_pass

E_PIPELINE = code(
    "E0403",
    "the pipeline text does not parse",
    "A pipeline is a comma-separated list of passes. Options stand in braces, `fold-constants{limit=65536}`; a group that is repeated "
    "until nothing changes is `fix(…)` or `fix{max=5}(…)`.",
)


@dataclass(frozen=True)
class Fix:
    """A group of passes that is repeated until nothing changes, at most ``max`` times."""

    passes: tuple[Pass | Fix, ...]
    max: int = 10

    def __str__(self) -> str:
        return format_pipeline([self])


Step = Pass | Fix

_TOKEN = re.compile(r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[^\s,(){}=\[\]"]+)|(?P<mark>[,(){}=\[\]]))""")


def parse_pipeline(text: str) -> list[Step]:
    """The passes that a pipeline text names.

    Raises:
        Diagnostic: for a syntax error, an unknown pass or option, or an option value of the wrong type.
    """
    return _Parser(text).pipeline()


def format_pipeline(steps: Sequence[Step]) -> str:
    """The text of a pipeline: `parse_pipeline` reads it back to equal passes."""
    parts: list[str] = []
    for step in steps:
        if isinstance(step, Fix):
            limit = "" if step.max == Fix.max else f"{{max={step.max}}}"
            parts.append(f"fix{limit}({format_pipeline(step.passes)})")
        else:
            options = ",".join(f"{name}={_format_value(value)}" for name, value in step.options())
            parts.append(step.name + (f"{{{options}}}" if options else ""))
    return ",".join(parts)


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "[" + ",".join(_format_value(item) for item in value) + "]"
    if isinstance(value, str) and (value in ("true", "false", "none") or not re.fullmatch(r"[A-Za-z_][\w./*-]*", value)):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        while position < len(text.rstrip()):
            found = _TOKEN.match(text, position)
            if found is None or found.lastgroup is None:
                raise self._error("an unexpected character", position)
            self.tokens.append((found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)))
            position = found.end()
        self.at = 0

    def _error(self, message: str, position: int | None = None, hint: str = "") -> Diagnostic:
        if position is None:
            position = self.tokens[self.at][2] if self.at < len(self.tokens) else len(self.text)
        return Diagnostic(E_PIPELINE, f"{message} in the pipeline", f"column {position + 1}", hint, [self.text, " " * position + "^"])

    def _peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) and self.tokens[self.at][0] == "mark" else ""

    def _take(self, mark: str) -> None:
        if self._peek() != mark:
            raise self._error(f"'{mark}' expected")
        self.at += 1

    def _word(self, what: str) -> str:
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "word":
            self.at += 1
            return self.tokens[self.at - 1][1]
        raise self._error(f"{what} expected")

    def pipeline(self) -> list[Step]:
        steps = self._steps() if self.tokens else []
        if self.at < len(self.tokens):
            raise self._error("',' expected")
        return steps

    def _steps(self) -> list[Step]:
        steps = [self._step()]
        while self._peek() == ",":
            self.at += 1
            steps.append(self._step())
        return steps

    def _step(self) -> Step:
        position = self.at
        name = self._word("the name of a pass")
        options = self._options() if self._peek() == "{" else {}
        if name == "fix":
            self._take("(")
            inner = self._steps()
            self._take(")")
            limit = _convert(options.pop("max", Fix.max), int)
            if options or not isinstance(limit, int):
                raise self._error("only the option max (an integer) belongs to fix", self.tokens[position][2])
            return Fix(tuple(inner), limit)
        return self._instance(name, options, self.tokens[position][2])

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        self._take("{")
        while self._peek() != "}":
            if options:
                self._take(",")
            name = self._word("the name of an option")
            self._take("=")
            options[name] = self._value()
        self._take("}")
        return options

    def _value(self) -> Any:
        if self._peek() == "[":
            self.at += 1
            items: list[Any] = []
            while self._peek() != "]":
                if items:
                    self._take(",")
                items.append(self._value())
            self._take("]")
            return items
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "string":
            self.at += 1
            return _Quoted(re.sub(r"\\(.)", r"\1", self.tokens[self.at - 1][1][1:-1]))
        return self._word("a value")

    def _instance(self, name: str, options: dict[str, Any], position: int) -> Pass:
        try:
            cls = find_pass(name)
        except Diagnostic as error:
            error.where = error.where or f"column {position + 1} of the pipeline"
            raise
        hints = get_type_hints(cls)
        known = [item.name for item in fields(cls)]
        values: dict[str, Any] = {}
        for option, value in options.items():
            if option not in known:
                choices = did_you_mean(option, known) or f"{name} has no options"
                raise self._error(f"{name} has no option '{option}'", position, choices)
            converted = _convert(value, hints[option])
            if converted is _WRONG:
                raise self._error(f"option {option} of {name} cannot be '{value}'", position, f"it is of type {hints[option]}")
            values[option] = converted
        return cls(**values)


class _Quoted(str):
    """A text in quotes: never a number, a truth value or none."""


_WRONG = object()


def _convert(value: Any, hint: Any) -> Any:
    """The parsed value as the type that an option declares, or `_WRONG`."""
    if not isinstance(value, str | list):
        return value
    arguments = get_args(hint)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            return _WRONG
        items = tuple(_convert(item, arguments[0]) for item in value)
        return _WRONG if _WRONG in items else items
    if arguments:  # a union
        for choice in arguments:
            if choice is type(None):
                converted = None if value == "none" and not isinstance(value, _Quoted) else _WRONG
            else:
                converted = _convert(value, choice)
            if converted is not _WRONG:
                return converted
        return _WRONG
    if hint is str:
        return str(value) if isinstance(value, str) else _WRONG
    if isinstance(value, _Quoted | list):
        return _WRONG
    if hint is bool:
        return {"true": True, "false": False}.get(value, _WRONG)
    if hint in (int, float):
        try:
            return hint(value)
        except ValueError:
            return _WRONG
    return _WRONG
