"""The command profile-shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import Json, ModelPath, Plugins, load_plugins


def profile_shapes(
    model: ModelPath,
    trace: Annotated[Path, typer.Option("--trace", metavar="FILE", help="Real shapes: JSON lines, or a data set of input arrays.")],
    count: Annotated[int, typer.Option("-k", min=1, help="The greatest number of profiles.")] = 3,
    mismatch: Annotated[
        float | None, typer.Option("--mismatch", min=0, help="Relative loss for each factor of two between a size and its optimum.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Write the profiles for --option profiles=FILE.json.")
    ] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Propose optimisation profiles (min, opt, max) for TensorRT from a trace of real shapes."""
    load_plugins(plugin)
    from ..driver.profile_shapes import profile_shapes as command

    command(model, trace=trace, count=count, mismatch=mismatch, output=output, as_json=json)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("profile-shapes")(profile_shapes)
