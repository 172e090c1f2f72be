"""OpenVINO as something to time: its runtime model gives the layers that really run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..costmodel.flops import WEIGHTS
from ..ir.diagnostics import Diagnostic
from ..lowering.backend import E_LOAD
from .measure_layers import CONTRACTIONS, Layer, Operand, schedule_of_layers
from .measure_subject import Subject

_TYPES = {
    "float32": "f32", "float16": "f16", "bfloat16": "bf16", "int8_t": "i8", "uint8_t": "u8", "int32_t": "i32", "int64_t": "i64",
    "char": "bool", "boolean": "bool", "uint32_t": "u32", "uint64_t": "u64", "int16_t": "i16", "uint16_t": "u16", "double": "f64",
    "float64": "f64", "int4_t": "i4", "uint4_t": "u4",
}  # fmt: skip
FUSED = "multiply"  # stands for fused elementwise operators of which the runtime tells nothing: one pass over memory
CHANGES = ("reorder", "transpose")  # layers whose operand has another layout than their result
_SILENT = ("Const", "Input", "Output", "Parameter", "Result")


def openvino_subject(
    source: bytes | str | Path, feeds: Mapping[str, Any], threads: int = 1, level: str = "all", properties: Mapping[str, Any] | None = None
) -> Subject:
    """A loaded model with its inputs in place.

    Args:
        source: a serialised ONNX model, or the path of one or of an OpenVINO model.
        feeds: arrays by input name.
        threads: of the one stream.
        level: accepted for likeness; OpenVINO has no levels.
        properties: further ones, such as ``PERF_COUNT``.

    Raises:
        Diagnostic: E0504 when OpenVINO refuses the model.
    """
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, **(properties or {})}
    try:
        model = core.read_model(source if isinstance(source, bytes) else str(source))
        kinds = {op.get_friendly_name(): op.get_type_name() for op in model.get_ordered_ops()}
        if any(p.get_partial_shape().is_dynamic for p in model.inputs):
            model.reshape({p.get_any_name(): list(np.shape(feeds[p.get_any_name()])) for p in model.inputs})
        compiled = core.compile_model(model, "CPU", settings)
        request = compiled.create_infer_request()
        for port in compiled.inputs:
            request.set_tensor(port, openvino.Tensor(np.ascontiguousarray(feeds[port.get_any_name()])))
        layers, outputs = runtime_layers(compiled, kinds)
    except Exception as error:  # the runtime raises RuntimeError with long texts, bindings raise others
        place = "" if isinstance(source, bytes) else str(source)
        raise Diagnostic(E_LOAD, "OpenVINO does not load the model", place, notes=[str(error)[:2000]]) from error
    schedule = schedule_of_layers(layers, outputs)
    return Subject(request.infer, schedule, {}, None, request, len(compiled.outputs))


def runtime_layers(compiled: Any, kinds: Mapping[str, str] | None = None) -> tuple[list[Layer], list[str]]:
    """The layers of a compiled model in the order of execution, and the names of its results.

    Args:
        compiled: a compiled model.
        kinds: operators of the model before compilation by name; they tell what a fused elementwise layer computes.
    """
    ops = list(compiled.get_runtime_model().get_ordered_ops())
    order = {op.get_friendly_name(): int(_fact(op, "execOrder") or 0) for op in ops}
    constants = {op.get_friendly_name() for op in ops if _fact(op, "layerType") == "Const"}
    layers: list[Layer] = []
    outputs: list[str] = []
    for op in sorted(ops, key=lambda o: order[o.get_friendly_name()]):
        kind, name = _fact(op, "layerType"), op.get_friendly_name()
        operands = [_operand(op.input_value(i), constants) for i in range(op.get_input_size())]
        if kind in ("Output", "Result"):
            outputs += [o.name for o in operands]
        if kind in _SILENT:
            continue
        if operands and all(o.constant for o in operands):  # runs once, when the model is loaded
            constants.add(name)
            continue
        results = [_operand(op.output(i), constants) for i in range(op.get_output_size())]
        if kind.lower() not in (*CONTRACTIONS, *CHANGES):
            operands, results = (_in_memory(side, _fact(op, "outputLayouts")) for side in (operands, results))
        primitive = _fact(op, "primitiveType")
        sources = tuple(n for n in _fact(op, "originalLayersNames").split(",") if n)
        variant = _variant(kind, primitive, [(kinds or {}).get(n, "") for n in sources])
        weight = sum(WEIGHTS.get((kinds or {}).get(n, ""), 1) for n in sources) or 1
        layers.append(
            Layer(
                name,
                kind,
                tuple(operands),
                tuple(results),
                sources,
                variant=variant,
                stride=_stride(operands, results),
                extra={"weight": weight},
            )
        )
    return layers, outputs


def _fact(op: Any, key: str) -> str:
    info = op.get_rt_info()
    if key not in info:
        return ""
    found = info[key]
    return str(getattr(found, "value", found))


def _operand(port: Any, constants: set[str]) -> Operand:
    owner = port.get_node().get_friendly_name()
    shape = port.get_partial_shape()
    sizes = tuple(d.get_length() if d.is_static else 1 for d in shape) if shape.rank.is_static else ()
    kind = port.get_element_type().to_string() if hasattr(port.get_element_type(), "to_string") else str(port.get_element_type())
    names = {"f32": "f32", "f16": "f16", "bf16": "bf16", "i8": "i8", "u8": "u8", "i32": "i32", "i64": "i64", "boolean": "bool"}
    dtype = names.get(kind) or _TYPES.get(kind, "f32")
    return Operand(f"{owner}:{port.get_index()}", sizes, dtype, owner in constants)


def _in_memory(operands: list[Operand], layouts: str) -> list[Operand]:
    """Operands with their axes from the outermost to the innermost in memory, as far as the layout is a permutation of axes.

    Args:
        layouts: of a layer's results, such as ``acdb``: the third axis is the second from outside.
    """
    layout = layouts.split(",")[0]
    if sorted(layout) != [chr(ord("a") + i) for i in range(len(layout))]:
        return operands
    order = [ord(letter) - ord("a") for letter in layout]
    return [replace(o, shape=tuple(o.shape[axis] for axis in order)) if len(o.shape) == len(order) else o for o in operands]


def _variant(kind: str, primitive: str, parts: list[str]) -> str:
    """What tells kernels apart: the implementation of contractions, the operator's name for all else."""
    if kind in ("Convolution", "GroupConvolution", "FullyConnected", "MatMul", "Deconvolution"):
        family = primitive.rpartition("_")[0] or primitive
        return "" if kind in ("FullyConnected", "MatMul") else family.replace("jit_", "").replace("_1x1", "")
    if kind in ("Subgraph", "Math", "Eltwise"):
        return max(parts, key=lambda p: (WEIGHTS.get(p, 1), p)).lower() if any(parts) else FUSED
    return kind.lower()


def _stride(operands: list[Operand], results: list[Operand]) -> int:
    """The product of the strides of a convolution, from the areas."""
    if not operands or not results or len(operands[0].shape) < 3 or len(results[0].shape) != len(operands[0].shape):
        return 1
    before, after = operands[0].shape[2:], results[0].shape[2:]
    product = 1
    for b, a in zip(before, after, strict=True):
        product *= max(round(b / max(a, 1)), 1)
    return product
