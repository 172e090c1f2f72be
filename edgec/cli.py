"""The driver `edgec`: commands, options, exit statuses. What the commands do is in `edgec.driver`, imported when they run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .ir.diagnostics import Diagnostic, code, did_you_mean

INTERRUPTED = 130
INTERNAL = 70
MAIN_HELP = "edgec: one trained model in, verified and fast artifacts for every edge target out."
EPILOG = (
    "Exit status: 0 done, 1 a gate failed, 2 bad input or usage, 3 the target cannot take the model. "
    "EDGEC_TRACEBACK=1 shows where an error was raised."
)

E_SYSTEM = code(
    "E0804",
    "the operating system refused",
    "A file or stream could not be opened, read or written. The message holds the system's own reason: permissions, a full disk, or too "
    "little memory.",
)
E_INTERNAL = code(
    "E0901",
    "edgec itself failed",
    "An unexpected exception: a defect of edgec or of an installed plugin, not of the model. Please report it with the trace that "
    "EDGEC_TRACEBACK=1 prints. The exit status is 70.",
)

app = typer.Typer(help=MAIN_HELP, epilog=EPILOG, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file, or the textual form (.edgec).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Dims = Annotated[list[str] | None, typer.Option("--dim", metavar="NAME=SIZE", help="Bind a symbolic dimension.")]
Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="MODULE", help="Import a module or file with passes, rules, operators.")
]
Passes = Annotated[str | None, typer.Option("--passes", metavar="TEXT", help="Pipeline text instead of the default.")]
Opset = Annotated[int | None, typer.Option("--opset", min=7, help="The ai.onnx opset that the result may use at most.")]
CheckEach = Annotated[bool, typer.Option("--check-each-pass", help="Compare the outputs after every pass; trace a change to its rewrite.")]
CheckData = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Data set for --check-each-pass.")]
Approximate = Annotated[bool, typer.Option("--allow-approximate", help="Permit rewrites whose error is more than rounding.")]
Bisect = Annotated[int | None, typer.Option("--bisect-limit", min=0, help="Apply only the first N rewrites.")]
Report = Annotated[bool, typer.Option("--report", help="Print what every pass did and how long it took.")]
OpRoutes = Annotated[
    list[str] | None, typer.Option("--op-route", metavar="NAME=ROUTE", help="Route of a custom operator: keep, decompose or python.")
]
Libraries = Annotated[
    list[Path] | None, typer.Option("--custom-op-library", metavar="LIBRARY", help="A shared library with kernels of custom operators.")
]
TargetOptions = Annotated[list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="An option of the target.")]


def _settings(**given: Any) -> Any:
    from .optimizing import Settings

    plugins, options = given.pop("plugins"), given.pop("options", None)
    routes, libraries = given.pop("op_routes"), given.pop("custom_op_libraries")
    from .driver.arguments import parse_options, parse_routes

    return Settings(
        plugins=tuple(plugins or ()),
        target_options=parse_options(options or ()),
        op_routes=parse_routes(routes or ()),
        custom_op_libraries=tuple(libraries or ()),
        **given,
    )


def _load_plugins(modules: Sequence[str] | None) -> None:
    from .optimizing import load_plugin_modules

    load_plugin_modules(modules or ())


@app.command()
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
    from .driver.arguments import parse_dims, parse_ranges
    from .driver.inspecting import inspect as command

    dims, ranges = parse_dims(dim or ()), parse_ranges(range or ())
    _load_plugins(plugin)
    command(model, dims=dims, ranges=ranges, nodes=nodes, tensors=tensors, text=text, as_json=json)


@app.command()
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
    external_data: Annotated[
        bool | None, typer.Option("--external-data/--inline-data", help="Weights beside the model, or in it (up to 2 GB).")
    ] = None,
    report: Report = False,
    json: Json = False,
) -> None:
    """Run passes on a model and write the result."""
    from .driver.arguments import parse_dims
    from .driver.transform import optimize as command

    settings = _settings(
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
        print_after=print_after or (),
        reproducer=reproducer,
        external_data=external_data,
        report=report,
        as_json=json,
    )


@app.command()
def compile(
    model: ModelPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The folder of the bundle.")],
    target: Annotated[str, typer.Option("--target", help="A name that `edgec targets` lists.")] = "ort",
    option: TargetOptions = None,
    passes: Passes = None,
    plugin: Plugins = None,
    opset: Opset = None,
    check_each_pass: CheckEach = False,
    data: CheckData = None,
    allow_approximate: Approximate = False,
    op_route: OpRoutes = None,
    custom_op_library: Libraries = None,
    bisect_limit: Bisect = None,
    dim: Dims = None,
    report: Report = False,
    json: Json = False,
) -> None:
    """Optimise a model, lower it for a target, write a bundle that runs."""
    from .driver.arguments import parse_dims
    from .driver.transform import compile as command

    settings = _settings(
        passes=passes,
        target=target,
        options=option,
        opset=opset,
        plugins=plugin,
        check_each_pass=check_each_pass,
        data=data,
        allow_approximate=allow_approximate,
        bisect_limit=bisect_limit,
        op_routes=op_route,
        custom_op_libraries=custom_op_library,
    )
    command(model, output, settings, dims=parse_dims(dim or ()), report=report, as_json=json)


@app.command()
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
    from .driver.arguments import parse_options
    from .driver.execute import run as command

    options = parse_options(option or ())
    if custom_op_library:
        options["custom_op_libraries"] = [str(library) for library in custom_op_library]
    _load_plugins(plugin)
    command(bundle, input, output, options, json)


@app.command()
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
    from .driver.arguments import parse_routes
    from .driver.execute import verify as command

    chosen = {"layers": not outputs_only, "scale": scale, "limit": limit, "seed": seed, "plugins": plugin or ()}
    chosen |= {"op_routes": parse_routes(op_route or ()), "custom_op_libraries": custom_op_library or ()}
    status = command(a, b, data, chosen, every_layer=layers, as_json=json)
    raise typer.Exit(int(status))


@app.command()
def passes(
    name: Annotated[str | None, typer.Argument(metavar="PASS", help="Describe one pass.")] = None,
    rules: Annotated[bool, typer.Option("--rules", help="List the rewrite rules instead.")] = False,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """List the passes with their options, or the rewrite rules."""
    from .driver.listing import list_passes

    list_passes(name, rules, plugin or (), json)


@app.command()
def ops(
    name: Annotated[str | None, typer.Argument(metavar="OPERATOR", help="Describe one operator.")] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """List the operators, or the attributes of one."""
    from .driver.listing import list_ops

    list_ops(name, plugin or (), json)


@app.command()
def targets(
    name: Annotated[str | None, typer.Argument(metavar="TARGET", help="Print one target's options and capabilities.")] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """List the targets, or the capability matrix of one."""
    from .driver.listing import list_targets

    list_targets(name, plugin or (), json)


@app.command()
def explain(
    code: Annotated[str | None, typer.Argument(metavar="CODE", help="A code such as E0203; all without it.")] = None,
    json: Json = False,
) -> None:
    """Explain a diagnostic code."""
    from .driver.listing import explain as command

    command(code, json)


@app.command()
def explain_rule(
    rule: Annotated[str, typer.Argument(metavar="NAME", help="A rule that `edgec passes --rules` lists.")],
    model: ModelPath,
    plugin: Plugins = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many near misses to print.")] = 20,
    json: Json = False,
) -> None:
    """Say where a rewrite rule matches a model, nearly matches, and why not."""
    from .driver.listing import explain_rule as command

    command(rule, model, plugin or (), limit, json)


@app.callback(invoke_without_command=True)
def _root(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from . import __version__

        print(f"edgec {__version__}")
        raise typer.Exit()


def _commands() -> list[str]:
    return [(c.name or c.callback.__name__.replace("_", "-")) for c in app.registered_commands if c.callback is not None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the driver with command-line arguments (default: those of the process); gives the exit status, never raises."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _invoke(given)
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Diagnostic as error:
        return _fail(error, int(error.exit), given)
    except (OSError, MemoryError) as error:
        if isinstance(error, OSError) and not error.filename:
            from .driver.console import discard_output

            discard_output()
        return _fail(_refused(error), 2, given)
    except Exception as error:
        return _fail_unexpectedly(error, given)


_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]  # the base class of all usage errors, wherever typer keeps it


def _invoke(given: list[str]) -> int:
    first = next((word for word in given if not word.startswith("-")), None)
    if first is not None and given[0] == first and first not in _commands():
        from .driver.arguments import usage_error

        raise usage_error(f"there is no command '{first}'", "", did_you_mean(first, _commands()))
    try:
        result = app(given, prog_name="edgec", standalone_mode=False)
    except _USAGE_ERROR as error:
        return _usage(error, given)
    if result == INTERRUPTED:
        raise KeyboardInterrupt
    if sys.stdout is not None:
        sys.stdout.flush()
    return result if isinstance(result, int) else 0


def _usage(error: Any, given: list[str]) -> int:
    from .driver.arguments import usage_error

    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "edgec")
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return 2
    message = error.format_message().rstrip(".")
    return _fail(usage_error(message, path, f"see `{path} --help`"), 2, given)


def _fail(error: Diagnostic, status: int, given: list[str]) -> int:
    from .driver.console import emit, render

    if os.environ.get("EDGEC_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    print(render(error), file=sys.stderr)
    if "--json" in given:
        emit({"schema": "edgec.error/1", "ok": False, "exit": status, "error": error.to_json()}, True, "")
    return status


def _refused(error: OSError | MemoryError) -> Diagnostic:
    if isinstance(error, MemoryError):
        refused = Diagnostic(E_SYSTEM, f"out of memory {error}".strip(), hint="free memory, or use a machine with more")
    else:
        place = f"file '{error.filename}'" if error.filename else ""
        refused = Diagnostic(E_SYSTEM, error.strerror or str(error), place, "check permissions and free space")
    refused.__cause__ = error
    return refused


def _fail_unexpectedly(error: Exception, given: list[str]) -> int:
    wrapped = Diagnostic(E_INTERNAL, f"{type(error).__name__}: {error}", hint="set EDGEC_TRACEBACK=1 to see where, and report it")
    wrapped.__cause__ = error
    return _fail(wrapped, INTERNAL, given)


if __name__ == "__main__":
    sys.exit(main())
