"""The node cases of the ONNX backend suite, run through the reader, inference and evaluation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from onnx import ModelProto, numpy_helper

from edgec.ir.data import ArrayData
from edgec.ir.graph import constant_type
from edgec.ir.op import infer_types
from edgec.ir.serial.reader import read_model_bytes
from edgec.ir.types import TensorType, refine


@lru_cache(maxsize=1)
def all_cases() -> tuple[Any, ...]:
    """Every node case of the installed suite, collected once."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(collect_testcases(None))


def cases_of(operators: Sequence[str], domain: str = "") -> list[Any]:
    """The cases whose model is a single node with one of the operators (functions are not expanded)."""
    chosen = []
    for case in all_cases():
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].op_type in operators and nodes[0].domain == domain:
            chosen.append(case)
    return chosen


def check_case(case: Any, *, rtol: float | None = None, atol: float | None = None) -> None:
    """Read the model, infer and evaluate its node on every data set of the case; compare types and values."""
    rtol, atol = rtol if rtol is not None else case.rtol, atol if atol is not None else case.atol
    model: ModelProto = case.model
    graph = read_model_bytes(model.SerializeToString(), case.name).graph
    for inputs, expected in case.data_sets:
        arrays = {v.name: _array(x) for v, x in zip(model.graph.input, inputs, strict=False)}
        values = dict(zip(graph.inputs, (arrays[v.name] for v in graph.inputs), strict=True))
        for node in graph:
            operands = [None if v is None else v.data.numpy() if v.data is not None else values[v] for v in node.inputs]
            results = node.op.evaluate(*operands)
            results = results if isinstance(results, tuple) else (results,)
            exact = [None if a is None else constant_type(ArrayData(a)) for a in operands]
            inferred = infer_types(node.op, exact, len(node.outputs))
            for value, result, precise in zip(node.outputs, results, inferred, strict=False):
                values[value] = result
                stored = TensorType(constant_type(ArrayData(result)).dtype, result.shape)
                for claimed in (value.type, precise):
                    assert refine(claimed, stored) is not None, f"{node.op.op_name}: inferred {claimed}, got {stored}"
        for output, wanted in zip(graph.outputs, expected, strict=True):
            array, wanted = values[output], _array(wanted)
            assert array.shape == wanted.shape and array.dtype == wanted.dtype, (array.shape, array.dtype, wanted.shape, wanted.dtype)
            if array.dtype.kind in "OSU":
                assert array.tolist() == wanted.tolist()
                continue
            if array.dtype.kind not in "iubfc":
                array, wanted = array.astype(np.float32), wanted.astype(np.float32)
            np.testing.assert_allclose(array, wanted, rtol=rtol, atol=atol)


def _array(held: Any) -> Any:
    return np.asarray(held) if not hasattr(held, "SerializeToString") else numpy_helper.to_array(held)
