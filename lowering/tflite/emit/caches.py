"""Writing into buffers at a position that is known at run time only."""

from __future__ import annotations

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.scatter import TensorScatter
from ...backend import Verdict
from ...caches import one_position
from ..emitter import Emitter
from ..registry import emits, no

WRITTEN = frozenset((DType.FLOAT, DType.FLOAT16, DType.INT8, DType.INT32, DType.INT64, DType.BOOL))


def _uniform(node: Node) -> Verdict | None:
    op = node.op
    assert isinstance(op, TensorScatter)
    if op.mode != "linear":
        return no("the kernel does not wrap around at the end of the buffer")
    if node.operand(2) is not None and one_position(node) is None:
        return no("the elements of a batch are written at positions of their own", "dynamic-parameter")
    return None


@emits(TensorScatter, dtypes=WRITTEN, when=_uniform)
def tensor_scatter(e: Emitter, node: Node) -> None:
    """DYNAMIC_UPDATE_SLICE; the position stands in a vector of zeros."""
    op, cache, update = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, TensorScatter) and cache is not None and update is not None and cache.rank is not None
    axis, rank = op.axis % cache.rank, cache.rank
    place = one_position(node)
    if place is None:
        start = e.ints([0] * rank)
    else:
        index = e.reshaped(e.cast(e.operand(place), DType.INT32), [1])
        parts = [e.ints([0] * axis), index, e.ints([0] * (rank - axis - 1))]
        start = e.temporary([rank], DType.INT32)
        present = [p for p in parts if e.shape(p) != (0,)]
        e.op("CONCATENATION", present, [start], axis=0, fusedActivationFunction=0)
    e.op("DYNAMIC_UPDATE_SLICE", [e.operand(cache), e.operand(update), start], [e.result(node.output)], version=2)
