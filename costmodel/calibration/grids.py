"""The graphs that calibration measures: per class of kernels, and networks. None of their sizes is taken from a real model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .builders_networks import networks
from .draw import Draw, Rows
from .grids_convolutions import (
    chains,
    convolutions,
    deep,
    depthwise,
    few_channels,
    first_layers,
    gates,
    grouped,
    lines,
    normalized,
    rows_of_blocks,
    shallow,
    transposed,
    uneven_groups,
)
from .grids_maps import binaries, elementwise, local_responses, normalizations, softmaxes
from .grids_movement import joins, movements, reductions, small_forms
from .grids_narrow import narrow, narrow_forms
from .grids_products import attentions, batched, products, recurrents, standard_attentions, vectors
from .recipe import Recipe


def overheads(count: int, draw: Draw) -> Rows:
    """What a run, a node, a view and arithmetic on shapes cost."""
    for nodes in (1, 2, 4, 8, 16, 32, 64):
        yield Recipe("run", {"nodes": nodes}, focus="overhead")
    for groups, nodes, k in ((4, 20, 512), (8, 20, 384), (8, 40, 512), (4, 60, 768), (3, 90, 1024), (6, 30, 640), (16, 20, 1024)):
        yield Recipe("cold", {"groups": groups, "nodes": nodes, "k": k, "m": 1 if groups % 3 else 4}, focus="overhead")
    for nodes in (2, 4, 8, 16, 32, 48):
        yield Recipe("view", {"nodes": nodes, "n": 16}, focus="view")
        yield Recipe("shape", {"nodes": nodes}, focus="control")


GENERATORS: tuple[tuple[Callable[..., Rows], int, int, tuple[Any, ...]], ...] = (
    (overheads, 13, 13, ()),
    (products, 22, 84, ()),
    (batched, 10, 36, ()),
    (vectors, 14, 64, ()),
    (convolutions, 28, 60, ((1, 3, 1, 3, 5), "all")),
    (convolutions, 22, 44, ((1, 3, 3, 5), "basic")),
    (first_layers, 14, 44, ("all",)),
    (first_layers, 6, 16, ("basic",)),
    (depthwise, 24, 72, ("all",)),
    (depthwise, 24, 72, ("basic",)),
    (grouped, 8, 20, ("all",)),
    (grouped, 5, 12, ("basic",)),
    (rows_of_blocks, 16, 32, ()),
    (transposed, 3, 8, ()),
    (attentions, 5, 20, ()),
    (normalizations, 16, 40, ()),
    (softmaxes, 6, 24, ()),
    (elementwise, 36, 110, ()),
    (binaries, 21, 77, ()),
    (movements, 36, 204, ()),
    (reductions, 40, 160, ()),
    (recurrents, 4, 18, ()),
    (narrow, 24, 132, ()),
    (few_channels, 8, 30, ("all",)),
    (few_channels, 8, 24, ("basic",)),
    (gates, 5, 16, ("all",)),
    (gates, 4, 12, ("basic",)),
    (lines, 6, 28, ("all",)),
    (lines, 4, 14, ("basic",)),
    (chains, 12, 48, ()),
    (shallow, 9, 42, ()),
    (local_responses, 5, 10, ()),
    (narrow_forms, 16, 60, ()),
    (small_forms, 9, 45, ()),
    (uneven_groups, 4, 18, ("all",)),
    (standard_attentions, 4, 16, ()),
    (deep, 6, 24, ("all",)),
    (deep, 4, 12, ("basic",)),
    (normalized, 6, 27, ()),
    (joins, 4, 18, ()),
)


def recipes(quick: bool = False, narrow_types: bool = True) -> list[Recipe]:
    """All graphs of a calibration, each once, in a fixed order.

    Args:
        quick: few of each.
        narrow_types: quantised operators too.
    """
    found: dict[str, Recipe] = {}
    for position, (generate, few, many, arguments) in enumerate(GENERATORS):
        if generate in (narrow, narrow_forms) and not narrow_types:
            continue
        for recipe in generate(few if quick else many, Draw(1000 + position), *arguments):
            found.setdefault(recipe.key, recipe)
    found.update((recipe.key, recipe) for recipe in networks(24 if quick else 72))
    return list(found.values())
