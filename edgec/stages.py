"""The pipelines of several targets for one model: the passes that they begin with in common run once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .ir.model import Model
from .optimizing import Optimized, Settings, node_count, pass_context, pipeline_text, run_text

if TYPE_CHECKING:
    from .passes.context import Context


class Stages:
    """A model on its way to some targets.

    A pipeline is run in two stages: up to the end of the portable passes, which targets with the same beginning share, and the rest.

    Attributes:
        model: the model as it was read, not changed.
        texts: the whole pipeline by target.
        first: the text of the first stage by target; empty when a pipeline has to run in one go, as checks after every pass and
            bisections need it.
    """

    def __init__(self, model: Model, settings: Mapping[str, Settings]) -> None:
        """Make the pipelines.

        Args:
            model: the model.
            settings: for each target, alike but for the target and its options.
        """
        self.model, self._settings = model, dict(settings)
        self.texts = {target: pipeline_text(chosen, model) for target, chosen in settings.items()}
        whole = any(chosen.check_each_pass or chosen.bisect_limit is not None for chosen in settings.values())
        self.first = {target: "" if whole else _first_stage(text) for target, text in self.texts.items()}
        self._done: dict[str, Optimized] = {}

    @property
    def portable(self) -> Optimized:
        """The model after the portable passes alone."""
        from .passes.default_pipeline import default_pipeline

        return self._stage(default_pipeline(), next(iter(self._settings.values())))

    def before(self, target: str) -> Optimized:
        """The model after the first stage of a target; after the portable passes when its pipeline runs in one go."""
        return self._stage(self.first[target], self._settings[target]) if self.first[target] else self.portable

    def run(self, target: str, start: Model | None = None) -> Optimized:
        """The model after all passes of a target.

        Args:
            target: its name.
            start: the model to go on from in place of that after the first stage, changed by the ladder.
        """
        settings, text = self._settings[target], self.texts[target]
        if not self.first[target] and start is None:
            return run_text(self.model.copy(), settings, text, pass_context(settings))
        done = self.before(target)
        model = (start or done.model).copy()
        context = _copied(done.context)
        reports = list(done.reports)
        rest = text.removeprefix(self.first[target] or _first_stage(text)).removeprefix(",")
        check = None
        if rest:
            found = run_text(model, settings, rest, context)
            reports, check = reports + found.reports, found.check
        return Optimized(model, reports, context, text, done.nodes_before, node_count(model), check)

    def _stage(self, text: str, settings: Settings) -> Optimized:
        if text not in self._done:
            if not any(self.first.values()):
                settings = replace(settings, check_each_pass=False, bisect_limit=None, observers=())
            self._done[text] = run_text(self.model.copy(), settings, text, pass_context(settings))
        return self._done[text]


def _first_stage(text: str) -> str:
    """A pipeline up to the end of the portable passes; all of it when they are not part of it."""
    from .passes.default_pipeline import default_pipeline

    before, portable, after = text.partition(default_pipeline())
    return f"{before}{portable}" if not after or after.startswith(",") else text


def _copied(context: Context) -> Context:
    """A context that goes on from another one without changing it."""
    return replace(context, opsets=dict(context.opsets), notes=list(context.notes), extras=dict(context.extras), _analyses={})
