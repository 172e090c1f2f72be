"""What commands print: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from ..ir.diagnostics import Diagnostic, printable

COLOURS = {"error": "1;31", "hint": "36", "note": "34", "place": "2"}


def emit(facts: Any, as_json: bool, text: str) -> None:
    """Print the result of a command: plain data as JSON, or the text made for people. A reader that went away is no error."""
    try:
        printed = json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) if as_json else text
        print(printable(printed), flush=True)
    except BrokenPipeError:
        discard_output()


def discard_output() -> None:
    """Send what standard output cannot take to nowhere: the interpreter flushes it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(message: str) -> None:
    """Tell the user something beside the result."""
    print(printable(message), file=sys.stderr)


def render(error: Diagnostic, stream: Any = None) -> str:
    """A diagnostic as text, in colour when the stream is a terminal that wants it."""
    text = str(error)
    stream = stream if stream is not None else sys.stderr
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    head, *rest = text.split("\n")
    label, _, message = head.partition(": ")
    lines = [f"\033[{COLOURS['error']}m{label}\033[0m: {message}"]
    for line in rest:
        word = line.strip().split(":", 1)[0]
        colour = COLOURS["place"] if word.startswith("-->") else COLOURS.get(word, "0")
        lines.append(f"\033[{colour}m{line}\033[0m")
    return "\n".join(lines)


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = ()) -> str:
    """Aligned columns; those in ``right`` are aligned to the right."""
    cells = [[str(h) for h in headings], *([_cell(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    lines = []
    for row in cells:
        parts = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def _cell(item: Any) -> str:
    return "" if item is None else f"{item:.3g}" if isinstance(item, float) else str(item).replace("\n", "\\n")


def quantity(number: float, unit: str = "") -> str:
    """A number with a decimal prefix: ``4.09 G``, ``23.5 M``, ``512``."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= factor:
            return f"{number / factor:.3g} {prefix}{unit}"
    return f"{number:g} {unit}".rstrip()


def sized(value: Any, unit: str = "") -> str:
    """A size that is a number or an expression as text."""
    if value is None:
        return "unknown"
    if isinstance(value, int):
        return quantity(value, unit)
    return f"({value}) {unit}" if unit else value


def limits(pair: Sequence[Any] | None, unit: str = "") -> str:
    """``[low, high]`` of a size; nothing where both are the same."""
    if pair is None or pair[0] == pair[1]:
        return ""
    low, high = ("unbounded" if p is None else quantity(p, unit) for p in pair)
    return f"[{low}, {high}]"
