"""Optimisation profiles: ranges of the symbolic dimensions, and of the input shapes that follow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...ir.diagnostics import Diagnostic
from ...ir.dims import Expr, substitute
from ...ir.graph import Value
from ..backend import E_OPTION
from .engine import Profile

Ranges = Mapping[str, tuple[int, int, int]]
"""Least, optimal and greatest size by symbolic dimension."""
BATCH, OTHER = ((1, 1, 8), (1, 8, 64)), ((32, 128, 512), (64, 256, 1024), (1, 8, 64))
"""Ranges that are tried in turn for first and for other dimensions when no profile is given."""
FIXED = (32, 48, 64, 96, 112, 128, 224, 256, 384, 512)
"""Sizes that networks take alone, tried for the first dimension beside the batch."""
FORM = "write profiles as NAME=MIN:OPT:MAX,…;… or as a list of {NAME: [MIN, OPT, MAX]}, or name a JSON file with that list"


def parse_profiles(given: Any) -> tuple[dict[str, tuple[int, int, int]], ...]:
    """The option ``profiles`` in any of its forms.

    Args:
        given: None, a list of mappings from dimension to three sizes, a text such as ``batch=1:8:32,length=16:128:512;batch=1:1:1``
            (profiles are separated by ``;``), or the path of a JSON file (as `edgec profile-shapes` writes it).

    Raises:
        Diagnostic: E0506 for anything else, and for sizes that do not ascend.
    """
    if given is None or given == "":
        return ()
    if isinstance(given, str) and given.endswith(".json"):
        try:
            given = json.loads(Path(given).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Diagnostic(E_OPTION, f"profiles={given!r} cannot be read: {error}", hint=FORM) from None
        given = given.get("profiles") if isinstance(given, dict) else given
    if isinstance(given, str):
        given = [_of_text(part) for part in given.split(";") if part.strip()]
    if not isinstance(given, list | tuple):
        raise Diagnostic(E_OPTION, f"profiles={given!r} is no list of profiles", hint=FORM)
    return tuple(_checked(item) for item in given)


def _of_text(text: str) -> dict[str, list[str]]:
    return {name.strip(): sizes.split(":") for name, _, sizes in (part.partition("=") for part in text.split(",") if part.strip())}


def _checked(item: Any) -> dict[str, tuple[int, int, int]]:
    try:
        found = {str(name): tuple(int(size) for size in sizes) for name, sizes in dict(item).items()}
        for name, sizes in found.items():
            if len(sizes) != 3 or not 0 <= sizes[0] <= sizes[1] <= sizes[2]:
                raise Diagnostic(E_OPTION, f"the range {list(sizes)} of '{name}' is not three ascending sizes", hint=FORM)
    except (TypeError, ValueError):
        raise Diagnostic(E_OPTION, f"{item!r} is no profile", hint=FORM) from None
    return found  # type: ignore[return-value]


def symbols_of(inputs: Sequence[Value]) -> dict[str, bool]:
    """The symbolic dimensions of the inputs in their order, and whether each occurs first in some shape."""
    found: dict[str, bool] = {}
    for value in inputs:
        for axis, dim in enumerate(value.shape or ()):
            for name in dim.symbols() if isinstance(dim, Expr) else ():
                found[name] = found.get(name, False) or axis == 0
    return found


def default_ranges(symbols: Mapping[str, bool]) -> Iterator[dict[str, tuple[int, int, int]]]:
    """Guesses at the ranges of dimensions about which nothing is known, the likeliest first."""
    yield {name: BATCH[0] if first else OTHER[0] for name, first in symbols.items()}
    if any(not first for first in symbols.values()):
        yield {name: BATCH[0] if first else OTHER[1] for name, first in symbols.items()}
    spatial = [name for name, first in symbols.items() if not first]
    for size in FIXED if spatial else ():
        yield {name: (size, size, size) if name == spatial[0] else BATCH[0] if first else OTHER[0] for name, first in symbols.items()}
    yield {name: BATCH[1] for name in symbols}
    yield {name: (8, 8, 8) for name in symbols}


def profile_of(inputs: Sequence[Value], ranges: Ranges, shape_inputs: Mapping[str, int] | None = None) -> Profile:
    """The ranges of the input shapes.

    Args:
        inputs: the model's inputs.
        ranges: least, optimal and greatest size of every symbolic dimension.
        shape_inputs: the number of elements of those inputs that are themselves shapes; they range over 1 to 16.

    Raises:
        Diagnostic: E0506 when a dimension has no range, or a range names no dimension.
    """
    names = symbols_of(inputs)
    for name in ranges:
        if name not in names:
            raise Diagnostic(E_OPTION, f"a profile names '{name}', which is no symbolic dimension of the inputs", hint=", ".join(names))
    missing = [name for name in names if name not in ranges]
    if missing:
        raise Diagnostic(E_OPTION, f"a profile says nothing of the dimension '{missing[0]}'", hint=FORM)
    found: dict[str, Any] = {}
    for value in inputs:
        shape = value.shape or ()
        corners = [[_size(d, {n: r[which] for n, r in ranges.items()}) for which in range(3)] for d in shape]
        spans = [(min(sizes), sizes[1], max(sizes)) for sizes in corners]  # a dimension may shrink when a symbol grows
        found[value.name] = tuple(tuple(span[which] for span in spans) for which in range(3))
    for name, count in (shape_inputs or {}).items():
        found[name] = ((1,) * count, (4,) * count, (16,) * count)
    return found


def _size(dim: Any, sizes: Mapping[str, int]) -> int:
    found = substitute(dim, dict(sizes)) if isinstance(dim, Expr) else dim
    assert isinstance(found, int)
    return found


def trtexec_flags(profiles: Sequence[Profile]) -> list[str]:
    """The shape flags of ``trtexec`` for profiles."""
    flags: list[str] = []
    for number, profile in enumerate(profiles):
        if len(profiles) > 1:
            flags.append(f"--profile={number}")
        for flag, which in (("minShapes", 0), ("optShapes", 1), ("maxShapes", 2)):
            flags.append(f"--{flag}=" + ",".join(f"{name}:{'x'.join(map(str, ranges[which]))}" for name, ranges in profile.items()))
    return flags
