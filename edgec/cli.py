"""The driver `edgec`: commands, options, exit statuses. What the commands do is in `edgec.driver`, imported when they run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Any

import typer

from . import commands
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


@app.callback(invoke_without_command=True)
def _root(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from . import __version__

        print(f"edgec {__version__}")
        raise typer.Exit()


def _collect() -> None:
    """Let every module of `edgec.commands` register its commands, in sorted order; `_`-modules hold what they share."""
    for name in sorted(module.name for module in iter_modules(commands.__path__) if not module.name.startswith("_")):
        import_module(f"{commands.__name__}.{name}").register(app)


_collect()


def _commands() -> list[str]:
    return list(typer.main.get_group(app).commands)


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
