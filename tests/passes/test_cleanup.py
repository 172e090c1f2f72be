"""The cleanup passes beyond what the golden tests show: regions, large constants, random graphs, speed."""

import time

import numpy as np
import pytest

import edgec.passes
from edgec.ir.data import ArrayData
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Value, constant, constant_type, int64s
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.op import Opaque
from edgec.ir.ops.activation import Clip, Relu, Sigmoid
from edgec.ir.ops.binary import Add, Div, Max, Mul, Pow, Sub
from edgec.ir.ops.cast import Cast
from edgec.ir.ops.concat import Concat
from edgec.ir.ops.control import If
from edgec.ir.ops.gather import Gather
from edgec.ir.ops.optional import Optional, OptionalGetElement, OptionalHasElement
from edgec.ir.ops.random import Dropout
from edgec.ir.ops.reduction import ReduceMean
from edgec.ir.ops.region import Region
from edgec.ir.ops.reshape import Expand, Flatten, Reshape, Shape, Squeeze, Unsqueeze
from edgec.ir.ops.transpose import Transpose
from edgec.ir.ops.unary import Abs, Exp, Identity, Neg
from edgec.ir.types import TensorType
from edgec.ir.verifier import verify
from edgec.passes.context import Context
from edgec.passes.default_pipeline import cleanup_pipeline, default_pipeline
from edgec.passes.manager import PassManager, run_passes
from edgec.passes.mutation import captured_values
from edgec.passes.registry import PASSES
from edgec.passes.remove_no_ops import is_lossless
from edgec.passes.share_constants import ConstantPool

assert edgec.passes  # its import registers the passes


def new_graph(*shapes):
    graph = Graph()
    for index, shape in enumerate(shapes):
        dims = tuple(symbol(d) if isinstance(d, str) else d for d in shape)
        graph.add_input("xyz"[index], TensorType(DType.FLOAT, dims))
    return graph


def ops(graph):
    return [node.op.op_name for node in graph.walk()]


class Counted(ArrayData):
    """Constant data that counts how often its contents are asked for."""

    __slots__ = ("reads",)

    def __init__(self, array):
        super().__init__(array)
        self.reads = 0

    def numpy(self):
        self.reads += 1
        return super().numpy()

    def raw(self):
        self.reads += 1
        return super().raw()


def counted(array, name):
    data = Counted(array)
    value = Value(name, constant_type(data), data=data)
    data.reads = 0
    return value


def test_large_constants_that_are_alone_of_their_kind_are_not_read():
    graph = new_graph((64, 64))
    x = graph.inputs[0]
    lonely = counted(np.ones((64, 64), np.float32), "a")
    other = counted(np.ones((64, 65), np.float32), "b")
    from edgec.ir.ops.matmul import MatMul

    graph.set_outputs([graph.add(MatMul(), graph.add(Add(), x, lonely), other)])
    run_passes(graph, "share-constants,dead-code,simplify-shapes")
    assert lonely.data.reads == other.data.reads == 0


def test_large_constants_are_compared_in_full():
    base = np.random.default_rng(0).standard_normal(300_000).astype(np.float32)
    changed = base.copy()
    changed[200_123] += 1
    values = [constant(array, name) for name, array in zip("abc", (base, base.copy(), changed), strict=True)]
    pool = ConstantPool()
    found = [pool.representative(value) for value in values]
    assert found == [values[0], values[0], values[2]]


def test_constants_of_sub_byte_types_and_strings_are_shared():
    pool = ConstantPool()
    words = [constant(np.array(["ab", "c"], object), "w1"), constant(np.array(["ab", "c"], object), "w2")]
    nibbles = [constant(np.array([1, -2, 3], DType.INT4.numpy), name) for name in ("n1", "n2")]
    other = constant(np.array(["a", "bc"], object), "w3")
    assert pool.representative(words[0]) is pool.representative(words[1])
    assert pool.representative(other) is other
    assert pool.representative(nibbles[0]) is pool.representative(nibbles[1])


