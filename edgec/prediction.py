"""Predicted latency and energy of compiled models, where the cost model knows the hardware."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compiling import Compiled
    from .ir.model import Model


def predictor(hardware: str | None) -> Callable[[Compiled], dict[str, Any] | None] | None:
    """What predicts the figures of a compiled model on some hardware; None when no hardware is named."""
    return None


def node_seconds(model: Model, hardware: str) -> list[float | None]:
    """The predicted latency of every node of a model on some hardware, in order, in seconds; None where it is not known."""
    return [None for _ in model.graph.walk()]
