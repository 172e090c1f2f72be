"""Products whose constant weights take up the order of the elements that they contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...ir.graph import Node
from ...ir.ops.matmul import Gemm, MatMul
from .alternate import Alternate, Builder, Port, alternates
from .forms import Form, is_identity


@alternates(MatMul, Gemm)
def product(node: Node, port: Port) -> Alternate | None:
    """A product with a matrix of weights whose rows are put into the order of the shuffled operand (a transposed one for Gemm)."""
    op, x, weight = node.op, node.inputs[0], node.inputs[1]
    assert x is not None and weight is not None and x.rank is not None
    shuffle = port.form.shuffle
    if port.is_result or port.index != 0 or shuffle is None or weight.data is None or weight.rank != 2:
        return None
    if isinstance(op, Gemm):
        contracted = 0 if op.transA else 1
        if sorted(port.form.perm) != [0, 1] or shuffle.axis != contracted:
            return None
        op = replace(op, transA=int(port.form.perm.index(contracted) == 0))
        rows = 1 if op.transB else 0
    else:
        if shuffle.axis != x.rank - 1 or not is_identity(port.form.perm):
            return None
        rows = 0
    indices = shuffle.indices()

    def build(b: Builder, given: Sequence[Any]) -> Any:
        moved = b.array(np.take(given[1].data.numpy(), indices, axis=rows), given[1])
        return b.add(op, given[0], moved, *given[2:])

    assert node.output.rank is not None
    return Alternate((port.form, *(None,) * (len(node.inputs) - 1)), (Form.written(node.output.rank),), build)