def test_an_inner_region_reuses_outer_values_but_branches_do_not_see_each_other():
    graph = new_graph((2,))
    x = graph.inputs[0]
    condition = graph.add_input("c", TensorType(DType.BOOL, ()))
    outer = graph.add(Exp(), x)
    branches = [Graph("then"), Graph("else")]
    for branch in branches:
        branch.set_outputs([branch.add(Add(), branch.add(Exp(), x), branch.add(Neg(), x))], ["o"])
    node = graph.insert(If(), [condition], regions=branches)
    graph.set_outputs([node.output, outer])
    assert run_passes(graph, "cse").counts == {"node": 2}
    assert ops(graph) == ["Exp", "If", "Neg", "Add", "Neg", "Add"]
    assert branches[0].last.inputs[0] is outer
    verify(graph)


def test_bodies_of_regions_stay_isolated():
    graph = new_graph(("batch", "seq"), (4,))
    x, y = graph.inputs
    body = Graph("body")
    inner = body.add_input("inner", x.type)
    row = body.add_input("row", y.type)
    parts = [body.add(Gather(0), body.add(Shape(), body.add(Exp(), inner)), int64s([axis])) for axis in (0, 1)]
    target = body.add(Concat(0), *parts, int64s([4]))
    body.set_outputs([body.add(Expand(), row, target)], ["o"])
    outer = graph.add(Expand(), y, graph.add(Concat(0), graph.add(Shape(), graph.add(Exp(), x)), int64s([4])))
    node = graph.insert(Region("odd"), [x, y], regions=[body])
    graph.set_outputs([outer, node.output], ["a", "b"])
    feeds = {"x": np.ones((2, 3), np.float32), "y": np.arange(4, dtype=np.float32)}
    expected = interpret(graph, feeds)
    run_passes(graph, cleanup_pipeline())
    assert not captured_values(body)
    same(interpret(graph, feeds), expected)


def test_opaque_nodes_are_neither_merged_nor_folded():
    graph = new_graph((2,))
    op = Opaque("custom", "Thing", 1, (), (), (TensorType(DType.FLOAT, (2,)),))
    fixed = constant(np.ones(2, np.float32), "c")
    parts = [graph.add(op, graph.inputs[0], outputs=1), graph.add(op, graph.inputs[0], outputs=1), graph.add(op, fixed, outputs=1)]
    graph.set_outputs(parts)
    assert not run_passes(graph, "cse,fold-constants,dead-code").modified


def test_training_mode_is_reported():
    graph = new_graph((4,))
    training = constant(True, "t", DType.BOOL)
    graph.set_outputs([graph.insert(Dropout(), [graph.inputs[0], None, training], outputs=1).output])
    context = Context(declines=[])
    assert not run_passes(graph, "remove-no-ops", context).modified
    assert "training mode" in context.notes[0].message and context.declines[0].rule == "remove-dropout"


def test_clip_without_effect_and_with():
    for bounds, kept in (((None, None), False), ((-np.inf, np.inf), False), ((-np.inf, 6.0), True), ((0.0, None), True)):
        graph = new_graph((4,))
        limits = [None if b is None else constant(np.float32(b), f"b{i}") for i, b in enumerate(bounds)]
        graph.set_outputs([graph.add(Clip(), graph.inputs[0], *limits)])
        run_passes(graph, "remove-no-ops")
        assert (len(graph) == 1) is kept


@pytest.mark.parametrize("source", [t for t in DType if t.bits in (8, 16, 32, 64) and t.short[0] in "iu"])
def test_lossless_casts_keep_the_extreme_integers(source):
    info = np.iinfo(source.numpy)
    for target in DType:
        if target.short in ("f16", "f32", "f64") or target.short[0] in "iu" and target.bits >= 8:
            for extreme in (info.min, info.max, info.max - 1):
                with np.errstate(all="ignore"):
                    held = np.array(extreme, source.numpy).astype(target.numpy)
                exact = bool(np.isfinite(held)) and int(held) == extreme
                assert exact or not is_lossless(source, target), f"{source} to {target}"


