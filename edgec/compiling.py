"""Compiling for one target or several: common passes once, then for each target its own passes, the ladder, lowering and the bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .ir.diagnostics import Diagnostic, Exit, code
from .ir.model import Model
from .optimizing import Optimized, Settings, Source, check_routes, load_plugin_modules, open_model
from .stages import Stages

if TYPE_CHECKING:
    from .lowering.artifact import Artifact
    from .lowering.backend import Backend
    from .lowering.ladder import Ladder, Step
    from .runtime.bundle import Bundle

E_OVER_BUDGET = code(
    "E0571",
    "the approximations exceed the accuracy budget",
    "Approximations that the reference runtime found within --max-error are beyond it on the target itself. Nothing was written: permit a "
    "larger error, or none, so that the target refuses what it cannot take exactly.",
    Exit.GATE_FAILED,
)


@dataclass(frozen=True)
class Compiled:
    """A bundle and how it came about.

    Attributes:
        bundle: the bundle on disk.
        result: the optimised model that was lowered, and the story of the passes.
        steps: what became of the nodes that are not native on the target.
    """

    bundle: Bundle
    result: Optimized
    steps: Sequence[Step]


@dataclass
class Compilation:
    """One model on its way to some targets.

    Attributes:
        model: as it was read, dimensions bound.
        settings: by target.
        backends: by target.
    """

    model: Model
    settings: dict[str, Settings]
    backends: dict[str, Backend]
    dims: Mapping[str, int]
    stages: Stages = field(init=False)

    @staticmethod
    @contextmanager
    def of(
        source: Source,
        settings: Settings,
        targets: Sequence[str],
        dims: Mapping[str, int] | None = None,
        freeze: Mapping[str, Any] | None = None,
        *,
        installed: bool = True,
    ) -> Iterator[Compilation]:
        """Check targets and options, read the model; while the block runs the routes of custom operators are in force.

        With ``installed`` the runtime of a single target must be; of several it is checked when its turn comes.

        Raises:
            Diagnostic: what is wrong with the targets, their options, the routes or the model.
        """
        from .ir.custom import routes
        from .lowering.registry import backend

        load_plugin_modules(settings.plugins)
        backends = {target: backend(target) for target in targets}
        chosen: dict[str, Settings] = {}
        for target, runner in backends.items():
            given = options_for(settings.target_options, target, backends)
            if settings.opset is not None and "opset" in runner.option_defaults:
                given.setdefault("opset", settings.opset)
            chosen[target] = replace(settings, target=target, target_options=runner.options(given))
        if installed and len(targets) == 1:
            backends[targets[0]].require()
        model = open_model(source, dims, freeze)
        check_routes(model, settings)
        with routes(settings.op_routes):
            found = Compilation(model, chosen, backends, dict(dims or {}))
            found.stages = Stages(model, chosen)
            yield found

    def build(self, target: str, folder: Path) -> Compiled:
        """Make the bundle of one target.

        Raises:
            Diagnostic: E0501 when the target cannot take the model, E0503 when its runtime is not installed, E0571, E0611.
        """
        from .lowering.losses import carried_by, general_losses
        from .runtime.bundle import Bundle, refuse_to_overwrite, write_bundle

        refuse_to_overwrite(folder.absolute())
        runner = self.backends[target]
        runner.require()
        result, artifact, steps = self.lowered(target)
        general = general_losses(carried_by(self.model), artifact, result.model)
        artifact = replace(artifact, losses=(*artifact.losses, *general))
        approximate = any(step.rung == "approximate" for step in steps)

        def check(stage: Path, manifest: Mapping[str, Any]) -> None:
            """The runtime must take the model before the bundle appears: what it refuses leaves nothing behind."""
            runner.check(stage, manifest)
            if approximate:
                self._check_budget(Bundle(stage, dict(manifest), artifact.signature))

        bundle = write_bundle(artifact, folder, self._facts(target, result, steps), check=check)
        return Compiled(bundle, result, steps)

    def ladder(self, target: str) -> Ladder:
        """The fallback ladder of a target, with the accuracy budget of the settings."""
        from .fallback import ladder

        return ladder(target, self.settings[target], budget_of(self.settings[target]), lambda: self.stages.before(target).model)

    def lowered(self, target: str) -> tuple[Optimized, Artifact, list[Step]]:
        """Run the passes and lower; where the target refuses, or an accuracy budget permits approximations, by way of the ladder.

        Returns:
            The optimised model, the artifact, and what became of the nodes that are not native.

        Raises:
            Diagnostic: E0501 when the target cannot take the model.
        """
        from .lowering.backend import Refusal

        ladder = self.ladder(target)
        if ladder.budget is not None:
            start, steps = ladder.descend(self.stages.before(target).model)
            result = self.stages.run(target, start if start is not self.stages.before(target).model else None)
            return result, self._lower(target, result), steps
        result = self.stages.run(target)
        try:
            artifact = self._lower(target, result)
        except Refusal as refusal:
            start, steps = ladder.descend(self.stages.before(target).model)
            if not any(step.rung == "exact" for step in steps):
                refusal.notes += engine_notes(steps)
                raise
            result = self.stages.run(target, start)
            return result, self._lower(target, result), steps
        return result, artifact, own_passes(ladder.survey(self.stages.before(target).model))

    def _lower(self, target: str, result: Optimized) -> Artifact:
        from .lowering.backend import refuse_python

        refuse_python(target, result.model)
        return self.backends[target].lower(result.model, self.settings[target].target_options)

    def _check_budget(self, bundle: Bundle) -> None:
        from .fallback import output_error

        settings = self.settings[bundle.target]
        budget = budget_of(settings)
        error = output_error(self.stages.before(bundle.target).model, bundle, settings.data)
        if budget is not None and error > budget:
            hint = f"permit it (--max-error {error:.2g}), or leave --max-error out"
            raise Diagnostic(
                E_OVER_BUDGET, f"the relative error at the outputs is {error:.2g}, not {budget:g}", f"target '{bundle.target}'", hint
            )

    def _facts(self, target: str, result: Optimized, steps: Sequence[Step]) -> dict[str, Any]:
        from . import __version__
        from .ir.custom import is_custom, route_of

        names = [node.op.qualified_name for node in self.model.graph.walk() if is_custom(node.op)]
        runner = self.backends[target]
        facts = {
            "source": _source_facts(self.model),
            "options": dict(self.settings[target].target_options),
            "pipeline": result.pipeline,
            "passes": result.passes(),
            "fallbacks": [step.to_json() for step in steps],
            "dims": dict(sorted(self.dims.items())),
            "custom_ops": {name: route_of(name) or "keep" for name in sorted(set(names))},
            "versions": {"edgec": __version__, runner.name: runner.version()},
        }
        return {**facts, "metadata": dict(sorted(self.model.metadata.items()))} if self.model.metadata else facts


def options_for(given: Mapping[str, Any], target: str, backends: Mapping[str, Backend]) -> dict[str, Any]:
    """The options that concern one of several targets: those with its name before a dot, and those that it knows while others do not.

    >>> options_for({"tflite.weights": "f16"}, "tflite", {})
    {'weights': 'f16'}
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        head, dot, tail = name.partition(".")
        if dot and (head in backends or head == target):
            if head == target:
                found[tail] = value
        elif not any(name in runner.option_defaults for runner in backends.values() if runner.name != target):
            found[name] = value
        elif name in backends[target].option_defaults:
            found[name] = value
    return found


