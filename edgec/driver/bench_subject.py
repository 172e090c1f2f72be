"""What `edgec bench` measures: a model, a bundle or a probe, loaded into a runtime of this machine for every size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..api import compile_with
from ..costmodel.analysis.probes import PROBES, chain_model, probe_model
from ..costmodel.calibration.host import caches
from ..inspection import input_symbols
from ..ir.diagnostics import did_you_mean
from ..lowering.registry import backend as backend_of
from ..optimizing import Settings, load_plugin_modules, open_model
from ..runtime.bundle import Bundle, is_bundle, load_bundle
from ..runtime.bundle_subject import RUNTIMES, bundle_subject
from ..runtime.measure_subject import Subject, bindings_of
from ..runtime.profiling.feeds import made_up
from ..runtime.synthesize import synthesize_feeds
from .arguments import CLOCKS, parse_sweep, usage_error

if TYPE_CHECKING:
    from ..ir.model import Model
    from ..lowering.backend import Backend

AUTOMATIC = "auto"  # what --sweep stands for without a value
SIZES, PROBE_SIZES = (1, 2, 4, 8), (1, 2)
AS_WRITTEN = "dead-code"  # a pipeline that changes nothing of a probe
KEPT_BYTES = 2 << 30  # of weights that are held for all sizes at once


@dataclass
class Benched:
    """A bundle that is measured.

    Attributes:
        name: of the model.
        bundle: what runs.
        model: for which inputs are made up; None when only the bundle is known.
        version: of the runtime.
        symbol: the dimension that is swept; None without a sweep.
        sizes: its values; one, which stands for nothing, without a sweep.
        dims: sizes of the other dimensions that are symbolic.
        truth: what bounds it, when that is known.
    """

    name: str
    bundle: Bundle
    model: Model | None
    version: str
    symbol: str | None
    sizes: tuple[int, ...]
    dims: dict[str, int] = field(default_factory=dict)
    truth: str | None = None

    def load(self, size: int, threads: int) -> Subject:
        """The model in its runtime with made-up inputs of a size.

        Raises:
            Diagnostic: E0606 when no inputs are found with which it runs, and when the runtime refuses it.
        """
        return bundle_subject(self.bundle, self._feeds(size), threads)

    def _feeds(self, size: int) -> Mapping[str, Any]:
        """Dimensions that are not given have the first sizes with which it runs, the same for every size of the sweep."""
        wanted = {**self.dims, **({self.symbol: size} if self.symbol is not None else {})}
        if self.model is None:
            return made_up(self.bundle, wanted)
        feeds = synthesize_feeds(self.model, dims=wanted, attempt=self.bundle.run)[0]
        self.dims |= {name: n for name, n in bindings_of(self.model.graph, feeds).items() if name != self.symbol}
        return feeds

    def groups(self) -> list[tuple[int, ...]]:
        """Sizes that are loaded together: all, or one after another where the weights are large."""
        held = sum(entry["bytes"] for entry in self.bundle.manifest["files"].values()) * len(self.sizes)
        return [self.sizes] if held <= KEPT_BYTES else [(size,) for size in self.sizes]


def open_benched(
    path: Path | None,
    kernel: str | None,
    sweep: str | None,
    backend: str | None,
    dims: Mapping[str, int],
    freeze: Mapping[str, Any],
    settings: Settings,
    folder: Path,
) -> Benched:
    """Compile a model, open a bundle, or make a probe.

    Args:
        path: of a model or a bundle.
        kernel: a probe's name, when there is no path.
        sweep: ``NAME=LOW:HIGH``, `AUTOMATIC`, or None.
        backend: the runtime; ort, or that of the bundle, when None.
        dims: sizes of dimensions.
        freeze: inputs that become constants.
        settings: plugins and passes.
        folder: for bundles that are made.

    Raises:
        Diagnostic: E0801 for options that contradict each other or name nothing; what compiling raises.
    """
    if path is not None and is_bundle(path):
        bundle = load_bundle(path)
        if backend not in (None, bundle.target):
            raise usage_error(f"the bundle is one of {bundle.target}", "--backend", f"leave it out, or compile the model for {backend}")
        if freeze:
            raise usage_error("inputs of a bundle cannot be frozen", "--freeze", "compile the model with --freeze")
        runner = _runner(bundle.target)
        source = bundle.manifest.get("lowering", {}).get("onnx")
        model = open_model(bundle.folder / source) if source else None
        symbols = input_symbols(model) if model is not None else _symbols_of(bundle)
        _known(dims, symbols, "--dim")
        symbol, sizes = swept(sweep, [name for name in symbols if name not in dims], SIZES)
        return Benched(path.name, bundle, model, runner.version(), symbol, sizes, dict(dims))
    runner = _runner(backend or "ort")
    if path is None:
        made = probe(kernel or "", caches()[-1][1], real=True)
        settings, name, truth = replace(settings, passes=AS_WRITTEN), f"kernel {kernel}", PROBES[kernel or ""].truth
    else:
        made, name, truth = path, path.name, None
    load_plugin_modules(settings.plugins)
    model = open_model(made, dims, freeze)
    if sweep is not None and sweep.partition("=")[0].strip() in dims:
        raise usage_error(f"'{sweep.partition('=')[0].strip()}' is swept and bound", "--dim", "give one of the two")
    symbol, sizes = swept(sweep, input_symbols(model), SIZES if path is not None else PROBE_SIZES)
    bundle = compile_with(model, replace(settings, target=runner.name), folder / "bundle").bundle
    return Benched(name, bundle, model, runner.version(), symbol, sizes, truth=truth)


def _runner(backend: str) -> Backend:
    if backend not in RUNTIMES:
        raise usage_error(f"'{backend}' is not measured here", "--backend", did_you_mean(backend, list(RUNTIMES)))
    runner = backend_of(backend)
    runner.require()
    return runner


def _known(names: Iterable[str], symbols: Sequence[str], option: str) -> None:
    for name in names:
        if name not in symbols:
            raise usage_error(f"the model has no dimension '{name}'", option, did_you_mean(name, list(symbols)) or "all are fixed")


def swept(sweep: str | None, symbols: Sequence[str], usual: Sequence[int]) -> tuple[str | None, tuple[int, ...]]:
    """The dimension and its sizes that a sweep names.

    Raises:
        Diagnostic: E0801 when the model has no such dimension.
    """
    if sweep is None:
        return None, (1,)
    if sweep == AUTOMATIC:
        if not symbols:
            raise usage_error("the model has no dimension to sweep", "--sweep", "all its dimensions are fixed")
        return symbols[0], tuple(usual)
    name, values = parse_sweep(sweep)
    if name in CLOCKS and name not in symbols:
        raise usage_error("clocks are not swept on a machine", "--sweep", "sweep a dimension; --simulate scales the clocks of a target")
    _known([name], symbols, "--sweep")
    return name, tuple(int(value) for value in values)


def probe(kernel: str, cache_bytes: float, real: bool = False) -> Model:
    """A model whose bottleneck is known.

    Raises:
        Diagnostic: E0801 when there is none of this name.
    """
    if kernel not in PROBES:
        raise usage_error(f"there is no kernel '{kernel}'", "--kernel", did_you_mean(kernel, list(PROBES)))
    return probe_model(kernel, cache_bytes, real)


def chain_subject(nodes: int, backend: str, threads: int, folder: Path) -> Subject:
    """So many operators that do nothing, in a runtime: what it needs to launch them."""
    model = chain_model(nodes)
    bundle = compile_with(model, Settings(target=backend, passes=AS_WRITTEN), folder / f"chain-{nodes}").bundle
    return bundle_subject(bundle, {"x": np.zeros((1, 8), np.float32)}, threads)


def _symbols_of(bundle: Bundle) -> list[str]:
    """Dimensions of a bundle's inputs that are a name and not an expression."""
    shapes = (spec.shape or () for spec in bundle.signature.inputs)
    return list(dict.fromkeys(dim for shape in shapes for dim in shape if isinstance(dim, str) and not set(dim) & set("+*/%() ")))
