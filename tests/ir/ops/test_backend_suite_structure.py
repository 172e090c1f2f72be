"""The node cases of the ONNX backend suite with shape, indexing, control flow, sequence, string and classic operators.

Whole models are run: read, infer, verify, interpret; then once more with the inputs bound as constants.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.inference import infer_graph
from edgec.ir.interpreter import interpret
from edgec.ir.op import OPS
from edgec.ir.serial.reader import read_model_bytes
from edgec.ir.types import UNKNOWN, OptionalType, SequenceType, TensorType, Type, UnknownType, refine
from edgec.ir.verifier import verify
from tests.ir.ops.backend_cases import all_cases

FAMILIES = (
    "reshape transpose concat slice gather scatter generate selection sequence optional text control machine_learning training"
).split()
OWN = {key for key, cls in OPS.items() if cls.__module__.rpartition(".")[2] in FAMILIES}
REASONS = {
    "test_loop16_seq_none": "the model declares the elements of its sequence as scalars and stores vectors",
    "test_scan_sum": "the form of Scan before opset 9 stays opaque",
}


def _own_cases() -> list[Any]:
    chosen = []
    for case in all_cases():
        nodes = case.model.graph.node
        if any((n.domain, n.op_type) in OWN for n in nodes) and "_expanded" not in case.name and case.name not in REASONS:
            chosen.append(pytest.param(case, id=case.name))
    return chosen


@pytest.mark.parametrize("case", _own_cases())
def test_case(case: Any) -> None:
    content = case.model.SerializeToString()
    for inputs, outputs in case.data_sets:
        graph = read_model_bytes(content, case.name).graph
        infer_graph(graph)
        verify(graph)
        given = {v.name: _plain(x) for v, x in zip(case.model.graph.input, inputs, strict=False)}
        feeds = {v.name: given[v.name] for v in graph.inputs}
        expected = [_plain(x) for x in outputs]
        for value, wanted in zip(graph.outputs, expected, strict=True):
            assert _admits(value.type, wanted), f"{value} cannot be {_type(wanted)}"
        results = interpret(graph, feeds, watch=_watch)
        for result, wanted in zip(results.values(), expected, strict=True):
            _compare(result, wanted, case.rtol, case.atol)
        _bind(graph, feeds)
        for value, wanted in zip(graph.outputs, expected, strict=True):
            assert _admits(value.type, wanted), f"with constant inputs {value} cannot be {_type(wanted)}"


def _watch(value: Any, result: Any) -> None:
    assert _admits(value.type, result), f"{value} cannot be {_type(result)}"
    content = value.content
    if content is not None and isinstance(result, np.ndarray):
        for known, actual in zip(content, result.reshape(-1).tolist(), strict=True):
            assert not isinstance(known, int) or known == actual, f"{value}: {content} is not {result.tolist()}"


def _bind(graph: Graph, feeds: dict[str, Any]) -> None:
    for value in list(graph.inputs):
        if isinstance(feeds[value.name], np.ndarray):
            graph.replace(value, constant(feeds[value.name], value.name))
    infer_graph(graph)
    verify(graph)


def _plain(held: Any) -> Any:
    if held is None:
        return None
    if isinstance(held, list):
        return [_plain(x) for x in held]
    if isinstance(held, onnx.TensorProto):
        return numpy_helper.to_array(held)
    array = np.asarray(held)
    return array.astype(np.object_) if array.dtype.kind in "US" else array


def _type(held: Any) -> Type:
    if held is None:
        return UNKNOWN
    if isinstance(held, list):
        return SequenceType(_type(held[0]) if held else UNKNOWN)
    return TensorType(DType.from_numpy(held.dtype), held.shape)


def _admits(type_: Type, held: Any) -> bool:
    if isinstance(type_, UnknownType) or held is None:
        return True
    if isinstance(type_, OptionalType):
        return _admits(type_.element, held)
    if isinstance(type_, SequenceType):
        return isinstance(held, list) and all(_admits(type_.element, item) for item in held)
    return refine(type_, _type(held)) is not None


def _compare(result: Any, wanted: Any, rtol: float, atol: float) -> None:
    if wanted is None:
        assert result is None
    elif isinstance(wanted, list):
        assert len(result) == len(wanted)
        for a, b in zip(result, wanted, strict=True):
            _compare(a, b, rtol, atol)
    else:
        assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
        if wanted.dtype.kind in "OSU":
            assert result.tolist() == wanted.tolist()
        else:
            if wanted.dtype.kind not in "iubfc":
                result, wanted = result.astype(np.float32), wanted.astype(np.float32)
            np.testing.assert_allclose(result, wanted, rtol=rtol, atol=atol)


def test_the_suite_covers_the_operators() -> None:
    """A renamed class or a family that lost its cases must not pass unseen."""
    covered = {(n.domain, n.op_type) for case in all_cases() for n in case.model.graph.node} & OWN
    without = sorted(name for _, name in OWN - covered)
    assert (
        without
        == (
            "CategoryMapper ConcatFromSequence FeatureVectorizer Gradient Imputer LinearClassifier LinearRegressor Normalizer "
            "OneHotEncoder Optional SVMClassifier SVMRegressor Scaler SequenceAt SequenceConstruct SequenceErase "
            "TreeEnsembleClassifier TreeEnsembleRegressor"
        ).split()
    )
