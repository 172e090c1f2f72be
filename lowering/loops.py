"""Loops for targets that cannot repeat a part of a graph: short ones are written out."""

from __future__ import annotations

from ..ir.graph import Node
from ..passes.pipeline_text import format_pipeline
from ..passes.unroll_loops import UnrollLoops

UNROLLED = UnrollLoops(max_trips=256, max_nodes=20000)
UNROLL = format_pipeline([UNROLLED])
"""The pass in pipeline text."""


def will_unroll(node: Node, unrolled: UnrollLoops = UNROLLED) -> bool:
    """Whether a loop disappears before the target sees it, so that the target need not take the loop itself."""
    return unrolled.takes(node)