def test_casts_are_merged_only_without_loss():
    for source, middle, target, merged in (
        (DType.FLOAT16, DType.FLOAT, DType.INT32, True),
        (DType.FLOAT, DType.FLOAT16, DType.FLOAT, False),
        (DType.INT64, DType.DOUBLE, DType.FLOAT, False),
        (DType.INT32, DType.INT64, DType.FLOAT, True),
        (DType.INT32, DType.INT64, DType.FLOAT16, False),
        (DType.UINT8, DType.BFLOAT16, DType.FLOAT, True),
    ):
        graph = Graph()
        x = graph.add_input("x", TensorType(source, (3,)))
        graph.set_outputs([graph.add(Cast(target), graph.add(Cast(middle), x))])
        run_passes(graph, "remove-no-ops,dead-code")
        assert (len(graph) == 1) is merged, (source, middle, target)


def test_outputs_keep_their_names_and_inputs_their_types():
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, None))
    node = graph.insert(Identity(), [x], types=[TensorType(DType.FLOAT, (2, 2))], names=["y"])
    graph.set_outputs([node.output], ["y"])
    run_passes(graph, "remove-no-ops")
    assert graph.outputs == (x,) and graph.output_names == ("y",) and x.shape is None


def test_bisection_reaches_every_cleanup_pass():
    """The number of permitted rewrites equals the limit, whatever it is, and all prefixes compute the same."""
    model = random_model(3)
    feeds = feeds_of(model)
    expected = interpret(model, feeds)
    full = Context()
    run_passes(model.copy(), cleanup_pipeline(), full)
    assert full.rewrites > 10
    for limit in range(0, full.rewrites, 5):
        trial = model.copy()
        context = Context(rewrite_limit=limit)
        PassManager(cleanup_pipeline(), verify="full").run(trial, context)
        assert context.rewrites == limit
        same(interpret(trial, feeds), expected)


# -- random graphs -------------------------------------------------------------------------------------------------------
def random_model(seed, steps=60):
    """Chains of everyday operators, full of neutral constants, detours and repetitions."""
    generator = np.random.default_rng(seed)
    graph = new_graph(("batch", 4, 6), (4, 6))
    pool = list(graph.inputs)

    def pick():
        return pool[int(generator.integers(max(0, len(pool) - 8), len(pool)))]

    def scalar(*choices):
        return constant(np.float32(generator.choice(choices)), "c")

    def shape_of(value):
        parts = []
        shape = graph.add(Shape(), value)
        for axis in range(value.rank):
            parts.append(graph.add(Unsqueeze(), graph.add(Gather(0), shape, constant(axis, "i", DType.INT64)), int64s([0])))
        return graph.add(Concat(0), *parts) if parts else None

    makers = [
        lambda v: graph.add(Add(), v, scalar(0, 1, -0.5)),
        lambda v: graph.add(Mul(), scalar(1, 2, 0.25), v),
        lambda v: graph.add(Div(), v, scalar(1, 4, 3)),
        lambda v: graph.add(Sub(), v, graph.add(Neg(), v)),
        lambda v: graph.add(Pow(), v, scalar(1, 2)),
        lambda v: graph.add(Neg(), graph.add(Neg(), v)),
        lambda v: graph.add(Relu(), graph.add(Identity(), v)),
        lambda v: graph.add(Sigmoid(), v),
        lambda v: graph.add(Max(), scalar(0, 1), graph.add(Abs(), v)),
        lambda v: graph.add(Cast(DType.FLOAT), graph.add(Cast(DType.DOUBLE), v)),
        lambda v: graph.add(Transpose(tuple(int(p) for p in generator.permutation(v.rank))), v),
        lambda v: graph.add(Squeeze(), graph.add(Unsqueeze(), v, int64s([0])), int64s([0])),
        lambda v: graph.add(Reshape(), v, shape_of(v)) if v.rank else v,
        lambda v: graph.add(Reshape(), graph.add(Flatten(1), v), shape_of(v)) if v.rank else v,
        lambda v: graph.add(ReduceMean(keepdims=1), v, int64s([-1])),
        lambda v: graph.add(Add(), v, v),
    ]
    for _ in range(steps):
        value = makers[int(generator.integers(len(makers)))](pick())
        if value.rank == 3 or value.rank == 2:
            pool.append(value)
    graph.set_outputs(pool[-3:], ["o1", "o2", "o3"])
    return Model(graph, {"": 23})


