"""onnxruntime as the oracle of single operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import helper

from edgec.ir.data import ArrayData
from edgec.ir.graph import constant_type
from edgec.ir.op import Op, infer_types
from edgec.ir.types import TensorType, refine


def run_onnxruntime(
    op: Op, operands: Sequence[Any], outputs: int = 1, *, opset: int = 24, wanted: Sequence[int] | None = None
) -> list[Any]:
    """The operator's results on arrays (None: absent operand) as the CPU kernels of onnxruntime compute them.

    Args:
        op: the operator; its changed attributes are written.
        operands: arrays.
        outputs: number of results of the node.
        opset: ai.onnx opset of the model.
        wanted: positions of the results to name; the others are absent.
    """
    names = ["" if a is None else f"x{i}" for i, a in enumerate(operands)]
    while names and not names[-1]:
        names.pop()  # a trailing empty name is legal, yet it crashes some kernels of onnxruntime
    positions = list(range(outputs)) if wanted is None else list(wanted)
    results = [f"y{i}" if i in positions else "" for i in range(outputs)]
    attributes = {k: list(v) if isinstance(v, tuple) else v for k, v in op.changed_attributes() if v is not None}
    node = helper.make_node(op.op_name, names, results, domain=op.domain, **attributes)
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in zip(names, operands, strict=False)
        if a is not None
    ]
    graph = helper.make_graph([node], "one", inputs, [helper.make_empty_tensor_value_info(f"y{i}") for i in positions])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {n: a for n, a in zip(names, operands, strict=False) if a is not None})


def types_of(operands: Sequence[Any]) -> list[TensorType | None]:
    """The types of arrays, with the contents that constants carry."""
    return [None if a is None else constant_type(ArrayData(a)) for a in operands]


def check_against_onnxruntime(
    op: Op,
    operands: Sequence[Any],
    outputs: int = 1,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    opset: int = 24,
    wanted: Sequence[int] | None = None,
) -> list[Any]:
    """Compare inference and evaluation with onnxruntime; returns its results."""
    expected = run_onnxruntime(op, operands, outputs, opset=opset, wanted=wanted)
    positions = list(range(outputs)) if wanted is None else list(wanted)
    inferred = infer_types(op, types_of(operands), outputs)
    results = op.evaluate(*operands)
    results = results if isinstance(results, tuple) else (results,)
    for position, reference in zip(positions, expected, strict=True):
        result = results[position]
        stored = TensorType(constant_type(ArrayData(reference)).dtype, reference.shape)
        assert refine(inferred[position], stored) is not None, f"inferred {inferred[position]}, onnxruntime gives {stored}"
        assert result.shape == reference.shape and result.dtype == reference.dtype, (result.shape, result.dtype, stored)
        if result.dtype.kind not in "iub":
            result, reference = result.astype(np.float64), reference.astype(np.float64)
        np.testing.assert_allclose(result, reference, rtol=rtol, atol=atol)
    return expected


def floats(generator: Any, *shape: int) -> Any:
    """Standard normal float32 numbers."""
    return generator.standard_normal(shape).astype(np.float32)
