"""The command that measures this machine for the cost model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import Json


def calibrate(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.toml", help="Where the calibrated target goes.")],
    backend: Annotated[str, typer.Option("--backend", metavar="NAME", help="The runtime: ort, openvino or tflite.")] = "ort",
    threads: Annotated[int, typer.Option("--threads", min=1, max=256, help="Threads of the runtime.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="Few graphs: under three minutes, larger errors.")] = False,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="FILE", help="Where measurements are kept, to go on after a stop.")
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="How often every graph is measured; the minimum counts.")] = None,
    json: Json = False,
) -> None:
    """Measure synthetic graphs on this machine and write a target that --target takes. No real model is looked at."""
    from ..driver.calibrate import calibrate as command

    command(backend, threads, output, quick=quick, cache=cache, rounds=rounds, as_json=json)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(calibrate)
