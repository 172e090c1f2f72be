"""What an ML program cannot carry of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...ir.graph import Value
from ...ir.model import Model
from ...ir.types import TensorType
from ..artifact import Loss
from ..wide_floats import losses_of_narrowing
from .carriers import WIDE
from .images import Image
from .interface import Port
from .shapes import FlexibleShapes
from .states import State

_MAX_LISTED = 5


def losses_of(
    model: Model,
    inputs: Iterable[Port],
    outputs: Iterable[Port],
    shapes: FlexibleShapes,
    settings: Mapping[str, Any],
    images: Mapping[str, Image],
    states: Mapping[str, State],
) -> tuple[Loss, ...]:
    """All losses of a lowering."""
    found = [
        *_integers(model),
        *_interface([*inputs], [*outputs]),
        *_sizes(shapes),
        *_precision(settings),
        *losses_of_narrowing(model.graph),
    ]
    for name, image in images.items():
        what = f"the package takes an {image.layout} image with 8 bits per channel: elements are rounded to {image.scale:g} steps"
        found.append(Loss("interface-type", f"input '{name}'", what))
    for state in states.values():
        what = f"it is the state that output '{state.present}' writes: it starts as zeros and is stored as float16"
        found.append(Loss("state", f"input '{state.past}'", what))
    return tuple(found)


def _integers(model: Model) -> Iterable[Loss]:
    values = [v for v in model.graph.values() if isinstance(v.type, TensorType) and v.type.content is None]
    wide = [v for v in values if v.dtype in WIDE]
    if wide:
        what = (
            f"{len(wide)} integer values of 64 bits or without sign are computed in int32; inputs are checked, results beyond 2^31-1 wrap"
        )
        yield Loss("integer-width", listed(wide), what)


def _interface(inputs: list[Port], outputs: list[Port]) -> Iterable[Loss]:
    names = {"fp32": "float32", "fp16": "float16", "int32": "int32"}
    for direction, ports in (("input", inputs), ("output", outputs)):
        for port in ports:
            where = f"{direction} '{port.name}'"
            if not port.feature:
                yield Loss("unused-input", where, "nothing reads it: the program does not have it")
                continue
            if port.converts:
                what = f"Core ML's multi-arrays have no {port.dtype}: the package takes and gives {names[port.kind]}, the session converts"
                yield Loss("interface-type", where, what)
            if port.scalar:
                yield Loss("interface-rank", where, "multi-arrays have at least one dimension: the scalar is a vector of one element")
            if port.feature != port.name:
                yield Loss("name", where, f"feature names are identifiers: it is called '{port.feature}' in the package")


def _sizes(shapes: FlexibleShapes) -> Iterable[Loss]:
    for name, sizes in shapes.sizes.items():
        if not sizes.stated:
            what = f"ML programs bound their sizes: it may be {sizes} (option shapes states other bounds)"
            yield Loss("dynamic-dimension", f"dimension '{name}'", what)
        else:
            yield Loss("dynamic-dimension", f"dimension '{name}'", f"it may be {sizes}, as stated")


def _precision(settings: Mapping[str, Any]) -> Iterable[Loss]:
    if settings["precision"] == "f16":
        kept = ", ".join(settings["keep_f32"]) or "nothing"
        yield Loss("precision", "model", f"floating-point arithmetic runs in float16 (11 significant bits); kept in float32: {kept}")
    stored = settings["weights"]
    if stored == "f16":
        yield Loss("precision", "weights", "weights are stored as float16: a relative error of up to 2^-11 each")
    elif stored != "f32":
        yield Loss("precision", "weights", f"weights of {settings['weight_threshold']} elements and more are stored as {stored}")


def listed(values: list[Value]) -> str:
    """The names of the first values and how many more there are."""
    names = [v.name for v in values]
    return ", ".join(names[:_MAX_LISTED]) + (f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else "")
