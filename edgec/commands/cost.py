"""The command cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import Dims, Freeze, Json, Passes, Plugins, settings_of


def cost(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="An ONNX file, the textual form (.edgec), or the sizes of a language model (.toml).")
    ],
    target: Annotated[
        str | None,
        typer.Option(
            "--target", metavar="T[,T2…]", help="Hardware that `edgec targets` lists, or files: your own, or what calibrate wrote."
        ),
    ] = None,
    engine: Annotated[str | None, typer.Option("--engine", metavar="NAME", help="The engine; the target's default without it.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="How many units of the engine work.")] = None,
    tier: Annotated[str, typer.Option("--tier", help="auto, spec, scalar, microbenchmark, or an installed cost model.")] = "auto",
    precision: Annotated[str, typer.Option("--precision", help="native, f32, f16, bf16, i8, w8 or w4.")] = "native",
    kernels: Annotated[
        str, typer.Option("--kernels", help="What runs: regions (fused nodes), nodes, ort (ONNX Runtime's own graph), or auto.")
    ] = "auto",
    dim: Dims = None,
    freeze: Freeze = None,
    passes: Passes = None,
    no_optimize: Annotated[bool, typer.Option("--no-optimize", help="Price the model as it is.")] = False,
    sweep: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="NAME=LOW:HIGH[:STEP]", help="Sweep a dimension, or core or memory: the clocks, as factors."),
    ] = None,
    lengths: Annotated[
        str | None,
        typer.Option("--lengths", metavar="FILE|N,N…", help="Lengths of items: a file with a length, or length,count, a line, or a list."),
    ] = None,
    length_dim: Annotated[
        str | None, typer.Option("--length-dim", metavar="NAME", help="The dimension that has these lengths, if there are several.")
    ] = None,
    length_multiple: Annotated[int, typer.Option("--length-multiple", min=1, help="Bucket limits are multiples of this.")] = 1,
    buckets: Annotated[int, typer.Option("--buckets", min=1, help="At most so many buckets of lengths.")] = 4,
    symbolic: Annotated[bool, typer.Option("--symbolic", help="Print work and memory in closed form.")] = False,
    explain_fusion: Annotated[bool, typer.Option("--explain-fusion", help="Show what every fused kernel saves, and why.")] = False,
    phases: Annotated[
        str | None,
        typer.Option("--phases", metavar="prompt=N,generate=N,batch=N", help="Price generating text: load, prompt, decoding, choosing."),
    ] = None,
    priority: Annotated[
        str | None, typer.Option("--priority", metavar="time=1,potential=1,ease=1", help="Exponents of the ranking, and CLASS=EASE.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many nodes to list.")] = 12,
    plugin: Plugins = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page that needs nothing else.")] = None,
    json: Json = False,
) -> None:
    """Predict time, energy and memory on hardware, and say what bounds them."""
    from ..driver.arguments import parse_dims, parse_values
    from ..driver.cost import Request
    from ..driver.cost import cost as command

    request = Request(
        targets=tuple(name.strip() for name in (target or "").split(",") if name.strip()),
        engine=engine,
        threads=threads,
        tier=tier,
        precision=precision,
        kernels=kernels,
        dims=parse_dims(dim or ()),
        freeze=parse_values(freeze or ()),
        optimize=not no_optimize,
        sweeps=tuple(sweep or ()),
        symbolic=symbolic,
        explain_fusion=explain_fusion,
        phases=phases,
        priority=priority,
        lengths=lengths,
        length_dim=length_dim,
        length_multiple=length_multiple,
        buckets=buckets,
        top=top,
        html=html,
        as_json=json,
    )
    command(model, request, settings_of(passes=passes, plugins=plugin, op_routes=None, custom_op_libraries=None))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(cost)
