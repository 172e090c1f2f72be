"""The worked examples: an edge GPU's ridge, convolutions, GELU three ways, products and attention against a simulated cache, fusion."""

import math

import pytest

from edgec.costmodel.flops import node_flops
from edgec.costmodel.fusion import Piece, batched_traffic, batched_working_set, fusion_gain
from edgec.costmodel.predict import predict
from edgec.costmodel.residency import LruCache
from edgec.costmodel.traffic import (
    LRU_BLOCKS,
    block_size,
    blocked_traffic,
    bounded_traffic,
    convolution_intensity,
    depthwise_intensity,
    flash_attention_traffic,
    flash_rows,
    ideal_traffic,
    intensity,
    naive_attention_traffic,
    naive_traffic,
)
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph
from edgec.ir.types import TensorType
from tests.costmodel.samples import engine, op, single, target, weight

PEAK, BANDWIDTH = 1e12, 25.6e9
RIDGE = PEAK / BANDWIDTH


def test_the_ridge_of_the_edge_gpu() -> None:
    assert RIDGE == 39.0625


@pytest.mark.parametrize(
    "channels, size, bytes_, pointwise, square",
    [(64, 56, 4, 15.8, 131.9), (256, 28, 4, 55.0, 233.0), (64, 56, 2, 31.6, 263.7), (256, 28, 2, 109.9, 466.0)],
)
def test_intensity_of_convolutions(channels: int, size: int, bytes_: int, pointwise: float, square: float) -> None:
    assert convolution_intensity(channels, size, 1, bytes_) == pytest.approx(pointwise, rel=5e-3)
    assert convolution_intensity(channels, size, 9, bytes_) == pytest.approx(square, rel=5e-3)


def test_intensity_of_depthwise_convolution() -> None:
    assert depthwise_intensity(64, 56, 9, 4) == pytest.approx(2.24, rel=5e-3)


@pytest.mark.parametrize("channels, size, taps, bound", [(64, 56, 1, "DRAM"), (64, 56, 9, "compute"), (256, 28, 1, "compute")])
def test_the_model_agrees_with_the_table(channels: int, size: int, taps: int, bound: str) -> None:
    side = math.isqrt(taps)
    pads = (side // 2,) * 4
    graph = single("Conv", (1, channels, size, size), (channels, channels, side, side), constants=(1,), pads=pads)
    node = predict(graph, target()).nodes[0]
    assert node.flops / node.bytes == pytest.approx(convolution_intensity(channels, size, taps, 4), rel=1e-9)
    assert node.bound == bound
    expected = max(node.flops / PEAK, node.bytes / BANDWIDTH)
    assert node.seconds[1] == pytest.approx(expected, rel=1e-9)


# -- GELU three ways ---------------------------------------------------------------------------------------------------
SHAPE = (1, 128, 3072)


def _decomposed() -> Graph:
    """0.5 x (1 + erf(x / sqrt 2)) in five operators."""
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, SHAPE))
    scaled = graph.add(op("Div"), x, weight(1))
    shifted = graph.add(op("Add"), graph.add(op("Erf"), scaled), weight(1))
    result = graph.add(op("Mul"), graph.add(op("Mul"), x, shifted), weight(1))
    graph.set_outputs([result], ["y"])
    return graph


def test_gelu_three_ways() -> None:
    """One kernel reads and writes once, whatever its arithmetic; five operators move 11 tensors and launch five times."""
    launch = 5e-6
    gpu = target(engine(dispatch_s=engine().dispatch_s.__class__(launch, "s", "estimate", "made up", launch, launch)))
    elements = math.prod(SHAPE)
    exact = predict(single("Gelu", SHAPE), gpu)
    quick = predict(single("Gelu", SHAPE, approximate="tanh"), gpu)
    pieces = predict(_decomposed(), gpu)
    once = 2 * elements * 4 / BANDWIDTH
    assert exact.seconds[1] == quick.seconds[1] == pytest.approx(once + launch)  # memory-bound: the form does not matter
    assert exact.flops == elements * 20 and quick.flops == elements * 20
    assert len(pieces.nodes) == 5
    moved = 11 * elements * 4 + 3 * 4
    assert sum(n.bytes for n in pieces.nodes) == moved
    assert pieces.seconds[1] == pytest.approx(moved / BANDWIDTH + 5 * launch)
    assert pieces.seconds[1] / exact.seconds[1] > 5


