"""Triangles, running products and determinants by masks, reductions and arithmetic."""

from __future__ import annotations

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.generate import Trilu
from ...ir.ops.reduction import CumProd, ReduceProd
from ...ir.ops.unary import Det
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

GROUP = "decompose-triangles"
LONGEST = 512  # the longest axis of a running product, whose square is computed
GREATEST_DETERMINANT = 4


@decomposes(Trilu, name="decompose-trilu", group=GROUP)
def trilu(node: Node, t: Terms) -> Result:
    """A choice between the elements and zero, by the distance of their columns and rows."""
    op, x, k = node.op, node.inputs[0], node.operand(1)
    assert isinstance(op, Trilu) and x is not None
    if x.rank is None or x.dtype is None:
        return Decline("the rank is not known")
    rows, columns = t.dim(x, -2), t.dim(x, -1)
    offset = 0 if k is None else k.ints[0] if k.ints else None
    if isinstance(rows, int) and isinstance(columns, int) and offset is not None:
        distance = np.arange(columns) - np.arange(rows)[:, None]
        keep = t.constant(distance >= offset if op.upper else distance <= offset)
    else:
        places = t.sub(t.unsqueeze(t.count(columns), [0]), t.unsqueeze(t.count(rows), [1]))
        limit = t.constant(offset, DType.INT64) if offset is not None else t.reshape(k, [])  # type: ignore[arg-type]
        keep = t.at_least(places, limit) if op.upper else t.at_most(places, limit)
    return t.where(keep, x, t.constant(np.zeros((), x.dtype.numpy), x.dtype))


@decomposes(CumProd, name="decompose-cumulative-product", group=GROUP)
def cumulative_product(node: Node, t: Terms) -> Result:
    """A running product is the product over a triangle of the elements, ones elsewhere."""
    op, x, axis = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, CumProd) and x is not None and axis is not None
    if x.shape is None or not axis.ints:
        return Decline("the axis is computed at run time")
    along = axis.ints[0] % len(x.shape)
    length = x.shape[along]
    if not isinstance(length, int) or length > LONGEST:
        return Decline("the length is not known, or too great for a triangle")
    places = np.arange(length)
    taken = places[:, None] > places[None, :] if op.exclusive else places[:, None] >= places[None, :]
    mask = taken[::-1, ::-1] if op.reverse else taken
    wide = t.unsqueeze(x, [along])  # [..., result, element, ...]
    shape = (length, length, *(1,) * (len(x.shape) - 1 - along))
    chosen = t.where(t.constant(np.ascontiguousarray(mask).reshape(shape)), wide, 1)
    return t.apply(ReduceProd(keepdims=0), chosen, t.ints([along + 1]))


@decomposes(Det, name="decompose-determinant", group=GROUP)
def determinant(node: Node, t: Terms) -> Result:
    """Determinants of up to four rows are expanded by minors."""
    x = node.inputs[0]
    assert x is not None
    size = x.shape[-1] if x.shape else None
    if not isinstance(size, int) or not 0 < size <= GREATEST_DETERMINANT:
        return Decline(f"only matrices of up to {GREATEST_DETERMINANT} rows")
    rank = x.rank or 2
    wide = t.widen(x)
    rows = [t.take(wide, t.constant(i, DType.INT64), rank - 2) for i in range(size)]
    cells = [[t.take(row, t.constant(j, DType.INT64), rank - 2) for j in range(size)] for row in rows]
    return t.cast(_minors(t, cells), x.dtype)


def _minors(t: Terms, cells: list[list[Value]]) -> Value:
    if len(cells) == 1:
        return cells[0][0]
    total: Value | None = None
    for column, cell in enumerate(cells[0]):
        term = t.mul(cell, _minors(t, [[c for j, c in enumerate(row) if j != column] for row in cells[1:]]))
        total = term if total is None else t.sub(total, term) if column % 2 else t.add(total, term)
    assert total is not None
    return total
