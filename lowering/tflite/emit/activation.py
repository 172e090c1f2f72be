"""Activations."""

from __future__ import annotations

from ....ir.graph import Node
from ....ir.ops.activation import Relu, Sigmoid
from ..emitter import Emitter
from ..registry import emits


@emits(Relu)
def relu(e: Emitter, node: Node) -> None:
    e.op("RELU", [e.operand(node.inputs[0])], [e.result(node.output)])


@emits(Sigmoid)
def sigmoid(e: Emitter, node: Node) -> None:
    e.op("LOGISTIC", [e.operand(node.inputs[0])], [e.result(node.output)])
