"""Custom operators: which of three routes each of them takes, and the libraries with their kernels.

An operator of a domain that ONNX and the runtimes do not know is *kept* for a runtime with a library of kernels, *decomposed* into base
operators, or evaluated in *Python* while models are verified. `edgec.register_op` registers what an operator can do and its route;
`routes` selects other routes for a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from .diagnostics import Diagnostic, code, did_you_mean
from .model import Model
from .op import EDGEC, MICROSOFT, OPS, Op, Opaque

Route = Literal["keep", "decompose", "python"]
ROUTES: tuple[str, ...] = get_args(Route)
STANDARD_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", MICROSOFT, EDGEC))
"""Domains whose operators are no custom operators, but for those of `MICROSOFT` that have no class or were registered."""

E_ROUTE = code(
    "E0209",
    "a custom operator cannot take this route",
    "A custom operator is kept (in a runtime with a library of its kernels), decomposed (by a function given to edgec.register_op), or "
    "evaluated in Python (by the `evaluate` of its class) for verification only. The chosen route needs what the message says is missing.",
)


@dataclass(frozen=True)
class CustomOp:
    """What was registered for a custom operator.

    Attributes:
        name: its qualified name, such as ``com.acme.Swoosh``.
        route: the route it takes unless another one is selected.
        library: path of a shared library with a kernel for ONNX Runtime.
        decomposable: whether there is a function that decomposes it.
        version: the version of its domain.
        module: the module that registered it.
    """

    name: str
    route: Route
    library: str | None = None
    decomposable: bool = False
    version: int = 1
    module: str = ""


CUSTOM_OPS: dict[str, CustomOp] = {}
_selected: ContextVar[Mapping[str, Route]] = ContextVar("selected_routes", default={})  # noqa: B039


def is_custom(op: Op) -> bool:
    """Whether an operator belongs to a domain of its own, or to that of ONNX Runtime's extensions without being known here."""
    if op.domain not in STANDARD_DOMAINS:
        return True
    return op.domain == MICROSOFT and (isinstance(op, Opaque) or op.qualified_name in CUSTOM_OPS)


def operator_class(name: str) -> type[Op] | None:
    """The class of an operator by its qualified name, None when it has none."""
    domain, _, short = name.rpartition(".")
    return OPS.get((domain, short))


def evaluates(name: str) -> bool:
    """Whether the operator's class implements it in Python."""
    cls = operator_class(name)
    return cls is not None and cls.evaluate is not Op.evaluate


def route_of(name: str) -> Route | None:
    """The route of an operator by its qualified name, None when none was registered or selected."""
    selected = _selected.get().get(name)
    if selected is not None:
        return selected
    entry = CUSTOM_OPS.get(name)
    return None if entry is None else entry.route


def any_decomposed() -> bool:
    """Whether the route of some operator is ``decompose``."""
    return "decompose" in _selected.get().values() or any(route_of(name) == "decompose" for name in CUSTOM_OPS)


@contextmanager
def routes(choices: Mapping[str, str]) -> Iterator[None]:
    """Select routes by qualified operator name while the block runs.

    Raises:
        Diagnostic: E0209 when there is no such route, or the operator cannot take it.
    """
    merged = dict(_selected.get())
    for name, route in choices.items():
        merged[name] = checked_route(name, route, CUSTOM_OPS.get(name))
    token = _selected.set(merged)
    try:
        yield
    finally:
        _selected.reset(token)


def checked_route(name: str, route: str, entry: CustomOp | None) -> Route:
    """The route, after checking that the operator can take it."""
    where = f"operator '{name}'"
    if route not in ROUTES:
        raise Diagnostic(E_ROUTE, f"there is no route '{route}'", where, did_you_mean(route, list(ROUTES)))
    if route == "decompose" and (entry is None or not entry.decomposable):
        hint = f"register one: edgec.register_op({name!r}, route='decompose', decompose=FUNCTION), in a module named by --plugin"
        raise Diagnostic(E_ROUTE, "no decomposition is registered for it", where, hint)
    if route == "python" and not evaluates(name):
        hint = "write a subclass of edgec.ir.op.Op with a method `evaluate` and register it, in a module named by --plugin"
        raise Diagnostic(E_ROUTE, "it has no implementation in Python", where, hint)
    return route  # type: ignore[return-value]


def check_names(names: Iterable[str], model: Model) -> None:
    """Raise `Diagnostic` E0209 for a selected operator that is neither registered nor in the model."""
    known = {*CUSTOM_OPS, *(node.op.qualified_name for node in model.graph.walk() if is_custom(node.op))}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, sorted(known)) or "the model has no custom operators"
            raise Diagnostic(E_ROUTE, "no such operator is registered or in the model", f"operator '{name}'", hint)


def check_library(library: str | Path) -> str:
    """The path of a library of kernels as text; `Diagnostic` E0209 when there is no such file."""
    if not Path(library).is_file():
        raise Diagnostic(E_ROUTE, "the library of custom operators does not exist", f"file '{library}'", "name a shared library")
    return str(library)


def libraries_of(model: Model) -> tuple[str, ...]:
    """The libraries that a model needs: those it names itself and those registered for operators in it that are not run in Python."""
    found = dict.fromkeys(str(library) for library in model.custom_op_libraries)
    for name in dict.fromkeys(node.op.qualified_name for node in model.graph.walk() if is_custom(node.op)):
        entry = CUSTOM_OPS.get(name)
        if entry is not None and entry.library is not None and route_of(name) != "python":
            found[entry.library] = None
    return tuple(found)


def in_python(names: Iterable[str], libraries: Iterable[str]) -> list[str]:
    """Which of some operators no library serves while there is a way to compute them in Python.

    Args:
        names: qualified names; those of standard domains are passed over.
        libraries: the libraries at hand; those that no operator was registered with may serve any operator.
    """
    libraries = set(libraries)
    unclaimed = libraries - {entry.library for entry in CUSTOM_OPS.values()}
    found: list[str] = []
    for name in dict.fromkeys(names):
        if name.rpartition(".")[0] in STANDARD_DOMAINS and route_of(name) != "python":
            continue
        entry = CUSTOM_OPS.get(name)
        claimed = libraries if entry is None else unclaimed | (libraries & {entry.library})
        served = bool(claimed) and route_of(name) != "python"
        if not served and (evaluates(name) or (entry is not None and entry.decomposable)):
            found.append(name)
    return found


def domain_version(domain: str) -> int:
    """The version at which a domain is imported that the model did not import itself: the newest that is registered."""
    return max((entry.version for name, entry in CUSTOM_OPS.items() if name.rpartition(".")[0] == domain), default=1)


def remedy(name: str) -> str:
    """What can be done about a custom operator that a target cannot take: the three routes."""
    return (
        f"three routes lead on: keep {name} with a library of its kernels (--custom-op-library LIBRARY, target ort); decompose it "
        f"(edgec.register_op({name!r}, route='decompose', decompose=FUNCTION) in a --plugin module, --op-route {name}=decompose); "
        "or implement it in Python, which serves verification and no target"
    )
