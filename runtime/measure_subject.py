"""What is timed, on whatever runtime: a callable, and the kernels that it runs as the cost model sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..costmodel.schedule import Schedule
from ..ir.dims import Expr
from ..ir.graph import Graph
from ..ir.model import Model
from ..ir.types import TensorType


@dataclass(frozen=True)
class Subject:
    """A loaded model that can be run again and again on the same inputs.

    Attributes:
        run: one inference.
        schedule: the kernels that it runs.
        bindings: values of the schedule's symbols for these inputs.
        model: the optimised model as far as it can be read back; None otherwise.
        session: the runtime's own object.
        outputs: how many results a run gives.
        fixed: symbolic dimensions that the runtime was told to take as constant.
    """

    run: Callable[[], Any]
    schedule: Schedule
    bindings: Mapping[str, int]
    model: Model | None = None
    session: Any = None
    outputs: int = 1
    fixed: Mapping[str, int] = field(default_factory=dict)


def bindings_of(graph: Graph, feeds: Mapping[str, Any]) -> dict[str, int]:
    """Values of the symbols in the types of a graph's inputs, as the shapes of the feeds have them."""
    found: dict[str, int] = {}
    for value in graph.inputs:
        array = feeds.get(value.name)
        if array is None or not isinstance(value.type, TensorType) or value.type.shape is None:
            continue
        for dim, size in zip(value.type.shape, np.shape(array), strict=False):
            if isinstance(dim, Expr) and dim.symbols() and str(dim) in dim.symbols():
                found.setdefault(str(dim), int(size))
    return found
