"""What documents say of engines that this compiler has no target for: rows like those of a target's matrix."""

from __future__ import annotations

from ..ir.ops.normalization import LayerNormalization
from .support import Support

_CODES = "NDK reference, NeuralNetworks.h: the operation codes of all feature levels name no layer normalisation"
_RETIRED = "NDK migration guide: NNAPI is deprecated from Android 15 on, LiteRT takes its place; " + _CODES

DOCUMENTED: dict[str, tuple[Support, ...]] = {
    "nnapi": (
        Support(LayerNormalization, "none", None, None, "8.1", "14", _CODES, "document"),
        Support(LayerNormalization, "none", None, None, "15", "", _RETIRED, "document"),
    )
}
"""Rows by engine; the versions of ``nnapi`` are those of Android."""
