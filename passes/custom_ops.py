"""Custom operators: registering them, and the pass that decomposes those whose route says so."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar

from ..ir.custom import CUSTOM_OPS, E_ROUTE, STANDARD_DOMAINS, CustomOp, check_library, checked_route, operator_class, route_of
from ..ir.diagnostics import Diagnostic, code
from ..ir.graph import Graph, Node, Value
from ..ir.op import MICROSOFT, OPS, Op, Opaque
from .base import Change
from .context import Context
from .driver import RulePass
from .registry import RULES
from .rewriter import Decline, Result, Rewriter, rewrites_op

GROUP = "decompose-custom"
Decompose = Callable[[Node, Rewriter], Result]

E_DECOMPOSITION = code(
    "E0409",
    "the decomposition of a custom operator failed",
    "The function given to edgec.register_op raised an exception. The message names the function; EDGEC_TRACEBACK=1 shows where it was "
    "raised.",
)


def register_op(
    op: type[Op] | str,
    *,
    route: str = "keep",
    library: str | Path | None = None,
    decompose: Decompose | None = None,
    domain_version: int = 1,
) -> None:
    """Say what becomes of a custom operator; a later call for the same operator replaces what an earlier one said.

    Everything that is given stays available, so that ``--op-route NAME=ROUTE`` (``op_routes=`` in Python) can select another route.

    Args:
        op: its class (see `edgec.ir.op.Op`), or the qualified name, such as ``"com.acme.Swoosh"``, of an operator without a class.
        route: ``"keep"``: it stays in the graph under its domain; a bundle for target ``ort`` takes the library along.
            ``"decompose"``: the pass ``decompose-custom``, part of the default pipeline, replaces it.
            ``"python"``: its class's `evaluate` computes it in verification; every target refuses it.
        library: a shared library with its kernel for ONNX Runtime.
        decompose: a function of the node and a `Rewriter` that gives the values replacing the node's results (one, or a tuple).
        domain_version: the version of its domain, for models that do not import the domain yet.

    Raises:
        Diagnostic: E0209 when the operator cannot take the route, the library does not exist, the operator belongs to ONNX, or another
            module registered it.
    """
    name = op if isinstance(op, str) else f"{op.domain}.{op.op_name}"
    where = f"operator '{name}'"
    domain, _, short = name.rpartition(".")
    if (domain in STANDARD_DOMAINS and domain != MICROSOFT) or not short:
        hint = "give the class a `domain`, for example domain = 'com.example'"
        raise Diagnostic(E_ROUTE, f"the domain '{domain or 'ai.onnx'}' is not one for custom operators", where, hint)
    if not isinstance(op, str) and OPS.get((domain, short)) is not op:
        raise Diagnostic(E_ROUTE, f"the class {op.__module__}.{op.__qualname__} is not the registered one", where)
    module = op.__module__ if not isinstance(op, str) else sys._getframe(1).f_globals.get("__name__", "")
    present = CUSTOM_OPS.get(name)
    if present is not None and present.module != module:
        hint = f"import only one of {present.module} and {module}"
        raise Diagnostic(E_ROUTE, f"it is registered twice: by {present.module} and by {module}", where, hint)
    held = None if library is None else check_library(Path(library).absolute())
    entry = CustomOp(name, "keep", held, decompose is not None, domain_version, module)
    chosen = checked_route(name, route, entry)
    CUSTOM_OPS[name] = CustomOp(name, chosen, held, decompose is not None, domain_version, module)
    RULES.pop(_rule_name(name), None)
    if decompose is not None:
        _register_rule(name, decompose, operator_class(name))


def _rule_name(name: str) -> str:
    return f"decompose-{name}"


def _register_rule(name: str, decompose: Decompose, cls: type[Op] | None) -> None:
    """The rule goes by name, because all operators without a class have the same one."""
    label = f"{decompose.__module__}.{decompose.__qualname__}"

    @wraps(decompose)
    def rule(node: Node, b: Rewriter) -> Result:
        if node.op.qualified_name != name:
            return None
        route = route_of(name)
        if route != "decompose":
            return Decline(f"its route is '{route}': select another one with --op-route {name}=decompose", node)
        try:
            result = decompose(node, b)
        except Diagnostic as error:
            error.notes.append(f"in the decomposition {label} of {name}")
            raise
        except Exception as error:
            message = f"{label} failed: {type(error).__name__}: {error}"
            raise Diagnostic(E_DECOMPOSITION, message, node.where, "correct the function, or select another route") from error
        if result is None:
            return Decline(f"{label} gave nothing", node)
        return result if isinstance(result, Decline) else _checked(result, node, label)

    rewrites_op(*(() if cls is None else (cls,)), Opaque, name=_rule_name(name), group=GROUP)(rule)


def _checked(result: Any, node: Node, label: str) -> tuple[Value | None, ...]:
    """One value, or None, for each result of the node; every result that something reads must have one."""
    values = result if isinstance(result, tuple) else (result,)
    strange = [type(value).__name__ for value in values if value is not None and not isinstance(value, Value)]
    missing = [old.name for old in node.outputs if old.uses and (old.index >= len(values) or values[old.index] is None)]
    if strange or missing or len(values) > len(node.outputs):
        given = f"a {strange[0]}" if strange else f"{len(values)} of {len(node.outputs)} results"
        hint = "return the values that b.add gives, as a tuple when the operator has several results"
        raise Diagnostic(E_DECOMPOSITION, f"{label} gave {given}", node.where, hint)
    return values


@dataclass(frozen=True)
class DecomposeCustom(RulePass):
    """Replace custom operators whose route is `decompose` by what their functions build.

    What a function declines stays in the graph and is noted with the reason.
    """

    name: ClassVar[str] = "decompose-custom"
    groups: ClassVar[tuple[str, ...]] = (GROUP,)

    def run(self, graph: Graph, context: Context) -> Change:
        change = super().run(graph, context)
        for node in list(graph.walk()):
            name = node.op.qualified_name
            rule = RULES.get(_rule_name(name))
            if rule is None or route_of(name) != "decompose":
                continue
            attempt = rule.attempt(node, context)
            if attempt.builder is not None:
                attempt.builder.discard()
            elif attempt.decline is not None:
                context.note(self.name, f"{name} stays: {attempt.decline.reason}", node.where)
        return change
