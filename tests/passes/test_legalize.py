"""The legalize pass: opset limits, targets that refuse nodes or element types, choice of the opset, what stays illegal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Node, constant, int64s
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.op import Op
from edgec.ir.ops.activation import Gelu, Mish, Softplus, SwiGLU, Swish
from edgec.ir.ops.attention import Attention
from edgec.ir.ops.binary import Add, Max
from edgec.ir.ops.control import If
from edgec.ir.ops.losses import NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss
from edgec.ir.ops.normalization import LayerNormalization, RMSNormalization
from edgec.ir.ops.random import Bernoulli
from edgec.ir.ops.reduction import ReduceSum
from edgec.ir.ops.unary import Erf
from edgec.ir.ops.vision import ImageDecoder
from edgec.ir.serial.reader import read_model_bytes
from edgec.ir.types import TensorType
from edgec.ir.verifier import verify
from edgec.passes.context import Context
from edgec.passes.legalize import CHOSEN, ILLEGAL, SUPPORT, Legalize
from edgec.passes.manager import run_passes
from tests.passes.decomposing import single


def reals(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def refusing(*classes: type[Op], dtypes: tuple[DType, ...] = ()) -> Context:
    """A context of a target without some operators, or without arithmetic in some element types."""

    def support(node: Node, opset: int) -> str | None:
        if isinstance(node.op, classes):
            return f"no {node.op.op_name}"
        if node.op.op_name != "Cast" and any(v is not None and v.dtype in dtypes for v in node.inputs):
            return "no arithmetic in this element type"
        return None

    return Context(extras={SUPPORT: support})


def names(graph: Graph) -> list[str]:
    return [node.op.op_name for node in graph.walk()]


def same_after(graph: Graph, feeds: dict[str, Any], run: Callable[[], Any], rtol: float = 1e-5) -> None:
    before = interpret(graph, feeds)
    run()
    verify(graph)
    for name, array in interpret(graph, feeds).items():
        assert array.dtype == before[name].dtype
        np.testing.assert_allclose(array.astype(np.float64), before[name].astype(np.float64), rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("opset", [9, 13, 16, 17, 20, 23])
def test_written_at_an_older_opset_it_still_computes_the_same(opset: int) -> None:
    import onnxruntime

    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (2, 3, 8)))
    y = graph.add(LayerNormalization(), x, constant(reals(8), "scale"))
    y = graph.add(Swish(), graph.add(Gelu(), graph.add(RMSNormalization(), y, constant(reals(8, seed=1), "scale2"))))
    graph.set_outputs([graph.add(ReduceSum(), y, int64s([1]))], ["y"])
    feeds = {"x": reals(2, 3, 8)}
    expected = interpret(graph, feeds)["y"]
    context = Context()
    run_passes(graph, [Legalize(opset=opset)], context)
    assert context.extras[ILLEGAL] == []
    data = Model(graph).to_bytes(opset=opset)
    assert next(o.version for o in read_model(data).opset_import if not o.domain) == opset
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, feeds)[0], expected, rtol=1e-4, atol=1e-5)


def read_model(data: bytes) -> Any:
    import onnx

    return onnx.load_from_string(data)


def test_decompositions_of_decompositions() -> None:
    graph = single(Mish(), [reals(3, 4)])
    same_after(graph, {"x0": reals(3, 4)}, lambda: run_passes(graph, [Legalize()], refusing(Mish, Softplus)))
    assert "Mish" not in names(graph) and "Softplus" not in names(graph) and "Log" in names(graph)


def test_nothing_remains_of_an_attempt_that_fails() -> None:
    graph = single(Gelu(), [reals(3, 4)])
    context = refusing(Gelu, Erf)
    change = run_passes(graph, [Legalize()], context)
    assert not change.modified and names(graph) == ["Gelu"]
    (found,) = context.extras[ILLEGAL]
    assert found.node.op == Gelu() and found.reason == "no Gelu"
    assert "no Gelu" in str(context.notes[0])


def test_approximations_need_permission() -> None:
    graph = single(Gelu(), [reals(3, 4)])
    context = refusing(Gelu, Erf)
    context.allow_approximate = True
    assert run_passes(graph, [Legalize()], context).counts == {"gelu-tanh": 1}


def test_an_unsupported_type_is_computed_in_a_wider_one() -> None:
    import ml_dtypes

    x = reals(3, 4).astype(ml_dtypes.bfloat16)
    graph = single(Gelu(), [x])
    same_after(graph, {"x0": x}, lambda: run_passes(graph, [Legalize()], refusing(dtypes=(DType.BFLOAT16,))))
    assert names(graph) == ["Cast", "Gelu", "Cast"]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_small_integers_wrap_around_as_before(dtype: str) -> None:
    limits = np.iinfo(dtype)
    left = np.array([limits.max, limits.min, 3], dtype)
    right = np.array([2, limits.max, limits.max], dtype)
    narrow = (DType.from_numpy(left.dtype),)
    for op in (Add(), Max()):
        graph = single(op, [left, right])
        same_after(graph, {"x0": left, "x1": right}, lambda g=graph: run_passes(g, [Legalize()], refusing(dtypes=narrow)))
        assert names(graph).count("Cast") == 3


def test_the_opset_with_the_least_effort_is_chosen() -> None:
    q = reals(1, 2, 3, 4)
    graph = single(Attention(), [q, q, q])
    context = Context()
    assert not run_passes(graph, [Legalize(opsets=(21, 23))], context).modified
    assert context.extras[CHOSEN] == 23 and names(graph) == ["Attention"]
    limited = Context(opsets={"": 21})
    assert run_passes(graph, [Legalize(opsets=(21, 23))], limited).counts == {"decompose-attention": 1}
    assert limited.extras[CHOSEN] == 21


def test_newest_forms_are_spelled_in_opset_21() -> None:
    a, b = reals(3, 4), reals(3, 4, seed=1)
    graph = single(SwiGLU(), [a, b])
    same_after(graph, {"x0": a, "x1": b}, lambda: run_passes(graph, "legalize{opset=21}"))
    assert names(graph) == ["Sigmoid", "Mul", "Mul"]


def test_regions_are_legalised() -> None:
    graph = Graph()
    condition = graph.add_input("c", TensorType(DType.BOOL, ()))
    x = graph.add_input("x", TensorType(DType.FLOAT, (4,)))
    branches = []
    for op in (Swish(), Mish()):
        branch = Graph()
        branch.set_outputs([branch.add(op, x)])
        branches.append(branch)
    node = graph.insert(If(), [condition], regions=branches)
    graph.set_outputs([node.output], ["y"])
    feeds = {"c": np.array(True), "x": reals(4)}
    same_after(graph, feeds, lambda: run_passes(graph, [Legalize(opset=17)]))
    assert not {"Swish", "Mish"} & set(names(graph))


def test_functions_of_onnx_are_inlined() -> None:
    scores, labels = reals(3, 4), np.array([0, 3, 1])
    graph = single(SoftmaxCrossEntropyLoss(ignore_index=3), [scores, labels])
    feeds = {"x0": scores, "x1": labels}
    same_after(graph, feeds, lambda: run_passes(graph, [Legalize()], refusing(SoftmaxCrossEntropyLoss, NegativeLogLikelihoodLoss)))
    assert len(graph) > 5


def test_drawing_keeps_the_probabilities() -> None:
    probabilities = np.array([0.0, 1.0, 1.0, 0.0, *[0.8] * 4000], np.float32)
    graph = single(Bernoulli(), [probabilities])
    assert run_passes(graph, [Legalize()], refusing(Bernoulli)).counts == {"decompose-bernoulli": 1}
    drawn = interpret(graph, {"x0": probabilities})["y0"]
    np.testing.assert_array_equal(drawn[:4], probabilities[:4])
    assert abs(drawn[4:].mean() - 0.8) < 0.05


def test_what_no_cure_exists_for_is_reported_with_its_place() -> None:
    graph = single(ImageDecoder(), [np.zeros(4, np.uint8)])
    context = refusing(ImageDecoder)
    assert not run_passes(graph, [Legalize()], context).modified
    assert [str(n) for n in context.notes] == ["legalize: stays as it is: no ImageDecoder (node 'y0' (ImageDecoder))"]


def test_debug_handles_survive() -> None:
    graph = single(Gelu(), [reals(3)])
    node = graph.first
    assert node is not None
    node.sources, node.output.origins = ("layer1/gelu",), ("hidden",)
    run_passes(graph, [Legalize(opset=17)])
    assert all(n.sources == ("layer1/gelu",) for n in graph)
    assert graph.outputs[0].origins == ("hidden",) and graph.outputs[0].name == "y0"


def test_a_bisection_stops_it() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (4,)))
    graph.set_outputs([graph.add(Swish(), graph.add(Swish(), x))], ["y"])
    context = Context(rewrite_limit=1)
    assert run_passes(graph, [Legalize(opset=21)], context).counts == {"decompose-swish": 1}
    assert names(graph).count("Swish") == 1


def test_round_trip_of_a_legal_model_changes_nothing() -> None:
    graph = single(Add(), [reals(3), reals(3)])
    data = Model(graph).to_bytes(opset=13)
    again = read_model_bytes(data).graph
    assert not run_passes(again, "legalize{opset=13}").modified
