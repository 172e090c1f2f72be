"""The MIL program of a model: interface, body, conversion to an ML program."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...ir.diagnostics import Diagnostic
from ...ir.dims import Expr
from ...ir.dtypes import DType
from ...ir.graph import Graph, Value
from ...ir.model import Model
from ..backend import E_LOAD
from .carriers import CARRIERS
from .emit.context import Cell, Emission
from .images import Image
from .interface import Port, interface_kind
from .shapes import FlexibleShapes
from .states import State
from .versions import Release

CLEANUP = (
    "common::dead_code_elimination",
    "common::const_elimination",
    "common::cast_optimization",
    "common::dead_code_elimination",
    "common::const_deduplication",
    "common::noop_elimination",
    "common::dedup_op_and_var_names",
    "common::dead_code_elimination",
)
"""coremltools' passes that only tidy up: the optimisations have been made on our own graph."""
HALF = ("common::add_fp16_cast", "common::cast_optimization", "common::const_elimination", "common::dead_code_elimination")


@dataclass
class Program:
    """An ML program in memory.

    Attributes:
        model: coremltools' object with the specification and the folder of the weights.
        inputs: the public inputs in their order; those that nothing reads have no feature.
        outputs: the public outputs in their order.
        names: the names in the program by value.
    """

    model: Any
    inputs: list[Port]
    outputs: list[Port]
    names: dict[Value, str]


def build_program(
    model: Model,
    settings: Mapping[str, Any],
    shapes: FlexibleShapes,
    weights: Any = None,
    images: Mapping[str, Image] | None = None,
    states: Mapping[str, State] | None = None,
) -> Program:
    """Translate a model whose nodes have all been judged.

    Args:
        model: the prepared model; it stays as it is.
        settings: the backend's options.
        shapes: sizes of symbolic dimensions.
        weights: makes compressed constants (see `weights.compression`).
        images: the inputs that are images.
        states: the inputs that are states.
    """
    quiet()
    from coremltools.converters.mil.mil import Function, Placeholder, types
    from coremltools.converters.mil.mil import Program as MilProgram
    from coremltools.converters.mil.mil.program import StateTensorPlaceholder as StatePlaceholder

    release = Release.of(settings["minimum_target"])
    graph, emission = model.graph, Emission(release, weights)
    inputs, placeholders = [], {}
    kept = {} if states is None else states
    cells: dict[str, str] = {}
    for value in graph.inputs:
        if value.name in kept:
            cells[value.name] = emission.fresh(value.name)
            placeholders[cells[value.name]] = StatePlaceholder(kept[value.name].shape, dtype=types.fp16)
            continue
        port = _input_port(value, emission, release)
        inputs.append(port)
        if port.feature:
            dims = [shapes.dim(d) for d in value.shape or ()] if not port.scalar else [1]
            placeholders[port.feature] = Placeholder(dims, dtype=getattr(types, port.kind))
    hidden = {state.present for state in kept.values()}
    features = {name: emission.fresh(name) for name in graph.output_names if name not in hidden}
    with Function(placeholders, opset_version=release.native) as function:
        ports = {port.name: port for port in inputs if port.feature}
        results_by_name = dict(zip(graph.output_names, graph.outputs, strict=True))
        for value in graph.inputs:
            if value.name in cells:
                state = function.inputs[cells[value.name]]
                read = emission.mil.read_state(input=state, stem=f"{cells[value.name]}_read")
                emission.cells[value] = Cell(state, read, results_by_name[kept[value.name].present])
                emission.define(value, emission.cast(read, CARRIERS[value.tensor.dtype]))
            elif value.name in ports:
                emission.define(value, _enter(emission, function.inputs[ports[value.name].feature], ports[value.name]))
        emission.emit_graph(graph)
        for value, cell in emission.cells.items():
            if not cell.written:
                update = emission.cast(emission.var(cell.target), "fp16")
                emission.mil.coreml_update_state(state=cell.state, value=update, stem=f"{cells[value.name]}_update")
        outputs, results = _leave(emission, graph, release, features)
        function.set_outputs(results)
    program = MilProgram()
    program.add_function("main", function)
    converted = _convert(program, settings, shapes.inputs(list(ports.values()), {v.name: v for v in graph.inputs}, images or {}))
    return Program(converted, inputs, outputs, emission.names)


def _input_port(value: Value, emission: Emission, release: Release) -> Port:
    if not value.uses:
        return Port(value.name, "", DType.FLOAT, "fp32", False)
    dtype = value.tensor.dtype
    return Port(value.name, emission.fresh(value.name), dtype, interface_kind(dtype, release), value.rank == 0)


def _enter(emission: Emission, var: Any, port: Port) -> Any:
    """An input in the carrier of its public type."""
    if port.scalar:
        var = emission.mil.squeeze(x=var, axes=[0], stem=f"{port.feature}_scalar")
    carrier = CARRIERS[port.dtype]
    if carrier == "bool":
        return emission.mil.not_equal(x=var, y=emission.like(0, var), stem=f"{port.feature}_bool")
    return var if carrier == port.kind else emission.mil.cast(x=var, dtype=carrier, stem=f"{port.feature}_cast")


def _leave(emission: Emission, graph: Graph, release: Release, features: Mapping[str, str]) -> tuple[list[Port], list[Any]]:
    """The outputs under names of their own."""
    ports, results = [], []
    for value, name in zip(graph.outputs, graph.output_names, strict=True):
        if name not in features:
            continue
        dtype = value.tensor.dtype
        kind = interface_kind(dtype, release)
        var = emission.wide(value)
        scalar = value.rank == 0
        if scalar:
            var = emission.mil.expand_dims(x=var, axes=[0], stem=f"{name}_vector")
        feature = features[name]
        if emission.kind(var) != kind:
            var = emission.mil.cast(x=var, dtype=kind, stem=f"{feature}_public")
        else:
            var = emission.mil.identity(x=var, stem=f"{feature}_public")
        var.name = var.op.name = feature
        ports.append(Port(name, feature, dtype, kind, scalar))
        results.append(var)
    return ports, results


def _convert(program: Any, settings: Mapping[str, Any], inputs: list[Any] | None) -> Any:
    import coremltools

    release = Release.of(settings["minimum_target"])
    half = settings["precision"] == "f16"
    kept = tuple(settings["keep_f32"])
    names = [*CLEANUP[:-1], *(HALF if half else ()), CLEANUP[-1]]
    pipeline = coremltools.PassPipeline(names, "edgec")
    precision: Any = coremltools.precision.FLOAT32
    if half:
        from .precision import selects_half

        precision = coremltools.transform.FP16ComputePrecision(op_selector=selects_half(kept))
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return coremltools.convert(
                program,
                inputs=inputs,
                convert_to="mlprogram",
                minimum_deployment_target=release.native,
                compute_precision=precision,
                pass_pipeline=pipeline,
                skip_model_load=True,
            )
    except Diagnostic:
        raise
    except Exception as error:
        raise Diagnostic(E_LOAD, "coremltools does not serialise the program", notes=[f"{type(error).__name__}: {error}"[:2000]]) from error


def quiet() -> None:
    """Import coremltools without its progress bars and advice."""
    logging.getLogger("coremltools").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools  # noqa: F401
    logging.getLogger("coremltools").setLevel(logging.ERROR)


def is_symbolic(value: Value) -> bool:
    """Whether a size of a value is only known at run time."""
    return any(isinstance(d, Expr) for d in value.shape or ())
