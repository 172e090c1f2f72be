"""The command study."""

from __future__ import annotations

from typing import Annotated

import typer

from ._options import Json


def study(
    name: Annotated[str, typer.Argument(metavar="NAME", help="gelu: exact, tanh and sigmoid forms, one operator and spelled out.")],
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="NAME[,NAME]", help="ort, openvino; those that are installed by default.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="T", help="Predict for this hardware, or a calibrated file.")] = None,
    shape: Annotated[str, typer.Option("--shape", metavar="ROWSxCOLUMNS", help="The tensor.")] = "128x3072",
    threads: Annotated[int, typer.Option("--threads", min=1, max=256, help="Threads of the runtimes.")] = 1,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often everything is timed, in turn.")] = 15,
    json: Json = False,
) -> None:
    """Measure on this machine what is often said: errors, sizes, operators and times."""
    from ..driver.study import study as command

    backends = [part.strip() for part in backend.split(",") if part.strip()] if backend is not None else None
    command(name, backends=backends, target=target, shape=shape, threads=threads, rounds=rounds, as_json=json)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(study)
