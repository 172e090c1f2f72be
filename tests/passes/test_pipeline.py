"""Pipeline text, the pass manager, observers and plugins."""

import io
from dataclasses import dataclass
from typing import ClassVar

import pytest

from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph
from edgec.ir.model import Model
from edgec.ir.ops.unary import Abs, Neg
from edgec.ir.types import TensorType
from edgec.passes import plugins
from edgec.passes.base import Change, Pass
from edgec.passes.context import Context
from edgec.passes.manager import PassManager, run_passes
from edgec.passes.observers import BisectLimit, CheckEachPass, PrintAfter, Reproducer, Timing
from edgec.passes.pipeline_text import Fix, format_pipeline, parse_pipeline
from edgec.passes.registry import ALIASES, PASSES, find_pass


@dataclass(frozen=True)
class DropOne(Pass):
    """Removes the last node and returns its operand.

    Nothing more to say.
    """

    name: ClassVar[str] = "test-drop-one"
    aliases: ClassVar[tuple[str, ...]] = ("tdo",)
    keep: int = 0
    scale: float = 1.0
    label: str = "none"
    flag: bool = False
    limit: int | None = None
    names: tuple[str, ...] = ()

    def run(self, graph, context):
        if len(graph) <= self.keep or not context.permit("drop"):
            return Change()
        node = graph.last
        graph.set_output(0, node.inputs[0])
        graph.remove(node)
        return Change.of("drop")


@dataclass(frozen=True)
class Look(Pass):
    """Does nothing."""

    name: ClassVar[str] = "test-look"

    def run(self, graph, context):
        context.extras["looks"] = context.extras.get("looks", 0) + 1
        return Change()


@dataclass(frozen=True)
class Break(Pass):
    """Breaks."""

    name: ClassVar[str] = "test-break"
    how: str = "raise"

    def run(self, graph, context):
        if self.how == "raise":
            raise ZeroDivisionError("oops")
        graph.last.output.uses.clear()
        return Change.of("break")


@pytest.fixture(autouse=True, scope="module")
def registered():
    yield
    for cls in (DropOne, Look, Break):
        del PASSES[cls.name]
    del ALIASES["tdo"]


def chain(length):
    graph = Graph()
    value = graph.add_input("x", TensorType(DType.FLOAT, (2,)))
    for _ in range(length):
        value = graph.add(Neg(), value)
    graph.set_outputs([value], ["out"])
    return Model(graph)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "test-look",
        "test-look,fix(test-drop-one)",
        "fix{max=5}(test-drop-one{keep=3},fix(test-look))",
        "test-drop-one{keep=2,scale=0.25,label=plain,flag=true,limit=7,names=[a,b]}",
        'test-drop-one{label="a, \\"b\\"",names=["x y"]}',
        'test-drop-one{scale=1e-05,label="true"}',
        'test-drop-one{label="12",limit=3}',
    ],
)
def test_text_round_trip(text):
    passes = parse_pipeline(text)
    assert format_pipeline(passes) == text
    assert parse_pipeline(format_pipeline(passes)) == passes


def test_values_take_the_types_of_the_options():
    (step,) = parse_pipeline(" tdo { keep = 2 , scale=1, flag=true, limit=none, names=[a] } ")
    assert step == DropOne(2, 1.0, "none", True, None, ("a",)) and type(step.scale) is float
    assert format_pipeline([step]) == "test-drop-one{keep=2,flag=true,names=[a]}"
    assert parse_pipeline("fix{max=2}(test-look)") == [Fix((Look(),), 2)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("test-look,", "the name of a pass expected"),
        ("test-look test-look", "',' expected"),
        ("fix(test-look", "')' expected"),
        ("fix{min=2}(test-look)", "only the option max"),
        ("fix{max=two}(test-look)", "only the option max"),
        ("test-drop-one{keep=many}", "cannot be 'many'"),
        ("test-drop-one{flag=1}", "cannot be '1'"),
        ("test-drop-one{names=a}", "cannot be 'a'"),
        ('test-drop-one{keep="2"}', "cannot be '2'"),
        ("test-drop-one{kept=2}", "no option 'kept'"),
        ("test-drop-one{keep 2}", "'=' expected"),
        ('test-drop-one{label="a}', "unexpected character"),
    ],
)
def test_syntax_errors_say_where(text, complaint):
    with pytest.raises(Diagnostic) as caught:
        parse_pipeline(text)
    assert complaint in caught.value.message and caught.value.code == "E0403"
    assert caught.value.where.startswith("column") and caught.value.notes[0] == text


def test_unknown_passes_are_answered_with_a_suggestion():
    with pytest.raises(Diagnostic) as caught:
        parse_pipeline("test-look,test-drop-on")
    assert caught.value.code == "E0401" and "test-drop-one" in caught.value.hint
    assert "column 11" in caught.value.where


