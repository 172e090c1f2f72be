"""Optimizer steps of ai.onnx.preview.training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..op import Op
from .common import shape_error


def _groups(operands: Sequence[Any], kinds: int) -> list[tuple[Any, ...]]:
    """The operands of each kind (weights, gradients, states), which come one kind after the other."""
    if len(operands) % kinds:
        raise shape_error(f"{len(operands)} operands are not {kinds} for each optimized tensor")
    count = len(operands) // kinds
    return [tuple(operands[i * count : (i + 1) * count]) for i in range(kinds)]


class _Training(Op, abstract=True):
    domain: ClassVar[str] = "ai.onnx.preview.training"


@dataclass(frozen=True)
class Adagrad(_Training):
    """One Adagrad step: new weights, new accumulated squared gradients."""

    decay_factor: float = 0.0
    epsilon: float = 1e-06
    norm_coefficient: float = 0.0

    def infer(self, R: Any, T: Any, *inputs: Any) -> Any:
        weights, _, squares = _groups(inputs, 3)
        return weights + squares


@dataclass(frozen=True)
class Adam(_Training):
    """One Adam step: new weights, new averaged gradients, new averaged squared gradients."""

    alpha: float = 0.9
    beta: float = 0.999
    epsilon: float = 1e-06
    norm_coefficient: float = 0.0
    norm_coefficient_post: float = 0.0

    def infer(self, R: Any, T: Any, *inputs: Any) -> Any:
        weights, _, averages, squares = _groups(inputs, 4)
        return weights + averages + squares


@dataclass(frozen=True)
class Momentum(_Training):
    """One step of gradient descent with momentum: new weights, new momenta."""

    alpha: float
    beta: float
    mode: str
    norm_coefficient: float

    def infer(self, R: Any, T: Any, *inputs: Any) -> Any:
        weights, _, momenta = _groups(inputs, 3)
        return weights + momenta


@dataclass(frozen=True)
class Gradient(_Training):
    """The gradients of the value named ``y`` with respect to the operands that stand for ``xs``."""

    xs: tuple[str, ...]
    y: str
    zs: tuple[str, ...] | None = None

    def infer(self, *Inputs: Any) -> Any:
        if len(Inputs) != len(self.xs) + len(self.zs or ()):
            raise shape_error(f"{len(Inputs)} operands for {len(self.xs)} xs and {len(self.zs or ())} zs")
        return tuple(Inputs[: len(self.xs)])
