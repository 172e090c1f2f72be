"""The command inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import Dims, Json, Plugins, load_plugins


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file, the textual form (.edgec), or a bundle.")],
    dim: Dims = None,
    range: Annotated[
        list[str] | None, typer.Option("--range", metavar="NAME=LOW:HIGH", help="Give sizes, memory and MACs as [low, high].")
    ] = None,
    nodes: Annotated[bool, typer.Option("--nodes", help="List every node with its work.")] = False,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor with its shape and size.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Print the graph in its textual form.")] = False,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Show inputs, parameters, work, memory and every tensor's shape."""
    from ..driver.arguments import parse_dims, parse_ranges
    from ..driver.inspecting import inspect as command

    dims, ranges = parse_dims(dim or ()), parse_ranges(range or ())
    load_plugins(plugin)
    command(model, dims=dims, ranges=ranges, nodes=nodes, tensors=tensors, text=text, as_json=json)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(inspect)
