"""The command that lists backends and hardware, and shows what is known of one."""

from __future__ import annotations

from typing import Annotated

import typer

from ._options import Json, Plugins


def targets(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME | show HARDWARE]", help="A backend's options and capabilities, or every number of a piece of hardware."
        ),
    ] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """List the backends and the hardware that the cost model knows, or describe one."""
    from ..driver.targets import targets as command

    command(names or (), plugin or (), json)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(targets)
