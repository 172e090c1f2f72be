"""Schedules: what runs, what it touches, and in which type."""

import numpy as np
import pytest

from edgec.costmodel.evaluation import Table
from edgec.costmodel.flops import node_flops, vector_flops
from edgec.costmodel.geometry import geometry
from edgec.costmodel.hardware import KERNEL_CLASSES
from edgec.costmodel.kernels import KERNELS, Blocks, features
from edgec.costmodel.kv import cache_bytes
from edgec.costmodel.precision import effective_bits, precision_of
from edgec.costmodel.schedule import build_schedule
from edgec.costmodel.work import graph_work
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import Dim, maximum, product, substitute, symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant, int64s
from edgec.ir.op import Opaque
from edgec.ir.types import TensorType
from edgec.passes.context import Context
from edgec.passes.regions import GroupRegions
from tests.costmodel.samples import B, S, encoder, mlp, op, single, weight


def test_a_table_evaluates_like_substitution() -> None:
    dims: list[Dim] = [7, B, B * S * 3 + 5, (S + 3) // 4, (S * S) % 7, maximum(B, S - 3), (B * S + S // 2) // (B + 1), B * B * B * S]
    table = Table()
    rows = table.rows(dims)
    batch, length = np.array([1, 2, 5, 31]), np.array([4, 9, 100, 77])
    values = table.evaluate({"batch": batch, "seq": length}, 4)
    for row, dim in zip(rows, dims, strict=True):
        expected = [substitute(dim, {"batch": int(b), "seq": int(s)}) for b, s in zip(batch, length, strict=True)]
        assert values[row].tolist() == expected
    assert table.symbols == ("batch", "seq")


def test_every_class_has_features() -> None:
    assert set(KERNELS) == set(KERNEL_CLASSES)


@pytest.mark.parametrize(
    "graph, kernel, expected",
    [
        (single("MatMul", (B, S, 64), (64, 48), constants=(1,)), "gemm", {"macs": B * S * 64 * 48, "packed": 0, "left": B * S * 64}),
        (single("MatMul", (B, 4, S, 16), (B, 4, 16, S)), "gemm", {"macs": 64 * B * S * S, "packed": 64 * B * S}),
        (single("MatMul", (1, 64), (64, 48), constants=(1,)), "gemv", {"macs": 64 * 48}),
        (single("Gemm", (64, B), (48, 64), constants=(1,), transA=1, transB=1), "gemm", {"macs": B * 64 * 48}),
        (single("Einsum", (B, S, 8), (B, 3, 8), equation="bsd,btd->bst"), "gemm", {"macs": B * S * 24}),
        (single("Conv", (B, 8, 16, 16), (12, 8, 3, 3), constants=(1,), pads=(1,) * 4), "conv-direct", {"macs": B * 12 * 256 * 72}),
        (single("Conv", (B, 8, 16, 16), (8, 1, 3, 3), constants=(1,), pads=(1,) * 4, group=8), "conv-depthwise",
         {"macs": B * 8 * 256 * 9, "rows": B * 8 * 16}),
        (single("Conv", (B, 8, 16, 16), (8, 4, 1, 1), constants=(1,), group=2), "conv-grouped", {"macs": B * 8 * 256 * 4, "calls": B * 2}),
        (single("ConvTranspose", (B, 8, 4, 4), (8, 6, 2, 2), constants=(1,), strides=(2, 2)), "conv-direct", {"macs": B * 8 * 16 * 24}),
        (single("Attention", (B, 4, S, 16), (B, 2, S, 16), (B, 2, S, 8)), "attention",
         {"macs": B * 4 * S * S * 24, "scores": B * 4 * S * S}),
        (single("LayerNormalization", (B, S, 32), (32,), constants=(1,)), "normalization", {"elements": B * S * 32, "rows": B * S}),
        (single("Softmax", (B, 4, S, S)), "softmax", {"elements": 4 * B * S * S, "rows": 4 * B * S}),
        (single("Transpose", (B, S, 8, 16), perm=(0, 2, 1, 3)), "movement", {"elements": B * S * 128, "pieces": maximum(B * S * 8, 1) - 1}),
        (single("Relu", (B, S)), "elementwise", {"elements": B * S, "flops": B * S}),
        (single("ReduceMean", (B, S, 32)), "reduction", {"elements": B * S * 32}),
        (single("LSTM", (S, B, 6), (2, 16, 6), (2, 16, 4), constants=(1, 2), hidden_size=4, direction="bidirectional"), "recurrent",
         {"macs": S * B * 320}),
    ],
)  # fmt: skip
def test_classes_and_features(graph: Graph, kernel: str, expected: dict) -> None:
    node = graph.first
    assert node is not None
    found = geometry(node)
    assert found.kernel == kernel
    symbolic = features(kernel, found.sizes)
    assert {k: symbolic[k] for k in expected} == expected
    table = Table()
    sizes = {name: table.row(dim) for name, dim in found.sizes.items()}
    values = table.evaluate({name: np.array([3, 8]) for name in table.symbols}, 2)
    numeric = features(kernel, {name: values[row] for name, row in sizes.items()})
    for name, dim in symbolic.items():
        wanted = [substitute(dim, {"batch": v, "seq": v}) for v in (3, 8)]
        assert np.broadcast_to(numeric[name], 2).tolist() == wanted, name


def test_contractions_have_the_macs_of_their_nodes() -> None:
    for kernel in build_schedule(encoder(2)).kernels:
        if kernel.macs != 0:
            assert features(kernel.geometry.kernel, kernel.geometry.sizes)["macs"] == kernel.macs


def test_padding() -> None:
    sizes = geometry(single("MatMul", (3, 5), (5, 9), constants=(1,)).first).sizes  # type: ignore[arg-type]
    assert features("gemm", sizes, Blocks(4, 8, 16))["padded"] == 4 * 16 * 16
    sizes = geometry(single("MatMul", (B, 5), (5, 9), constants=(1,)).first).sizes  # type: ignore[arg-type]
    assert features("gemm", sizes, Blocks(4, 8, 16))["padded"] == (B + 3) // 4 * 4 * 256


def test_a_transformer_in_closed_form() -> None:
    width = 32
    work = graph_work(encoder(1, width)).macs
    assert work == 12 * width * width * B * S + 2 * width * B * S * S
    assert str(work) == "64*batch*seq**2 + 12288*batch*seq"


def test_views_cost_nothing_and_share_memory() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (B, 8)))
    flat = graph.add(op("Reshape"), graph.add(op("Relu"), x), int64s([-1]))
    graph.set_outputs([graph.add(op("Neg"), flat)], ["y"])
    schedule = build_schedule(graph)
    relu, view, negate = schedule.kernels
    assert view.geometry.kernel == "view" and view.accesses == () and view.flops == 0
    assert relu.accesses[-1].tensor == negate.accesses[0].tensor


