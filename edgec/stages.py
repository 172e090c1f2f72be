"""The pipelines of several targets for one model: the passes that they begin with in common run once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from .ir.model import Model
from .optimizing import Optimized, Settings, node_count, pass_context, pipeline_text, run_text

if TYPE_CHECKING:
    from .passes.context import Context


class Stages:
    """A model on its way to some targets.

    Attributes:
        model: the model as it was read, not changed.
        texts: the whole pipeline by target.
        common: the pipeline text that runs once; empty when every target runs its own from the start, as checks after every pass and
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
        self.common = "" if whole else _shared(list(self.texts.values()))

    @cached_property
    def portable(self) -> Optimized:
        """The model after the common passes; when there are none, after the portable pipeline, for the ladder."""
        from .passes.default_pipeline import default_pipeline

        settings = next(iter(self._settings.values()))
        if not self.common:
            settings = replace(settings, check_each_pass=False, bisect_limit=None, observers=())
        return run_text(self.model.copy(), settings, self.common or default_pipeline(), pass_context(settings))

    def run(self, target: str, start: Model | None = None) -> Optimized:
        """The model after all passes of a target.

        Args:
            target: its name.
            start: the model to go on from in place of the portable one, changed by the ladder.
        """
        settings, text = self._settings[target], self.texts[target]
        if not self.common:
            found = run_text((start or self.model).copy(), settings, text, pass_context(settings))
            return replace(found, nodes_before=node_count(self.model))
        shared = self.portable
        rest = text.removeprefix(self.common).removeprefix(",")
        model = (start or shared.model).copy()
        context = _copied(shared.context)
        reports = list(shared.reports)
        if rest:
            reports += run_text(model, settings, rest, context).reports
        return Optimized(model, reports, context, text, shared.nodes_before, node_count(model))


def _shared(texts: Sequence[str]) -> str:
    """The pipeline text that all texts begin with: the whole of equal ones, else the portable pipeline or nothing."""
    from .passes.default_pipeline import default_pipeline

    first, portable = texts[0], default_pipeline()
    if all(text == portable or text.startswith(f"{portable},") for text in texts):
        return portable
    return first if all(text == first for text in texts) else ""


def _copied(context: Context) -> Context:
    """A context that goes on from another one without changing it."""
    return replace(context, opsets=dict(context.opsets), notes=list(context.notes), extras=dict(context.extras), _analyses={})
