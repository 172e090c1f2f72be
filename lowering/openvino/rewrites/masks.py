"""Guards of masked rows: OpenVINO's maximum of negative infinities is the lowest finite number."""

from __future__ import annotations

import numpy as np

from ....ir.graph import Node, Value
from ....ir.ops.logical import Equal
from ....ir.ops.reduction import ReduceMax, ReduceMin
from ....ir.ops.unary import IsInf
from ....passes.decompose.terms import Terms
from ....passes.rewriter import Result, Rewriter, rewrites_op
from ....passes.values import uniform_number
from .functions import GROUP


@rewrites_op(Equal, name="openvino-masked-row", group=GROUP)
def masked_row(node: Node, b: Rewriter) -> Result:
    """Comparing an extremum with an infinity also accepts the finite number that OpenVINO gives in its place."""
    for x, y in (node.inputs, node.inputs[::-1]):
        assert x is not None and y is not None
        number = uniform_number(y)
        if isinstance(number, float) and np.isinf(number) and _is_extremum(x, number < 0):
            return _beyond(Terms(b), x, number < 0)
    return None


@rewrites_op(IsInf, name="openvino-infinite-extremum", group=GROUP)
def infinite_extremum(node: Node, b: Rewriter) -> Result:
    """Whether an extremum is infinite also accepts the finite number that OpenVINO gives in its place."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, IsInf) and x is not None
    if op.detect_negative and not op.detect_positive and _is_extremum(x, True):
        return _beyond(Terms(b), x, True)
    if op.detect_positive and not op.detect_negative and _is_extremum(x, False):
        return _beyond(Terms(b), x, False)
    return None


def _is_extremum(x: Value, greatest: bool) -> bool:
    wanted = ReduceMax if greatest else ReduceMin
    return x.producer is not None and isinstance(x.producer.op, wanted) and x.dtype is not None and x.dtype.is_float


def _beyond(t: Terms, x: Value, negative: bool) -> Value:
    import ml_dtypes

    limits = np.finfo(x.tensor.dtype.numpy) if x.tensor.dtype.numpy.kind == "f" else ml_dtypes.finfo(x.tensor.dtype.numpy)
    return t.at_most(x, float(limits.min)) if negative else t.at_least(x, float(limits.max))
