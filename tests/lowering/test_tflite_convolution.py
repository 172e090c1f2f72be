"""Spatial operators in LiteRT against ONNX Runtime over random attributes, with XNNPACK and with the builtin kernels."""

from random import Random

import numpy as np
import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant, int64s
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.ops.activation import Clip, Relu
from edgec.ir.ops.channels_last import channels_last_form, to_last
from edgec.ir.ops.conv import Conv, ConvTranspose
from edgec.ir.ops.normalization import LRN
from edgec.ir.ops.pooling import AveragePool, LpPool, MaxPool
from edgec.ir.ops.resize import Resize
from edgec.ir.ops.vision import DepthToSpace, GridSample, SpaceToDepth
from edgec.ir.serial.writer import model_bytes
from edgec.ir.types import TensorType

pytest.importorskip("ai_edge_litert")
onnxruntime = pytest.importorskip("onnxruntime")

from edgec.lowering.tflite.emitter import Emitter  # noqa: E402
from edgec.lowering.tflite.registry import load_emitters  # noqa: E402
from edgec.lowering.tflite.writer import FlatModel  # noqa: E402

load_emitters()

CASES = 60


def run_litert(graph, feeds, xnnpack):
    """The outputs of a graph emitted as it is."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    flat = FlatModel("test")
    Emitter(flat).run(graph)
    kernels = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=bytes(flat.bytes()), num_threads=1, experimental_op_resolver_type=kernels)
    for detail, array in zip(interpreter.get_input_details(), feeds, strict=True):
        interpreter.resize_tensor_input(detail["index"], array.shape)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), feeds, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def run_reference(graph, feeds, trusted):
    """The output in ONNX Runtime, or in the interpreter where ONNX Runtime has no kernel or another idea than the specification."""
    feeds_by_name = dict(zip([v.name for v in graph.inputs], feeds, strict=True))
    if not trusted:
        return interpret(graph, feeds_by_name)["y"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(model_bytes(Model(graph), opset=20), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds_by_name)[0]


class Case:
    """A random operator on ``[batch, channels, *spatial]`` with what it needs."""

    def __init__(self, seed):
        self.choose, self.generator = Random(seed), np.random.default_rng(seed)
        self.rank = self.choose.choice((1, 2, 2, 2, 3))
        self.batch, self.is_dynamic = self.choose.choice((1, 2)), self.choose.random() < 0.3
        self.sizes = tuple(self.choose.randint(6, 10) for _ in range(self.rank))
        self.trusted = True
        self.computes_weights = self.choose.random() < 0.15

    def numbers(self, *shape):
        return self.generator.standard_normal(shape).astype(np.float32)

    def each(self, low, high):
        return tuple(self.choose.randint(low, high) for _ in range(self.rank))

    def window(self, kernel, dilations):
        """Strides and padding; half of the explicit pads are as large as SAME would have them."""
        auto = self.choose.choice(("NOTSET",) * 4 + ("SAME_UPPER", "SAME_LOWER", "VALID"))
        strides = self.each(1, 3)
        self.trusted = not auto.startswith("SAME") or max(dilations) == 1 and all(s <= k for s, k in zip(strides, kernel, strict=True))
        pads = None
        if auto == "NOTSET" and self.choose.random() < 0.8:
            reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
            pads = tuple(r // 2 for r in reach) * 2 if self.choose.random() < 0.5 else tuple(self.choose.randint(0, r) for r in reach * 2)
        return {"auto_pad": auto, "pads": pads, "strides": strides, "dilations": dilations}

    def graphs(self, op, channels, operands):
        """The operator in its ONNX form and in its channels-last form, sometimes followed by an activation."""
        activation = self.choose.choice((None, None, Relu(), Clip()))
        built = []
        for form in (op, channels_last_form(op)):
            shape = (self.batch, channels, *self.sizes)
            if self.is_dynamic:
                shape = (symbol("n"), channels, *(symbol(f"s{i}") if i % 2 == 0 else d for i, d in enumerate(self.sizes)))
            if form is not op:
                shape = tuple(shape[a] for a in to_last(len(shape)))
            graph = Graph()
            x = graph.add_input("x", TensorType(DType.FLOAT, shape))
            given = [graph.add_input(v.name, v.type) if self.is_input(v) else v for v in operands]
            y = graph.insert(form, [x, *given], outputs=1).output
            if activation is not None:
                limits = [constant(np.float32(0)), constant(np.float32(6))] if isinstance(activation, Clip) else []
                y = graph.add(activation, y, *limits)
            graph.set_outputs([y], ["y"])
            built.append(graph)
        return built

    def is_input(self, operand):
        """Whether an operand is fed: filters, sometimes."""
        return self.computes_weights and operand is not None and operand.name == "w"

    def check(self, op, channels, operands=()):
        """Compare both kinds of kernels with the reference; False when LiteRT cannot run the case with sizes that are not known."""
        plain, moved = self.graphs(op, channels, operands)
        x = self.numbers(self.batch, channels, *self.sizes)
        more = [v.data.numpy() for v in operands if self.is_input(v)]
        expected = run_reference(plain, [x, *more], self.trusted)
        for xnnpack in (True, False):
            try:
                found = run_litert(moved, [np.ascontiguousarray(x.transpose(to_last(x.ndim))), *more], xnnpack)
            except Diagnostic as error:
                assert error.code == "E0501" and self.is_dynamic, error
                return False
            wanted = expected.transpose(to_last(expected.ndim))
            assert found.shape == wanted.shape, (op, found.shape, wanted.shape)
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4, err_msg=str(op))
        return True


def convolution(case):
    group = case.choose.choice((1, 1, 2, 3, 4))
    channels, filters = group * case.choose.choice((1, 1, 2, 4)), group * case.choose.choice((1, 2, 3))
    kernel, dilations = case.each(1, 3), tuple(case.choose.choice((1, 1, 2)) for _ in range(case.rank))
    operands = [constant(case.numbers(filters, channels // group, *kernel), "w")]
    if case.choose.random() < 0.6:
        operands.append(constant(case.numbers(filters), "b"))
    return Conv(group=group, **case.window(kernel, dilations)), channels, operands


def transposed_convolution(case):
    group = case.choose.choice((1, 1, 2, 3))
    channels, filters = group * case.choose.choice((1, 2, 4)), case.choose.choice((1, 2, 3))
    kernel, strides = case.each(1, 4), case.each(1, 3)
    pads = tuple(case.choose.randint(0, (k - 1) // 2) for k in kernel * 2) if case.choose.random() < 0.7 else None
    extra = tuple(case.choose.randint(0, s - 1) for s in strides) if case.choose.random() < 0.4 else None
    operands = [constant(case.numbers(channels, filters, *kernel), "w")]
    if case.choose.random() < 0.6:
        operands.append(constant(case.numbers(filters * group), "b"))
    dilations = tuple(case.choose.choice((1, 1, 2)) for _ in range(case.rank))
    return ConvTranspose(group=group, strides=strides, pads=pads, output_padding=extra, dilations=dilations), channels, operands


def pooling(case):
    kernel = case.each(1, 4)
    window = case.window(kernel, (1,) * case.rank)
    if window["pads"] is not None:
        window["pads"] = tuple(min(p, k - 1) for p, k in zip(window["pads"], kernel * 2, strict=True))
    kind = case.choose.choice((MaxPool, AveragePool, LpPool))
    if kind is LpPool:
        return LpPool(kernel_shape=kernel, p=case.choose.choice((1, 2, 3)), **window), 3, ()
    if kind is AveragePool:
        return AveragePool(kernel_shape=kernel, count_include_pad=case.choose.randint(0, 1), **window), 3, ()
    if window["auto_pad"] == "NOTSET":
        window["dilations"] = tuple(case.choose.choice((1, 2)) if k < 4 else 1 for k in kernel)
    return MaxPool(kernel_shape=kernel, ceil_mode=int(window["auto_pad"] == "NOTSET" and case.choose.random() < 0.4), **window), 3, ()


def resize(case):
    case.rank = min(case.rank, 2)
    case.sizes = case.sizes[: case.rank]
    mode = case.choose.choice(("nearest", "nearest", "linear", "linear", "cubic"))
    if mode == "cubic" and case.rank == 1:
        mode = "linear"
    coordinates = case.choose.choice(("half_pixel", "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"))
    rounding = case.choose.choice(("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))
    case.trusted = coordinates != "align_corners"  # its float32 falls beside integers, and it rounds the size before it takes the ratio
    op = Resize(mode=mode, coordinate_transformation_mode=coordinates, nearest_mode=rounding)
    if case.is_dynamic or case.choose.random() < 0.5:
        scales = (2, 3) if case.is_dynamic else (1, 2, 3, 0.5, 1.5)
        return op, 3, [None, constant(np.array([1, 1, *(case.choose.choice(scales) for _ in case.sizes)], np.float32))]
    return op, 3, [None, None, int64s([case.batch, 3, *case.each(3, 17)])]


def blocks(case):
    case.rank, block, mode = 2, case.choose.choice((2, 3)), case.choose.choice(("DCR", "CRD"))
    if case.choose.random() < 0.5:
        case.sizes = (4, 5)
        return DepthToSpace(blocksize=block, mode=mode), 2 * block * block, ()
    case.sizes = (2 * block, 3 * block)
    return SpaceToDepth(blocksize=block), 3, ()


def response(case):
    op = LRN(
        size=case.choose.choice((1, 2, 3, 4, 5)),
        beta=case.choose.choice((0.5, 0.6, 0.75, 1.0)),
        alpha=case.choose.choice((1e-4, 0.5)),
        bias=case.choose.choice((1.0, 2.0)),
    )
    case.trusted = case.rank == 2 and op.size % 2 == 1
    return op, case.choose.choice((3, 6, 128)), ()


def grid(case):
    case.rank, case.is_dynamic = min(case.rank, 2) + (case.rank == 1), False
    case.sizes = case.sizes[:1] * case.rank
    places = constant(case.generator.uniform(-1.6, 1.6, (case.batch, 3, 4, 2)).astype(np.float32))
    padding = case.choose.choice(("zeros", "border", "reflection"))
    op = GridSample(mode=case.choose.choice(("linear", "nearest", "cubic")), padding_mode=padding, align_corners=case.choose.randint(0, 1))
    return op, 3, [places]


@pytest.mark.parametrize("make", [convolution, transposed_convolution, pooling, resize, blocks, response, grid])
def test_random_attributes(make):
    compared = 0
    for seed in range(CASES):
        case = Case(seed)
        compared += case.check(*make(case))
    assert compared >= CASES * 0.6, f"only {compared} of {CASES} cases ran"


@pytest.mark.parametrize(
    ("shape", "kernel", "attributes"),
    [
        ((2, 12, 20, 17), (7, 7), {"pads": (3, 3, 3, 3)}),
        ((1, 5, 21, 30), (9, 9), {"pads": (4, 4, 4, 4), "strides": (2, 1)}),
        ((1, 4, 26, 19), (3, 13), {"pads": (1, 6, 1, 6), "dilations": (1, 1)}),
        ((1, 6, 40, 33), (6, 6), {"pads": (5, 2, 4, 3), "dilations": (2, 1), "strides": (1, 2)}),
        ((2, 7, 90), (31,), {"pads": (15, 15)}),
    ],
)
def test_large_depthwise_kernels_are_sums_of_dilated_ones(shape, kernel, attributes) -> None:
    from edgec.lowering.registry import backend
    from edgec.lowering.tflite.rewrites.passes import TfLiteRewrites
    from edgec.passes.context import Context

    random = np.random.default_rng(4)
    channels = shape[1]
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, shape))
    weight = constant(random.normal(size=(channels, 1, *kernel)).astype(np.float32))
    bias = constant(random.normal(size=channels).astype(np.float32))
    graph.set_outputs([graph.add(Conv(group=channels, **attributes), x, weight, bias)], ["y"])
    feed = random.normal(size=shape).astype(np.float32)
    expected = interpret(graph, {"x": feed})["y"]
    copy = Model(graph).copy().graph
    TfLiteRewrites().run(copy, Context())
    convolutions = [n for n in copy.walk() if n.op.op_name == "ChannelsLastConv"]
    assert len(convolutions) > 1 and all(np.prod(n.inputs[1].shape[2:]) <= 25 for n in convolutions)
    assert backend("tflite") is not None and run_litert(copy, [feed], True).shape == expected.shape
    np.testing.assert_allclose(run_litert(copy, [feed], True), expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def test_a_large_depthwise_kernel_without_padding_stays_whole() -> None:
    from edgec.lowering.tflite.rewrites.passes import TfLiteRewrites
    from edgec.passes.context import Context

    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (1, 4, 20, 20)))
    graph.set_outputs([graph.add(Conv(group=4), x, constant(np.ones((4, 1, 7, 7), np.float32)))], ["y"])
    TfLiteRewrites().run(graph, Context())
    assert sum(n.op.op_name == "ChannelsLastConv" for n in graph.walk()) == 1


# -- few filters -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("filters", "kernel", "stride", "width", "factor"),
    [
        (1, (5, 5), 1, 24, 12),
        (2, (3, 3), 1, 24, 8),
        (1, (3, 9), 3, 48, 16),
        (8, (3, 39), 1, 32, 2),  # with vectors of 128 bits it takes 3 % longer, with longer ones half as long
        (8, (3, 3), 1, 32, 1),
        (1, (1, 1), 1, 32, 1),
        (1, (3, 3), 1, 13, 13),
        (32, (3, 3), 1, 32, 1),
    ],
)
@pytest.mark.parametrize("symbolic", [False, True])
def test_convolutions_of_few_filters_compute_several_positions_at_once(filters, kernel, stride, width, factor, symbolic) -> None:
    generator = np.random.default_rng(filters + width)
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (symbol("n") if symbolic else 2, 7, width * stride, 4)))
    weight = generator.standard_normal((filters, 4, *kernel)).astype(np.float32)
    bias = generator.standard_normal(filters).astype(np.float32)
    op = channels_last_form(Conv(strides=(1, stride), auto_pad="SAME_UPPER"))
    y = graph.add(Relu(), graph.add(op, x, constant(weight, "w"), constant(bias, "b")))
    graph.set_outputs([y], ["y"])
    flat = FlatModel("test")
    Emitter(flat).run(graph)
    operators = [o.name for o in flat.subgraphs[0].operators]
    assert operators == (["CONV_2D", "RESHAPE"] if factor > 1 else ["CONV_2D"])
    wide = flat.subgraphs[0].tensors[flat.subgraphs[0].operators[0].outputs[0]]
    assert wide.shape[-1] == filters * factor
    feed = generator.standard_normal((2, 7, width * stride, 4)).astype(np.float32)
    expected = interpret(graph, {"x": feed})["y"]
    for xnnpack in (True, False):
        np.testing.assert_allclose(run_litert(graph, [feed], xnnpack), expected, rtol=1e-4, atol=1e-4)


def test_responses_are_products_with_a_band_where_roots_give_the_exponent() -> None:
    def operators(beta: float, channels: int) -> list[str]:
        graph = Graph()
        x = graph.add_input("x", TensorType(DType.FLOAT, (1, 5, 5, channels)))
        graph.set_outputs([graph.add(channels_last_form(LRN(size=5, beta=beta)), x)], ["y"])
        flat = FlatModel("test")
        Emitter(flat).run(graph)
        return [o.name for o in flat.subgraphs[0].operators]

    assert operators(0.75, 64) == ["MUL", "CONV_2D", "RSQRT", "SQRT", "MUL", "MUL"]
    assert operators(0.75, 192) == ["RESHAPE", "MUL", "CONV_2D", "RSQRT", "SQRT", "MUL", "MUL", "RESHAPE"]
    assert operators(0.6, 64) == operators(0.75, 1024) == ["LOCAL_RESPONSE_NORMALIZATION"]


@pytest.mark.parametrize(
    ("kernel", "dilations", "strides", "extra"),
    [((2, 2), (1, 1), (2, 2), (0, 0)), ((2, 2), (2, 2), (3, 3), (0, 0)), ((1, 2), (1, 1), (1, 2), (0, 0)), ((1, 1), (1, 1), (2, 2), (1, 1)),
     ((3,), (1,), (3,), (0,)), ((2,), (2,), (3,), (0,))],
)  # fmt: skip
def test_windows_that_lie_side_by_side_are_positions_of_a_pointwise_convolution(kernel, dilations, strides, extra) -> None:
    generator = np.random.default_rng(len(kernel))
    graph = Graph()
    shape = (2, *(4, 5)[: len(kernel)], 3)
    x = graph.add_input("x", TensorType(DType.FLOAT, shape))
    weight = constant(generator.standard_normal((3, 4, *kernel)).astype(np.float32), "w")
    op = channels_last_form(ConvTranspose(strides=strides, dilations=dilations, output_padding=extra))
    graph.set_outputs([graph.add(op, x, weight, constant(generator.standard_normal(4).astype(np.float32), "b"))], ["y"])
    flat = FlatModel("test")
    Emitter(flat).run(graph)
    assert "TRANSPOSE_CONV" not in [o.name for o in flat.subgraphs[0].operators]
    feed = generator.standard_normal(shape).astype(np.float32)
    for xnnpack in (True, False):
        np.testing.assert_allclose(run_litert(graph, [feed], xnnpack), interpret(graph, {"x": feed})["y"], rtol=1e-4, atol=1e-4)