def test_registration():
    assert find_pass("tdo") is DropOne and DropOne.description() == "Removes the last node and returns its operand."
    with pytest.raises(ValueError, match="registered twice"):
        type("Look2", (Look,), {"name": "test-look", "__doc__": "Another.", "__module__": "elsewhere"})


def test_fix_runs_until_nothing_changes():
    model = chain(5)
    context = Context()
    reports = PassManager("fix(test-drop-one{keep=2},test-look)").run(model, context)
    assert len(model.graph) == 2
    assert [r.step.name for r in reports if r.change.modified] == ["test-drop-one"] * 3
    assert context.extras["looks"] == 3, "only after changes"


def test_fix_stops_at_its_maximum():
    model = chain(9)
    run_passes(model, "fix{max=3}(test-drop-one)")
    assert len(model.graph) == 6


def test_a_pass_is_not_run_again_while_nothing_changed():
    context = Context()
    PassManager("test-look,test-look,fix(test-look),test-drop-one{keep=9},test-look").run(chain(2), context)
    assert context.extras["looks"] == 1


def test_merged_changes():
    assert run_passes(chain(5), "fix(test-drop-one)").counts == {"drop": 5}
    assert not run_passes(chain(5), "test-look").modified


def test_a_failing_pass_is_named():
    with pytest.raises(Diagnostic) as caught:
        run_passes(chain(1), "test-look,test-break")
    assert caught.value.code == "E0404" and "test-break failed: ZeroDivisionError: oops" in caught.value.message
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_pass_that_leaves_a_malformed_graph_is_named():
    with pytest.raises(Diagnostic) as caught:
        run_passes(chain(1), "test-break{how=uses}")
    assert caught.value.code == "E0405" and "test-break" in caught.value.message and caught.value.notes


def test_timing_and_printing():
    timing, stream = Timing(), io.StringIO()
    PassManager("fix(test-drop-one{keep=1},test-look)", [timing, PrintAfter(stream=stream)]).run(chain(3))
    assert timing.runs == {"test-drop-one": 3, "test-look": 2} and timing.events["test-drop-one"] == {"drop": 2}
    assert "drop 2" in timing.table()
    assert stream.getvalue().count("# after test-drop-one{keep=1}") == 2


def test_a_reproducer_holds_the_model_before_the_failing_pass(tmp_path):
    from edgec.ir.serial.reader import read_model

    with pytest.raises(Diagnostic) as caught:
        PassManager("test-drop-one,test-break", [Reproducer(tmp_path)]).run(chain(3))
    assert any("reproduce with" in note for note in caught.value.notes)
    assert (tmp_path / "before-test-break.pipeline").read_text() == "test-break\n"
    assert len(read_model(tmp_path / "before-test-break.onnx").graph) == 2


def test_the_bisection_observer_counts_across_passes():
    model = chain(5)
    context = Context()
    PassManager("test-drop-one,test-drop-one{keep=1},fix(test-drop-one)", [BisectLimit(3)]).run(model, context)
    assert len(model.graph) == 2 and context.last_rewrite == "drop"


def test_each_pass_that_changed_something_is_checked():
    seen = []
    PassManager("test-look,test-drop-one", [CheckEachPass(lambda g, p: seen.append((p.name, len(g))))]).run(chain(3))
    assert seen == [("test-drop-one", 2)]


def test_analyses_are_forgotten_when_the_graph_changes():
    graph = chain(3).graph
    context = Context()
    assert context.analysis("count", graph, len) == 3
    graph.set_outputs([graph.add(Abs(), graph.outputs[0])])
    assert context.analysis("count", graph, len) == 3
    PassManager("test-drop-one").run(graph, context)
    assert context.analysis("count", graph, len) == 3 and len(graph) == 3
    PassManager("test-drop-one").run(graph, context)
    assert context.analysis("count", graph, len) == 2


def test_notes_are_kept_once_and_opsets_limit():
    context = Context(opsets={"": 13})
    context.note("fold", "could not", "node 'a'")
    context.note("fold", "could not", "node 'a'")
    assert [str(n) for n in context.notes] == ["fold: could not (node 'a')"]
    assert context.admits("", 13) and not context.admits("", 14) and context.admits("com.microsoft", 1)


class _Point:
    dist = None

    def __init__(self, name, action):
        self.name, self.value, self.load = name, f"{name}_module", action


def test_plugins_are_loaded_once_and_failures_name_them(monkeypatch):
    loaded = []
    points = [_Point("good", lambda: loaded.append("good"))]
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    assert plugins.load_plugins() == {"good": "good_module"} == plugins.load_plugins()
    assert loaded == ["good"]
    points.append(_Point("bad", lambda: 1 // 0))
    with pytest.raises(Diagnostic, match="plugin 'bad' failed to load: ZeroDivisionError"):
        plugins.load_plugins()
