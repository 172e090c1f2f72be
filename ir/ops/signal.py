"""Fourier transforms of signals whose last dimension holds the real and the imaginary part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..op import Op
from ..types import TensorType
from .common import attribute_error, format_shape, shape_error
from .numerics import Array, rounded, widened
from .operands import float_dtype, require_equal, require_rank, require_vector, shape_of, unresolved


def _scalar(operand: Any) -> Any:
    """The known element of a scalar operand."""
    content = operand.content if type(operand) is TensorType else None
    return content[0] if content is not None and len(content) == 1 else None


def _complex(x: Array) -> Array:
    return x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]


def _parts(x: Any) -> Array:
    return np.stack((x.real, x.imag), axis=-1)


@dataclass(frozen=True)
class DFT(Op):
    """Discrete Fourier transform along one axis, optionally inverse or one-sided."""

    inverse: int = 0
    onesided: int = 0
    since = 17
    shape_operands = (1, 2)

    def infer(self, input: TensorType, dft_length: TensorType | None = None, axis: TensorType | None = None) -> Any:
        if type(input) is not TensorType:
            return unresolved(input, "input")
        dtype, shape = float_dtype(input), input.shape
        if shape is None:
            return TensorType(dtype, None)
        if len(shape) < 2:
            raise shape_error(f"a signal and its complex parts are needed, not {format_shape(shape)}")
        if self.onesided and not self.inverse:
            require_equal(shape[-1], 1, "a one-sided transform of a real signal, whose last dimension is one")
        parts = 1 if self.onesided and self.inverse else 2
        position = -2 if axis is None else _scalar(axis)
        if type(position) is not int:
            return TensorType(dtype, (*(None,) * (len(shape) - 1), parts))  # type: ignore[arg-type]
        place = self._axis(position, len(shape))
        size = shape[place] if dft_length is None else _scalar(dft_length)
        if dft_length is None and self.onesided and self.inverse and size is not None:
            size = (size - 1) * 2
        if self.onesided and not self.inverse and size is not None:
            size = size // 2 + 1
        return TensorType(dtype, (*shape[:place], size, *shape[place + 1 : -1], parts))  # type: ignore[arg-type]

    @staticmethod
    def _axis(position: int, rank: int) -> int:
        place = position + rank if position < 0 else position
        if not 0 <= place < rank - 1:
            raise attribute_error(f"axis {position} is not a signal axis of a tensor of rank {rank}")
        return place

    def evaluate(self, input: Array, dft_length: Array | None = None, axis: Array | None = None) -> Array:
        place = self._axis(-2 if axis is None else int(axis.reshape(-1)[0]), input.ndim)
        signal = _complex(widened(input))
        length = None if dft_length is None else int(dft_length.reshape(-1)[0])
        if self.inverse and self.onesided:
            return rounded(np.fft.irfft(signal, length, place)[..., None], input.dtype)
        if self.inverse:
            return rounded(_parts(np.fft.ifft(signal, length, place)), input.dtype)
        transform = np.fft.rfft if self.onesided else np.fft.fft
        return rounded(_parts(transform(signal, length, place)), input.dtype)


@dataclass(frozen=True)
class STFT(Op):
    """Fourier transforms of overlapping frames: ``[batch, frames, frequencies, 2]``."""

    onesided: int = 1
    since = 17
    shape_operands = (1, 3)

    def infer(
        self,
        signal: TensorType,
        frame_step: TensorType,
        window: TensorType | None = None,
        frame_length: TensorType | None = None,
    ) -> Any:
        if type(signal) is not TensorType:
            return unresolved(signal, "signal")
        dtype, shape = float_dtype(signal, window), require_rank(signal, 3, "signal")
        if shape is None:
            return TensorType(dtype, (None, None, None, 2))  # type: ignore[arg-type]
        taper, step = shape_of(window), _scalar(frame_step)
        if frame_length is not None:
            size = _scalar(frame_length)
            require_vector(window, size, "the window")
        else:
            size = shape[1] if window is None else taper[0] if taper else None
        if type(step) is int and step < 1:
            raise shape_error(f"frame_step is {step}")
        if type(shape[1]) is int and type(size) is int and size > shape[1]:
            raise shape_error(f"a frame of {size} samples does not fit a signal of {shape[1]}")
        frames = None if size is None or type(step) is not int else (shape[1] - size) // step + 1
        frequencies = size if size is None or not self.onesided else size // 2 + 1
        return TensorType(dtype, (shape[0], frames, frequencies, 2))  # type: ignore[arg-type]

    def evaluate(self, signal: Array, frame_step: Array, window: Array | None = None, frame_length: Array | None = None) -> Array:
        series, step = _complex(widened(signal)), int(frame_step.reshape(-1)[0])
        size = int(frame_length.reshape(-1)[0]) if frame_length is not None else signal.shape[1] if window is None else len(window)
        frames = np.lib.stride_tricks.sliding_window_view(series, size, axis=1)[:, ::step]
        if window is not None:
            frames = frames * widened(window)
        transformed = np.fft.rfft(frames) if self.onesided else np.fft.fft(frames)
        return rounded(_parts(transformed), signal.dtype)
