"""Checks one decomposition on one node: same results before and after, statically and with symbolic dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.interpreter import interpret
from edgec.ir.op import Op
from edgec.ir.types import TensorType
from edgec.ir.verifier import verify
from edgec.passes.context import Context
from edgec.passes.decompose.base import DECOMPOSITIONS
from edgec.passes.driver import apply_rules

Array = np.ndarray[Any, Any]


def single(
    op: Op, operands: list[Array | None], outputs: int = 1, constants: tuple[int, ...] = (), symbolic: tuple[str, ...] = ()
) -> Graph:
    """A graph of one node; operands whose position is in ``constants`` are constants.

    Args:
        symbolic: entries ``"0.1"`` make dimension 1 of operand 0 the symbol ``d<size>``, shared by equal sizes.
    """
    graph = Graph()
    values = []
    for index, array in enumerate(operands):
        if array is None:
            values.append(None)
        elif index in constants:
            values.append(constant(array, f"c{index}"))
        else:
            shape = tuple(symbol(f"d{n}") if f"{index}.{axis}" in symbolic else n for axis, n in enumerate(array.shape))
            values.append(graph.add_input(f"x{index}", TensorType(DType.from_numpy(array.dtype), shape)))
    node = graph.insert(op, values, outputs=outputs, names=[f"y{i}" for i in range(outputs)])
    graph.set_outputs(list(node.outputs), [f"y{i}" for i in range(outputs)])
    return graph


def check(
    rule: str,
    op: Op,
    *operands: Array | None,
    outputs: int = 1,
    constants: tuple[int, ...] = (),
    symbolic: tuple[str, ...] = (),
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> Graph:
    """Decompose the operator and compare; gives the decomposed graph."""
    given = list(operands)
    graph = single(op, given, outputs, constants, symbolic)
    feeds = {f"x{i}": a for i, a in enumerate(given) if a is not None and i not in constants}
    expected = interpret(graph, feeds)
    context = Context(declines=[])
    change = apply_rules(graph, [DECOMPOSITIONS[rule].rule], context)
    assert change.counts.get(rule), [d.reason for d in context.declines or []]
    assert not any(type(node.op) is type(op) and node.op == op for node in graph.walk())
    verify(graph)
    found = interpret(graph, feeds)
    for name, want in expected.items():
        assert found[name].dtype == want.dtype
        left, right = found[name].astype(np.float64), want.astype(np.float64)
        np.testing.assert_allclose(left, right, rtol=rtol, atol=atol, err_msg=name)
    return graph
