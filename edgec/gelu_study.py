"""GELU in its exact, tanh and sigmoid forms, each as one operator and spelled out: models, and errors against the exact function.

What is often said of it, and what holds:

- "Fast GELU" names two things. ONNX Runtime's FastGelu is the tanh form, which is off by 0.00047 at most; the sigmoid form x·σ(1.702x) is
  its QuickGelu, off by 0.020 at most and by 1.06 % in the norm for normally distributed inputs: no "loss below 0.1 %".
- A decomposition has more operators, which runtimes may fuse again. What it costs has to be measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

BUDGET = 0.01  # relative error in the norm that approximations may have
ALPHA = 1.702
CUBIC = 0.044715
SPAN, POINTS = 8.0, 1 << 14  # of the line on which errors are looked for


@dataclass(frozen=True)
class Form:
    """One way to write GELU.

    Attributes:
        name: such as ``exact, spelled out``.
        function: ``exact``, ``tanh`` or ``sigmoid``.
        model: from ``x`` to ``y``, float32 ``[n, columns]``.
        keep: whether the spelling is the point, so that no pass may recognise it.
    """

    name: str
    function: str
    model: onnx.ModelProto
    keep: bool


@dataclass(frozen=True)
class GeluError:
    """How far a function is from GELU.

    Attributes:
        max_abs: the greatest absolute difference.
        at: where it occurs.
        relative_l2: the norm of the difference over that of GELU, for inputs that are normally distributed with variance 1.
    """

    max_abs: float
    at: float
    relative_l2: float

    @property
    def within_budget(self) -> bool:
        """Whether the relative error stays within `BUDGET`."""
        return self.relative_l2 <= BUDGET


def forms(columns: int = 256) -> list[Form]:
    """All forms; those that are spelled out also once to be recognised."""
    n = helper.make_node
    erf = [n("Div", ["x", "root"], ["a"]), n("Erf", ["a"], ["b"]), n("Add", ["b", "one"], ["c"]), n("Mul", ["x", "c"], ["d"])]
    erf.append(n("Mul", ["d", "half"], ["y"]))
    tanh = [n("Mul", ["x", "x"], ["a"]), n("Mul", ["a", "x"], ["b"]), n("Mul", ["b", "cubic"], ["c"]), n("Add", ["x", "c"], ["d"])]
    tanh += [n("Mul", ["d", "slope"], ["e"]), n("Tanh", ["e"], ["f"]), n("Add", ["f", "one"], ["g"]), n("Mul", ["x", "half"], ["h"])]
    tanh.append(n("Mul", ["h", "g"], ["y"]))
    sigmoid = [n("Mul", ["x", "alpha"], ["a"]), n("Sigmoid", ["a"], ["b"]), n("Mul", ["x", "b"], ["y"])]
    values = {"root": math.sqrt(2), "one": 1.0, "half": 0.5, "cubic": CUBIC, "slope": math.sqrt(2 / math.pi), "alpha": ALPHA}

    def using(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
        read = {name for node in nodes for name in node.input}
        constants = [helper.make_tensor(name, TensorProto.FLOAT, (), [value]) for name, value in values.items() if name in read]
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", columns]) for name in "xy")
        graph = helper.make_graph(nodes, "gelu", [x], [y], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

    return [
        Form("exact, native", "exact", using([n("Gelu", ["x"], ["y"])]), False),
        Form("exact, spelled out", "exact", using(erf), True),
        Form("exact, recognised", "exact", using(erf), False),
        Form("tanh, native", "tanh", using([n("Gelu", ["x"], ["y"], approximate="tanh")]), False),
        Form("tanh, spelled out", "tanh", using(tanh), True),
        Form("sigmoid", "sigmoid", using(sigmoid), False),
    ]


def exact(x: Any) -> Any:
    """GELU in float64: x (1 + erf(x / sqrt 2)) / 2."""
    from scipy.special import erf

    wide = np.asarray(x, np.float64)
    return wide * 0.5 * (1.0 + erf(wide / math.sqrt(2.0)))


def error_of(run: Callable[[Any], Any], columns: int = 256) -> GeluError:
    """The error of a function that computes float32 ``[n, columns]``, on a fine line from -8 to 8.

    The relative error weights the line with the normal density: sqrt(∫(f-g)²φ / ∫g²φ) by the trapezoidal rule.
    """
    rows = -(-POINTS // columns)
    line = np.linspace(-SPAN, SPAN, rows * columns, dtype=np.float32).reshape(rows, columns)
    wanted = exact(line)
    apart = np.abs(np.asarray(run(line), np.float64) - wanted)
    density = np.exp(-0.5 * np.square(line.astype(np.float64)))
    relative = math.sqrt(float((np.square(apart) * density).sum() / (np.square(wanted) * density).sum()))
    worst = int(apart.argmax())
    return GeluError(float(apart.reshape(-1)[worst]), float(line.reshape(-1)[worst]), relative)
