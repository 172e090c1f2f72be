"""A rewrite rule of the package and the pass that applies it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgec.ir.ops.activation import Sigmoid
from edgec.ir.ops.binary import Mul
from edgec.passes.driver import RulePass
from edgec.passes.match import Match
from edgec.passes.pattern import C, P
from edgec.passes.rewriter import Decline, Result, Rewriter, rewrites

from .operator import Swoosh

GROUP = "fuse-swoosh"


@rewrites(P(Mul)("x", P(Sigmoid)(P(Mul, "scaled")("x", C("alpha")))), name="spelled-out-swoosh", group=GROUP)
def spelled_out(m: Match, b: Rewriter) -> Result:
    """x · sigmoid(alpha · x) as one operator."""
    try:
        alpha = float(m.scalar("alpha"))
    except KeyError:
        return Decline("alpha differs between elements", m.node("scaled"))
    return b.add(Swoosh(alpha), m["x"])


@dataclass(frozen=True)
class FuseSwoosh(RulePass):
    """Form com.example.Swoosh, for runtimes that have a kernel for it."""

    name: ClassVar[str] = "fuse-swoosh"
    groups: ClassVar[tuple[str, ...]] = (GROUP,)
