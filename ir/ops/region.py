"""The grouping operator: a fused region with its inner graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..diagnostics import E_SHAPE, Diagnostic
from ..op import EDGEC, Op
from ..types import TensorType, refine


@dataclass(frozen=True)
class Region(Op):
    """A group of nodes that a cost model prices, and a backend lowers, as one kernel.

    The body is isolated: it reads only its own inputs, which stand for the operands in order, and constants.

    Attributes:
        kind: what the group is, such as ``conv-activation`` or ``elementwise-chain``.
    """

    kind: str

    domain: ClassVar[str] = EDGEC
    region_names: ClassVar[tuple[str, ...]] = ("body",)

    def infer(self, *operands: Any, regions: Any = (), **_: Any) -> Any:
        """The types of the body's outputs; operands must admit the body's inputs."""
        body = regions[0]
        if len(body.inputs) != len(operands):
            raise Diagnostic(E_SHAPE, f"the region's body has {len(body.inputs)} inputs for {len(operands)} operands")
        for operand, value in zip(operands, body.inputs, strict=True):
            if isinstance(operand, TensorType) and refine(operand, value.type) is None:
                raise Diagnostic(E_SHAPE, f"operand {operand} does not fit the body's input {value}")
        return tuple(value.type for value in body.outputs)

    def region_inputs(self, operands: Sequence[Any], index: int, results: Sequence[Any] | None = None) -> list[Any]:
        """The body's inputs have the types of the operands."""
        return list(operands)

    def evaluate(self, *operands: Any, regions: Sequence[Any] = ()) -> Any:
        return regions[0](*operands)
