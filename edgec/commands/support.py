"""The command support."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import Dims, Freeze, Json, Libraries, MaxError, OpRoutes, Opset, Plugins, TargetOptions, settings_of


def support(
    model: Annotated[Path | None, typer.Argument(metavar="[MODEL]", help="A model; without it --html shows all operators.")] = None,
    target: Annotated[str, typer.Option("--target", metavar="T[,T2…]", help="Names that `edgec targets` lists, or all.")] = "all",
    nodes: Annotated[bool, typer.Option("--nodes", help="List the native nodes too.")] = False,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the matrix as a page that needs nothing else.")] = None,
    save_node: Annotated[str | None, typer.Option("--save-node", metavar="NAME", help="Write one node alone as a model.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where --save-node writes it.")] = None,
    hardware: Annotated[str | None, typer.Option("--hardware", metavar="NAME", help="Predict the latency of the nodes on it.")] = None,
    max_error: MaxError = None,
    option: TargetOptions = None,
    plugin: Plugins = None,
    opset: Opset = None,
    op_route: OpRoutes = None,
    custom_op_library: Libraries = None,
    dim: Dims = None,
    freeze: Freeze = None,
    json: Json = False,
) -> None:
    """Say what becomes of every node on some targets, and why; exit status 3 when a target cannot take the model."""
    from ..driver import support as driver
    from ..driver.arguments import parse_dims, parse_values, usage_error
    from ..driver.compile_targets import target_list

    settings = settings_of(
        options=option,
        plugins=plugin,
        opset=opset,
        max_error=max_error,
        hardware=hardware,
        op_routes=op_route,
        custom_op_libraries=custom_op_library,
    )
    targets = _available(plugin or []) if target == "all" else target_list(target)
    if model is None:
        if html is None:
            raise usage_error("name a model", "", "edgec support MODEL --target T, or --html FILE for all operators")
        driver.operator_support(targets, plugin or (), html, json)
        return
    bindings = {"dims": parse_dims(dim or ()), "freeze": parse_values(freeze or ())}
    if save_node is not None:
        driver.save_node(model, save_node, output, settings, **bindings, as_json=json)
        return
    status = driver.support(model, settings, targets, **bindings, hardware=hardware, every_node=nodes, html=html, as_json=json)
    raise typer.Exit(status)


def _available(plugins: list[str]) -> list[str]:
    """The targets whose runtime is installed."""
    from ..lowering.registry import backend, backend_names
    from ._options import load_plugins

    load_plugins(plugins)
    return [name for name in backend_names() if backend(name).available() is None]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(support)
