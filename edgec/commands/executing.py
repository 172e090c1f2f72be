"""The commands that run models: run and verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import Json, Libraries, OpRoutes, Plugins, TargetOptions, load_plugins


def run(
    bundle: Annotated[Path, typer.Argument(metavar="DIR", help="A bundle.")],
    input: Annotated[Path, typer.Option("--input", metavar="IN.npz", help="Feeds: arrays by input name.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.npz", help="Where the outputs go.")],
    option: TargetOptions = None,
    custom_op_library: Libraries = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Run a bundle once."""
    from ..driver.arguments import parse_options
    from ..driver.execute import run as command

    options = parse_options(option or ())
    if custom_op_library:
        options["custom_op_libraries"] = [str(library) for library in custom_op_library]
    load_plugins(plugin)
    command(bundle, input, output, options, json)


def verify(
    a: Annotated[Path, typer.Argument(metavar="A", help="The reference: a model or a bundle.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="What is compared with it.")],
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Data set; made-up inputs without it.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="List every layer, not only the worst.")] = False,
    outputs_only: Annotated[bool, typer.Option("--outputs-only", help="Do not compare intermediate tensors.")] = False,
    scale: Annotated[float, typer.Option("--scale", min=0.0, help="Factor on every tolerance.")] = 1.0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Use at most so many samples.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="For made-up inputs.")] = 0,
    plugin: Plugins = None,
    op_route: OpRoutes = None,
    custom_op_library: Libraries = None,
    json: Json = False,
) -> None:
    """Compare two models or bundles layer by layer; exit status 1 when an output is out of tolerance."""
    from ..driver.arguments import parse_routes
    from ..driver.execute import verify as command

    chosen = {"layers": not outputs_only, "scale": scale, "limit": limit, "seed": seed, "plugins": plugin or ()}
    chosen |= {"op_routes": parse_routes(op_route or ()), "custom_op_libraries": custom_op_library or ()}
    status = command(a, b, data, chosen, every_layer=layers, as_json=json)
    raise typer.Exit(int(status))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(run)
    app.command()(verify)
