"""The command bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ._options import Dims, Freeze, Json, Passes, Plugins, settings_of


class _Bench(TyperCommand):
    """``--sweep`` may stand without a value: the first dimension of the inputs, at a few sizes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given: list[str] = []
        for position, word in enumerate(args):
            given.append(word)
            following = args[position + 1] if position + 1 < len(args) else "-"
            if word == "--sweep" and following.startswith("-"):
                given.append("auto")
        return super().parse_args(ctx, given)


def bench(
    model: Annotated[Path | None, typer.Argument(metavar="MODEL", help="A model, or a bundle of ort, openvino or tflite.")] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            "--sweep", metavar="[NAME=LOW:HIGH[:STEP]]", help="Measure these sizes of a dimension; without a value, a few of the first."
        ),
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option("--kernel", metavar="K", help="In place of a model: gemm, conv, memcpy, gemv or launch; their bound is known."),
    ] = None,
    backend: Annotated[str | None, typer.Option("--backend", metavar="NAME", help="The runtime: ort, openvino or tflite.")] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, max=256, help="Threads of the runtime.")] = 1,
    target: Annotated[str | None, typer.Option("--target", metavar="T", help="Predict for this hardware, or a calibrated file.")] = None,
    simulate: Annotated[
        str | None, typer.Option("--simulate", metavar="T", help="Examine the cost model of this hardware instead of this machine.")
    ] = None,
    engine: Annotated[str | None, typer.Option("--engine", metavar="NAME", help="Of --simulate; the target's default without it.")] = None,
    dim: Dims = None,
    freeze: Freeze = None,
    passes: Passes = None,
    plugin: Plugins = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often every size is timed, in turn.")] = 5,
    no_bound: Annotated[bool, typer.Option("--no-bound", help="Only time: keep other cores, the memory and the clock alone.")] = False,
    json: Json = False,
) -> None:
    """Times on this machine beside predictions, over the sizes of a dimension, and what bounds them."""
    from ..driver.arguments import parse_dims, parse_values
    from ..driver.bench import Request
    from ..driver.bench import bench as command

    request = Request(
        path=model,
        kernel=kernel,
        sweep=sweep,
        backend=backend,
        threads=threads,
        target=target,
        simulate=simulate,
        engine=engine,
        dims=parse_dims(dim or ()),
        freeze=parse_values(freeze or ()),
        rounds=rounds,
        bound=not no_bound,
        as_json=json,
    )
    command(request, settings_of(passes=passes, plugins=plugin, op_routes=None, custom_op_libraries=None))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(cls=_Bench)(bench)
