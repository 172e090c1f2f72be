"""Running pass pipelines on models: what `optimize` and `compile` share between the Python API and the driver."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from .ir.model import Model

if TYPE_CHECKING:
    from .passes.context import Context
    from .passes.manager import PassReport
    from .passes.observers import Observer

Source = Union[Model, str, "os.PathLike[str]"]
TEXT_SUFFIX = ".edgec"
_DEFAULT = re.compile(r"(?<![\w=-])default(?![\w=-])")


@dataclass
class Settings:
    """How to optimise.

    Attributes:
        passes: pipeline text; the pipeline of the target, or the default one, when None.
        target: the target, whose pipeline adds decompositions and opset limits.
        target_options: options of the target.
        opset: the ai.onnx opset that the result may use at most.
        plugins: modules to import first; their passes, rules and operators register themselves.
        check_each_pass: compare the outputs with the original after every pass.
        data: a data set for that check; inputs are made up when None.
        allow_approximate: permit rewrites whose error is more than rounding.
        max_error: the relative error at the outputs that approximations standing in for operators without a kernel may cause.
        hardware: the machine on which the cost model prices what may stand in for such operators; their work decides without it.
        bisect_limit: apply only that many rewrites.
        op_routes: routes of custom operators by qualified name, in place of those that they were registered with.
        custom_op_libraries: shared libraries with kernels of custom operators for ONNX Runtime.
        observers: told about the progress.
    """

    passes: str | None = None
    target: str | None = None
    target_options: Mapping[str, Any] = field(default_factory=dict)
    opset: int | None = None
    plugins: Sequence[str] = ()
    check_each_pass: bool = False
    data: Any = None
    allow_approximate: bool = False
    max_error: float | None = None
    hardware: str | None = None
    bisect_limit: int | None = None
    op_routes: Mapping[str, str] = field(default_factory=dict)
    custom_op_libraries: Sequence[str | os.PathLike[str]] = ()
    observers: Iterable[Observer] = ()


@dataclass(frozen=True)
class Optimized:
    """An optimised model with the story of its making.

    Attributes:
        nodes_before: number of nodes, those of regions included; ``nodes_after`` likewise.
        pipeline: the pipeline text that ran.
        check: what ``check_each_pass`` saw: the number of samples and the worst error of every output; None without it.
    """

    model: Model
    reports: list[PassReport]
    context: Context
    pipeline: str
    nodes_before: int
    nodes_after: int
    check: dict[str, Any] | None = None

    def passes(self) -> list[dict[str, Any]]:
        """What each pass that changed something did, in order, without times."""
        return [{"name": str(r.step), "changes": dict(sorted(r.change.counts.items()))} for r in self.reports if r.change.modified]


def open_model(source: Source, dims: Mapping[str, int] | None = None, freeze: Mapping[str, Any] | None = None) -> Model:
    """Read a model file (.onnx, or .edgec text), or copy a model; then make constants of frozen inputs and bind dimensions."""
    if isinstance(source, Model):
        model = source.copy()
    else:
        path = Path(source)
        if path.suffix == TEXT_SUFFIX:
            model = _read_text(path)
        else:
            from .ir.serial.reader import read_model

            model = read_model(path)
    if freeze:
        from .ir.freeze import freeze_inputs

        freeze_inputs(model, freeze)
    if dims or freeze:
        from .ir.inference import bind_dims

        bind_dims(model, dims or {})
    return model


def _read_text(path: Path) -> Model:
    from .ir.diagnostics import E_TEXT, Diagnostic
    from .ir.text import parse_model

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Diagnostic(E_TEXT, f"the file cannot be read: {error.strerror or error}", f"file '{path}'") from None
    except UnicodeDecodeError as error:
        hint = "a binary model needs the suffix .onnx"
        raise Diagnostic(E_TEXT, f"the file is not UTF-8 text: {error.reason}", f"file '{path}'", hint) from None
    model = parse_model(text, name=path.name)
    model.path = path
    return model


def load_plugin_modules(modules: Sequence[str] = ()) -> None:
    """Import installed plugins (entry points) and the named modules or files.

    Raises:
        Diagnostic: E0406 when an import fails.
    """
    from .passes.plugins import load_plugin, load_plugins

    load_plugins()
    for name in modules:
        load_plugin(name)


def run_pipeline(model: Model, settings: Settings) -> Optimized:
    """Run the passes on a model, in place.

    Raises:
        Diagnostic: an unknown pass or target, a pass that failed, E0209 for an impossible route of a custom operator, or E0621 when
            ``check_each_pass`` found a changed output.
    """
    check_routes(model, settings)
    from .ir.custom import routes

    with routes(settings.op_routes):
        return run_text(model, settings, pipeline_text(settings, model), pass_context(settings))


def check_routes(model: Model, settings: Settings) -> None:
    """Load the plugins; check the routes of custom operators and give the model the libraries with their kernels.

    Raises:
        Diagnostic: E0209 for an impossible route or a missing library, E0406 for a plugin that does not import.
    """
    load_plugin_modules(settings.plugins)
    from .ir.custom import check_library, check_names

    check_names(settings.op_routes, model)
    given = [check_library(os.path.abspath(library)) for library in settings.custom_op_libraries]
    model.custom_op_libraries = tuple(dict.fromkeys((*model.custom_op_libraries, *given)))


def pass_context(settings: Settings) -> Context:
    """The surroundings that the settings ask for."""
    from .passes.context import Context

    context = Context(allow_approximate=settings.allow_approximate)
    if settings.opset is not None:
        context.opsets[""] = settings.opset
    return context


def run_text(model: Model, settings: Settings, pipeline: str, context: Context) -> Optimized:
    """Run a pipeline on a model, in place; observers, checks and limits are those of the settings."""
    from .passes.manager import PassManager
    from .passes.observers import BisectLimit

    observers = list(settings.observers)
    if settings.bisect_limit is not None:
        observers.append(BisectLimit(settings.bisect_limit))
    before = node_count(model)
    check = None
    if settings.check_each_pass:
        from .runtime.checking import run_checked

        checked = run_checked(model, pipeline, feeds=_feeds(model, settings.data), context=context, observers=observers)
        reports, check = checked.reports, checked.check.to_json()
    else:
        reports = PassManager(pipeline, observers).run(model, context)
    if settings.opset is not None:
        model.opsets[""] = model.requested_opset = settings.opset
    return Optimized(model, reports, context, pipeline, before, node_count(model), check)


def pipeline_text(settings: Settings, model: Model) -> str:
    """The pipeline that the settings ask for: the given passes, else those of the target, else the portable ones.

    The word ``default`` in a pipeline stands for the portable pipeline, so that ``default,my-pass`` adds to it.
    """
    from . import passes  # noqa: F401  (registers the passes)
    from .ir.custom import libraries_of
    from .passes.default_pipeline import cleanup_pipeline, default_pipeline

    text = settings.passes
    if text is None and settings.target is not None:
        from .lowering.registry import backend

        runner = backend(settings.target)
        options = runner.options(settings.target_options)
        if "custom_op_libraries" in runner.option_defaults:
            options["custom_op_libraries"] = (*options["custom_op_libraries"], *libraries_of(model))
        text = runner.pipeline(options)
    elif settings.opset is not None:
        text = f"{text or 'default'},legalize{{opset={settings.opset}}},{cleanup_pipeline()}"
    return _DEFAULT.sub(default_pipeline(), "default" if text is None else text)


def _feeds(model: Model, data: Any) -> list[dict[str, Any]] | None:
    if data is None:
        return None
    if isinstance(data, str | os.PathLike):
        from .lowering.signature import Signature
        from .runtime.dataset import load_dataset

        return [sample.feeds for sample in load_dataset(Path(data), Signature.of(model))]
    return [getattr(sample, "feeds", sample) for sample in data]


def node_count(model: Model) -> int:
    """The number of nodes, those of regions included."""
    return sum(1 for _ in model.graph.walk())
