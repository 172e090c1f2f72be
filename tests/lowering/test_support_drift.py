"""The capability matrices agree with what the installed runtimes do, on a sample of the ONNX backend suite's single nodes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from benchmarks import support_drift
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph
from edgec.ir.ops.sequence import SequenceConstruct
from edgec.ir.ops.unary import Neg
from edgec.ir.types import TensorType
from edgec.lowering.registry import backend
from edgec.lowering.support import Support, Verdict

SAMPLE = 25


def case(name: str, node: onnx.NodeProto, feeds: dict[str, np.ndarray], expected: np.ndarray) -> Any:
    """A case as the suite has them."""
    inputs = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in feeds.items()]
    output = helper.make_tensor_value_info(node.output[0], helper.np_dtype_to_tensor_dtype(expected.dtype), expected.shape)
    model = helper.make_model(helper.make_graph([node], name, inputs, [output]), opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return support_drift.conformance_worker.Case(name, "node", model.SerializeToString(), [(list(feeds.values()), [expected])], 1e-3, 1e-7)


X = np.arange(6, dtype=np.float32).reshape(2, 3)


def small_cases() -> list[Any]:
    return [
        case("neg", helper.make_node("Neg", ["x"], ["y"]), {"x": X}, -X),
        case("wrong", helper.make_node("Neg", ["x"], ["y"]), {"x": X}, X + 1),
        case("sum", helper.make_node("ReduceSum", ["x", "axes"], ["y"]), {"x": X, "axes": np.array([1])}, X.sum(1, keepdims=True)),
        case("random", helper.make_node("RandomNormalLike", ["x"], ["y"]), {"x": X}, X),
    ]


def test_agreement_and_every_kind_of_drift() -> None:
    probes = {p.case: p for p in support_drift.probe("ort", ((c, support_drift.single_node(c)) for c in small_cases()), 60)}
    assert probes["neg"].drift == () and (probes["neg"].row, probes["neg"].stated, probes["neg"].observed) == ("native", "native", "pass")
    assert probes["sum"].drift == () and probes["sum"].op == "ReduceSum" and probes["random"].drift == ()
    assert probes["wrong"].drift == () and "values differ" in probes["wrong"].detail  # ONNX Runtime does not give that either

    node = support_drift.single_node(small_cases()[0])
    rows = [Support(Neg, "native", frozenset({DType.FLOAT}), None, "1.0", "1.5")]

    def drift(verdict: Verdict, status: str, version: str = "1.2") -> tuple[str, ...]:
        return support_drift._compared("c", node, rows, version, verdict, {"status": status, "reason": ""}).drift

    refused = Verdict("none", "why", code="operator")
    assert drift(Verdict("native"), "pass") == ()
    assert drift(Verdict("native"), "refused") == ("refused",)
    assert drift(refused, "pass") == ("runs", "row")
    assert drift(Verdict("none", "why"), "refused") == ("row", "code")
    assert drift(Verdict("native"), "pass", "1.6") == ("row", "version")
    assert drift(Verdict("native"), "crash") == drift(Verdict("native"), "wrong") == ("wrong",)
    text = support_drift.report("ort", "1.0", list(probes.values()), 10)
    assert text == "ort 1.0: 4 cases, 4 as stated"
    found = support_drift._compared("c", node, rows, "1.2", Verdict("native"), {"status": "refused", "reason": "E0501: no\nmore"})
    text = support_drift.report("ort", "1.2", [found], 10)
    assert "1 cases, 0 as stated, refused 1" in text and "refused: c (Neg f32)" in text and "seen: E0501: no" in text


def test_stored_outcomes_and_empty_results() -> None:
    neg, *_ = small_cases()
    stored = {"neg": {"name": "neg", "status": "refused", "reason": "E0501: as stored", "seconds": 0.0}}
    (found,) = support_drift.probe("ort", [(neg, support_drift.single_node(neg))], 60, stored)
    assert found.drift == ("refused",) and found.detail == "E0501: as stored"
    nothing = case("nothing", helper.make_node("Neg", ["x"], ["y"]), {"x": X[:0]}, X[:0])
    (found,) = support_drift.probe("ort", [(nothing, support_drift.single_node(nothing))], 60, {"nothing": stored["neg"]})
    assert found.drift == ()


def test_sequences_cross_no_interface() -> None:
    """A node of sequences runs inside of a model; alone it cannot be judged."""
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (2,)))
    node = graph.insert(SequenceConstruct(), [x])
    rows = [Support(SequenceConstruct, "native")]
    alone = {"status": "refused", "reason": "E0501: target 't' cannot take the model: this is a sequence"}
    assert support_drift._compared("c", node, rows, "1.2", Verdict("native"), alone).drift == ()
    itself = {"status": "refused", "reason": "E0501: target 't' cannot run SequenceConstruct: unknown"}
    assert support_drift._compared("c", node, rows, "1.2", Verdict("native"), itself).drift == ("refused",)


def test_the_sample_goes_round_the_operators() -> None:
    operators = {f"add{i}": "Add" for i in range(50)} | {"neg": "Neg", "mul0": "Mul", "mul1": "Mul"}
    chosen = support_drift.sample(sorted(operators), operators, 4, 1)
    assert {operators[name] for name in chosen} == {"Add", "Neg", "Mul"} and len(chosen) == 4
    assert chosen == support_drift.sample(sorted(operators), operators, 4, 1)
    assert support_drift.sample(sorted(operators), operators, 1000, 0) == sorted(operators)


@pytest.fixture(scope="module")
def suite() -> Iterator[dict[str, tuple[Any, Any]]]:
    """The single-node cases of the suite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = support_drift.cases(None)
    yield {name: (found, node) for name, found in known.items() if (node := support_drift.single_node(found)) is not None}


@pytest.mark.slow
@pytest.mark.parametrize("target", ["ort", "openvino", "tflite", "coreml", "tensorrt"])
def test_a_sample_of_the_suite(target, suite) -> None:
    missing = backend(target).available()
    if missing is not None:
        pytest.skip(missing)
    operators = {name: node.op.qualified_name for name, (_, node) in suite.items()}
    chosen = support_drift.sample(sorted(suite), operators, SAMPLE, 7)
    probes = list(support_drift.probe(target, (suite[name] for name in chosen), 120))
    drifted = [found for found in probes if found.drift]
    assert not drifted, support_drift.report(target, backend(target).version(), probes, 50)
