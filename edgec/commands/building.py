"""The commands that make something: optimize and compile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import (
    Approximate,
    Bisect,
    CheckData,
    CheckEach,
    Dims,
    Freeze,
    Json,
    Libraries,
    MaxError,
    ModelPath,
    OpRoutes,
    Opset,
    Passes,
    Plugins,
    Report,
    TargetOptions,
    settings_of,
)


def optimize(
    model: ModelPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The file to write: .onnx, or .edgec for text.")],
    passes: Passes = None,
    target: Annotated[str | None, typer.Option("--target", help="Optimise for a target.")] = None,
    plugin: Plugins = None,
    opset: Opset = None,
    check_each_pass: CheckEach = False,
    data: CheckData = None,
    allow_approximate: Approximate = False,
    op_route: OpRoutes = None,
    custom_op_library: Libraries = None,
    print_after: Annotated[list[str] | None, typer.Option("--print-after", metavar="PASS", help="Print the graph after a pass.")] = None,
    bisect_limit: Bisect = None,
    reproducer: Annotated[
        Path | None, typer.Option("--reproducer", metavar="DIR", help="Keep the model as it was before a pass that fails.")
    ] = None,
    dim: Dims = None,
    freeze: Freeze = None,
    external_data: Annotated[
        bool | None, typer.Option("--external-data/--inline-data", help="Weights beside the model, or in it (up to 2 GB).")
    ] = None,
    report: Report = False,
    json: Json = False,
) -> None:
    """Run passes on a model and write the result."""
    from ..driver.arguments import parse_dims, parse_values
    from ..driver.transform import optimize as command

    settings = settings_of(
        passes=passes,
        target=target,
        opset=opset,
        plugins=plugin,
        check_each_pass=check_each_pass,
        data=data,
        allow_approximate=allow_approximate,
        bisect_limit=bisect_limit,
        op_routes=op_route,
        custom_op_libraries=custom_op_library,
    )
    command(
        model,
        output,
        settings,
        dims=parse_dims(dim or ()),
        freeze=parse_values(freeze or ()),
        print_after=print_after or (),
        reproducer=reproducer,
        external_data=external_data,
        report=report,
        as_json=json,
    )


def compile(
    model: ModelPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder of the bundle, or of the bundles.")],
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="T[,T2…]",
            help="Names that `edgec targets` lists; of several targets each gets a folder, and a table compares them.",
        ),
    ] = "ort",
    option: TargetOptions = None,
    passes: Passes = None,
    plugin: Plugins = None,
    opset: Opset = None,
    check_each_pass: CheckEach = False,
    data: CheckData = None,
    allow_approximate: Approximate = False,
    max_error: MaxError = None,
    op_route: OpRoutes = None,
    custom_op_library: Libraries = None,
    bisect_limit: Bisect = None,
    dim: Dims = None,
    freeze: Freeze = None,
    hardware: Annotated[str | None, typer.Option("--hardware", metavar="NAME", help="Predict latency and energy on it.")] = None,
    report: Report = False,
    json: Json = False,
) -> None:
    """Optimise a model, lower it for one target or several, write bundles that run."""
    from ..driver.arguments import parse_dims, parse_values
    from ..driver.compile_targets import compile_for_several, target_list
    from ..driver.transform import compile as command

    targets = target_list(target)
    settings = settings_of(
        passes=passes,
        target=targets[0],
        options=option,
        opset=opset,
        plugins=plugin,
        check_each_pass=check_each_pass,
        data=data,
        allow_approximate=allow_approximate,
        max_error=max_error,
        hardware=hardware,
        bisect_limit=bisect_limit,
        op_routes=op_route,
        custom_op_libraries=custom_op_library,
    )
    bindings = {"dims": parse_dims(dim or ()), "freeze": parse_values(freeze or ())}
    if len(targets) == 1:
        command(model, output, settings, **bindings, hardware=hardware, report=report, as_json=json)
        return
    status = compile_for_several(model, output, settings, targets, **bindings, hardware=hardware, report=report, as_json=json)
    raise typer.Exit(status)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(optimize)
    app.command()(compile)
