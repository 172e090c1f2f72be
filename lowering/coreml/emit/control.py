"""Branches and loops."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.graph import Graph, Node
from ....ir.ops.control import If, Loop
from ....ir.types import TensorType
from .context import Emission
from .translation import Obstacle, translates


def _region_obstacle(node: Node) -> Obstacle | None:
    """The first obstacle inside the regions."""
    for region in node.regions:
        if any(not isinstance(v.type, TensorType) for v in region.outputs):
            return Obstacle("sequence", "a region returns something that is no tensor")
    return None


def _branches(node: Node) -> Obstacle | None:
    found = _region_obstacle(node)
    if found is not None:
        return found
    then_branch, else_branch = node.regions
    for a, b in zip(then_branch.outputs, else_branch.outputs, strict=True):
        if a.dtype is not b.dtype or a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
            return Obstacle("control-flow", "the branches return different types")
        if any(isinstance(p, int) and isinstance(q, int) and p != q for p, q in zip(a.shape, b.shape, strict=True)):
            return Obstacle("control-flow", "the branches return tensors of different sizes")
    return None


@translates(If, dtypes=None, when=_branches)
def branch(e: Emission, node: Node) -> None:
    """One of two blocks."""
    condition = _scalar(e, e.operand(node))
    results = e.mil.cond(pred=condition, _true_fn=lambda: _block(e, node.regions[0]), _false_fn=lambda: _block(e, node.regions[1]))
    e.bind(node, *(results if isinstance(results, list | tuple) else (results,)))


def _block(e: Emission, region: Graph) -> Any:
    """The results of a region inside the block that is being built; each is computed in it."""
    stem = e.stem
    e.open_scope({})
    e.emit_graph(region)
    results = tuple(e.mil.identity(x=e.wide(value)) for value in region.outputs)
    e.close_scope()
    e.rename(stem)
    return results if len(results) != 1 else results[0]


def _scalar(e: Emission, var: Any) -> Any:
    return e.mil.squeeze(x=var) if len(var.shape) else var


def _loop(node: Node) -> Obstacle | None:
    found = _region_obstacle(node)
    if found is not None:
        return found
    body = node.regions[0]
    carried = len(node.inputs) - 2
    if len(body.outputs) > 1 + carried:
        return Obstacle("control-flow", "outputs that are collected over the iterations of a loop that is not unrolled")
    for initial, result in zip(node.inputs[2:], body.outputs[1:], strict=True):
        assert initial is not None
        if initial.shape is None or initial.shape != result.shape:
            return Obstacle("control-flow", "a carried value changes its size")
        if initial.dtype is not result.dtype:
            return Obstacle("control-flow", "a carried value changes its type")
    return None


@translates(Loop, dtypes=None, when=_loop)
def loop(e: Emission, node: Node) -> None:
    """MIL's while loop over the counter, the condition and the carried values."""
    body = node.regions[0]
    limit = e.operand(node, 0)
    limit = None if limit is None else _scalar(e, limit)
    first = e.operand(node, 1)
    going = _scalar(e, first) if first is not None else e.mil.identity(x=np.bool_(True))
    initial = [e.operand(node, index) for index in range(2, len(node.inputs))]

    def again(counter: Any, condition: Any, *_: Any) -> Any:
        if limit is None:
            return e.mil.identity(x=condition)
        return e.mil.logical_and(x=e.mil.less(x=counter, y=limit), y=condition)

    def advance(counter: Any, condition: Any, *values: Any) -> Any:
        stem = e.stem
        e.open_scope(dict(zip(body.inputs, (counter, condition, *values), strict=True)))
        e.emit_graph(body)
        results = [e.mil.identity(x=e.wide(value)) for value in body.outputs]
        e.close_scope()
        e.rename(stem)
        return [e.mil.add(x=counter, y=np.int32(1)), _scalar(e, results[0]), *results[1:]]

    start = e.mil.identity(x=np.int32(0))
    results = e.mil.while_loop(_cond=again, _body=advance, loop_vars=(start, going, *initial))
    e.bind(node, *results[2:])