def test_regions_are_one_kernel_without_their_intermediates() -> None:
    graph = mlp()
    plain = build_schedule(graph)
    GroupRegions().run(graph, Context())
    fused = build_schedule(graph)
    assert (len(plain.kernels), len(fused.kernels)) == (9, 3)
    first = fused.kernels[0]
    assert first.geometry.kernel == "gemm" and first.dtype == "f32" and len(first.nodes) == 3
    assert first.bytes == 2 * 4 * 64 * B + 4 * (64 * 64 + 64)
    assert sum(k.macs for k in plain.kernels) == sum(k.macs for k in fused.kernels)  # type: ignore[arg-type]
    assert sum(k.flops for k in plain.kernels) == sum(k.flops for k in fused.kernels)  # type: ignore[arg-type]


def test_constant_expressions_run_when_the_model_is_loaded() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (B, 8)))
    turned = graph.add(op("Transpose", perm=(1, 0)), weight(16, 8))
    graph.set_outputs([graph.add(op("MatMul"), x, turned)], ["y"])
    schedule = build_schedule(graph)
    assert [k.op for k in schedule.kernels] == ["MatMul"] and schedule.weight_bytes == 512
    assert schedule.kernels[0].geometry.sizes["fixed"] == 1


def test_a_gather_touches_what_it_takes() -> None:
    graph = Graph()
    ids = graph.add_input("ids", TensorType(DType.INT64, (B, S)))
    graph.set_outputs([graph.add(op("Gather"), weight(1000, 16), ids)], ["y"])
    kernel = build_schedule(graph).kernels[0]
    assert [a.bytes for a in kernel.accesses if not a.write][0] == min_bytes(64 * B * S)


def min_bytes(size: Dim) -> Dim:
    from edgec.ir.dims import minimum

    return minimum(64000, size)


def test_an_unknown_operator_keeps_its_bytes() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (B, 8)))
    strange = Opaque("vendor", "Mystery", 1, result_types=(TensorType(DType.FLOAT, (B, 8)),))
    graph.set_outputs([graph.insert(strange, [x]).output], ["y"])
    kernel = build_schedule(graph).kernels[0]
    assert not kernel.known and kernel.geometry.kernel == "unknown" and kernel.bytes == 64 * B


def test_loops_run_their_bodies_as_often_as_they_turn() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (4, 8)))
    limit = graph.add_input("n", TensorType(DType.INT64, ()))
    body = Graph("body")
    body.add_input("i", TensorType(DType.INT64, ()))
    keep = body.add_input("c", TensorType(DType.BOOL, ()))
    state = body.add_input("s", TensorType(DType.FLOAT, (4, 8)))
    body.set_outputs([keep, body.add(op("MatMul"), state, weight(8, 8))])
    node = graph.insert(op("Loop"), [limit, None, x], regions=[body], name="loop")
    graph.set_outputs([node.output], ["y"])
    schedule = build_schedule(graph)
    product_kernel = next(k for k in schedule.kernels if k.op == "MatMul")
    assert product_kernel.count == symbol("loop.trips") and schedule.free == ("loop.trips",) and schedule.inputs == ()


