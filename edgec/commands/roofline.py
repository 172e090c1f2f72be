"""The command roofline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import Json


def roofline(
    peak: Annotated[
        list[str] | None,
        typer.Option("--peak", metavar="[TYPE=]RATE", help="Operations per second, of every element type or of one: 1e12, f16=2Tops/s."),
    ] = None,
    bandwidth: Annotated[str | None, typer.Option("--bw", metavar="RATE", help="Bytes per second of the memory: 25.6e9, 25.6GB/s.")] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="T", help="Hardware that `edgec targets` lists, or a file, in place of --peak and --bw."),
    ] = None,
    engine: Annotated[str | None, typer.Option("--engine", metavar="NAME", help="The engine; the target's default without it.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="How many units of the engine work.")] = None,
    kernels: Annotated[str, typer.Option("--kernel", metavar="K,…", help="Kernels; dw stands for depthwise.")] = "1x1,3x3,dw3x3",
    channels: Annotated[str, typer.Option("--channels", metavar="C,…", help="Channels, in and out.")] = "64,256",
    sizes: Annotated[str, typer.Option("--size", metavar="N,…", help="Height and width.")] = "56,28",
    dtypes: Annotated[str | None, typer.Option("--dtype", metavar="TYPE,…", help="Element types, such as f32,f16,i8.")] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Items.")] = 1,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Draw the roofline on a page that needs nothing else.")
    ] = None,
    json: Json = False,
) -> None:
    """Ridge points of hardware, and the arithmetic intensity of convolutions under its roofs."""
    from ..driver.roofline import Request
    from ..driver.roofline import roofline as command

    command(
        Request(tuple(peak or ()), bandwidth, target, engine, threads, kernels, channels, sizes, dtypes, batch, html, json)
    )  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(roofline)
