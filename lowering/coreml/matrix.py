"""The capability matrix of ML programs, read off the declared translations and the decompositions that lead to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from ...ir import ops  # noqa: F401  (registers the operator classes)
from ...ir.graph import Node
from ...ir.op import OPS, Op
from ...ir.ops.random import Bernoulli, Multinomial, RandomNormal, RandomNormalLike, RandomUniform, RandomUniformLike
from ...passes.decompose.base import decompositions_of
from ..backend import Support, Verdict
from . import emit as _emit  # noqa: F401  (registers the translations)
from .emit.dispatch import judge
from .emit.translation import DEFINITIONS, TRANSLATIONS, Translation
from .versions import Release

DECOMPOSED = "exact decomposition into operators that are translated, tried on each node"
RANDOM = frozenset((Bernoulli, Multinomial, RandomNormal, RandomNormalLike, RandomUniform, RandomUniformLike))


def _condition(translation: Translation) -> Callable[[Node], str | None] | None:
    when = translation.when
    if when is None:
        return None

    def reason(node: Node) -> str | None:
        found = when(node)
        return None if found is None else found.reason

    return reason


@cache
def rows() -> tuple[Support, ...]:
    """One row per translation, and one for each operator class that has none."""
    from .rewrites import rewritten_classes

    found: list[Support] = []
    for (_, _), op in sorted(OPS.items()):
        translations = TRANSLATIONS.get(op, ())
        for t in translations:
            found.append(Support(op, t.level, t.dtypes, _condition(t), t.since.text, "", t.evidence))
        if translations:
            continue
        if op not in RANDOM and _taken_apart(op, rewritten_classes()):
            found.append(Support(op, "decomposed", None, None, Release.IOS15.text, "", DECOMPOSED))
        else:
            found.append(Support(op, "none", frozenset(), None, "", "", DEFINITIONS))
    return tuple(found)


def _taken_apart(op: type[Op], rewritten: frozenset[type[Op]]) -> bool:
    return op in rewritten or any(d.error is None for d in decompositions_of(op))


def problems(nodes: Sequence[Node], release: Release) -> list[tuple[Node, Verdict]]:
    """The nodes that cannot be translated, with the reasons."""
    judged = ((node, judge(node, release)) for node in nodes)
    return [(node, verdict) for node, verdict in judged if not verdict.runs]
