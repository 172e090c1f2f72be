"""The textual form: exact round trips, and errors with their places."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgec.ir.ops  # noqa: F401  (registers the operators)
from edgec.ir.data import ArrayData
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dims import Atom, Expr, broadcast, floordiv, maximum, minimum, modulo, symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Value, constant, int64s
from edgec.ir.model import Model
from edgec.ir.op import OPS, Opaque
from edgec.ir.text import parse_model, print_graph
from edgec.ir.text.dims import format_dim
from edgec.ir.text.lexer import Source
from edgec.ir.text.values import ValueReader
from edgec.ir.types import UNKNOWN, OptionalType, SequenceType, TensorType

BATCH, SEQ = symbol("batch"), symbol("seq len")
FLOAT = TensorType(DType.FLOAT, (BATCH, 4))


def op(name: str, domain: str = "", **attributes: object) -> object:
    """An operator by its ONNX name."""
    return OPS[domain, name](**attributes)


def round_trip(item: Graph | Model) -> Model:
    """Parse what is printed and check that it prints the same again."""
    text = print_graph(item)
    model = parse_model(text)
    assert print_graph(model if isinstance(item, Model) else model.graph) == text
    return model


def small_graph() -> Graph:
    graph = Graph("main")
    x = graph.add_input("x", FLOAT)
    weight = constant(np.arange(20, dtype=np.float32).reshape(4, 5), "w")
    node = graph.insert(op("MatMul"), [x, weight], names=["/encoder/MatMul_output_0"], name="/encoder/MatMul")
    node.sources = ("/encoder/MatMul",)
    node.output.origins = ("/encoder/MatMul_output_0", "other")
    half = constant(np.float32(0.1), "half")
    y = graph.add(op("Add"), node.output, half)
    graph.set_outputs([y], ["out"])
    return graph


def test_handles_names_and_constants_survive() -> None:
    model = round_trip(small_graph())
    first, second = list(model.graph)
    assert (first.name, first.sources) == ("/encoder/MatMul", ("/encoder/MatMul",))
    assert first.output.origins == ("/encoder/MatMul_output_0", "other")
    assert second.output.origins == () and model.graph.output_names == ("out",)
    np.testing.assert_array_equal(first.inputs[1].data.numpy(), np.arange(20, dtype=np.float32).reshape(4, 5))
    assert second.inputs[1].data.numpy().tobytes() == np.float32(0.1).tobytes()


def test_model_facts_survive() -> None:
    model = Model(small_graph(), {"": 17, "com.microsoft": 1}, 9, {"k": 'a "quoted"\nline', "é": "ü"}, {"model_version": 3})
    model.custom_op_libraries = ("lib/ops.so",)
    back = round_trip(model)
    assert (back.opsets, back.ir_version, back.metadata) == (model.opsets, 9, model.metadata)
    assert back.properties == {"model_version": 3} and back.custom_op_libraries == ("lib/ops.so",)


def test_fresh_names_do_not_collide_after_parsing() -> None:
    graph = round_trip(small_graph()).graph
    names = {v.name for v in graph.values()}
    assert graph.fresh_name("add") not in names and graph.fresh_name("add") not in names


def test_unnamed_and_duplicate_names_get_unique_ones() -> None:
    graph = Graph("main")
    x = graph.add_input("x", FLOAT)
    y = graph.insert(op("Add"), [x, constant(np.float32(1))], names=["x"]).output
    z = graph.insert(op("Add"), [y, constant(np.float32(2))], names=[""]).output
    graph.set_outputs([z], ["z"])
    names = [v.name for v in round_trip(graph).graph.values()]
    assert len(set(names)) == 3 and "" not in names


def test_every_type() -> None:
    graph = Graph("g")
    for index, type_ in enumerate(
        [
            TensorType(DType.INT64, (3,), (BATCH * 2, None, -1)),
            TensorType(DType.BFLOAT16, None),
            TensorType(DType.STRING, ()),
            SequenceType(TensorType(DType.FLOAT, (BATCH, SEQ))),
            OptionalType(SequenceType(TensorType(DType.INT4, (8,)))),
            UNKNOWN,
        ]
    ):
        graph.add_input(f"in {index}", type_)
    model = round_trip(graph)
    assert [v.type for v in model.inputs] == [v.type for v in graph.inputs]
    assert model.inputs[0].content == (BATCH * 2, None, -1)


@pytest.mark.parametrize("dtype", list(DType), ids=str)
@pytest.mark.parametrize("count", [3, 40])
def test_every_element_type_keeps_its_bits(dtype: DType, count: int) -> None:
    if dtype is DType.STRING:
        array = np.array([f"a\\'\"\n{i}é" for i in range(count)], dtype=object)
    elif dtype.bits < 8:
        array = (np.arange(count) % (1 << dtype.bits)).astype(np.uint8)
        array = (
            (array.astype(np.int8) - (1 << dtype.bits - 1) * dtype.is_signed_integer).astype(dtype.numpy)
            if (dtype.is_integer)
            else array.view(dtype.numpy)
        )
    elif dtype is DType.BOOL:
        array = np.arange(count) % 3 == 0
    else:
        bits = np.random.default_rng(7).integers(0, 256, (count, dtype.bits // 8), dtype=np.uint8)
        array = np.ascontiguousarray(bits).view(dtype.numpy).reshape(count)
    graph = Graph("g")
    graph.set_outputs([constant(ArrayData(array, dtype), "c")])
    back = round_trip(graph).graph.outputs[0].data
    assert back.dtype is dtype and back.shape == (count,)
    if dtype is DType.STRING:
        assert back.numpy().tolist() == array.tolist()
    else:
        assert bytes(back.raw()) == bytes(ArrayData(array, dtype).raw())


@pytest.mark.parametrize("value", [-0.0, math.inf, -math.inf, math.nan, 1e-45, 3.4028235e38, 16777217.0])
def test_special_numbers(value: float) -> None:
    graph = Graph("g")
    graph.set_outputs([constant(np.array([value], np.float32), "c"), constant(np.array([value]), "d")])
    back = round_trip(graph).graph.outputs
    assert back[0].data.numpy().tobytes() == np.array([value], np.float32).tobytes()
    assert back[1].data.numpy().tobytes() == np.array([value]).tobytes()


def test_opaque_operators_keep_everything() -> None:
    graph = Graph("g")
    x = graph.add_input("x", FLOAT)
    data = ArrayData(np.arange(50, dtype=np.int32))
    body = Graph("inner graph")
    body.set_outputs([x], ["o"])
    attrs = (("a b", 1), ("f", 2.0), ("s", "t\n"), ("t", data), ("e", ()), ("l", (1.0, math.inf)), ("none", None))
    opaque = Opaque("my.domain", "My-Op", 7, attrs, ("body",), (TensorType(DType.FLOAT, (None, 4)), UNKNOWN))
    node = graph.insert(opaque, [x, None], outputs=2, names=["y", ""], regions=[body])
    graph.set_outputs([node.output])
    back = next(iter(round_trip(graph).graph))
    assert (back.op.op_domain, back.op.type_name, back.op.version) == ("my.domain", "My-Op", 7)
    assert back.op.result_types == opaque.result_types and back.op.regions == ("body",)
    held = dict(back.op.attrs)
    assert held.pop("t").numpy().tolist() == list(range(50))
    assert held == {k: v for k, v in attrs if k != "t"}
    assert back.regions[0].outputs[0] is back.graph.inputs[0] and back.inputs[1] is None


def test_regions_read_outer_values_and_share_constants() -> None:
    graph = Graph("main")
    condition = graph.add_input("c", TensorType(DType.BOOL, ()))
    x = graph.add_input("x", FLOAT)
    shared = constant(np.arange(30, dtype=np.float32).reshape(1, 30)[:, :4].copy(), "k")
    branches = []
    for name in ("then", "else"):
        branch = Graph(name)
        branch.set_outputs([branch.add(op("Add" if name == "then" else "Sub"), x, shared)], ["r"])
        branches.append(branch)
    y = graph.insert(op("If"), [condition], regions=branches, outputs=1).output
    z = graph.add(op("Mul"), y, shared)
    graph.set_outputs([z])
    back = round_trip(graph).graph
    first, last = list(back)
    assert first.regions[0].parent is first
    assert {next(iter(r)).inputs[1] for r in first.regions} == {last.inputs[1]}


def test_dtype_and_list_attributes() -> None:
    graph = Graph("g")
    x = graph.add_input("x", TensorType(DType.FLOAT, (2, 3)))
    y = graph.add(op("Cast", to=DType.FLOAT16), x)
    graph.set_outputs([graph.add(op("Transpose", perm=(1, 0)), y)])
    cast, transpose = list(round_trip(graph).graph)
    assert cast.op.to is DType.FLOAT16 and transpose.op.perm == (1, 0)


def test_types_may_be_left_out() -> None:
    model = parse_model("edgec 1\ngraph g {\n input %x: f32[n, 4] # a comment\n %y = Relu(%x)\n return %y\n}\n")
    assert model.outputs[0].type == TensorType(DType.FLOAT, (symbol("n"), 4))


def test_long_contents_are_inferred_again() -> None:
    graph = Graph("g")
    x = graph.add_input("x", TensorType(DType.FLOAT, (2, 3)))
    indices = int64s(range(100), "i")
    y = graph.add(op("Mul"), indices, int64s([2], "two"))
    graph.set_outputs([y, x])
    assert y.content is not None and len(y.content) == 100
    assert round_trip(graph).graph.outputs[0].content == y.content


def test_the_documented_example_is_exact() -> None:
    documentation = (Path(__file__).parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
    example = documentation.split("```\nedgec 1\n", 1)[1].split("```", 1)[0]
    assert print_graph(parse_model("edgec 1\n" + example)) == "edgec 1\n" + example


def test_text_without_details_parses() -> None:
    text = print_graph(small_graph(), details=False)
    assert "from" not in text and "@" not in text
    assert print_graph(parse_model(text), details=False).split("resources")[1:] == text.split("resources")[1:]


BAD = [
    ("edgec 2\n", "text:1:7", "format 2"),
    ("", "text:1:1", "expected 'edgec'"),
    ("edgec 1\nopset {}\ngraph g { return }", "text:2:1", "unknown heading"),
    ("edgec 1\ngraph g {\n  input %x: f33[1]\n return %x }", "text:3:13", "'f33'"),
    ("edgec 1\ngraph g {\n  %y = Relu(%x)\n return %y }", "text:3:13", "%x is not defined"),
    ("edgec 1\ngraph g {\n input %x: f32[2]\n %y = Reul(%x)\n return %y }", "text:4:7", "unknown operator"),
    ("edgec 1\ngraph g {\n input %x: f32[2]\n %x = Relu(%x)\n return %x }", "text:4:2", "defined twice"),
    ("edgec 1\ngraph g {\n input %x: f32[2]\n %y: f32[3] = Relu(%x)\n return %y }", "text:4:2", "declared as"),
    ("edgec 1\ngraph g {\n input %x: f32[2]\n %y = LeakyRelu(%x, alfa = 1.0)\n return %y }", "text:4:7", "alfa"),
    ("edgec 1\ngraph g {\n input %x: f32[2]\n %y = Cast(%x)\n return %y }", "text:4:7", "needs the attribute 'to'"),
    ("edgec 1\ngraph g {\n %c = const f32[2] [1.0]\n return %c }", "text:3:20", "2 elements, not 1"),
    ("edgec 1\ngraph g {\n %c = const u8[1] [300]\n return %c }", "text:3:19", "do not fit"),
    ("edgec 1\ngraph g {\n %c = const i4[1] [8]\n return %c }", "text:3:19", "-8 to 7"),
    ('edgec 1\ngraph g {\n %c = const f32[20] elided "00"\n return %c }', "text:3:13", "elided"),
    ('edgec 1\ngraph g {\n %c = const f32[20] resource "00"\n return %c }', "text:3:30", "no resource"),
    ("edgec 1\ngraph g {\n input %x: f32[a // 0]\n return %x }", "text:3:18", "zero"),
    ("edgec 1\ngraph g {\n input %x: f32['a\n", "text:3:16", "does not end"),
    ("edgec 1\ngraph g {\n input %x: f32[2]", "text:3:18", "the text ends"),
    ("edgec 1\ngraph g { return }\nmore", "text:3:1", "expected the end"),
]


@pytest.mark.parametrize("text, where, message", BAD, ids=[m for _, _, m in BAD])
def test_errors_name_line_and_column(text: str, where: str, message: str) -> None:
    with pytest.raises(Diagnostic) as caught:
        parse_model(text)
    assert caught.value.code == "E0206"
    assert caught.value.where == where
    assert message in caught.value.message


def test_operand_errors_keep_their_code_and_name_the_place() -> None:
    text = "edgec 1\ngraph g {\n input %x: f32[2]\n input %y: f32[3]\n %z = Add(%x, %y)\n return %z }"
    with pytest.raises(Diagnostic) as caught:
        parse_model(text)
    assert caught.value.code == "E0201" and "text:5:7" in caught.value.where


def test_elided_text_does_not_parse_and_damage_is_found() -> None:
    graph = small_graph()
    with pytest.raises(Diagnostic, match="elided"):
        parse_model(print_graph(graph, elide=True))
    text = print_graph(graph)
    start = text.index('b64"') + 12
    damaged = text[:start] + ("B" if text[start] == "A" else "A") + text[start + 1 :]
    with pytest.raises(Diagnostic, match="digest"):
        parse_model(damaged)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_garbage_is_a_diagnostic(text: str) -> None:
    for prefix in ("", "edgec 1\n", "edgec 1\ngraph g {\n input %x: f32[", "edgec 1\ngraph g {\n %c = const "):
        with pytest.raises(Diagnostic):
            parse_model(prefix + text)


NAMES = st.one_of(st.sampled_from(["a", "b", "seq len", "x'y", 'q"', "max", "t.0", "\\n"]), st.text(min_size=1, max_size=4))


def _combine(children: st.SearchStrategy[Expr | int]) -> st.SearchStrategy[Expr | int]:
    pairs = st.tuples(children, children)
    return st.one_of(
        pairs.map(lambda p: p[0] + p[1]),
        pairs.map(lambda p: p[0] * p[1]),
        pairs.map(lambda p: p[0] - 2 * p[1]),
        pairs.filter(lambda p: p[1] != 0).map(lambda p: floordiv(*p)),
        pairs.filter(lambda p: p[1] != 0).map(lambda p: modulo(*p)),
        pairs.map(lambda p: maximum(*p)),
        pairs.map(lambda p: minimum(*p)),
        pairs.map(lambda p: broadcast(*p)).filter(lambda d: d is not None),
    )


DIMS = st.recursive(st.one_of(st.integers(-9, 99), NAMES.map(symbol)), _combine, max_leaves=6)


def read_dim(text: str) -> Expr | int:
    reader = ValueReader(Source(text, "dim"))
    return reader.expression()


@settings(max_examples=500, deadline=None)
@given(DIMS)
def test_dimensions_read_back(dim: Expr | int) -> None:
    assert read_dim(format_dim(dim)) == dim


def test_ambiguous_spellings_are_avoided() -> None:
    a, b = symbol("a"), symbol("b")
    for dim in (a // (2 * b), a % (3 * b), (a // b) // (b * b)):
        assert read_dim(format_dim(dim)) == dim
    assert isinstance(Atom("a"), Atom)


UNARY = ["Relu", "Neg", "Abs", "Sigmoid", "Tanh", "Exp"]
BINARY = ["Add", "Sub", "Mul", "Max"]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Random float graphs with static shapes, constants of two sizes, transposes and fan-out."""
    graph = Graph(draw(st.sampled_from(["main", "my graph", ""])))
    values: list[Value] = [graph.add_input(n, TensorType(DType.FLOAT, (3, 8))) for n in ("x", "in put")]
    seed = draw(st.integers(0, 1000))
    values.append(constant(np.random.default_rng(seed).normal(size=(3, 8)).astype(np.float32), "big"))
    values.append(constant(np.float32(draw(st.floats(-2, 2, width=32))), "small"))
    for _ in range(draw(st.integers(1, 8))):
        left, right = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        kind = draw(st.sampled_from(["unary", "binary", "twice"]))
        if kind == "unary":
            made = graph.add(op(draw(st.sampled_from(UNARY))), left)
        elif kind == "binary":
            made = graph.add(op(draw(st.sampled_from(BINARY))), left, right)
        else:
            perm = tuple(reversed(range(left.rank or 0)))
            made = graph.add(op("Transpose", perm=perm), graph.add(op("Transpose", perm=perm), left))
        if draw(st.booleans()):
            made.origins = tuple(draw(st.lists(st.text(max_size=5), max_size=2)))
        values.append(made)
    graph.set_outputs([values[-1], draw(st.sampled_from(values))], ["o", 'p "q"'])
    return graph


def evaluate(graph: Graph, feeds: list[np.ndarray]) -> list[np.ndarray]:
    """Run the graph with the operators' own evaluation."""
    held = dict(zip(graph.inputs, feeds, strict=True))

    def array(value: Value) -> np.ndarray:
        return value.data.numpy() if value.data is not None else held[value]

    for node in graph:
        held[node.output] = node.op.evaluate(*(array(v) for v in node.inputs))
    return [array(v) for v in graph.outputs]


@settings(max_examples=120, deadline=None)
@given(graphs())
def test_random_graphs_round_trip_and_evaluate_equally(graph: Graph) -> None:
    parsed = round_trip(graph).graph
    generator = np.random.default_rng(3)
    feeds = [generator.normal(size=(3, 8)).astype(np.float32) for _ in graph.inputs]
    with np.errstate(all="ignore"):
        for ours, theirs in zip(evaluate(graph, feeds), evaluate(parsed, feeds), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert [v.origins for v in parsed.values()] == [v.origins for v in graph.values()]
