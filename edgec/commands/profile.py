"""The command that measures a bundle operator by operator, or reads a foreign profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import Json


def profile(
    bundle: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="A bundle of ort, openvino or tflite.")] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs that the runtime's profiler covers.")] = 10,
    threads: Annotated[int, typer.Option("--threads", min=1, max=256, help="Threads of the runtime.")] = 1,
    target: Annotated[str | None, typer.Option("--target", metavar="T", help="Predict for this hardware, or a calibrated file.")] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="PATH", help="Inputs; made-up ones without it.")] = None,
    trace: Annotated[Path | None, typer.Option("--trace", metavar="FILE", help="Write a Chrome trace.")] = None,
    imported: Annotated[Path | None, typer.Option("--import", metavar="FILE", help="Read a profile instead of measuring.")] = None,
    format: Annotated[str | None, typer.Option("--format", metavar="F", help="Of --import: ort, trtexec, nsys or litert.")] = None,
    json: Json = False,
) -> None:
    """Time of every operator beside its prediction, with the source nodes it computes."""
    from ..driver.profile import profile as command

    command(
        bundle, runs=runs, threads=threads, target=target, data=data, trace=trace, imported=imported, form=format, as_json=json
    )  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(profile)