def test_gelu_weights_are_stated() -> None:
    graph = _decomposed()
    flops = {node.op.op_name: node_flops(node) for node in graph}
    elements = math.prod(SHAPE)
    assert flops == {"Div": 4 * elements, "Erf": 16 * elements, "Add": elements, "Mul": elements}


# -- matrix products ---------------------------------------------------------------------------------------------------
def _address(base: int, row: int, column: int, width: int) -> int:
    return (base + row * width + column) * 4


def _simulate_product(m: int, n: int, k: int, block: int, capacity: int, depth: int | None = None) -> float:
    """Elements moved by a blocked product under an exact LRU cache of so many elements, lines of one element."""
    a, b, c = 0, m * k, m * k + k * n
    cache = LruCache(capacity * 4, 4)
    depth = depth or block
    for i0 in range(0, m, block):
        for j0 in range(0, n, block):
            for p0 in range(0, k, depth):
                for i in range(i0, min(i0 + block, m)):
                    for j in range(j0, min(j0 + block, n)):
                        for p in range(p0, min(p0 + depth, k)):
                            cache.access(_address(a, i, p, k))
                            cache.access(_address(b, p, j, n))
                        cache.access(_address(c, i, j, n), True)
    return (cache.misses + cache.written_back + sum(cache.held.values()) - m * n) * 1.0  # results are not read from memory first


def test_traffic_of_naive_products() -> None:
    """Without room for reuse every operand is fetched for every multiply-accumulate: one operation an element, not 2k/3."""
    m = n = k = 24
    simulated = _simulate_product(m, n, k, 1, 2, depth=k)
    assert naive_traffic(m, n, k) == pytest.approx(simulated, rel=0.1)
    assert intensity(m * n * k, naive_traffic(m, n, k)) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize(
    "m, n, k, capacity", [(48, 48, 48, 280), (48, 48, 48, 600), (40, 40, 40, 420), (36, 60, 48, 600), (50, 30, 44, 280)]
)
def test_traffic_of_blocked_products(m: int, n: int, k: int, capacity: int) -> None:
    block = block_size(capacity, blocks=LRU_BLOCKS)
    simulated = _simulate_product(m, n, k, block, capacity)
    assert blocked_traffic(m, n, k, block) == pytest.approx(simulated, rel=0.1)


def test_three_blocks_are_too_many_for_a_cache_that_evicts_the_oldest() -> None:
    block = block_size(3 * 144 + 24)
    assert block == 12
    assert _simulate_product(48, 48, 48, block, 3 * 144 + 24) > 1.5 * blocked_traffic(48, 48, 48, block)


def test_traffic_of_ideal_products() -> None:
    size = 24
    simulated = _simulate_product(size, size, size, size, 3 * size * size)
    assert ideal_traffic(size, size, size) == simulated
    assert intensity(size**3, ideal_traffic(size, size, size)) == pytest.approx(2 * size / 3)
    assert intensity(size**3, ideal_traffic(size, size, size), 4) == pytest.approx(size / 6)  # in bytes of float32


def test_blocks_follow_the_cache() -> None:
    assert block_size(32 * 1024 / 4) == 52
    assert 3 * block_size(8192) ** 2 <= 8192 < 3 * (block_size(8192) + 1) ** 2
    assert block_size(8192, 8) == 48
    assert intensity(1, 1 / 52) == pytest.approx(2 * 52, rel=0.1)
    large = 4096
    assert intensity(large**3, blocked_traffic(large, large, large, 52)) == pytest.approx(52, rel=0.05)  # B, not 2B/3


