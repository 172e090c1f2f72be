"""A model on a target, ready to be analysed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...ir.graph import Graph
from ..calibrated import CalibratedTarget, is_calibrated, load_calibrated
from ..hardware import Target
from ..predict import Predictor
from ..roofline import Setting
from ..targets import load_target
from .rollup import Scopes


def open_target(name: str | os.PathLike[str]) -> Target | CalibratedTarget:
    """A target by its name, by the path of a target file, or by that of a file which a calibration wrote.

    Raises:
        Diagnostic: E1001 when there is no such target, E1002 to E1006 or E1015 when its file is wrong.
    """
    text = os.fspath(name)
    return load_calibrated(text) if text.endswith(".toml") and is_calibrated(text) else load_target(text)


@dataclass
class Subject:
    """What is analysed.

    Attributes:
        plain: the optimised graph.
        target: the device.
        kernels: the graph of the kernels that run: regions, or what a backend made of the plain graph.
        engine: the engine's name; the target's default when None.
        tier: of the cost model.
        precision: in which the model is priced.
        setting: cores and clocks.
        scopes: module scopes of the imported model's nodes.
    """

    plain: Graph
    target: Target | CalibratedTarget
    kernels: Graph
    engine: str | None = None
    tier: str = "auto"
    precision: str = "native"
    setting: Setting | None = None
    scopes: Scopes = field(default_factory=dict)
    _made: dict[tuple[int, str], Predictor] = field(default_factory=dict, init=False, repr=False)

    def predictor(self, graph: Graph | None = None, precision: str | None = None) -> Predictor:
        """The predictor of the kernels, or of the plain graph, or of another precision; each is made once."""
        chosen = self.kernels if graph is None else graph
        format_ = self.precision if precision is None else precision
        key = id(chosen), format_
        if key not in self._made:
            self._made[key] = Predictor(chosen, self.target, engine=self.engine, tier=self.tier, precision=format_, setting=self.setting)
        return self._made[key]

    @property
    def device(self) -> Target:
        """The target without what a calibration found."""
        return self.target.target if isinstance(self.target, CalibratedTarget) else self.target


def batch_symbol(symbols: Sequence[str], graph: Graph) -> str | None:
    """The symbol of the batch: the first axis of the first input that has one, when its name or its place on other inputs says so."""
    from ...ir.dims import Expr

    for value in graph.inputs:
        if value.shape and isinstance(value.shape[0], Expr):
            names = [name for name in value.shape[0].symbols() if name in symbols]
            if len(names) == 1:
                return names[0]
    return None
