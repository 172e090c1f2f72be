"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file, or the textual form (.edgec).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Dims = Annotated[list[str] | None, typer.Option("--dim", metavar="NAME=SIZE", help="Bind a symbolic dimension.")]
Freeze = Annotated[
    list[str] | None, typer.Option("--freeze", metavar="INPUT=VALUE", help="Make a constant of an input; it leaves the interface.")
]
Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="MODULE", help="Import a module or file with passes, rules, operators.")
]
Passes = Annotated[str | None, typer.Option("--passes", metavar="TEXT", help="Pipeline text instead of the default.")]
Opset = Annotated[int | None, typer.Option("--opset", min=7, help="The ai.onnx opset that the result may use at most.")]
CheckEach = Annotated[bool, typer.Option("--check-each-pass", help="Compare the outputs after every pass; trace a change to its rewrite.")]
CheckData = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Data set for --check-each-pass.")]
Approximate = Annotated[bool, typer.Option("--allow-approximate", help="Permit rewrites whose error is more than rounding.")]
MaxError = Annotated[
    float | None,
    typer.Option(
        "--max-error", metavar="E", min=0.0, help="Relative error at the outputs that approximations of missing operators may cause."
    ),
]
Bisect = Annotated[int | None, typer.Option("--bisect-limit", min=0, help="Apply only the first N rewrites.")]
Report = Annotated[bool, typer.Option("--report", help="Print what every pass did and how long it took.")]
OpRoutes = Annotated[
    list[str] | None, typer.Option("--op-route", metavar="NAME=ROUTE", help="Route of a custom operator: keep, decompose or python.")
]
Libraries = Annotated[
    list[Path] | None, typer.Option("--custom-op-library", metavar="LIBRARY", help="A shared library with kernels of custom operators.")
]
TargetOptions = Annotated[list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="An option of the target.")]


def settings_of(**given: Any) -> Any:
    """The `Settings` that options of the command line ask for."""
    from ..optimizing import Settings

    plugins, options = given.pop("plugins"), given.pop("options", None)
    routes, libraries = given.pop("op_routes"), given.pop("custom_op_libraries")
    from ..driver.arguments import parse_options, parse_routes

    return Settings(
        plugins=tuple(plugins or ()),
        target_options=parse_options(options or ()),
        op_routes=parse_routes(routes or ()),
        custom_op_libraries=tuple(libraries or ()),
        **given,
    )


def load_plugins(modules: Sequence[str] | None) -> None:
    """Import installed plugins and the modules that --plugin names."""
    from ..optimizing import load_plugin_modules

    load_plugin_modules(modules or ())
