"""Layout assignment: what moves where, and that it is the least."""

import itertools
import random
import time
from pathlib import Path

import numpy as np
import pytest

import edgec
from edgec.ir.clone import clone_graph
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant, int64s
from edgec.ir.interpreter import interpret
from edgec.ir.ops.activation import PRelu, Relu, Sigmoid
from edgec.ir.ops.binary import Add, Mul
from edgec.ir.ops.channels_last import ChannelsLastConv, ChannelsLastDepthToSpace, ChannelsLastOp
from edgec.ir.ops.concat import Concat, Pad, Split
from edgec.ir.ops.conv import Conv
from edgec.ir.ops.generate import ConstantOfShape
from edgec.ir.ops.matmul import Gemm, MatMul
from edgec.ir.ops.normalization import BatchNormalization, GroupNormalization, InstanceNormalization, LayerNormalization
from edgec.ir.ops.pooling import GlobalAveragePool, MaxPool
from edgec.ir.ops.quantize import DequantizeLinear, QuantizeLinear
from edgec.ir.ops.reduction import ReduceMean
from edgec.ir.ops.reshape import Flatten, Reshape, Squeeze
from edgec.ir.ops.resize import Resize
from edgec.ir.ops.slice import Slice
from edgec.ir.ops.softmax import Softmax
from edgec.ir.ops.transpose import Transpose
from edgec.ir.ops.vision import DepthToSpace
from edgec.ir.types import TensorType
from edgec.passes.context import Context
from edgec.passes.default_pipeline import default_pipeline
from edgec.passes.layout.forms import Form, Shuffle, compose, inverted, is_free, keeps_order
from edgec.passes.layout.mincut import SINK, SOURCE, Network
from edgec.passes.layout.regroup import Group, carried, reshape_groups
from edgec.passes.layout.spatial import layout_pipeline
from edgec.passes.manager import PassManager, run_passes

RANDOM = np.random.default_rng(3)
MODELS = Path.home() / ".cache" / "edgec" / "models"


def weights(*shape):
    return constant(RANDOM.standard_normal(shape).astype(np.float32), f"w{shape}")


def positive(*shape):
    return constant(RANDOM.uniform(0.5, 1.5, shape).astype(np.float32), f"p{shape}")


