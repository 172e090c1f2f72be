"""The capability matrix of ML programs, read off the declared translations and the decompositions that lead to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial

from ...ir import ops  # noqa: F401  (registers the operator classes)
from ...ir.dtypes import DType
from ...ir.graph import Node
from ...ir.op import OPS, Op
from ...passes import decompose as _decompose  # noqa: F401  (registers the decompositions)
from ...passes.decompose.base import decompositions_of
from ..support import Condition, Support, Verdict, with_substitutes
from . import emit as _emit  # noqa: F401  (registers the translations)
from .emit.dispatch import MAX_RANK, judge, values_obstacle
from .emit.translation import DEFINITIONS, TRANSLATIONS, Translation
from .versions import NEWEST, Release

TENSORS = f"tensors with elements, of {MAX_RANK} dimensions at most"
DECOMPOSED = "exact decomposition into operators that are translated, tried on each node"


def _condition(translation: Translation) -> Condition:
    when = translation.when

    def problem(node: Node) -> str | None:
        found = values_obstacle(node) or (None if when is None else when(node))
        return None if found is None else found.reason

    return Condition(
        "rank" if when is None else "attribute", problem, TENSORS if when is None else f"{TENSORS}; as MIL's operators want it"
    )


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
    found = [*with_substitutes(found, rewritten_classes(), _tried, DECOMPOSED), *_before(found)]
    return tuple(sorted(found, key=lambda row: row.name))


def _before(rows: Sequence[Support]) -> Iterator[Support]:
    """What stands in for operators on the releases before MIL got them."""
    from .rewrites import rewritten_classes

    starts: dict[type[Op], dict[DType, Release]] = {}
    for row in rows:
        if row.level != "none" and row.dtypes is not None:
            for dtype in row.dtypes:
                known = starts.setdefault(row.op, {})
                known[dtype] = min(known.get(dtype, NEWEST), Release.of(row.since))
    replaced = tuple(root for root in rewritten_classes() if root is not Op)
    for op, first in starts.items():
        if not issubclass(op, replaced) and not any(d.error is None for d in decompositions_of(op)):
            continue
        for start in sorted(set(first.values()) - {Release.IOS15}):
            last = Release(start - 1)
            dtypes = frozenset(dtype for dtype, release in first.items() if release is start)
            fits = Condition("attribute", partial(_problem_on, last), "where the rewriting fits its attributes")
            yield Support(op, "decomposed", dtypes, fits, Release.IOS15.text, last.text, DECOMPOSED, "probe")


def _problem_on(release: Release, node: Node) -> str | None:
    from .trial import judge_rewritten

    verdict = judge(node, release)
    verdict = verdict if verdict.runs else judge_rewritten(node, verdict, release)
    return None if verdict.runs else verdict.reason


def _tried(node: Node) -> Verdict:
    from .backend import CoreMlBackend

    return CoreMlBackend().support(node)


def problems(nodes: Sequence[Node], release: Release) -> list[tuple[Node, Verdict]]:
    """The nodes that cannot be translated, with the reasons."""
    judged = ((node, judge(node, release)) for node in nodes)
    return [(node, verdict) for node, verdict in judged if not verdict.runs]
