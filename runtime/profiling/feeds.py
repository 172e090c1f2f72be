"""Made-up inputs that fit a bundle's signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostic
from ..bundle import Bundle
from ..synthesize import synthesize_feeds


def made_up(bundle: Bundle, dims: Mapping[str, int] | None = None) -> Mapping[str, Any]:
    """Inputs for one run: of the model itself where the bundle holds an ONNX model, else random ones of the declared sizes.

    Args:
        bundle: for which.
        dims: sizes of symbolic dimensions; the others are tried, or 1.

    Raises:
        Diagnostic: E0606 when nothing that was tried runs.
    """
    source = bundle.manifest.get("lowering", {}).get("onnx")
    if source:
        from ...ir.serial.reader import read_model

        return synthesize_feeds(read_model(bundle.folder / source), dims=dims, attempt=bundle.run)[0]
    random = np.random.default_rng(0)
    feeds: dict[str, Any] = {}
    for spec in bundle.signature.inputs:
        shape = tuple(d if isinstance(d, int) else (dims or {}).get(d, 1) for d in (getattr(spec, "shape", None) or ()))
        assert spec.dtype is not None  # what is no tensor has been refused before
        dtype = spec.dtype.numpy
        if np.issubdtype(dtype, np.floating):
            feeds[spec.name] = random.random(shape).astype(dtype)
        elif dtype == np.bool_:
            feeds[spec.name] = np.ones(shape, dtype)
        else:
            feeds[spec.name] = np.ones(shape, dtype)
    try:
        bundle.run(feeds)
    except Diagnostic as error:
        error.notes = [*error.notes, "made-up inputs were tried: give real ones with --data"]
        raise
    return feeds
