"""Studies: what is often said of a question, measured on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.diagnostics import did_you_mean
from .arguments import usage_error

STUDIES = ("gelu",)


def study(
    name: str,
    *,
    backends: Sequence[str] | None = None,
    target: str | None = None,
    shape: str = "128x3072",
    threads: int = 1,
    rounds: int = 15,
    as_json: bool = False,
) -> None:
    """Run a study by its name.

    Raises:
        Diagnostic: E0801 for an unknown study or a wrong shape, and what the study raises.
    """
    if name not in STUDIES:
        raise usage_error(f"there is no study '{name}'", "edgec study", did_you_mean(name, list(STUDIES)))
    rows, times, columns = shape.partition("x")
    if not (times and rows.isdecimal() and columns.isdecimal() and 0 < int(rows) * int(columns) <= 1 << 28):
        raise usage_error(f"'{shape}' is no shape", "--shape", "rows x columns, such as 128x3072")
    from .study_gelu import study_gelu

    study_gelu(backends, target, int(rows), int(columns), threads, rounds, as_json)
