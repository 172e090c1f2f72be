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
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """List the operators, or the attributes of one."""
    from ..driver.listing import list_ops

    list_ops(name, plugin or (), json)


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