def budget_of(settings: Settings) -> float | None:
    """The relative error at the outputs that approximations may cause; any when they are permitted without a limit."""
    if settings.max_error is not None:
        return settings.max_error
    return float("inf") if settings.allow_approximate else None


def own_passes(steps: Sequence[Step]) -> list[Step]:
    """The steps of the nodes that are not native, when the model was lowered without the ladder."""
    return [own_pass(step) for step in steps if step.rung != "native"]


def own_pass(step: Step) -> Step:
    """A step of a model that was lowered without the ladder: the target's own passes removed what would not run by itself."""
    if step.rung in ("native", "partial", "decomposed"):
        return step
    reason = f"{step.reason}; the target's passes rewrite it"
    return replace(step, rung="decomposed", reason=reason, code="", via="", into=(), price=None, engines=())


def engine_notes(steps: Sequence[Step]) -> list[str]:
    """What the ladder found for nodes that the target does not take."""
    found: dict[str, list[str]] = {}
    for step in steps:
        if step.rung == "other-engine":
            found.setdefault(", ".join(step.engines), []).append(step.node)
    return [f"another engine would take {', '.join(names[:5])}: {engines}" for engines, names in sorted(found.items())]


def _source_facts(model: Model) -> dict[str, Any]:
    if model.path is None:
        return {"name": model.graph.name, "sha256": None}
    from .runtime.bundle import file_digest

    return {"name": model.path.name, "sha256": file_digest(model.path)}
