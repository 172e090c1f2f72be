"""What becomes of a model's nodes on some targets, and the smallest model that shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .compiling import Compilation, own_pass
from .ir.diagnostics import Diagnostic, code, did_you_mean
from .ir.model import Model
from .optimizing import Settings, Source

if TYPE_CHECKING:
    from .ir.graph import Node
    from .lowering.ladder import Step

SCHEMA = "edgec.support/1"
E_NO_NODE = code(
    "E0574",
    "the model has no such node",
    "A node is named by its own name, by that of one of its results, or by that of a node of the original model that it stands for. "
    "`edgec support MODEL --target T --nodes` lists them.",
)


@dataclass
class NodeFacts:
    """One node of the model as the targets get it.

    Attributes:
        name: its name, or that of its first result.
        op: its operator.
        sources: the nodes of the original model that it stands for.
        result: the type of its first result.
        macs: multiply-accumulates, symbols taken for `NOMINAL_SIZE`.
        attributes: those that differ from their defaults, as text.
    """

    name: str
    op: str
    sources: tuple[str, ...]
    result: str
    macs: float
    attributes: str

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {
            "node": self.name,
            "op": self.op,
            "sources": list(self.sources),
            "result": self.result,
            "macs": self.macs,
            "attributes": self.attributes,
        }


@dataclass
class TargetSupport:
    """What one target makes of the nodes.

    Attributes:
        target: its name.
        version: of its runtime; empty when that is not installed.
        steps: one for each node, in order; empty when the runtime is not installed.
        refusal: why the target does not take the model; None when it does.
        seconds: predicted latency of each node on the hardware asked for; None without a prediction.
    """

    target: str
    version: str = ""
    steps: list[Step] = field(default_factory=list)
    refusal: Diagnostic | None = None
    seconds: list[float | None] | None = None

    @property
    def goes(self) -> bool:
        """Whether the target takes the model."""
        return self.refusal is None


@dataclass
class SupportReport:
    """What becomes of a model on some targets.

    Attributes:
        name: of the model.
        nodes: those of the model after the portable passes.
        targets: in the order asked for.
        hardware: what latencies are predicted for.
    """

    name: str
    nodes: list[NodeFacts]
    targets: list[TargetSupport]
    hardware: str | None = None

    def counts(self, support: TargetSupport) -> dict[str, dict[str, Any]]:
        """By rung: the number of nodes, and their share of the multiply-accumulates."""
        from .lowering.ladder import RUNGS

        total = sum(node.macs for node in self.nodes) or 1.0
        found: dict[str, dict[str, Any]] = {}
        for rung in RUNGS:
            chosen = [node for node, step in zip(self.nodes, support.steps, strict=False) if step.rung == rung]
            if chosen:
                found[rung] = {"nodes": len(chosen), "macs_share": round(sum(node.macs for node in chosen) / total, 6)}
        return found

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        targets = []
        for support in self.targets:
            steps = [
                {**node.to_json(), **step.to_json()} | ({} if support.seconds is None else {"seconds": support.seconds[index]})
                for index, (node, step) in enumerate(zip(self.nodes, support.steps, strict=False))
            ]
            targets.append(
                {
                    "target": support.target,
                    "version": support.version,
                    "ok": support.goes,
                    "error": None if support.refusal is None else support.refusal.to_json(),
                    "counts": self.counts(support),
                    "nodes": steps,
                }
            )
        goes = all(support.goes for support in self.targets)
        return {"schema": SCHEMA, "ok": goes, "model": self.name, "hardware": self.hardware, "targets": targets}


def support_of(
    source: Source,
    settings: Settings,
    targets: Sequence[str],
    *,
    dims: Mapping[str, int] | None = None,
    freeze: Mapping[str, Any] | None = None,
    hardware: str | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> SupportReport:
    """What becomes of every node of a model on some targets; each target's lowering is tried, and nothing is written.

    Args:
        source: a model or the path of one.
        settings: as for compiling.
        targets: names of targets.
        dims: sizes of symbolic dimensions.
        freeze: inputs to make constants of.
        hardware: a machine that the cost model knows; gives predicted latencies.
        progress: told what is being done, in a few words.

    Raises:
        Diagnostic: what is wrong with the model or the options; that a target refuses is part of the result.
    """
    from .prediction import node_seconds

    with Compilation.of(source, settings, targets, dims, freeze, installed=False) as compilation:
        portable = compilation.stages.portable.model
        nodes = [_node_facts(node) for node in portable.graph.walk()]
        name = portable.path.name if portable.path is not None else portable.graph.name
        found = []
        for target in targets:
            progress(f"asking {target}")
            support = _on_target(compilation, target)
            if hardware is not None and support.steps:
                support.seconds = node_seconds(portable, hardware)
            found.append(support)
    return SupportReport(name, nodes, found, hardware)


def _on_target(compilation: Compilation, target: str) -> TargetSupport:
    runner = compilation.backends[target]
    if runner.available() is not None:
        try:
            runner.require()
        except Diagnostic as error:
            return TargetSupport(target, refusal=error)
    support = TargetSupport(target, runner.version())
    survey = compilation.ladder(target).survey(compilation.stages.portable.model)
    try:
        _, _, taken = compilation.lowered(target)
    except Diagnostic as error:
        support.refusal, support.steps = error, survey
        return support
    descended = any(step.rung in ("exact", "approximate") for step in taken)
    changed = {step.where: step for step in taken} if descended else {}
    for step in survey:
        support.steps.append(changed[step.where] if step.where in changed else own_pass(step))
    return support


def _node_facts(node: Node) -> NodeFacts:
    from .costmodel.work import node_macs
    from .lowering.price import nominal

    attributes = ", ".join(f"{key}={value}" for key, value in node.op.changed_attributes())[:200]
    result = str(node.outputs[0].type) if node.outputs else ""
    name = node.name or (node.outputs[0].name if node.outputs else "")
    return NodeFacts(name, node.op.qualified_name, node.sources, result, nominal(node_macs(node)), attributes)


def single_node(
    source: Source, name: str, settings: Settings, dims: Mapping[str, int] | None = None, freeze: Mapping[str, Any] | None = None
) -> Model:
    """The smallest model that shows a node: the node alone with typed inputs, its constants kept.

    The name is looked up among the nodes that the targets get, then among those of the model as it was read.

    Raises:
        Diagnostic: E0574 when there is no such node.
    """
    from .ir.clone import isolated_node

    with Compilation.of(source, settings, ["ort"], dims, freeze) as compilation:
        known: dict[str, None] = {}
        for model in (compilation.stages.portable.model, compilation.model):
            for node in model.graph.walk():
                names = [node.name, *(value.name for value in node.outputs), *node.sources]
                known |= dict.fromkeys(n for n in names if n)
                if name in names:
                    return Model(isolated_node(node), opsets=dict(model.opsets), ir_version=model.ir_version)
    raise Diagnostic(E_NO_NODE, f"there is no node '{name}'", hint=_hint(name, list(known)))


def _hint(name: str, known: list[str]) -> str:
    hint = did_you_mean(name, known)
    return hint if hint.startswith("did") else "`edgec support MODEL --target T --nodes` lists the nodes"
