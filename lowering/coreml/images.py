"""Inputs that are images: 8-bit pixels, which the program scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostic
from ...ir.model import Model
from ..backend import E_OPTION

LAYOUTS = {"RGB": 3, "BGR": 3, "GRAYSCALE": 1}


@dataclass(frozen=True)
class Image:
    """How pixels become the elements of an input: ``scale * pixel + bias`` with one bias per channel.

    Attributes:
        layout: ``RGB``, ``BGR`` or ``GRAYSCALE``.
        scale: the factor.
        bias: one number per channel.
    """

    layout: str
    scale: float
    bias: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {"layout": self.layout, "scale": self.scale, "bias": list(self.bias)}

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> Image:
        """The inverse of `to_json`."""
        return Image(facts["layout"], facts["scale"], tuple(facts["bias"]))

    def pixels(self, array: Any) -> Any:
        """The pixels ``[batch, channels, height, width]`` that stand for elements of the input, rounded to whole numbers from 0 to 255."""
        bias = np.array(self.bias, np.float64).reshape(1, -1, 1, 1)
        return np.clip(np.rint((array.astype(np.float64) - bias) / self.scale), 0, 255).astype(np.float32)

    def described(self, feature: str, shape: Any) -> Any:
        """The description that coremltools needs."""
        import coremltools

        layout = getattr(coremltools.colorlayout, self.layout)
        bias: Any = self.bias[0] if self.layout == "GRAYSCALE" else list(self.bias)
        return coremltools.ImageType(name=feature, shape=shape, scale=self.scale, bias=bias, color_layout=layout, channel_first=True)


def parse_images(given: Mapping[str, Any], model: Model) -> dict[str, Image]:
    """The images of the option: ``RGB``, ``RGB/255``, ``RGB/127.5-1``, or a mapping with ``layout``, ``scale`` and ``bias``.

    Raises:
        Diagnostic: E0506 when the input does not exist, has another shape, or the text cannot be read.
    """
    inputs = {v.name: v for v in model.graph.inputs}
    found = {}
    for name, text in given.items():
        if name not in inputs:
            raise Diagnostic(E_OPTION, f"images: there is no input '{name}'", hint="inputs: " + ", ".join(inputs))
        image = _parse(name, text)
        shape = inputs[name].shape
        if shape is None or len(shape) != 4 or shape[1] != LAYOUTS[image.layout]:
            message = f"images: '{name}' is {inputs[name].type}, {image.layout} takes [batch, {LAYOUTS[image.layout]}, height, width]"
            raise Diagnostic(E_OPTION, message)
        found[name] = image
    return found


def _parse(name: str, given: Any) -> Image:
    try:
        if isinstance(given, Mapping):
            layout = str(given["layout"]).upper()
            scale = float(given.get("scale", 1.0))
            bias = given.get("bias", 0.0)
            values = [float(bias)] * LAYOUTS[layout] if isinstance(bias, int | float) else [float(b) for b in bias]
        else:
            head, _, offset = str(given).partition("-")
            layout, _, divisor = head.partition("/")
            layout, scale = layout.strip().upper(), 1.0 / float(divisor or 1)
            values = [-float(offset or 0)] * LAYOUTS[layout]
        if len(values) != LAYOUTS[layout] or not scale:
            raise ValueError
    except (KeyError, ValueError, TypeError, ZeroDivisionError):
        hint = "write RGB, RGB/255 or RGB/127.5-1"
        raise Diagnostic(E_OPTION, f"images: {name}={given!r} cannot be read", hint=hint) from None
    return Image(layout, scale, tuple(values))
