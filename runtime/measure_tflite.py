"""LiteRT as something to time: the operators of a .tflite file as the interpreter lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.diagnostics import Diagnostic
from ..lowering.backend import E_LOAD
from .measure_layers import BRANCHING, Layer, Operand, geometry_of, multiplications, schedule_of_layers
from .measure_subject import Subject
from .tflite_bodies import CONTROL, TYPES, Body, BodyOperator, bodies_of


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
    schedule = schedule_of_layers(interpreter_layers(interpreter, path), outputs)
    return Subject(interpreter.invoke, schedule, {}, None, interpreter, len(outputs))


def interpreter_layers(interpreter: Any, path: str | Path) -> list[Layer]:
    """The operators in the order of execution; those that a delegate took stand as themselves. Of branches the heavier one is listed, of
    loops the body, with the number of its runs."""
    tensors: dict[int, Mapping[str, Any]] = {d["index"]: d for d in interpreter.get_tensor_details()}
    listed = [op for op in interpreter._get_ops_details() if op["op_name"] != "DELEGATE"]
    made = {int(i) for op in listed for i in op["outputs"]} | {d["index"] for d in interpreter.get_input_details()}
    operands = {i: _operand(detail, i not in made) for i, detail in tensors.items()}
    names = {i: str(detail["name"]) for i, detail in tensors.items()}
    bodies = bodies_of(path) if any(op["op_name"] in CONTROL for op in listed) else ()
    main = iter(bodies[0].operators if bodies else ())
    place = _Place(operands, names, bodies)
    layers: list[Layer] = []
    for op in listed:
        inputs, outputs = (tuple(int(i) for i in op[side] if int(i) in operands) for side in ("inputs", "outputs"))
        inner = next(main, None)
        layers += place.layers(str(op["op_name"]), inputs, outputs, inner if inner is not None and inner.bodies else None)
    return layers


@dataclass(frozen=True)
class _Place:
    """A subgraph: its tensors by index, their names, all subgraphs of the file, and how often it runs."""

    operands: Mapping[int, Operand]
    names: Mapping[int, str]
    bodies: Sequence[Body]
    count: int = 1

    def layers(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], flow: BodyOperator | None) -> list[Layer]:
        """An operator, and what runs inside of it."""
        given, results = tuple(self.operands[i] for i in inputs), tuple(self.operands[i] for i in outputs)
        name = self.names[outputs[0]] if outputs else kind
        if flow is not None:
            runs = self.count * flow.trips
            candidates = [_body_layers(index, self.bodies, runs) for index in flow.bodies]
            head = Layer(name, BRANCHING, given, results, (name,), True, variant=kind.lower(), count=runs)
            return [head, *max(candidates, key=_work)]
        if kind == "TRANSPOSE_CONV" and len(given) > 2:
            given = (given[2], given[1], *given[3:])
        stride = 1
        if kind.endswith("CONV_2D") and len(given) > 1 and len(results[0].shape) == 4:
            before, after = given[0].shape[1:3], results[0].shape[1:3]
            stride = max(round(before[0] / max(after[0], 1)), 1) * max(round(before[1] / max(after[1], 1)), 1)
        variant = "" if kind.endswith(("CONV_2D", "CONV_3D", "FULLY_CONNECTED", "BATCH_MATMUL")) else kind.lower()
        extra = {"taps": _taps(given, results)} if kind.endswith("POOL_2D") else {}
        return [Layer(name, kind, given, results, (name,), True, _groups(kind, given), variant, stride, extra, self.count)]


def _body_layers(index: int, bodies: Sequence[Body], count: int) -> list[Layer]:
    body = bodies[index]
    place = _Place(dict(enumerate(body.operands)), dict(enumerate(body.names)), bodies, count)
    found: list[Layer] = []
    for op in body.operators:
        inputs, outputs = (tuple(i for i in side if i >= 0) for side in (op.inputs, op.outputs))
        found += place.layers(op.kind, inputs, outputs, op if op.bodies else None)
    return found


def _work(layers: Sequence[Layer]) -> int:
    return sum(multiplications(geometry_of(layer)) * layer.count for layer in layers) + len(layers)


def _groups(kind: str, inputs: Sequence[Operand]) -> int | None:
    if kind == "CONV_2D" and len(inputs) > 1 and len(inputs[1].shape) == 4:
        return max(inputs[0].shape[-1] // max(inputs[1].shape[-1], 1), 1)
    return None


def _taps(inputs: Sequence[Operand], outputs: Sequence[Operand]) -> int:
    area, positions = (int(np.prod(o.shape[1:-1])) for o in (inputs[0], outputs[0]))
    return max(area // max(positions, 1), 4)


def _operand(detail: Mapping[str, Any], constant: bool) -> Operand:
    kind = TYPES.get(np.dtype(detail["dtype"]).name if detail["dtype"] is not np.bytes_ else "", "f32")
    return Operand(f"t{detail['index']}", tuple(int(n) for n in detail["shape"]), kind, constant)
