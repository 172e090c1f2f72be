"""Predicted latency and energy of compiled models, where the cost model knows the hardware."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compiling import Compiled


def predictor(hardware: str | None) -> Callable[[Compiled], dict[str, Any] | None] | None:
    """What predicts the figures of a compiled model on some hardware; None when no hardware is named."""
    return None
