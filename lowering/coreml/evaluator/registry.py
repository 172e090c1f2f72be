"""The operators that the evaluator knows."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from .values import Declared


@dataclass(frozen=True)
class Call:
    """What an evaluation may need to know of the operator beside its operands.

    Attributes:
        opset: the iOS version whose operator definitions hold (15 to 18).
        outputs: what the program declares of the results.
    """

    opset: int
    outputs: tuple[Declared, ...]


@dataclass(frozen=True)
class Operator:
    """How one operator is evaluated.

    Attributes:
        name: its type in the program.
        evaluate: takes the operands by their names in the program; returns an array, or a tuple of them.
        moves: whether it only moves values, so that 16-bit floats need not be widened.
        parameters: every operand it may have.
        required: those it must have.
        tuples: operands that are several values.
        wants_call: whether ``evaluate`` takes a `Call` as ``call``.
    """

    name: str
    evaluate: Callable[..., Any]
    moves: bool
    parameters: frozenset[str]
    required: frozenset[str]
    tuples: frozenset[str]
    wants_call: bool


OPERATORS: dict[str, Operator] = {}
# Evaluated by the machine itself: they need blocks, states or attributes.
STRUCTURAL = frozenset(("const", "cond", "while_loop", "read_state", "write_state"))

_MODULES = (
    "activations",
    "compression",
    "convolution",
    "detection",
    "drawing",
    "elementwise",
    "generation",
    "indexing",
    "linear",
    "lists",
    "normalization",
    "pooling",
    "recurrent",
    "reductions",
    "resizing",
    "sampling",
    "shaping",
    "slicing",
)


def operator(*names: str, moves: bool = False, tuples: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an evaluation. Its parameters are named as the operator's operands; those with defaults are optional."""

    def register(evaluate: Callable[..., Any]) -> Callable[..., Any]:
        parameters = dict(inspect.signature(evaluate).parameters)
        wants_call = parameters.pop("call", None) is not None
        required = frozenset(n for n, p in parameters.items() if p.default is inspect.Parameter.empty)
        for name in names:
            if name in OPERATORS:
                raise ValueError(f"operator {name} is registered twice")
            OPERATORS[name] = Operator(name, evaluate, moves, frozenset(parameters), required, frozenset(tuples), wants_call)
        return evaluate

    return register


@cache
def operators() -> dict[str, Operator]:
    """Every registered operator by name."""
    for module in _MODULES:
        import_module(f".{module}", __package__)
    return OPERATORS


def covered() -> frozenset[str]:
    """The names of all operators that can be evaluated, the structural ones included."""
    return frozenset(operators()) | STRUCTURAL
