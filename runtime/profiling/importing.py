"""Foreign profiles by the name of their format."""

from __future__ import annotations

from pathlib import Path

from ...ir.diagnostics import Diagnostic, did_you_mean
from .timeline import E_PROFILE, Profile

FORMATS = ("ort", "trtexec", "nsys", "litert")


def import_profile(path: str | Path, form: str) -> Profile:
    """Read a profile.

    Args:
        path: the file.
        form: one of `FORMATS`.

    Raises:
        Diagnostic: E0650 for an unknown format, a missing or a damaged file.
    """
    if form not in FORMATS:
        raise Diagnostic(E_PROFILE, f"there is no format '{form}'", "--format", did_you_mean(form, list(FORMATS)))
    place = Path(path)
    if not place.is_file():
        raise Diagnostic(E_PROFILE, "there is no such file", str(path))
    if form == "nsys":
        from .nsys import read_nsys

        return read_nsys(place)
    data = place.read_bytes()
    if form == "ort":
        from .ort import read_ort

        return read_ort(data, str(path))
    if form == "trtexec":
        from .trtexec import read_trtexec

        return read_trtexec(data, str(path))
    from .benchmark_model import read_benchmark_model

    return read_benchmark_model(data, str(path))
