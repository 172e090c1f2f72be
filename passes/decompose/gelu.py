"""The Gaussian error linear unit in all its forms, and the table of their errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...ir.graph import Node, Value
from ...ir.ops.activation import Gelu
from ...ir.ops.microsoft_elementwise import BiasGelu, FastGelu, MsGelu, QuickGelu
from ...ir.ops.unary import Erf
from ..rewriter import Result
from .base import Error, decomposes
from .terms import Terms

TANH_ERROR = Error(4.73e-4, 2.70, 1.97e-4, "as good as float16 can tell apart")
QUICK_ERROR = Error(0.0203, -2.27, 0.0106, "fails a tolerance of 0.01; check the model's own outputs")
GROUP = "decompose-gelu"


@dataclass(frozen=True)
class GeluForm:
    """One row of the table of GELU forms.

    Attributes:
        rule: the decomposition's name.
        formula: what it computes.
        error: against the exact form, None for itself.
        also_called: names in other libraries.
    """

    rule: str
    formula: str
    error: Error | None
    also_called: str


GELU_FORMS = (
    GeluForm("gelu-erf", "0.5 x (1 + erf(x / sqrt(2)))", None, "Gelu, com.microsoft Gelu, BiasGelu"),
    GeluForm("gelu-tanh", "0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))", TANH_ERROR, "Gelu approximate=tanh, FastGelu"),
    GeluForm("gelu-quick", "x sigmoid(1.702 x)", QUICK_ERROR, "QuickGelu"),
)


def gelu_table() -> str:
    """The forms of GELU and their errors as a text table."""
    rows = [("decomposition", "formula", "max abs error", "at x =", "rel. L2 on N(0,1)", "also called")]
    for form in GELU_FORMS:
        e = form.error
        most, at, norm = ("0", "", "0") if e is None else (f"{e.max_abs:.3g}", f"{e.at:+.2f}", f"{e.relative_l2:.3g}")
        rows.append((form.rule, form.formula, most, at, norm, form.also_called))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def erf_form(t: Terms, x: Value) -> Value:
    """``x * (0.5 erf(x / sqrt 2) + 0.5)``."""
    return t.mul(x, t.add(t.mul(t.apply(Erf(), t.mul(x, math.sqrt(0.5))), 0.5), 0.5))


def tanh_form(t: Terms, x: Value) -> Value:
    """The approximation by a hyperbolic tangent."""
    root = math.sqrt(2 / math.pi)
    inner = t.mul(x, t.add(t.mul(t.square(x), root * 0.044715), root))
    return t.mul(x, t.add(t.mul(t.tanh(inner), 0.5), 0.5))


def sigmoid_form(t: Terms, x: Value, factor: float) -> Value:
    """``x * sigmoid(factor x)``."""
    return t.mul(x, t.sigmoid(x if factor == 1 else t.mul(x, factor)))


def _operand(node: Node, t: Terms) -> Value:
    """The first operand, plus the bias if there is one, widened."""
    x = node.inputs[0]
    assert x is not None
    wide = t.widen(x)
    bias = node.operand(1)
    return wide if bias is None else t.add(wide, t.widen(bias))


def _is_tanh(node: Node) -> bool:
    return isinstance(node.op, FastGelu) or isinstance(node.op, Gelu) and node.op.approximate == "tanh"


@decomposes(Gelu, MsGelu, BiasGelu, name="gelu-erf", group=GROUP, benefit=3)
def gelu_erf(node: Node, t: Terms) -> Result:
    """GELU by its error function: exact."""
    return None if _is_tanh(node) else t.cast(erf_form(t, _operand(node, t)), node.output.dtype)


@decomposes(Gelu, FastGelu, name="gelu-tanh-exact", group=GROUP, benefit=3)
def gelu_tanh_exact(node: Node, t: Terms) -> Result:
    """The tanh form of GELU, where the model asks for it: exact."""
    return t.cast(tanh_form(t, _operand(node, t)), node.output.dtype) if _is_tanh(node) else None


@decomposes(Gelu, MsGelu, BiasGelu, name="gelu-tanh", group=GROUP, error=TANH_ERROR, benefit=2)
def gelu_tanh(node: Node, t: Terms) -> Result:
    """The exact GELU by its tanh form: off by at most 4.73e-4."""
    return None if _is_tanh(node) else t.cast(tanh_form(t, _operand(node, t)), node.output.dtype)


@decomposes(Gelu, MsGelu, BiasGelu, FastGelu, name="gelu-quick", group=GROUP, error=QUICK_ERROR)
def gelu_quick(node: Node, t: Terms) -> Result:
    """GELU by a sigmoid: off by up to 0.0203."""
    return t.cast(sigmoid_form(t, _operand(node, t), 1.702), node.output.dtype)


@decomposes(QuickGelu, name="quick-gelu", group=GROUP)
def quick_gelu(node: Node, t: Terms) -> Result:
    """``x * sigmoid(alpha x)``, as com.microsoft QuickGelu defines it: exact."""
    assert isinstance(node.op, QuickGelu)
    return t.cast(sigmoid_form(t, _operand(node, t), node.op.alpha), node.output.dtype)
