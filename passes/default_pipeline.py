"""The pipeline that is right for every target: it only removes, folds and recognises, and keeps the meaning exactly.

The text is assembled from pass names, so that a pass whose module is not installed is a clear error of the pipeline text.
"""

from __future__ import annotations

from ..ir.custom import any_decomposed

CLEANUP_PASSES = (
    "fold-if",
    "fold-constants",
    "unroll-loops",
    "remove-no-ops",
    "canonicalize",
    "simplify-shapes",
    "common-subexpressions",
    "dead-code",
)
"""What is repeated until nothing changes, before and after the recognisers. Branches that never run go first: what is inside need not fit
the sizes that the rest of the model has."""

RECOGNIZERS = (
    "recognize-activations",
    "recognize-normalization",
    "recognize-rms-normalization",
    "recognize-rotary-embedding",
    "recognize-attention",
    "fold-batch-norm",
    "fold-scale-bias",
    "merge-slices",
    "fold-pad",
    "form-gemm",
    "sink-transposes",
)
"""What replaces spellings in small operators by one operator, and moves work into constant weights."""


def cleanup_pipeline(max_rounds: int = 10) -> str:
    """The text of the cleanup alone.

    >>> cleanup_pipeline().startswith("share-constants,fix(fold-if,fold-constants,")
    True
    """
    limit = "" if max_rounds == 10 else f"{{max={max_rounds}}}"
    return f"share-constants,fix{limit}({','.join(CLEANUP_PASSES)})"


def default_pipeline() -> str:
    """The text of the portable pipeline: cleanup, then recognition and cleanup until nothing changes.

    Custom operators are decomposed first when that is the route of any (see `edgec.register_op`).
    """
    custom = "decompose-custom," if any_decomposed() else ""
    return f"{custom}{cleanup_pipeline()},fix({','.join(RECOGNIZERS + CLEANUP_PASSES)}),share-constants"