# -- precision ---------------------------------------------------------------------------------------------------------
def test_effective_bits() -> None:
    assert effective_bits(4, 128) == 4.125 and effective_bits(4, 128, 16, 16) == 4.25 and effective_bits(4, 16, 8) == 4.5
    assert float(32 / effective_bits(4, 128)) == pytest.approx(7.76, abs=0.01)
    assert precision_of("w4").effective_bits(True) == 4.125 and precision_of("w4").effective_bits(False) is None


def test_weights_in_four_bits_carry_their_scales() -> None:
    graph = single("MatMul", (B, 256), (256, 256), constants=(1,))
    native, packed = build_schedule(graph), build_schedule(graph, "w4")
    assert native.weight_bytes == 256 * 256 * 4
    assert packed.weight_bytes == 256 * 256 // 2 + 512 * 2
    assert packed.kernels[0].dtype == "f32" and packed.kernels[0].accesses[0].bytes == native.kernels[0].accesses[0].bytes
    eight = build_schedule(graph, "i8")
    assert eight.kernels[0].dtype == "i8" and eight.kernels[0].bytes == B * 512 + 65536


def test_unknown_precision() -> None:
    with pytest.raises(Diagnostic, match="no precision 'int8'") as caught:
        precision_of("int8")
    assert caught.value.code == "E1014" and "i8" in caught.value.hint


def test_quantised_operators_compute_in_eight_bits() -> None:
    """DequantizeLinear → MatMul → QuantizeLinear is one int8 product: no float32 tensor is ever written."""
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.INT8, (B, 64)))
    scale, zero = constant(np.array(0.1, np.float32)), constant(np.array(0, np.int8))
    quantised = graph.add(op("QuantizeLinear"), graph.add_input("f", TensorType(DType.FLOAT, (B, 64))), scale, zero)
    left = graph.add(op("DequantizeLinear"), quantised, scale, zero)
    right = graph.add(op("DequantizeLinear"), weight(64, 64, dtype=DType.INT8), scale, zero)
    result = graph.add(op("QuantizeLinear"), graph.add(op("MatMul"), left, right), scale, zero)
    graph.set_outputs([graph.add(op("Identity"), result)], ["y"])
    folded = build_schedule(graph)
    assert [k.op for k in folded.kernels] == ["QuantizeLinear", "MatMul", "Identity"]
    assert folded.kernels[1].dtype == "i8" and folded.kernels[1].bytes == 64 * B + 64 * 64 + 64 * B
    plain = build_schedule(graph, fold_quantization=False)
    assert [k.dtype for k in plain.kernels if k.op == "MatMul"] == ["f32"]
    assert x.uses == {}


# -- operations --------------------------------------------------------------------------------------------------------
def test_operations_of_pools_reductions_and_attention() -> None:
    pool = single("MaxPool", (B, 8, 16, 16), kernel_shape=(2, 2), strides=(2, 2)).first
    assert pool is not None and vector_flops(pool) == B * 8 * 64 * 4
    mean = single("ReduceMean", (B, 8, 16)).first
    assert mean is not None and vector_flops(mean) == B * 128
    attention = single("Attention", (B, 4, S, 16), (B, 4, S, 16), (B, 4, S, 16)).first
    assert attention is not None and node_flops(attention) == 2 * (B * 4 * S * S * 32) + B * 4 * S * S * 16
    biased = single("Conv", (1, 3, 8, 8), (4, 3, 1, 1), (4,), constants=(1, 2)).first
    assert biased is not None and node_flops(biased) == 2 * product((4, 64, 3)) + 256


def test_cache_of_a_decoder() -> None:
    past = symbol("past")
    graph = Graph()
    q = graph.add_input("q", TensorType(DType.FLOAT, (B, 4, 1, 16)))
    k, v = (graph.add_input(n, TensorType(DType.FLOAT, (B, 2, 1, 16))) for n in "kv")
    olds = [graph.add_input(n, TensorType(DType.FLOAT, (B, 2, past, 16))) for n in ("past_k", "past_v")]
    keys, values = (graph.add(op("Concat", axis=2), o, n) for o, n in zip(olds, (k, v), strict=True))
    graph.set_outputs([graph.add(op("Attention"), q, keys, values), keys, values], ["y", "k", "v"])
    assert cache_bytes(graph) == 2 * B * 2 * (past + 1) * 16 * 4
    assert cache_bytes(graph, "f16") == 2 * B * 2 * (past + 1) * 16 * 2
