"""What branches and loops of a .tflite file contain: LiteRT's interpreter lists the operators of the main graph only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .measure_layers import Operand

ASSUMED_TRIPS = 16  # of a loop whose end only the data decide
CONTROL = ("IF", "WHILE")
TYPES = {"float32": "f32", "float16": "f16", "int8": "i8", "uint8": "u8", "int32": "i32", "int64": "i64", "bool": "bool", "int16": "i16"}


@dataclass(frozen=True)
class BodyOperator:
    """An operator of a body: its name and its tensors by index; of control flow also the bodies and how often they run."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    bodies: tuple[int, ...] = ()
    trips: int = 1


@dataclass(frozen=True)
class Body:
    """A subgraph: its tensors, their names in the file, its operators. A size that is not known counts as one."""

    operands: tuple[Operand, ...]
    names: tuple[str, ...]
    operators: tuple[BodyOperator, ...]


def bodies_of(path: str | Path) -> tuple[Body, ...]:
    """All subgraphs of a file, the main one first."""
    from ai_edge_litert import schema_py_generated as schema

    data = np.fromfile(path, np.uint8)
    model: Any = schema.Model.GetRootAs(data, 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    types = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    return tuple(_body(model, i, names, types) for i in range(model.SubgraphsLength()))


def _body(model: Any, index: int, names: dict[int, str], types: dict[int, str]) -> Body:
    graph = model.Subgraphs(index)
    operands, given = [], []
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        shape = tuple(max(int(n), 1) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
        own = f"s{index}t{i}"
        given.append((tensor.Name() or b"").decode("utf-8", "replace") or own)
        filled = model.Buffers(tensor.Buffer()).DataLength() > 0
        operands.append(Operand(own, shape, TYPES.get(types.get(tensor.Type(), ""), "f32"), filled))
    operators = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        opcode = model.OperatorCodes(operator.OpcodeIndex())
        kind = names.get(max(opcode.BuiltinCode(), opcode.DeprecatedBuiltinCode()), "CUSTOM")
        inputs, outputs = (tuple(int(t) for t in array) if length else () for array, length in _ends(operator))
        bodies = _inner(operator, kind)
        trips = _trips(model, graph, inputs, bodies[0]) if kind == "WHILE" else 1
        operators.append(BodyOperator(kind, inputs, outputs, bodies[1:] if kind == "WHILE" else bodies, trips))
    return Body(tuple(operands), tuple(given), tuple(operators))


def _ends(operator: Any) -> tuple[tuple[Any, int], tuple[Any, int]]:
    return (operator.InputsAsNumpy(), operator.InputsLength()), (operator.OutputsAsNumpy(), operator.OutputsLength())


def _inner(operator: Any, kind: str) -> tuple[int, ...]:
    """Indices of the subgraphs of control flow: both branches, or the condition and the body."""
    from ai_edge_litert import schema_py_generated as schema

    if kind not in CONTROL:
        return ()
    options: Any = schema.IfOptions() if kind == "IF" else schema.WhileOptions()
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    if kind == "IF":
        return int(options.ThenSubgraphIndex()), int(options.ElseSubgraphIndex())
    return int(options.CondSubgraphIndex()), int(options.BodySubgraphIndex())


def _trips(model: Any, graph: Any, operands: Sequence[int], condition: int) -> int:
    """How often a loop runs that counts up to a constant."""
    from ai_edge_litert import schema_py_generated as schema

    test = model.Subgraphs(condition)
    inputs = [int(i) for i in test.InputsAsNumpy()]
    for i in range(test.OperatorsLength()):
        operator = test.Operators(i)
        opcode = model.OperatorCodes(operator.OpcodeIndex())
        compared = [int(t) for t in operator.InputsAsNumpy()]
        if max(opcode.BuiltinCode(), opcode.DeprecatedBuiltinCode()) == schema.BuiltinOperator.LESS and set(compared) <= set(inputs):
            start, limit = (_number(model, graph.Tensors(operands[inputs.index(t)])) for t in compared)
            if start is not None and limit is not None and 0 < limit - start < 1 << 20:
                return limit - start
    return ASSUMED_TRIPS


def _number(model: Any, tensor: Any) -> int | None:
    """The value of a constant integer scalar."""
    from ai_edge_litert import schema_py_generated as schema

    buffer = model.Buffers(tensor.Buffer())
    kinds = {schema.TensorType.INT32: np.dtype("<i4"), schema.TensorType.INT64: np.dtype("<i8")}
    kind = kinds.get(tensor.Type())
    if kind is None or buffer.DataLength() != kind.itemsize:
        return None
    return int(buffer.DataAsNumpy().view(kind)[0])