class Net:
    """Builds a small network on an image."""

    def __init__(self, *shape):
        self.graph = Graph()
        self.x = self.graph.add_input("x", TensorType(DType.FLOAT, shape))

    def add(self, op, *operands):
        return self.graph.add(op, *operands)

    def conv(self, x, filters, **attributes):
        return self.add(Conv(**attributes), x, weights(filters, x.shape[1] // attributes.get("group", 1), 3, 3), weights(filters))

    def moved(self, *results, sizes=None):
        """The graph after layout assignment, checked to compute the same."""
        self.graph.set_outputs(results, [f"y{i}" for i in range(len(results))])
        copy = clone_graph(self.graph)
        PassManager(layout_pipeline(), verify="full").run(copy, Context())
        shape = tuple(d if isinstance(d, int) else (sizes or {})[str(d)] for d in self.x.shape)
        feeds = {"x": RANDOM.standard_normal(shape).astype(np.float32)}
        before, after = interpret(self.graph, feeds), interpret(copy, feeds)
        for name, array in before.items():
            np.testing.assert_allclose(after[name], array, rtol=1e-4, atol=1e-4)
        return copy


def transposes(graph):
    return [node for node in graph.walk() if isinstance(node.op, Transpose)]


def ops(graph):
    return [node.op.op_name for node in graph.walk()]


# -- networks ------------------------------------------------------------------------------------------------------------------
def test_residual_network_keeps_one_transpose():
    net = Net(symbol("n"), 3, 16, 16)
    x = net.add(Relu(), net.conv(net.x, 8, pads=(1, 1, 1, 1)))
    y = net.add(BatchNormalization(), net.conv(x, 8, pads=(1, 1, 1, 1)), positive(8), weights(8), weights(8), positive(8))
    x = net.add(Relu(), net.add(Add(), x, y))
    x = net.add(MaxPool(kernel_shape=(2, 2), strides=(2, 2)), x)
    x = net.add(PRelu(), x, weights(8, 1, 1))
    x = net.add(Flatten(), net.add(GlobalAveragePool(), x))
    graph = net.moved(net.add(Gemm(), x, weights(8, 5)), sizes={"n": 2})
    (only,) = transposes(graph)
    assert only.inputs[0] is graph.inputs[0]


def test_squeeze_and_excite():
    net = Net(1, 4, 8, 8)
    x = net.conv(net.x, 8)
    gate = net.add(ReduceMean(), x, int64s([2, 3]))
    gate = net.add(Sigmoid(), net.add(Conv(), net.add(Relu(), net.add(Conv(), gate, weights(2, 8, 1, 1))), weights(8, 2, 1, 1)))
    graph = net.moved(net.conv(net.add(Mul(), x, gate), 4))
    assert [node.op.perm for node in transposes(graph)] == [(0, 2, 3, 1), (0, 3, 1, 2)]


def test_pyramid_with_resize_concat_split_slice_pad():
    net = Net(1, 4, 8, 8)
    x = net.conv(net.x, 6, pads=(1, 1, 1, 1))
    small = net.conv(x, 6, pads=(1, 1, 1, 1), strides=(2, 2))
    large = net.add(Resize(), small, None, constant(np.array([1, 1, 2, 2], np.float32)))
    joined = net.add(Concat(axis=1), x, large)
    left, right = net.graph.insert(Split(axis=1), [joined, int64s([5, 7])], outputs=2).outputs
    left = net.add(Slice(), left, int64s([1]), int64s([4]), int64s([1]))
    right = net.add(Pad(), right, int64s([0, 0, 1, 0, 0, 1, 0, 0]))
    a, b = net.conv(left, 2), net.conv(right, 2)
    graph = net.moved(net.add(ReduceMean(keepdims=0), a, int64s([2, 3])), net.add(ReduceMean(keepdims=0), b, int64s([1, 2, 3])))
    assert len(transposes(graph)) == 1


def test_flatten_is_absorbed_by_the_weights():
    for op, shape in ((Gemm(transB=1), (5, 6 * 6 * 4)), (MatMul(), (6 * 6 * 4, 5))):
        net = Net(2, 3, 8, 8)
        x = net.add(Relu(), net.add(Flatten(), net.conv(net.x, 4)))
        graph = net.moved(net.add(op, x, weights(*shape)))
        assert len(transposes(graph)) == 1 and "Gather" not in ops(graph)


def test_tokens_are_a_reshape():
    net = Net(symbol("n"), 3, 16, 16)
    x = net.add(Conv(strides=(4, 4)), net.x, weights(8, 3, 4, 4))
    x = net.add(Transpose(perm=(0, 2, 1)), net.add(Reshape(), x, int64s([0, 8, 16])))
    x = net.add(LayerNormalization(), x, positive(8), weights(8))
    graph = net.moved(x, sizes={"n": 3})
    (only,) = transposes(graph)
    assert only.inputs[0] is graph.inputs[0]


def test_existing_transposes_vanish():
    net = Net(1, 4, 8, 8)
    x = net.conv(net.x, 8, pads=(1, 1, 1, 1))
    y = net.add(Transpose(perm=(0, 2, 3, 1)), x)
    y = net.add(MatMul(), net.add(LayerNormalization(), y, positive(8), weights(8)), weights(8, 8))
    x = net.add(Add(), net.add(Transpose(perm=(0, 3, 1, 2)), net.add(Mul(), y, positive(8))), x)
    graph = net.moved(net.add(Squeeze(), net.add(GlobalAveragePool(), net.conv(x, 4)), int64s([2, 3])))
    assert len(transposes(graph)) == 1


def test_lines_and_volumes():
    net = Net(2, 4, symbol("t"))
    x = net.add(Relu(), net.add(Conv(), net.x, weights(6, 4, 3)))
    x = net.add(Conv(group=6), x, weights(6, 1, 3))
    graph = net.moved(net.add(Transpose(perm=(0, 2, 1)), x), sizes={"t": 9})
    assert len(transposes(graph)) == 1
    net = Net(1, 2, 4, 5, 6)
    x = net.add(Relu(), net.add(Conv(), net.x, weights(3, 2, 2, 2, 2)))
    graph = net.moved(net.add(GlobalAveragePool(), net.add(Conv(), x, weights(2, 3, 1, 1, 1))))
    assert [node.op.perm for node in transposes(graph)] == [(0, 2, 3, 4, 1)]


def test_softmax_over_channels_moves_to_the_last_axis():
    net = Net(1, 3, 8, 8)
    graph = net.moved(net.add(Softmax(axis=1), net.conv(net.x, 4)))
    (softmax,) = [node for node in graph if isinstance(node.op, Softmax)]
    assert softmax.op.axis == 3


def test_quantisation_parameters_follow_their_axis():
    net = Net(1, 3, 8, 8)
    x = net.conv(net.x, 4)
    scale, zero = positive(4), constant(np.zeros(4, np.int8))
    x = net.add(DequantizeLinear(axis=1), net.add(QuantizeLinear(axis=1), x, scale, zero), scale, zero)
    graph = net.moved(net.add(GlobalAveragePool(), net.conv(x, 2)))
    assert len(transposes(graph)) == 1
    assert {node.op.axis for node in graph if isinstance(node.op, QuantizeLinear | DequantizeLinear)} == {3}


@pytest.mark.parametrize("normalization", [InstanceNormalization(), GroupNormalization(num_groups=2)])
def test_normalisations_stay_channels_last(normalization):
    net = Net(2, 3, 8, 8)
    x = net.add(normalization, net.conv(net.x, 4), positive(4), weights(4))
    graph = net.moved(net.add(GlobalAveragePool(), net.conv(x, 2)))
    assert len(transposes(graph)) == 1


def test_order_of_depth_goes_into_the_filters():
    net = Net(1, 3, 6, 6)
    graph = net.moved(net.add(DepthToSpace(blocksize=2, mode="CRD"), net.conv(net.x, 12)))
    (blocks,) = [node for node in graph if isinstance(node.op, ChannelsLastDepthToSpace)]
    assert blocks.op.mode == "DCR" and len(graph) == 4
    net = Net(1, 3, 6, 6)
    x = net.conv(net.x, 12)
    graph = net.moved(net.add(DepthToSpace(blocksize=2, mode="CRD"), x), x)
    assert [node.op.mode for node in graph if isinstance(node.op, ChannelsLastDepthToSpace)] == ["CRD"]


def test_no_spatial_operator_no_change():
    net = Net(2, 3, 4)
    y = net.add(Softmax(axis=1), net.add(Transpose(perm=(0, 2, 1)), net.x))
    net.graph.set_outputs([y], ["y"])
    assert not run_passes(net.graph, "channels-last,assign-layout").modified


def test_bisection_stops_the_assignment():
    net = Net(1, 3, 8, 8)
    net.graph.set_outputs([net.conv(net.conv(net.x, 4), 4)], ["y"])
    context = Context(rewrite_limit=2)
    run_passes(net.graph, layout_pipeline(), context)
    assert context.last_rewrite == "spatial-channels-last" and len(transposes(net.graph)) == 4


def test_weights_of_one_number_are_written_out():
    net = Net(1, 3, 8, 8)
    w = net.add(ConstantOfShape(), int64s([2, 3, 3, 3]))
    x = net.add(Conv(), net.x, w)
    y = net.add(Add(), x, net.add(ConstantOfShape(), int64s([2, 6, 6])))
    net.graph.set_outputs([y], ["y"])
    run_passes(net.graph, "materialize-weights")
    assert ops(net.graph) == ["Conv", "ConstantOfShape", "Add"]


# -- speed ---------------------------------------------------------------------------------------------------------------------
def test_three_thousand_nodes_are_assigned_quickly():
    net = Net(1, 4, 8, 8)
    x = net.conv(net.x, 4, pads=(1, 1, 1, 1))
    kept = [x]
    for i in range(750):
        y = net.add(Relu(), net.conv(x, 4, pads=(1, 1, 1, 1)))
        x = net.add(Add(), net.add(Sigmoid(), y), kept[max(0, i - 7)])
        kept.append(x)
    net.graph.set_outputs([x], ["y"])
    run_passes(net.graph, "channels-last")
    before = time.process_time()
    run_passes(net.graph, "assign-layout")
    assert time.process_time() - before < 5
    assert len(transposes(net.graph)) == 2


# -- parts ---------------------------------------------------------------------------------------------------------------------
def test_minimum_cut_against_all_labellings():
    choose = random.Random(5)
    for _ in range(60):
        network, count = Network(), choose.randint(1, 7)
        vertices = [SOURCE, SINK, *(network.vertex() for _ in range(count))]
        edges = [(*choose.sample(vertices, 2), choose.randint(0, 9)) for _ in range(choose.randint(1, 18))]
        for start, end, capacity in edges:
            network.edge(start, end, capacity)

        def cost(labels, edges=edges):
            return sum(c for a, b, c in edges if not labels[a] and labels[b])

        best = min(cost([0, 1, *rest]) for rest in itertools.product((0, 1), repeat=count))
        labels = network.solve()
        assert labels[:2] == [0, 1] and cost(labels) == best


def test_forms():
    first, second = (0, 2, 3, 1), (0, 3, 1, 2)
    assert inverted(first) == second and compose(first, second) == (0, 1, 2, 3)
    assert keeps_order(first, (2, 8, 1, 1)) and not keeps_order(first, (2, 8, 2, 1))
    assert is_free(Form(first), Form(second), (5, 1, 1, 7)) and not is_free(Form(first), Form(second), (5, 2, 3, 7))
    shuffled = Form((1, 0), Shuffle(1, (2, 3), (1, 0)))
    array = np.arange(12).reshape(2, 6)
    np.testing.assert_array_equal(shuffled.apply(array), array.reshape(2, 2, 3).transpose(0, 2, 1).reshape(2, 6).T)
    assert shuffled.through((1, 0)).behind((1, 0)) == shuffled


def test_reshape_groups():
    n, h, w = symbol("n"), symbol("h"), symbol("w")
    assert reshape_groups((n, 8, h, w), (n, 8, h * w)) == [Group((0,), (0,)), Group((1,), (1,)), Group((2, 3), (2,))]
    assert reshape_groups((2, 1, 6), (2, 6, 1, 1))[-1] == Group((), (3,))
    assert reshape_groups((4, 6), (5, 5)) is None


def test_carried_forms_agree_with_numpy():
    choose = random.Random(11)
    for _ in range(300):
        target = [choose.choice((1, 2, 3)) for _ in range(choose.randint(1, 5))]
        source = []
        for size in target:
            if source and choose.random() < 0.5:
                source[-1] *= size
            else:
                source.append(size)
        if choose.random() < 0.5:
            source, target = target, source
        groups = reshape_groups(tuple(source), tuple(target))
        assert groups is not None
        perm = tuple(choose.sample(range(len(source)), len(source)))
        form = carried(groups, Form(perm), tuple(source))
        if form is None:
            continue
        array = np.arange(int(np.prod(source))).reshape(source)
        np.testing.assert_array_equal(array.transpose(perm).reshape(-1), form.apply(array.reshape(target)).reshape(-1))


# -- real models ---------------------------------------------------------------------------------------------------------------
EXPECTED = {
    "ppocrv4_det.onnx": 2,
    "ppocrv4_rec.onnx": 1,
    "blazeface_back.onnx": 0,
    "basic_pitch.onnx": 0,
    "exports/mobilenetv3_ts.onnx": 1,
    "exports/convnext_t_ts.onnx": 1,
    "exports/resnet50_ts.onnx": 1,
}
"""How many Transposes are left: those of inputs and outputs with channels first."""


@pytest.mark.zoo
@pytest.mark.parametrize("name", EXPECTED)
def test_real_models_keep_transposes_at_their_interface_only(name):
    path = MODELS / name
    if not path.exists():
        pytest.skip(f"{name} is not cached")
    model = edgec.load(path)
    run_passes(model, default_pipeline())
    before = sum(isinstance(node.op, Conv) for node in model.graph.walk())
    run_passes(model, layout_pipeline())
    assert sum(isinstance(node.op, ChannelsLastConv) for node in model.graph.walk()) == before
    left = transposes(model.graph)
    assert len(left) == EXPECTED[name]
    for node in left:
        reader_is_spatial = any(isinstance(user.op, ChannelsLastOp) for user in node.output.users())
        assert node.inputs[0].is_input or not reader_is_spatial
