"""Which operators of a float16 program stay in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def selects_half(kept: Sequence[str]) -> Callable[[Any], bool]:
    """A selector for coremltools: whether an operator is to be computed in float16.

    Args:
        kept: MIL operator types (``softmax``) and names of nodes; operators named after a kept node are kept.
    """
    exact = frozenset(kept)

    def select(op: Any) -> bool:
        if op.op_type in exact or op.name in exact:
            return False
        return not any(op.name.startswith(f"{name}_") and op.name[len(name) + 1 :].isdigit() for name in exact)

    return select