def test_a_thin_product_streams_its_weights_once() -> None:
    assert float(bounded_traffic(1, 1.0, 4096.0, 4096.0, 8192.0)) == ideal_traffic(1, 4096, 4096)


# -- attention ---------------------------------------------------------------------------------------------------------
def _simulate_attention(queries: int, keys: int, size: int, capacity: int, rows: int) -> int:
    """Elements that blocks of queries move: keys and values stream by in blocks of as many rows."""
    q, k, v, o = 0, queries * size, (queries + keys) * size, (queries + 2 * keys) * size
    cache = LruCache(capacity, 1)
    for start in range(0, queries, rows):
        count = min(rows, queries - start)
        cache.stream(q + start * size, count * size)
        for block in range(0, keys, rows):
            some = min(rows, keys - block)
            cache.stream(k + block * size, some * size)
            cache.stream(v + block * size, some * size)
            cache.stream(q + start * size, count * size)
            cache.stream(o + start * size, count * size, True)
    return cache.misses + cache.written_back + sum(cache.held.values()) - queries * size  # results are not read first


@pytest.mark.parametrize("queries, size, capacity", [(128, 16, 16 * 66 + 64), (96, 8, 12 * 34 + 32)])
def test_traffic_of_flash_attention(queries: int, size: int, capacity: int) -> None:
    rows = flash_rows(size, capacity)
    simulated = _simulate_attention(queries, queries, size, capacity, rows)
    assert flash_attention_traffic(queries, queries, size, capacity) == pytest.approx(simulated, rel=0.1)


def test_orders_of_attention_traffic() -> None:
    """Doubling the length multiplies both by about four; doubling the fast memory halves that of flash."""
    n, d = 4096, 64
    assert naive_attention_traffic(n, n, d) == 4 * n * n + 4 * n * d
    ratio = flash_attention_traffic(2 * n, 2 * n, d, 32768) / flash_attention_traffic(n, n, d, 32768)
    assert ratio == pytest.approx(4, rel=0.05)
    halved = flash_attention_traffic(n, n, d, 65536) / flash_attention_traffic(n, n, d, 32768)
    assert halved == pytest.approx(0.5, rel=0.07)
    assert flash_attention_traffic(n, n, d, 65536) * 5 < naive_attention_traffic(n, n, d)


# -- fusion and batching -----------------------------------------------------------------------------------------------
def test_fusion_of_a_chain_stays_memory_bound() -> None:
    """A chain of n float32 elementwise operators has the intensity n / 8 when fused."""
    elements, length = 1 << 20, 8
    tensor = elements * 4
    pieces = [Piece(elements, 2 * tensor, (i > 0) * tensor + (i < length - 1) * tensor) for i in range(length)]
    found = fusion_gain(pieces, PEAK, BANDWIDTH, launch=5e-6)
    assert found.intensity_before == pytest.approx(1 / 8)
    assert found.intensity_after == pytest.approx(length / 8) and found.intensity_after < RIDGE
    assert found.seconds_before == pytest.approx(length * (2 * tensor / BANDWIDTH + 5e-6))
    assert found.seconds_after == pytest.approx(2 * tensor / BANDWIDTH + 5e-6)


def test_fusion_counts_weights_and_spills() -> None:
    pieces = [Piece(1e9, 30e6, 10e6), Piece(1e7, 20e6, 10e6)]
    found = fusion_gain(pieces, PEAK, BANDWIDTH, spill_bytes=20e6, saved_flops=1e7)
    assert found.bytes_after == 50e6 and found.gain == pytest.approx(
        max(1e-3, 30e6 / BANDWIDTH) + 20e6 / BANDWIDTH - max(1e-3, 50e6 / BANDWIDTH)
    )
    assert fusion_gain(pieces, PEAK, BANDWIDTH, spill_bytes=100e6).gain < 0


def test_batching_shares_the_weights() -> None:
    assert batched_traffic(100.0, 7.0, 8) == 156.0
    assert batched_working_set(100.0, 3.0, 8) == 124.0
