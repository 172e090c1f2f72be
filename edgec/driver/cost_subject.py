"""Models as `edgec cost` prices them: optimised, with the graph of the kernels that will run."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.model import Model
from ..optimizing import Settings, load_plugin_modules, open_model, run_pipeline
from .arguments import usage_error

if TYPE_CHECKING:
    from ..costmodel.analysis.llm import LlmConfig
    from ..ir.graph import Graph

KERNELS = ("auto", "regions", "nodes", "ort")
_SCOPES = "pkg.torch.onnx.name_scopes"


@dataclass
class Opened:
    """A model to be priced.

    Attributes:
        name: of the file.
        model: optimised, unless that was not wanted.
        scopes: module scopes of the imported nodes by their names, as far as exporters wrote them beside the names.
        config: the sizes of a language model, when the file holds nothing else.
        nodes: how many nodes the model had before and has after optimisation.
    """

    name: str
    model: Model
    scopes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    config: LlmConfig | None = None
    nodes: tuple[int, int] = (0, 0)
    _grouped: Graph | None = None

    @property
    def graph(self) -> Graph:
        """Its graph."""
        return self.model.graph

    def kernels(self, kind: str) -> Graph:
        """The graph of the kernels: one of `KERNELS` but auto."""
        if kind == "nodes":
            return self.graph
        if kind == "ort":
            return self._by_ort()
        if self._grouped is None:
            from ..prediction import fused_kernels

            self._grouped = fused_kernels(self.model)
        return self._grouped

    def _by_ort(self) -> Graph:
        from ..prediction import kernels_of_ort

        if self.config is not None:
            raise usage_error("the sizes of a language model are no file that ONNX Runtime reads", "--kernels", "use --kernels regions")
        return kernels_of_ort(self.model)


def open_subject(path: Path, settings: Settings, freeze: Mapping[str, Any], optimize: bool) -> Opened:
    """Read a model and optimise it with its symbols left open.

    Raises:
        Diagnostic: what reading and the passes raise; E1021 for the description of a language model.
    """
    if path.suffix == ".toml":
        from ..costmodel.analysis.llm import decoder_graph, read_config

        config = read_config(path)
        model = Model(decoder_graph(config), {"": 23})
        return Opened(path.name, model, config=config, nodes=(len(model.graph), len(model.graph)))
    load_plugin_modules(settings.plugins)
    model = open_model(path, None, freeze)
    scopes = {node.name: scope for node in model.graph.walk() if (scope := _scope(node.metadata.get(_SCOPES, "")))}
    before = sum(1 for _ in model.graph.walk())
    if optimize:
        run_pipeline(model, settings)
    return Opened(path.name, model, scopes, nodes=(before, sum(1 for _ in model.graph.walk())))


def _scope(written: str) -> tuple[str, ...]:
    """``['', 'model', 'model.layers.0', 'model.layers.0.mlp', 'linear']`` as a path without repetitions and the last name."""
    try:
        names = ast.literal_eval(written) if written else []
    except (ValueError, SyntaxError):
        return ()
    found: list[str] = []
    before = ""
    for name in names[:-1] if isinstance(names, list) else []:
        if not isinstance(name, str) or not name or name == before:
            continue
        found.append(name.removeprefix(before + ".") if before else name)
        before = name
    return tuple(found)
