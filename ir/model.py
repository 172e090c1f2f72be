"""A model: the typed graph and everything about the file that is not the graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .graph import Graph, Value


@dataclass
class Model:
    """An imported model.

    Attributes:
        graph: the typed graph; functions are inlined.
        opsets: opset version per domain that the file declared (``""`` is ai.onnx).
        ir_version: the file's ONNX IR version.
        metadata: the file's metadata properties.
        properties: producer_name, producer_version, domain, model_version, doc_string, graph_doc as far as set.
        path: where it was read from.
        custom_op_libraries: shared libraries with kernels for custom operators that stay in the graph.
        notes: what the reader ignored and why.
        frozen: inputs that were made constants, with their values (see `edgec.ir.freeze`).
        requested_opset: the ai.onnx opset to write when `save` is not told another (set by ``optimize(opset=…)``).
    """

    graph: Graph
    opsets: dict[str, int] = field(default_factory=dict)
    ir_version: int = 10
    metadata: dict[str, str] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    custom_op_libraries: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    requested_opset: int | None = None
    frozen: dict[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> list[Value]:
        """The graph inputs."""
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The graph outputs; their public names are ``graph.output_names``."""
        return self.graph.outputs

    def save(self, path: str | Path, *, opset: int | None = None, external_data: bool | None = None) -> None:
        """Write ONNX, atomically and deterministically.

        Args:
            path: the file to write; weights beside it go to ``<name>.data``.
            opset: ai.onnx opset to emit (default: the requested one, else the oldest from 18, or the file's own, that can express it).
            external_data: weights in a separate file; by default only when the model would pass 2 GB inline.
        """
        from .serial.writer import write_model

        write_model(self, path, opset=self.requested_opset if opset is None else opset, external_data=external_data)

    def to_bytes(self, *, opset: int | None = None) -> bytes:
        """The model as one ONNX protobuf (below 2 GB)."""
        from .serial.writer import model_bytes

        return model_bytes(self, opset=self.requested_opset if opset is None else opset)

    def copy(self) -> Model:
        """A deep copy of the graph; constant data is shared."""
        from .clone import clone_model

        return clone_model(self)
