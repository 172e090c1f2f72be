"""Decompositions on the node cases of the ONNX backend suite, with shape parameters bound as constants, and on cases of their own."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.graph import Graph
from edgec.ir.interpreter import interpret
from edgec.ir.ops.activation import Celu, Gelu, Mish, PRelu, Relu, Shrink, Swish
from edgec.ir.ops.attention import Attention, RotaryEmbedding
from edgec.ir.ops.binary import BitShift, Mean, Mod, Sum
from edgec.ir.ops.detection import RoiAlign
from edgec.ir.ops.matmul import Einsum, Gemm
from edgec.ir.ops.normalization import BatchNormalization, GroupNormalization, InstanceNormalization, LayerNormalization, RMSNormalization
from edgec.ir.ops.quantized_products import ConvInteger, MatMulInteger, QLinearConv
from edgec.ir.ops.reduction import ReduceL2, ReduceLogSumExp, ReduceMean
from edgec.ir.ops.scatter import ScatterElements, ScatterND
from edgec.ir.ops.text import TfIdfVectorizer
from edgec.ir.serial.reader import read_model_bytes
from edgec.ir.types import TensorType
from edgec.ir.verifier import verify
from edgec.passes.context import Context
from edgec.passes.decompose.base import DECOMPOSITIONS
from edgec.passes.decompose.gelu import GELU_FORMS, gelu_table
from edgec.passes.driver import apply_rules
from edgec.passes.manager import run_passes
from tests.ir.ops.backend_cases import all_cases
from tests.passes.decomposing import check, single

RANDOM = ("Bernoulli",)
# How many single-node cases each decomposition must take apart; fewer means that it declines what it took before.
EXPECTED = {
    "decompose-attention": 50, "decompose-layer-normalization": 19, "decompose-rms-normalization": 15, "decompose-dft": 8,
    "decompose-resize": 25, "decompose-rotary-embedding": 8, "decompose-reduce-l2": 9, "decompose-einsum": 4, "decompose-mod": 6,
    "decompose-center-crop-pad": 6, "decompose-affine-grid": 4, "inline-onnx-function": 40, "decompose-qlinear-matmul": 8,
    "recurrent-time-first": 3, "recurrent-steps": 8, "decompose-adam": 2, "decompose-stft": 2,
    "decompose-grid-sample": 12, "decompose-compress": 2, "decompose-eye-like": 3, "decompose-lp-normalization": 4, "decompose-col2im": 5,
    "decompose-roi-align": 3, "decompose-batch-statistics": 2, "pool-by-slices": 40, "decompose-tf-idf": 7,
    "scatter-by-comparison": 6, "scatter-by-gathering": 6,
}  # fmt: skip


@lru_cache(maxsize=1)
def suite() -> list[tuple[Any, Graph]]:
    """The single-node cases with the graphs as read, parameters of at most 16 integers bound as constants."""
    found = []
    for case in all_cases():
        if len(case.model.graph.node) != 1 or case.model.graph.node[0].op_type in RANDOM or len(case.data_sets) != 1:
            continue
        model = type(case.model)()
        model.CopyFrom(case.model)
        inputs, _ = case.data_sets[0]
        for value, held in list(zip(case.model.graph.input, inputs, strict=False)):
            array = _array(held)
            bound = isinstance(array, np.ndarray) and array.size <= 16 and (array.dtype == np.int64 or value.name in ("scales", "roi"))
            if bound:
                tensor = numpy_helper.from_array(array, value.name)
                model.graph.initializer.append(tensor)
        try:
            found.append((case, read_model_bytes(model.SerializeToString(), case.name).graph))
        except Diagnostic:
            continue
    return found


def _array(held: Any) -> Any:
    return numpy_helper.to_array(held) if hasattr(held, "raw_data") else held


@pytest.mark.parametrize("rule", sorted(DECOMPOSITIONS))
def test_suite(rule: str) -> None:
    decomposition = DECOMPOSITIONS[rule]
    done: Counter[str] = Counter()
    for case, original in suite():
        if not any(isinstance(node.op, decomposition.rule.roots) for node in original):
            continue
        graph = read_copy(original)
        if not apply_rules(graph, [decomposition.rule], Context()).modified:
            continue
        verify(graph)
        inputs, expected = case.data_sets[0]
        feeds = {v.name: _array(x) for v, x in zip(case.model.graph.input, inputs, strict=False)}
        wanted = {v.name for v in graph.inputs}
        results = interpret(graph, {name: array for name, array in feeds.items() if name in wanted})
        for name, want in zip(graph.output_names, expected, strict=True):
            _compare(case.name, results[name], _array(want), decomposition.error.max_abs if decomposition.error else 0.0, case)
        done["cases"] += 1
    assert done["cases"] >= EXPECTED.get(rule, 0)


def read_copy(graph: Graph) -> Graph:
    from edgec.ir.clone import clone_graph

    return clone_graph(graph)


def _compare(name: str, got: Any, want: Any, error: float, case: Any) -> None:
    if isinstance(want, list) or want is None:
        return
    assert got.shape == want.shape and got.dtype == want.dtype, name
    if want.dtype.kind in "OUS":
        assert got.tolist() == want.tolist(), name
        return
    left, right = (a.astype(np.float64) if a.dtype.kind not in "c" else a for a in (got, want))
    narrow = want.dtype.itemsize <= 2 and want.dtype.kind not in "iub"
    rtol = max(case.rtol, 2**-6 if want.dtype.name == "bfloat16" else 2**-10 if narrow else 0)
    np.testing.assert_allclose(left, right, rtol=rtol, atol=max(case.atol, 1e-5, error * 1.02), err_msg=name)


def reals(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def test_gelu_errors_are_as_stated() -> None:
    x = np.linspace(-8, 8, 160_001).astype(np.float64)
    normal = np.random.default_rng(0).standard_normal(400_000)
    exact = Gelu()
    for form in GELU_FORMS:
        if form.error is None:
            continue
        graph = single(exact, [x])
        assert apply_rules(graph, [DECOMPOSITIONS[form.rule].rule], Context()).modified
        difference = interpret(graph, {"x0": x})["y0"] - exact.evaluate(x)
        worst = np.abs(difference).argmax()
        assert abs(np.abs(difference).max() - form.error.max_abs) < 0.01 * form.error.max_abs
        assert abs(abs(x[worst]) - abs(form.error.at)) < 0.02
        wide = single(exact, [normal])
        apply_rules(wide, [DECOMPOSITIONS[form.rule].rule], Context())
        found, right = interpret(wide, {"x0": normal})["y0"], exact.evaluate(normal)
        relative = np.linalg.norm(found - right) / np.linalg.norm(right)
        assert abs(relative - form.error.relative_l2) < 0.03 * form.error.relative_l2
    assert "0.0203" in gelu_table() and "gelu-erf" in gelu_table()


def test_narrow_types_are_computed_in_float32() -> None:
    x = reals(4, 6).astype(np.float16)
    graph = check("decompose-layer-normalization", LayerNormalization(), x, reals(6).astype(np.float16), rtol=1e-3, atol=1e-3)
    between = [v.dtype.short for node in graph for v in node.outputs if v.dtype is not None and node.op.op_name != "Cast"]
    assert set(between) == {"f32"}


@pytest.mark.parametrize(
    ("rule", "op", "operands"),
    [
        ("decompose-celu", Celu(alpha=2.0), [reals(3, 4)]),
        ("decompose-mish", Mish(), [reals(3, 4) * 30]),
        ("decompose-swish", Swish(alpha=0.5), [reals(3, 4)]),
        ("decompose-prelu", PRelu(), [reals(2, 3, 4), reals(3, 1)]),
        ("decompose-relu", Relu(), [np.array([-3, 4], np.int32)]),
        ("decompose-shrink", Shrink(bias=0.1, lambd=0.4), [reals(3, 4)]),
        ("decompose-mean", Mean(), [reals(3, 4), reals(4), reals(3, 1)]),
        ("variadic-to-binary", Sum(), [reals(3, 4), reals(4), reals(3, 1)]),
        ("decompose-mod", Mod(), [reals(50) * 5, reals(50, seed=1)]),
        ("decompose-mod", Mod(fmod=1), [np.arange(-9, 9), np.full(18, 4)]),
        ("decompose-gemm", Gemm(alpha=0.5, beta=2.0, transA=1), [reals(3, 2), reals(3, 4), reals(4)]),
        ("decompose-matmul-integer", MatMulInteger(), [np.arange(12, dtype=np.uint8).reshape(3, 4), np.ones((4, 2), np.int8), np.uint8(3)]),
        ("decompose-instance-normalization", InstanceNormalization(), [reals(2, 3, 5, 4), reals(3), reals(3)]),
        ("decompose-group-normalization", GroupNormalization(num_groups=2), [reals(2, 6, 4, 4), reals(6), reals(6)]),
        ("decompose-batch-normalization", BatchNormalization(), [reals(2, 3, 4), *(np.abs(reals(3, seed=i)) for i in range(4))]),
        ("decompose-rms-normalization", RMSNormalization(axis=1), [reals(2, 3, 4), reals(3, 4)]),
        ("decompose-reduce-log-sum-exp", ReduceLogSumExp(keepdims=0), [reals(3, 4) * 100]),
        ("decompose-reduce-l2", ReduceL2(keepdims=0), [reals(3, 4)]),
        ("decompose-reduce-mean", ReduceMean(keepdims=1), [reals(3, 4)]),
    ],
)
def test_single_nodes(rule: str, op: Any, operands: list[Any]) -> None:
    check(rule, op, *[np.asarray(a) for a in operands])


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bij,bjk->bki", [(2, 3, 4), (2, 4, 5)]),
        ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
        ("...ij,...jk->...ik", [(2, 3, 4), (4, 5)]),
        ("ij,kl->ijkl", [(2, 3), (4, 5)]),
        ("ij->j", [(2, 3)]),
        ("i,i->", [(4,), (4,)]),
        ("ijk,jkl,lm->im", [(2, 3, 4), (3, 4, 5), (5, 6)]),
        ("bi,bj->bij", [(2, 3), (1, 4)]),
        ("ba,ab", [(2, 3), (3, 2)]),
    ],
)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    graph = check("decompose-einsum", Einsum(equation), *[reals(*s, seed=i) for i, s in enumerate(shapes)], rtol=1e-4)
    assert sum(node.op.op_name == "MatMul" for node in graph) <= len(shapes) - 1


def test_einsum_with_symbolic_dimensions() -> None:
    dims = ("0.0", "1.0", "0.2", "1.2")
    check("decompose-einsum", Einsum("bhqd,bhkd->bhqk"), reals(2, 3, 4, 5), reals(2, 3, 6, 5), symbolic=dims, rtol=1e-4)


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_with_symbolic_dimensions(causal: int) -> None:
    q, k, v = reals(2, 4, 3, 8), reals(2, 2, 3, 8), reals(2, 2, 3, 8, seed=1)
    past = [reals(2, 2, 5, 8, seed=i) for i in range(2)]
    dims = tuple(f"{i}.{a}" for i in (0, 1, 2, 4, 5) for a in (0, 2))
    graph = check("decompose-attention", Attention(is_causal=causal), q, k, v, None, *past, outputs=3, symbolic=dims, rtol=1e-4)
    assert all(isinstance(v.type, TensorType) and v.type.shape is not None for node in graph for v in node.outputs)
    mask = np.random.default_rng(0).random((2, 1, 3, 8)) < 0.5
    mask[0, 0, 1] = False
    check("decompose-attention", Attention(is_causal=causal), q, k, v, mask, *past, outputs=3, symbolic=dims, rtol=1e-4)
    flat = Attention(is_causal=causal, q_num_heads=4, kv_num_heads=2, softcap=3.0, left_window_size=2)
    dims = tuple(f"{i}.{a}" for i in range(3) for a in (0, 1))
    check("decompose-attention", flat, reals(2, 6, 32), reals(2, 6, 16), reals(2, 6, 16), symbolic=dims, rtol=1e-4)


def test_shared_heads_are_not_copied() -> None:
    graph = check("decompose-attention", Attention(), reals(1, 8, 3, 4), reals(1, 2, 5, 4), reals(1, 2, 5, 4), rtol=1e-4)
    assert not any(node.op.op_name in ("Expand", "Tile") for node in graph)


def test_rotary_embedding_with_symbolic_dimensions() -> None:
    cos, sin = np.cos(reals(9, 2)), np.sin(reals(9, 2))
    positions = np.random.default_rng(0).integers(0, 9, (2, 3))
    op = RotaryEmbedding(num_heads=2, rotary_embedding_dim=4)
    check("decompose-rotary-embedding", op, reals(2, 3, 16), cos, sin, positions, symbolic=("0.0", "0.1", "3.0", "3.1"))


def test_bit_shift_by_constants() -> None:
    x = np.array([1, 37, 200], np.uint16)
    check("decompose-bit-shift", BitShift("LEFT"), x, np.array([3, 2, 1], np.uint16), constants=(1,))
    check("decompose-bit-shift", BitShift("RIGHT"), x, np.array([3, 2, 1], np.uint16), constants=(1,))


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("constants", [(), (1,)], ids=["computed", "constant"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
def test_scattered_updates_are_reduced(reduction: str, constants: tuple[int, ...], dtype: Any) -> None:
    rng = np.random.default_rng(3)
    rule = "scatter-by-gathering" if constants else "scatter-by-comparison"
    data, updates = (rng.integers(-6, 6, shape).astype(dtype) for shape in ((4, 5, 3), (4, 2, 3)))
    places = rng.integers(-5, 5, (4, 2, 3))
    places[:, 1] = places[:, 0]  # at least two updates of a place
    check(rule, ScatterElements(axis=1, reduction=reduction), data, places, updates, constants=constants)
    points = np.array([[0, 1], [-1, -1], [0, 1], [3, 4], [0, -4]])
    check(rule, ScatterND(reduction=reduction), data, points, rng.integers(-6, 6, (5, 3)).astype(dtype), constants=constants)


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
def test_counts_of_n_grams(mode: str) -> None:
    pool, weights = (2, 3, 5, 3, 2, 4, 4, 5, 2, 2, 3, 5), (0.5, 2.0, 3.0, 0.25, 1.5, 4.0)
    op = TfIdfVectorizer(3, 2, 1, mode, (0, 3, 9), (4, 0, 2, 1, 5, 3, 1), pool, None, weights)
    words = np.random.default_rng(4).integers(2, 6, (5, 9))
    check("decompose-tf-idf", op, words, symbolic=("0.0",))
    check("decompose-tf-idf", op, words[0].astype(np.int32))


def test_few_updates_of_many_places_are_gathered() -> None:
    data, places, updates = np.zeros((3000, 4), np.float32), np.arange(0, 3000).reshape(-1, 1), reals(3000, 4)
    check("scatter-by-gathering", ScatterND(reduction="add"), data, places, updates, constants=(1,))
    graph = single(ScatterND(reduction="add"), [data, places, updates])
    assert not apply_rules(graph, [DECOMPOSITIONS["scatter-by-comparison"].rule], Context()).modified


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("transformation", ["half_pixel", "output_half_pixel"])
def test_regions_with_symbolic_dimensions(mode: str, transformation: str) -> None:
    corners = np.array([[0, 0, 9, 9], [-3, -2, 4, 5.5], [3.2, 1.1, 3.3, 14], [20, 20, 22, 22]], np.float32)
    op = RoiAlign(transformation, mode, 3, 2, 2, 0.8)
    owners = np.array([0, 1, 1, 0])
    check("decompose-roi-align", op, reals(2, 5, 8, 7), corners, owners, symbolic=("0.0", "0.1", "1.0", "2.0"), rtol=1e-4)


def test_quantised_convolutions() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 255, (1, 2, 6, 6)).astype(np.uint8), rng.integers(-100, 100, (3, 2, 3, 3)).astype(np.int8)
    points = np.array([1, -2, 3], np.int8)
    check("decompose-conv-integer", ConvInteger(pads=(1, 1, 1, 1)), x, w, np.uint8(120).reshape(()), points)
    scales = [np.array(s, np.float32) for s in (0.02, 0.5)]
    weight_scales = np.array([0.01, 0.02, 0.03], np.float32)
    bias = rng.integers(-500, 500, 3).astype(np.int32)
    operands = [x, scales[0], np.array(120, np.uint8), w, weight_scales, np.zeros(3, np.int8), scales[1], np.array(128, np.uint8), bias]
    check("decompose-qlinear-conv", QLinearConv(), *operands, rtol=0, atol=1)


def test_pass_takes_named_operators_apart() -> None:
    graph = single(Gelu(), [reals(4)])
    assert not run_passes(graph, "decompose{ops=[LayerNormalization]}").modified
    assert run_passes(graph, "decompose{ops=[Gelu]}").counts == {"gelu-erf": 1}
    approximate = single(Gelu(), [reals(4)])
    assert run_passes(approximate, "decompose{rules=[gelu-quick]}").counts == {"gelu-quick": 1}
    with pytest.raises(Diagnostic, match="no operator 'Gellu'"):
        run_passes(graph, "decompose{ops=[Gellu]}")
    with pytest.raises(Diagnostic, match="no decomposition"):
        run_passes(graph, "decompose{rules=[gelu-quik]}")
