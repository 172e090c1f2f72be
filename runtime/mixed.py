"""Running a model whose custom operators have no kernel: those in Python, the rest in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.custom import STANDARD_DOMAINS, evaluates, in_python, remedy, routes
from ..ir.diagnostics import E_EVALUATE, Diagnostic
from ..ir.dtypes import DType
from ..ir.interpreter import interpret
from ..ir.model import Model
from ..ir.serial.proto_types import decode_type
from ..ir.serial.reader import read_model_bytes
from ..lowering.backend import E_LOAD
from ..lowering.ort.engine import Engine
from ..lowering.ort.facts import type_name
from .subgraph import ProtoGraph

CutType = tuple[int, int]  # ONNX element type code and rank


def load_engine(
    proto: Any, *, level: str = "all", libraries: Sequence[str] = (), data_folder: Path | None = None, where: str = ""
) -> Engine | MixedEngine:
    """A model as something that runs: in ONNX Runtime, with its custom operators in Python where no library has a kernel for them.

    Args:
        proto: a ModelProto.
        level: graph optimisation level of the runtime.
        libraries: shared libraries with kernels.
        data_folder: where external weights lie.
        where: what diagnostics name.

    Raises:
        Diagnostic: E0504 when the runtime rejects the model.
    """
    operators = list(dict.fromkeys(_operators(proto.graph)))
    chosen = in_python(operators, libraries)
    if chosen:
        return MixedEngine(proto, chosen, level=level, libraries=libraries, data_folder=data_folder, where=where)
    try:
        return Engine(proto.SerializeToString(), level=level, libraries=libraries, data_folder=data_folder, where=where)
    except Diagnostic as error:
        unknown = [name for name in operators if name.rpartition(".")[0] not in STANDARD_DOMAINS]
        if error.code == E_LOAD and unknown and not libraries:
            error.hint = remedy(unknown[0])
        raise


def python_operators(model: Model, libraries: Sequence[str]) -> list[str]:
    """The operators of a model that would run in Python, by qualified name."""
    return in_python((node.op.qualified_name for node in model.graph.walk()), libraries)


class MixedEngine:
    """A model in stages that alternate between ONNX Runtime and Python.

    A node of the main graph runs in Python when it is, or contains, one of the operators that have no kernel.

    Attributes:
        input_types: the runtime's spelling of the type by input name.
    """

    def __init__(
        self,
        proto: Any,
        operators: Sequence[str],
        *,
        level: str = "disable",
        libraries: Sequence[str] = (),
        data_folder: Path | None = None,
        where: str = "",
    ) -> None:
        """Divide a model into stages; they are loaded when they first run.

        Args:
            operators: qualified names of what runs in Python.

        The other arguments are those of `load_engine`.
        """
        self._graph = ProtoGraph(proto)
        self._settings: dict[str, Any] = {"level": level, "libraries": libraries, "data_folder": data_folder, "where": where}
        self._folder, self._where = data_folder, where
        self._outputs = list(self._graph.outputs)
        self._stages = self._divide(frozenset(operators))
        self._loaded: dict[tuple[int, tuple[tuple[str, CutType], ...]], Engine | _PythonStage] = {}
        spelled = {v.name: type_name(decode_type(v.type, v.name)) or "" for v in proto.graph.input}
        self.input_types = {name: spelled[name] for name in self._graph.inputs}

    def run(self, feeds: Mapping[str, Any], names: Sequence[str] | None = None) -> dict[str, Any]:
        """Outputs by name for feeds by name.

        Raises:
            Diagnostic: E0505 where the runtime stops, E0207 where an implementation in Python fails.
        """
        memory = dict(feeds)
        for index, (python, needed, made) in enumerate(self._stages):
            types = {name: self._cut_type(name, memory[name]) for name in needed if name not in self._graph.inputs}
            key = (index, tuple(types.items()))
            if key not in self._loaded:
                part = self._graph.extract(made, types)
                self._loaded[key] = self._python(part) if python else Engine(part.SerializeToString(), **self._settings)
            stage = self._loaded[key]
            memory.update(stage.run({name: memory[name] for name in stage.input_types}))
        constants = [name for name in self._outputs if name not in memory]
        if constants:
            memory.update(Engine(self._graph.extract(constants).SerializeToString(), **self._settings).run({}))
        return {name: memory[name] for name in (self._outputs if names is None else names)}

    def _python(self, part: Any) -> _PythonStage:
        return _PythonStage(part, self._folder, self._where)

    def _divide(self, operators: frozenset[str]) -> list[tuple[bool, list[str], list[str]]]:
        """Stages in order of execution: whether in Python, the tensors each reads from before it, and those it makes for later."""
        graph = self._graph
        level_of: dict[str, int] = {}
        members: dict[int, list[int]] = {}
        for index, node in enumerate(graph.nodes):
            python = any(name in operators for name in _operators_of(node))
            level = max((level_of.get(name, 0) for name in graph.reads[index]), default=0)
            level += (level % 2) != python
            level_of.update(dict.fromkeys((name for name in node.output if name), level))
            members.setdefault(level, []).append(index)
        wanted = set(graph.outputs)
        for level in sorted(members):
            for index in members[level]:
                wanted.update(name for name in graph.reads[index] if level_of.get(name, level) != level)
        stages = []
        for level in sorted(members):
            reads = dict.fromkeys(name for index in members[level] for name in graph.reads[index])
            before = [name for name in reads if level_of.get(name, -1) < level and (name in level_of or name in graph.inputs)]
            made = [name for index in members[level] for name in graph.nodes[index].output if name in wanted]
            if made:
                stages.append((bool(level % 2), before, made))
        return stages

    def _cut_type(self, name: str, value: Any) -> CutType:
        if isinstance(value, np.ndarray):
            return DType.from_numpy(value.dtype).code, value.ndim
        message = f"'{name}' is no tensor: it cannot be handed between ONNX Runtime and Python"
        raise Diagnostic(E_EVALUATE, message, self._where, "give a library of kernels, or decompose the custom operators")


class _PythonStage:
    """A part of a model that the interpreter runs."""

    def __init__(self, part: Any, folder: Path | None, where: str) -> None:
        self._model = read_model_bytes(part.SerializeToString(), where or "<model>", folder)
        names = dict.fromkeys(node.op.qualified_name for node in self._model.graph.walk())
        without = [name for name in in_python(names, ()) if not evaluates(name)]
        if without:
            from ..passes.custom_ops import DecomposeCustom
            from ..passes.manager import run_passes

            with routes(dict.fromkeys(without, "decompose")):
                run_passes(self._model, [DecomposeCustom()])
        self.input_types = {value.name: str(value.type) for value in self._model.inputs}

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        return interpret(self._model, feeds)


def _operators(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield from _operators_of(node)


def _operators_of(node: Any) -> Iterator[str]:
    """The qualified names of a node's operator and of those in its subgraphs."""
    yield f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    for attribute in node.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            yield from _operators(graph)
