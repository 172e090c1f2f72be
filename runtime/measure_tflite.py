"""LiteRT as something to time: the operators of a .tflite file as the interpreter lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic
from ..lowering.backend import E_LOAD
from .measure_layers import Layer, Operand, schedule_of_layers
from .measure_subject import Subject

_TYPES = {"float32": "f32", "float16": "f16", "int8": "i8", "uint8": "u8", "int32": "i32", "int64": "i64", "bool": "bool", "int16": "i16"}


def tflite_subject(path: str | Path, feeds: Sequence[Any], threads: int = 1, xnnpack: bool = True) -> Subject:
    """A loaded model with its inputs in place.

    Args:
        path: the .tflite file.
        feeds: arrays in the order of its inputs.
        threads: of the interpreter.
        xnnpack: whether XNNPACK runs what it can.

    Raises:
        Diagnostic: E0504 when LiteRT refuses the model.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from ..lowering.tflite.quiet import quiet_stderr

    kernels = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        with quiet_stderr():
            interpreter = Interpreter(model_path=str(path), num_threads=threads, experimental_op_resolver_type=kernels)
            details = interpreter.get_input_details()
            for detail, array in zip(details, feeds, strict=True):
                if tuple(detail["shape"]) != np.shape(array):
                    interpreter.resize_tensor_input(detail["index"], np.shape(array), strict=True)
            interpreter.allocate_tensors()
            for detail, array in zip(details, feeds, strict=True):
                interpreter.set_tensor(detail["index"], np.asarray(array, detail["dtype"]))
            interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        raise Diagnostic(E_LOAD, "LiteRT does not load the model", str(path), notes=[str(error)[:2000]]) from error
    outputs = [f"t{d['index']}" for d in interpreter.get_output_details()]
    schedule = schedule_of_layers(interpreter_layers(interpreter), outputs)
    return Subject(interpreter.invoke, schedule, {}, None, interpreter, len(outputs))


def interpreter_layers(interpreter: Any) -> list[Layer]:
    """The operators in the order of execution; those that a delegate took stand as themselves."""
    tensors: dict[int, Mapping[str, Any]] = {d["index"]: d for d in interpreter.get_tensor_details()}
    operators = [op for op in interpreter._get_ops_details() if op["op_name"] != "DELEGATE"]
    made = {int(i) for op in operators for i in op["outputs"]} | {d["index"] for d in interpreter.get_input_details()}
    layers: list[Layer] = []
    for op in operators:
        inputs = tuple(_operand(tensors[int(i)], int(i) not in made) for i in op["inputs"] if int(i) in tensors)
        outputs = tuple(_operand(tensors[int(i)], False) for i in op["outputs"] if int(i) in tensors)
        kind = str(op["op_name"])
        if kind == "TRANSPOSE_CONV" and len(inputs) > 2:
            inputs = (inputs[2], inputs[1], *inputs[3:])
        stride = 1
        if kind.endswith("CONV_2D") and len(inputs) > 1 and len(outputs[0].shape) == 4:
            before, after = inputs[0].shape[1:3], outputs[0].shape[1:3]
            stride = max(round(before[0] / max(after[0], 1)), 1) * max(round(before[1] / max(after[1], 1)), 1)
        groups = _groups(kind, inputs)
        name = str(tensors[int(op["outputs"][0])]["name"]) if len(op["outputs"]) else kind
        variant = "" if kind.endswith(("CONV_2D", "CONV_3D", "FULLY_CONNECTED", "BATCH_MATMUL")) else kind.lower()
        extra = {"taps": _taps(inputs, outputs)} if kind.endswith("POOL_2D") else {}
        layers.append(Layer(name, kind, inputs, outputs, (name,), True, groups, variant, stride, extra))
    return layers


def _groups(kind: str, inputs: Sequence[Operand]) -> int | None:
    if kind == "CONV_2D" and len(inputs) > 1 and len(inputs[1].shape) == 4:
        return max(inputs[0].shape[-1] // max(inputs[1].shape[-1], 1), 1)
    return None


def _taps(inputs: Sequence[Operand], outputs: Sequence[Operand]) -> int:
    area, positions = (int(np.prod(o.shape[1:-1])) for o in (inputs[0], outputs[0]))
    return max(area // max(positions, 1), 4)


def _operand(detail: Mapping[str, Any], constant: bool) -> Operand:
    kind = _TYPES.get(np.dtype(detail["dtype"]).name if detail["dtype"] is not np.bytes_ else "", "f32")
    return Operand(f"t{detail['index']}", tuple(int(n) for n in detail["shape"]), kind, constant)
