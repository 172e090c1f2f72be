"""The capability matrix of ML programs, read off the declared translations and the decompositions that lead to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from ...ir import ops  # noqa: F401  (registers the operator classes)
from ...ir.graph import Node
from ...ir.op import OPS
from ...ir.ops.random import Bernoulli, Multinomial, RandomNormal, RandomNormalLike, RandomUniform, RandomUniformLike
from ..support import Support, Verdict, with_substitutes
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
        for t in TRANSLATIONS.get(op, ()):
            found.append(Support(op, t.level, t.dtypes, _condition(t), t.since.text, "", t.evidence, "probe"))
        if op not in TRANSLATIONS:
            found.append(Support(op, "none", frozenset(), None, Release.IOS15.text, "", DEFINITIONS, "schema"))
    random = [row for row in found if row.op in RANDOM]
    others = [row for row in found if row.op not in RANDOM]
    return tuple([*with_substitutes(others, rewritten_classes(), _tried, DECOMPOSED), *random])


def _tried(node: Node) -> Verdict:
    from .backend import CoreMlBackend

    return CoreMlBackend().support(node)


def problems(nodes: Sequence[Node], release: Release) -> list[tuple[Node, Verdict]]:
    """The nodes that cannot be translated, with the reasons."""
    judged = ((node, judge(node, release)) for node in nodes)
    return [(node, verdict) for node, verdict in judged if not verdict.runs]
