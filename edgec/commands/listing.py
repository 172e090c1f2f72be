"""The commands that list what there is: passes, ops, explain and explain-rule."""

from __future__ import annotations

from typing import Annotated

import typer

from ._options import Json, ModelPath, Plugins


def passes(
    name: Annotated[str | None, typer.Argument(metavar="PASS", help="Describe one pass.")] = None,
    rules: Annotated[bool, typer.Option("--rules", help="List the rewrite rules instead.")] = False,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """List the passes with their options, or the rewrite rules."""
    from ..driver.listing import list_passes

    list_passes(name, rules, plugin or (), json)


def ops(
    name: Annotated[str | None, typer.Argument(metavar="OPERATOR", help="Describe one operator.")] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="T[,T2…]", help="Say how targets support it.")] = None,
    op: Annotated[str | None, typer.Option("--op", metavar="OPERATOR", help="The operator, as the argument.")] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", metavar="TYPE", help="Element type of its first operand: f32, i8 or int8 …")
    ] = None,
    backend_version: Annotated[
        str | None, typer.Option("--backend-version", metavar="V", help="Version of the target's runtime; the installed one by default.")
    ] = None,
    hardware: Annotated[str | None, typer.Option("--hardware", metavar="NAME", help="Hardware that the support may depend on.")] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """List the operators, or the attributes of one; with --target how targets support them."""
    if target is not None:
        from ..driver.compile_targets import target_list
        from ..driver.support_query import query_support

        query_support(target_list(target), op or name, dtype, backend_version, hardware or "", plugin or (), json)
        return
    from ..driver.arguments import usage_error
    from ..driver.listing import list_ops

    if dtype is not None or backend_version is not None or hardware is not None:
        raise usage_error("--dtype, --backend-version and --hardware ask about targets", "", "name some: --target T")
    list_ops(op or name, plugin or (), json)


def explain(
    code: Annotated[str | None, typer.Argument(metavar="CODE", help="A code such as E0203; all without it.")] = None,
    json: Json = False,
) -> None:
    """Explain a diagnostic code."""
    from ..driver.listing import explain as command

    command(code, json)


def explain_rule(
    rule: Annotated[str, typer.Argument(metavar="NAME", help="A rule that `edgec passes --rules` lists.")],
    model: ModelPath,
    plugin: Plugins = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many near misses to print.")] = 20,
    json: Json = False,
) -> None:
    """Say where a rewrite rule matches a model, nearly matches, and why not."""
    from ..driver.listing import explain_rule as command

    command(rule, model, plugin or (), limit, json)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(passes)
    app.command()(ops)
    app.command()(explain)
    app.command()(explain_rule)
