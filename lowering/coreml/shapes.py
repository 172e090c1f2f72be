"""Symbolic dimensions as ranges or enumerations of sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ...ir.diagnostics import Diagnostic
from ...ir.dims import Expr
from ...ir.graph import Value
from ...ir.model import Model
from ..backend import E_OPTION
from .images import Image
from .interface import Port

DEFAULT_UPPER = 1024


@dataclass(frozen=True)
class Sizes:
    """The sizes that one symbolic dimension may take: a range, or a few."""

    lower: int
    upper: int
    listed: tuple[int, ...] = ()
    stated: bool = True

    @property
    def default(self) -> int:
        """The size that the interface names when there has to be one."""
        return self.listed[0] if self.listed else self.lower

    def __str__(self) -> str:
        return ",".join(map(str, self.listed)) if self.listed else f"{self.lower}..{self.upper}"


class FlexibleShapes:
    """The sizes of the symbolic dimensions of a model's inputs.

    Attributes:
        sizes: by symbol.
    """

    def __init__(self, model: Model, stated: Mapping[str, Any]) -> None:
        """Collect the symbols of the inputs; `Diagnostic` E0506 for sizes that make no sense."""
        self.sizes: dict[str, Sizes] = {}
        self._symbols: dict[str, Any] = {}
        self._ranges: dict[str, Any] = {}
        for value in model.graph.inputs:
            for dim in value.shape or ():
                if isinstance(dim, Expr) and dim.symbol_name is not None and dim.symbol_name not in self.sizes:
                    self.sizes[dim.symbol_name] = self._sizes(dim.symbol_name, stated)
        unknown = [name for name in stated if name not in self.sizes]
        if unknown:
            hint = "symbolic dimensions: " + (", ".join(self.sizes) or "none")
            raise Diagnostic(E_OPTION, f"shapes: the inputs have no symbolic dimension '{unknown[0]}'", hint=hint)

    @staticmethod
    def _sizes(name: str, stated: Mapping[str, Any]) -> Sizes:
        given = stated.get(name)
        if given is None:
            return Sizes(1, DEFAULT_UPPER, stated=False)
        return parse_sizes(name, given)

    def dim(self, dim: int | Expr) -> Any:
        """A dimension of an input for MIL: an integer or a symbol."""
        if isinstance(dim, int):
            return dim
        name = _symbol(dim)
        if name not in self._symbols:
            from coremltools.converters.mil.mil import get_new_symbol

            self._symbols[name] = get_new_symbol()
        return self._symbols[name]

    def inputs(self, ports: Sequence[Port], values: Mapping[str, Value], images: Mapping[str, Image]) -> list[Any] | None:
        """The input descriptions that coremltools needs for flexible shapes and images; None when there are neither."""
        if not self.sizes and not images:
            return None
        import coremltools

        described = []
        for port in ports:
            dims = [1] if port.scalar else list(values[port.name].shape or ())
            image = images.get(port.name)
            if image is not None:
                described.append(image.described(port.feature, self._shape(dims)))
            else:
                described.append(coremltools.TensorType(name=port.feature, shape=self._shape(dims)))
        return described

    def _shape(self, dims: Sequence[Any]) -> Any:
        import coremltools

        symbols = list(dict.fromkeys(_symbol(d) for d in dims if isinstance(d, Expr)))
        if not symbols:
            return tuple(dims)
        if all(self.sizes[s].listed for s in symbols):
            choices = [dict(zip(symbols, chosen, strict=True)) for chosen in product(*(self.sizes[s].listed for s in symbols))]
            shapes = [tuple(c[_symbol(d)] if isinstance(d, Expr) else d for d in dims) for c in choices]
            return coremltools.EnumeratedShapes(shapes=shapes, default=shapes[0]) if len(shapes) > 1 else shapes[0]
        return tuple(self._range(_symbol(d)) if isinstance(d, Expr) else d for d in dims)

    def _range(self, name: str) -> Any:
        import coremltools

        sizes = self.sizes[name]
        if name not in self._ranges:
            self._ranges[name] = coremltools.RangeDim(lower_bound=sizes.lower, upper_bound=sizes.upper, default=sizes.default)
        return self._ranges[name]


def _symbol(dim: Expr) -> str:
    """The symbol that a dimension of an input is."""
    name = dim.symbol_name
    assert name is not None, "inputs have symbols, not expressions"
    return name


def parse_sizes(name: str, given: Any) -> Sizes:
    """Sizes from ``"1..64"``, ``"1,8,32"``, a list or a number; `Diagnostic` E0506 for anything else."""
    try:
        if isinstance(given, int) and not isinstance(given, bool):
            sizes = Sizes(given, given, (given,))
        elif isinstance(given, str) and ".." in given:
            low, high = (int(part) for part in given.split(".."))
            sizes = Sizes(low, high)
        else:
            parts: Any = given.split(",") if isinstance(given, str) else given
            listed = tuple(int(part) for part in parts)
            sizes = Sizes(min(listed), max(listed), listed)
    except (ValueError, TypeError):
        sizes = None
    if sizes is None or sizes.lower < 1 or sizes.upper < sizes.lower:
        raise Diagnostic(E_OPTION, f"shapes: {name}={given!r} are no sizes", hint="write a range as '1..64' or sizes as '1,8,32'")
    return sizes
