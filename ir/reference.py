"""Evaluation of one operator by the reference implementation of the onnx package."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .diagnostics import E_EVALUATE, Diagnostic
from .dtypes import DType
from .op import Op, Opaque
from .types import UNKNOWN, SequenceType, TensorType, Type


def evaluate_by_reference(op: Op, operands: Sequence[Any]) -> Any:
    """Run an operator with onnx.reference, in a model of one node of the newest opset.

    Args:
        op: the operator.
        operands: arrays, lists of arrays for sequences, None for absent operands.

    Returns:
        The result array, or a tuple of arrays when the operator has several results.

    Raises:
        Diagnostic: the reference implementation lacks the operator, or fails on these operands.
    """
    operands = list(operands)
    while operands and operands[-1] is None:
        operands.pop()
    types = [None if o is None else _type_of(o) for o in operands]
    try:
        evaluator, names = _evaluator(op, tuple(o is not None for o in operands), _result_count(op, types))
        feeds = {f"x{i}": o for i, o in enumerate(operands) if o is not None}
        with np.errstate(all="ignore"):
            found = evaluator.run(None, feeds, intermediate=True)
    except Diagnostic:
        raise
    except Exception as error:
        raise Diagnostic(
            E_EVALUATE,
            f"the reference implementation of {op.qualified_name} fails: {type(error).__name__}: {error}",
            op.qualified_name,
            notes=[f"the operands are {', '.join('absent' if t is None else str(t) for t in types) or 'none'}"],
        ) from error
    results = [found[name] for name in names if name in found]
    results = [np.asarray(r) if isinstance(r, np.generic | float | int) else r for r in results]
    return results[0] if len(results) == 1 else tuple(results)


def _type_of(operand: Any) -> Type:
    if isinstance(operand, np.ndarray):
        return TensorType(DType.from_numpy(operand.dtype), operand.shape)
    if isinstance(operand, list) and operand:
        return SequenceType(_type_of(operand[0]))
    return UNKNOWN


def _result_count(op: Op, types: Sequence[Type | None]) -> int:
    """The number of results: all that the schema knows, or what inference gives where the schema leaves it open."""
    from onnx import defs

    try:
        schema = defs.get_schema(op.op_name, domain=op.domain)
    except defs.SchemaError:
        return op.outputs
    if schema.max_output < 1 << 16:
        return schema.max_output
    if isinstance(op, Opaque):
        return op.outputs
    result = op.infer(*types)
    return len(result) if type(result) is tuple else 1


@lru_cache(maxsize=256)
def _evaluator(op: Op, present: tuple[bool, ...], count: int) -> tuple[Any, list[str]]:
    """The evaluator of a model with one node, and the names of its results."""
    from onnx import IR_VERSION, TypeProto, defs, helper
    from onnx.reference import ReferenceEvaluator

    from .serial.attributes import encode

    names = [f"y{i}" for i in range(count)]
    node = helper.make_node(op.op_name, [f"x{i}" if p else "" for i, p in enumerate(present)], names, domain=op.domain)
    node.attribute.extend(encode(name, value) for name, value in op.changed_attributes() if value is not None)
    anything = TypeProto()
    inputs = [helper.make_value_info(f"x{i}", anything) for i, p in enumerate(present) if p]
    graph = helper.make_graph([node], "one_node", inputs, [helper.make_value_info(n, anything) for n in names])
    opsets = [helper.make_opsetid("", defs.onnx_opset_version())]
    if op.domain:
        opsets.append(helper.make_opsetid(op.domain, op.version if isinstance(op, Opaque) else _newest(op.domain)))
    elif isinstance(op, Opaque):
        opsets = [helper.make_opsetid("", op.version)]
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)), names


def _newest(domain: str) -> int:
    from onnx import defs

    return max((s.since_version for s in defs.get_all_schemas_with_history() if s.domain == domain), default=1)
