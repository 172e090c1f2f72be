"""The Python API: the same steps as the commands of the driver."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from .ir.model import Model
from .optimizing import TEXT_SUFFIX, Optimized, Settings, Source, open_model, run_pipeline

if TYPE_CHECKING:
    from .passes.observers import Observer
    from .runtime.bundle import Bundle
    from .runtime.dataset import Sample
    from .runtime.report import Report

__all__ = ["compile", "load", "load_bundle", "optimize", "verify"]

Comparable = Union[Model, str, "os.PathLike[str]", "Bundle"]


def load(path: str | os.PathLike[str], *, dims: Mapping[str, int] | None = None) -> Model:
    """Read a model from an ONNX file, or from the textual form (suffix ``.edgec``).

    Args:
        path: the file; weights stay in it until something needs them.
        dims: sizes for symbolic dimensions, for example ``{"batch": 8}``.

    Raises:
        Diagnostic: the file is missing, damaged, inconsistent or unsupported.
    """
    return open_model(path, dims)


def optimize(
    model: Source,
    *,
    passes: str | None = None,
    target: str | None = None,
    opset: int | None = None,
    dims: Mapping[str, int] | None = None,
    plugins: Sequence[str] = (),
    check_each_pass: bool = False,
    data: Any = None,
    allow_approximate: bool = False,
    observers: Sequence[Observer] = (),
) -> Model:
    """An optimised copy of a model.

    Args:
        model: a model or the path of one.
        passes: pipeline text such as ``"canonicalize,fix(fold-constants,dead-code)"``; by default the pipeline of the target or, without
            one, the portable pipeline ``"default"``.
        target: optimise for this target, with its decompositions.
        opset: the ai.onnx opset that the result may use at most (default: no limit).
        dims: sizes for symbolic dimensions.
        plugins: modules to import first; their passes, rules and operators register themselves.
        check_each_pass: compare the outputs with the original after every pass, and trace a difference to pass, rewrite and node.
        data: a data set (path, samples or feeds) for that check; plausible inputs are made up when None.
        allow_approximate: permit rewrites whose error is more than rounding.
        observers: pass observers, for example `edgec.passes.observers.Timing`.

    Raises:
        Diagnostic: bad input, an unknown pass, or a pass that failed its check (E0621).
    """
    settings = Settings(
        passes=passes,
        target=target,
        opset=opset,
        plugins=plugins,
        check_each_pass=check_each_pass,
        data=data,
        allow_approximate=allow_approximate,
        observers=observers,
    )
    return run_pipeline(open_model(model, dims), settings).model


def compile(
    model: Source,
    *,
    output: str | os.PathLike[str],
    target: str = "ort",
    passes: str | None = None,
    opset: int | None = None,
    options: Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
    plugins: Sequence[str] = (),
    check_each_pass: bool = False,
    data: Any = None,
    allow_approximate: bool = False,
    observers: Sequence[Observer] = (),
) -> Bundle:
    """Optimise a model, lower it for a target and write the bundle.

    Args:
        model: a model or the path of one.
        output: the bundle's folder; an older bundle there is replaced, anything else is refused.
        target: a name that `edgec targets` lists.
        options: options of the target.

    The other arguments are those of `optimize`.

    Raises:
        Diagnostic: what `optimize` raises; E0501 when the target cannot take the model, E0503 when its runtime is not installed.
    """
    settings = Settings(passes, target, dict(options or {}), opset, plugins, check_each_pass, data, allow_approximate, None, observers)
    return compile_with(model, settings, output, dims)[0]


def compile_with(
    model: Source, settings: Settings, output: str | os.PathLike[str], dims: Mapping[str, int] | None = None
) -> tuple[Bundle, Optimized]:
    """`compile` with everything it did on the way."""
    from .lowering.registry import backend
    from .runtime.bundle import refuse_to_overwrite, write_bundle

    folder = Path(output)
    refuse_to_overwrite(folder.absolute())
    runner = backend(settings.target or "ort")
    given = dict(settings.target_options)
    if settings.opset is not None and "opset" in runner.option_defaults:
        given.setdefault("opset", settings.opset)
    options = runner.options(given)
    runner.require()
    opened = open_model(model, dims)
    source = _source_facts(opened)
    result = run_pipeline(opened, settings)
    facts = {
        "source": source,
        "options": options,
        "pipeline": result.pipeline,
        "passes": result.passes(),
        "dims": dict(sorted((dims or {}).items())),
        "versions": {"edgec": _version(), runner.name: runner.version()},
    }
    return write_bundle(runner.lower(result.model, options), folder, facts), result


def _version() -> str:
    from . import __version__

    return __version__


def _source_facts(model: Model) -> dict[str, Any]:
    if model.path is None:
        return {"name": model.graph.name, "sha256": None}
    from .runtime.bundle import file_digest

    return {"name": model.path.name, "sha256": file_digest(model.path)}


def load_bundle(folder: str | os.PathLike[str], **options: Any) -> Bundle:
    """Open a bundle after checking its files: ``load_bundle(dir).run(feeds)`` gives outputs by name.

    Args:
        folder: what `compile` wrote.
        options: session options that replace those of the bundle.

    Raises:
        Diagnostic: the folder is no bundle, or damaged.
    """
    from .runtime.bundle import load_bundle as open_bundle

    return open_bundle(Path(folder), **options)


def verify(
    a: Comparable,
    b: Comparable,
    data: str | os.PathLike[str] | Sequence[Sample] | Sequence[Mapping[str, Any]] | None = None,
    *,
    layers: bool = True,
    scale: float = 1.0,
    limit: int | None = None,
    seed: int = 0,
) -> Report:
    """Run two models or bundles on the same data and compare outputs and, by debug handle, the tensors of every layer.

    Args:
        a: the reference: a model file, a model or a bundle (or the path of one).
        b: what is compared with it.
        data: a data set's path, samples or feeds; plausible inputs are made up when None.
        layers: whether intermediate tensors are compared too.
        scale: factor on every tolerance.
        limit: the most samples to use.
        seed: for made-up inputs.

    Returns:
        The report; ``report.passed`` is the gate.

    Raises:
        Diagnostic: bad data, signatures that do not match, or a model that does not run.
    """
    from .runtime.verify import verify as compare

    place = Path(data) if isinstance(data, os.PathLike) else data
    return compare(_comparable(a), _comparable(b), place, layers=layers, scale=scale, limit=limit, seed=seed)


def _comparable(item: Comparable) -> Path | Model | Bundle:
    if isinstance(item, str | os.PathLike):
        return open_model(item) if Path(item).suffix == TEXT_SUFFIX else Path(item)
    return item
