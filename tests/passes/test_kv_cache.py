"""Caches that grow become buffers of a fixed length: every prefix gives what the original gives."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgec
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.ops.scatter import TensorScatter
from edgec.optimizing import Settings, run_pipeline
from tests.kv_cache_models import KV_HEADS, LAYERS, SIZE, SPELLINGS, VOCABULARY, decoder, fixed, growing

LENGTH = 12
CHUNKS = (5, 1, 1, 3, 1, 1)  # fills the buffer to its end
FIX = f"fix-kv-cache{{length={LENGTH}}}"
CLEAN = "fix(fold-constants,simplify-shapes,remove-no-ops,common-subexpressions,dead-code)"
PIPELINES = (f"{CLEAN},{FIX}", f"default,{FIX},default")


def load(proto: onnx.ModelProto, folder: Path, dims: dict[str, int] | None = None) -> Model:
    path = folder / "model.onnx"
    onnx.save(proto, path)
    return edgec.load(path, dims=dims)


def transformed(model: Model, passes: str) -> Model:
    return run_pipeline(model.copy(), Settings(passes=passes)).model


def shapes_of(model: Model) -> dict[str, list]:
    return {v.name: [d if isinstance(d, int) else str(d) for d in v.shape or ()] for v in model.graph.inputs}


def check(proto: onnx.ModelProto, model: Model, batch: int, mask: np.ndarray | None = None) -> None:
    """Prefill and decode steps of the fixed graph in the interpreter against the growing one in ONNX Runtime."""
    random = np.random.default_rng(7)
    original = growing(proto, mask)
    step = fixed(lambda feeds: interpret(model, feeds), shapes_of(model), LENGTH, mask, random.standard_normal)
    position = 0
    for new in CHUNKS:
        tokens = random.integers(0, VOCABULARY, (batch, new))
        expected, found = original(tokens, position), step(tokens, position)
        np.testing.assert_allclose(found["logits"], expected["logits"], rtol=0, atol=2e-5)
        position += new
        for name in model.graph.output_names[1:]:
            axis = found[name].shape.index(LENGTH)
            np.testing.assert_allclose(np.take(found[name], range(position), axis), expected[name], rtol=0, atol=2e-5)
    assert position == LENGTH


@pytest.mark.parametrize("passes", PIPELINES, ids=["raw", "recognised"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_prefix_agrees(spelling: str, passes: str, tmp_path: Path) -> None:
    proto = decoder(spelling)
    model = transformed(load(proto, tmp_path), passes)
    buffer = next(v for v in model.graph.inputs if v.name == "past_key_values.1.value")
    assert LENGTH in (buffer.shape or ())
    assert all("past" not in str(d) for v in model.graph.values() for d in v.shape or ()), "something still grows"
    check(proto, model, batch=1 if spelling == "grouped" else 2)


@pytest.mark.parametrize("spelling", ["compare", "triangle", "table", "positions", "tokens-first"])
def test_padding_in_front_stays_hidden(spelling: str, tmp_path: Path) -> None:
    proto = decoder(spelling)
    mask = np.array([[1, 1, 1], [0, 0, 1]])
    model = transformed(load(proto, tmp_path), PIPELINES[0])
    random = np.random.default_rng(3)
    original, step = growing(proto, mask), fixed(lambda feeds: interpret(model, feeds), shapes_of(model), LENGTH, mask)
    for position, new in ((0, 5), (5, 2), (7, 1)):
        tokens = random.integers(0, VOCABULARY, (2, new))
        expected, found = (run(tokens, position)["logits"] for run in (original, step))
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_bound_sizes(tmp_path: Path) -> None:
    proto = decoder("compare")
    model = transformed(load(proto, tmp_path, {"batch": 1, "sequence": 1}), f"default,{FIX},default")
    assert all(v.tensor.is_static for v in model.graph.values())
    assert sum(isinstance(node.op, TensorScatter) for node in model.graph) == 2 * LAYERS
    original, step = growing(proto), fixed(lambda feeds: interpret(model, feeds), shapes_of(model), LENGTH)
    for position in range(LENGTH):
        tokens = np.array([[3 * position % VOCABULARY]])
        expected, found = (run(tokens, position)["logits"] for run in (original, step))
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    model = transformed(load(decoder("compare"), tmp_path), PIPELINES[0])
    again = transformed(model, FIX)
    assert [n.op for n in again.graph] == [n.op for n in model.graph]


def test_the_input_has_the_name_that_is_asked_for(tmp_path: Path) -> None:
    model = transformed(load(decoder("compare"), tmp_path), f"{CLEAN},fix-kv-cache{{length=9,position=filled}}")
    assert [v.name for v in model.graph.inputs][-1] == "filled"
    with pytest.raises(Diagnostic, match="E0411"):
        transformed(load(decoder("compare"), tmp_path), f"{CLEAN},fix-kv-cache{{length=9,position=input_ids}}")


# -- what is in the way -----------------------------------------------------------------------------------------------------
def cache_model(nodes: list, outputs: list[str], past: str = "past", more: list | None = None) -> onnx.ModelProto:
    """Nodes behind ``present = Concat(past, new)`` on ``[1, 2, …, 6]``; ``more`` are further inputs."""
    shape = [1, KV_HEADS, past, SIZE]
    inputs = [helper.make_tensor_value_info("past", TensorProto.FLOAT, shape)]
    inputs += [helper.make_tensor_value_info("new", TensorProto.FLOAT, [1, KV_HEADS, "sequence", SIZE]), *(more or [])]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("present", *outputs)]
    every = [helper.make_node("Concat", ["past", "new"], ["present"], axis=2), *nodes]
    return helper.make_model(helper.make_graph(every, "g", inputs, results), opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.mark.parametrize(
    ("nodes", "outputs", "reason"),
    [
        ([helper.make_node("ReduceMax", ["present"], ["y"], axes=[2])], ["y"], "reduces the positions"),
        ([helper.make_node("Softmax", ["present"], ["y"], axis=2)], ["y"], "grows and is no cache"),
        ([helper.make_node("LpNormalization", ["present"], ["y"], axis=2)], ["y"], "may mix the positions"),
        ([helper.make_node("Flatten", ["present"], ["f"], axis=0), helper.make_node("ReduceSum", ["f"], ["y"])], ["y"], "otherwise than"),
        ([helper.make_node("Exp", ["past"], ["e"]), helper.make_node("ReduceSum", ["e"], ["y"])], ["y"], "before the new positions"),
    ],
)
def test_obstacles_are_named(nodes: list, outputs: list[str], reason: str, tmp_path: Path) -> None:
    model = load(cache_model(nodes, outputs), tmp_path)
    before = [n.op for n in model.graph]
    with pytest.raises(Diagnostic, match=reason) as failure:
        run_pipeline(model, Settings(passes=FIX))
    assert failure.value.code == "E0411" and failure.value.where
    assert [n.op for n in model.graph] == before, "the graph is left alone"


def test_a_sum_over_positions_leaves_out_what_is_not_filled(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceSum", ["present", "axes"], ["y"], keepdims=0)]
    proto = cache_model(nodes, ["y"])
    proto.graph.initializer.append(helper.make_tensor("axes", TensorProto.INT64, [1], [2]))
    model = transformed(load(proto, tmp_path), FIX)
    random = np.random.default_rng(0)
    buffer, new = (random.standard_normal((1, KV_HEADS, n, SIZE)).astype(np.float32) for n in (LENGTH, 2))
    found = interpret(model, {"past": buffer, "new": new, "position": np.array([4])})
    np.testing.assert_allclose(found["y"], buffer[:, :, :4].sum(2) + new.sum(2), atol=1e-5)


def test_what_is_computed_where_nothing_is_filled_does_not_spread(tmp_path: Path) -> None:
    """The reciprocal of an empty place is infinite, and zero times that is no number."""
    nodes = [
        helper.make_node("Transpose", ["present"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["new", "turned"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"], axis=-1),
        helper.make_node("Reciprocal", ["present"], ["inverse"]),
        helper.make_node("MatMul", ["shares", "inverse"], ["y"]),
    ]
    model = transformed(load(cache_model(nodes, ["y"]), tmp_path), FIX)
    new = np.random.default_rng(0).uniform(1, 2, (1, KV_HEADS, 2, SIZE)).astype(np.float32)
    with np.errstate(divide="ignore"):
        found = interpret(model, {"past": np.zeros((1, KV_HEADS, LENGTH, SIZE), np.float32), "new": new, "position": np.array([0])})["y"]
    scores = np.exp(new @ new.swapaxes(2, 3))
    np.testing.assert_allclose(found, scores / scores.sum(-1, keepdims=True) @ (1 / new), rtol=1e-5)


def test_a_model_without_cache_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, "n"]) for n in "xy"]
    proto = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:]), opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(Diagnostic, match="no output is an input with something appended"):
        transformed(load(proto, tmp_path), FIX)


def test_more_new_positions_than_places(tmp_path: Path) -> None:
    with pytest.raises(Diagnostic, match="20 new positions do not fit"):
        transformed(load(decoder("compare"), tmp_path, {"sequence": 20}), FIX)