def feeds_of(model):
    generator = np.random.default_rng(1)
    feeds = {}
    for value in model.inputs:
        shape = [d if isinstance(d, int) else 3 for d in value.shape]
        feeds[value.name] = generator.uniform(-1, 1, shape).astype(np.float32)
    return feeds


def same(actual, expected):
    assert list(actual) == list(expected)
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_allclose(actual[name], array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(n for n, p in PASSES.items() if p.keeps_interface and not n.startswith("test-")))
def test_every_pass_keeps_the_meaning_of_random_graphs(name):
    for seed in range(4):
        model = random_model(seed)
        feeds = feeds_of(model)
        expected = interpret(model, feeds)
        PassManager([PASSES[name]()], verify="full").run(model, Context(opsets=model.opsets))
        same(interpret(model, feeds), expected)


@pytest.mark.parametrize("seed", range(12))
def test_the_default_pipeline_keeps_the_meaning_and_comes_to_rest(seed):
    model = random_model(seed)
    before = len(model.graph)
    feeds = feeds_of(model)
    expected = interpret(model, feeds)
    PassManager(default_pipeline(), verify="full").run(model, Context(opsets=model.opsets))
    assert len(model.graph) < before
    same(interpret(model, feeds), expected)
    assert not run_passes(model, default_pipeline()).modified


def test_the_pipeline_survives_a_round_trip_through_a_file(tmp_path):
    import onnxruntime

    model = random_model(5)
    feeds = feeds_of(model)
    expected = interpret(model, feeds)
    PassManager(default_pipeline()).run(model)
    model.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    same(dict(zip(expected, session.run(list(expected), feeds), strict=True)), expected)


def test_three_thousand_nodes_are_cleaned_within_the_budget():
    """A transformer-like graph; the budget leaves room for slow machines."""
    graph = new_graph(("batch", "seq", 64))
    value = graph.inputs[0]
    while len(graph) < 3000:
        shape = graph.add(Shape(), value)
        parts = [graph.add(Unsqueeze(), graph.add(Gather(0), shape, constant(axis, "i", DType.INT64)), int64s([0])) for axis in (0, 1)]
        target = graph.add(Concat(0), *parts, int64s([4]), int64s([16]))
        heads = graph.add(Transpose((0, 2, 1, 3)), graph.add(Reshape(), value, target))
        merged = graph.add(Reshape(), graph.add(Transpose((0, 2, 1, 3)), heads), graph.add(Shape(), value))
        scaled = graph.add(Div(), graph.add(Identity(), merged), constant(np.float32(8), "eight"))
        weight = constant(np.random.default_rng(len(graph)).standard_normal((64,)).astype(np.float32), "w")
        value = graph.add(Add(), graph.add(Mul(), graph.add(Sigmoid(), scaled), weight), value)
    graph.set_outputs([value])
    began = time.process_time()
    run_passes(graph, default_pipeline())
    seconds = time.process_time() - began
    assert len(graph) < 1600
    assert seconds < 1.5, f"{seconds:.2f} s"


def test_optionals_that_are_none():
    graph = new_graph((3,))
    x = graph.inputs[0]
    held = graph.add(Optional(), x)
    element = graph.add(OptionalGetElement(), held)
    graph.set_outputs([graph.add(OptionalGetElement(), element), graph.add(OptionalHasElement(), held)], ["y", "z"])
    run_passes(graph, cleanup_pipeline())
    found = interpret(graph, {"x": np.ones(3, np.float32)})
    assert not ops(graph) or set(ops(graph)) <= {"Identity"}
    np.testing.assert_array_equal(found["y"], np.ones(3, np.float32))
    assert found["z"].dtype == np.bool_ and found["z"].shape == () and bool(found["z"])
