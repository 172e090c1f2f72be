"""The Python API: the same steps as the commands of the driver."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from .ir.model import Model
from .optimizing import TEXT_SUFFIX, Settings, Source, load_plugin_modules, open_model, run_pipeline

if TYPE_CHECKING:
    from .comparison import Comparison
    from .compiling import Compiled
    from .passes.observers import Observer
    from .runtime.bundle import Bundle
    from .runtime.dataset import Sample
    from .runtime.report import Report

__all__ = ["compile", "compile_all", "load", "load_bundle", "optimize", "verify"]

Comparable = Union[Model, str, "os.PathLike[str]", "Bundle"]


def load(
    path: str | os.PathLike[str],
    *,
    dims: Mapping[str, int] | None = None,
    freeze: Mapping[str, Any] | None = None,
    plugins: Sequence[str] = (),
) -> Model:
    """Read a model from an ONNX file, or from the textual form (suffix ``.edgec``).

    Args:
        path: the file; weights stay in it until something needs them.
        dims: sizes for symbolic dimensions, for example ``{"batch": 8}``.
        freeze: inputs to make constants of, for example ``{"sampling_rate": 16000}``; they leave the interface.
        plugins: modules to import first; their operators register themselves.

    Raises:
        Diagnostic: the file is missing, damaged, inconsistent or unsupported.
    """
    load_plugin_modules(plugins)
    return open_model(path, dims, freeze)


def optimize(
    model: Source,
    *,
    passes: str | None = None,
    target: str | None = None,
    opset: int | None = None,
    dims: Mapping[str, int] | None = None,
    freeze: Mapping[str, Any] | None = None,
    plugins: Sequence[str] = (),
    check_each_pass: bool = False,
    data: Any = None,
    allow_approximate: bool = False,
    op_routes: Mapping[str, str] | None = None,
    custom_op_libraries: Sequence[str | os.PathLike[str]] = (),
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
        freeze: inputs to make constants of, for example ``{"sampling_rate": 16000}``; they leave the interface.
        plugins: modules to import first; their passes, rules and operators register themselves.
        check_each_pass: compare the outputs with the original after every pass, and trace a difference to pass, rewrite and node.
        data: a data set (path, samples or feeds) for that check; plausible inputs are made up when None.
        allow_approximate: permit rewrites whose error is more than rounding.
        op_routes: routes of custom operators by qualified name, such as ``{"com.acme.Swoosh": "decompose"}``, in place of those that
            they were registered with (see `edgec.register_op`).
        custom_op_libraries: shared libraries with kernels of custom operators for ONNX Runtime.
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
        op_routes=op_routes or {},
        custom_op_libraries=custom_op_libraries,
        observers=observers,
    )
    load_plugin_modules(plugins)
    return run_pipeline(open_model(model, dims, freeze), settings).model


def compile(
    model: Source,
    *,
    output: str | os.PathLike[str],
    target: str = "ort",
    passes: str | None = None,
    opset: int | None = None,
    options: Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
    freeze: Mapping[str, Any] | None = None,
    plugins: Sequence[str] = (),
    check_each_pass: bool = False,
    data: Any = None,
    allow_approximate: bool = False,
    max_error: float | None = None,
    op_routes: Mapping[str, str] | None = None,
    custom_op_libraries: Sequence[str | os.PathLike[str]] = (),
    observers: Sequence[Observer] = (),
) -> Bundle:
    """Optimise a model, lower it for a target and write the bundle.

    Args:
        model: a model or the path of one.
        output: the bundle's folder; an older bundle there is replaced, anything else is refused.
        target: a name that `edgec targets` lists.
        options: options of the target.
        max_error: the relative error at the outputs that approximations may cause which stand in for operators that the target lacks; none
            are made without it. It is measured on ``data``, or on made-up inputs.

    The other arguments are those of `optimize`.

    Raises:
        Diagnostic: what `optimize` raises; E0501 when the target cannot take the model, E0503 when its runtime is not installed.
    """
    settings = Settings(
        passes=passes,
        target=target,
        target_options=dict(options or {}),
        opset=opset,
        plugins=plugins,
        check_each_pass=check_each_pass,
        data=data,
        allow_approximate=allow_approximate,
        max_error=max_error,
        op_routes=op_routes or {},
        custom_op_libraries=custom_op_libraries,
        observers=observers,
    )
    return compile_with(model, settings, output, dims, freeze).bundle


def compile_all(
    model: Source,
    targets: Sequence[str],
    *,
    output: str | os.PathLike[str],
    passes: str | None = None,
    opset: int | None = None,
    options: Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
    freeze: Mapping[str, Any] | None = None,
    plugins: Sequence[str] = (),
    data: Any = None,
    allow_approximate: bool = False,
    max_error: float | None = None,
    hardware: str | None = None,
    op_routes: Mapping[str, str] | None = None,
    custom_op_libraries: Sequence[str | os.PathLike[str]] = (),
    observers: Sequence[Observer] = (),
) -> Comparison:
    """Compile a model for several targets in one run and compare them.

    A target that refuses the model does not keep the others from their bundles: ``failures`` of the result says why.

    Args:
        model: a model or the path of one.
        targets: names that `edgec targets` lists.
        output: the folder that gets a bundle for each target, and ``compare.json``.
        options: options of the targets; ``"tflite.threads"`` is meant for one of them, ``"threads"`` for all that know it.
        hardware: a machine that the cost model knows, for predicted latency and energy.

    The other arguments are those of `compile`.

    Raises:
        Diagnostic: what is wrong with the model, the options or the folder.
    """
    from .comparison import compile_targets
    from .prediction import predictor

    settings = Settings(
        passes=passes,
        target_options=dict(options or {}),
        opset=opset,
        plugins=plugins,
        data=data,
        allow_approximate=allow_approximate,
        max_error=max_error,
        hardware=hardware,
        op_routes=op_routes or {},
        custom_op_libraries=custom_op_libraries,
        observers=observers,
    )
    return compile_targets(model, settings, targets, Path(output), dims=dims, freeze=freeze, predict=predictor(hardware))


def compile_with(
    model: Source,
    settings: Settings,
    output: str | os.PathLike[str],
    dims: Mapping[str, int] | None = None,
    freeze: Mapping[str, Any] | None = None,
) -> Compiled:
    """`compile` with everything it did on the way."""
    from .compiling import Compilation
    from .runtime.bundle import refuse_to_overwrite

    load_plugin_modules(settings.plugins)
    folder, target = Path(output), settings.target or "ort"
    refuse_to_overwrite(folder.absolute())
    with Compilation.of(model, settings, [target], dims, freeze) as compilation:
        return compilation.build(target, folder)


def load_bundle(folder: str | os.PathLike[str], **options: Any) -> Bundle:
    """Open a bundle after checking its files: ``load_bundle(dir).run(feeds)`` gives outputs by name.

    Args:
        folder: what `compile` wrote.
        options: session options that replace those of the bundle.

    Raises:
        Diagnostic: the folder is no bundle, or damaged.
    """
    from .runtime.bundle import load_bundle as open_bundle

    load_plugin_modules()
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
    plugins: Sequence[str] = (),
    op_routes: Mapping[str, str] | None = None,
    custom_op_libraries: Sequence[str | os.PathLike[str]] = (),
    progress: Callable[[str], None] = lambda text: None,
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
        plugins: modules to import first; their operators register themselves.
        op_routes: routes of custom operators by qualified name; those on route ``python`` run in Python.
        custom_op_libraries: shared libraries with kernels of custom operators for ONNX Runtime.
        progress: told what is being done, in a few words.

    Returns:
        The report; ``report.passed`` is the gate, ``report.layers_passed`` and ``report.first_diverging`` tell about the layers.

    Raises:
        Diagnostic: bad data, signatures that do not match, or a model that does not run.
    """
    from .ir.custom import check_library, routes
    from .runtime.verify import verify as compare

    load_plugin_modules(plugins)
    place = Path(data) if isinstance(data, os.PathLike) else data
    libraries = [check_library(os.path.abspath(library)) for library in custom_op_libraries]
    with routes(op_routes or {}):
        return compare(
            _comparable(a),
            _comparable(b),
            place,
            layers=layers,
            scale=scale,
            limit=limit,
            seed=seed,
            custom_op_libraries=libraries,
            progress=progress,
        )


def _comparable(item: Comparable) -> Path | Model | Bundle:
    if isinstance(item, str | os.PathLike):
        return open_model(item) if Path(item).suffix == TEXT_SUFFIX else Path(item)
    return item
