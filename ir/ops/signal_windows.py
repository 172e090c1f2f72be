"""Window functions of signal processing and the mel filter bank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import Array
from ..dims import Dim
from ..dtypes import DType
from ..op import Op
from ..types import TensorType
from .common import dtype_error, format_shape, shape_error
from .elementwise import FLOATS, NUMERIC, check_type


def scalar_content(operand: Any, name: str) -> Dim | None:
    """The known value of a scalar integer operand, None when it is not known."""
    if not isinstance(operand, TensorType):
        return None
    if operand.dtype not in (DType.INT32, DType.INT64):
        raise dtype_error(f"{name} must be i32 or i64, not {operand.dtype}")
    if operand.shape is not None and operand.shape not in ((), (1,)):
        raise shape_error(f"{name} must be a scalar, not {format_shape(operand.shape)}")
    return None if operand.content is None else operand.content[0]


class Window(Op, abstract=True):
    """A window of ``size`` samples, for spectra (``periodic``) or symmetric for filters."""

    output_datatype: DType
    periodic: int
    since: ClassVar[int] = 17
    shape_operands: ClassVar[tuple[int, ...]] = (0,)

    def infer(self, size: TensorType) -> Any:
        check_type(self, self.output_datatype, NUMERIC)
        length: Any = scalar_content(size, "size")
        return TensorType(self.output_datatype, (length,))

    def sample(self, phase: Array) -> Any:
        """The window at phases from 0 to 2 pi."""
        raise NotImplementedError

    def evaluate(self, size: Array) -> Any:
        count = int(size.reshape(-1)[0])
        with np.errstate(all="ignore"):
            phase = 2 * np.pi * np.arange(count, dtype=np.float64) / np.float64(count if self.periodic else count - 1)
            return self.sample(phase).astype(self.output_datatype.numpy)


@dataclass(frozen=True)
class HannWindow(Window):
    """The raised cosine."""

    output_datatype: DType = DType.FLOAT
    periodic: int = 1

    def sample(self, phase: Array) -> Any:
        return 0.5 - 0.5 * np.cos(phase)


@dataclass(frozen=True)
class HammingWindow(Window):
    """The raised cosine on a pedestal, with the optimal coefficients 25/46 and 21/46."""

    output_datatype: DType = DType.FLOAT
    periodic: int = 1

    def sample(self, phase: Array) -> Any:
        return 25 / 46 - 21 / 46 * np.cos(phase)


@dataclass(frozen=True)
class BlackmanWindow(Window):
    """The three-term cosine window with the coefficients 0.42, 0.5 and 0.08."""

    output_datatype: DType = DType.FLOAT
    periodic: int = 1

    def sample(self, phase: Array) -> Any:
        return 0.42 - 0.5 * np.cos(phase) + 0.08 * np.cos(2 * phase)


@dataclass(frozen=True)
class MelWeightMatrix(Op):
    """The matrix [dft_length // 2 + 1, num_mel_bins] that sums a spectrum into triangular bands on the mel scale."""

    output_datatype: DType = DType.FLOAT
    since: ClassVar[int] = 17
    shape_operands: ClassVar[tuple[int, ...]] = (0, 1)

    def infer(
        self,
        num_mel_bins: TensorType,
        dft_length: TensorType,
        sample_rate: TensorType,
        lower_edge_hertz: TensorType,
        upper_edge_hertz: TensorType,
    ) -> Any:
        check_type(self, self.output_datatype, NUMERIC)
        for edge in (lower_edge_hertz, upper_edge_hertz):
            if isinstance(edge, TensorType):
                check_type(self, edge.dtype, FLOATS)
        scalar_content(sample_rate, "sample_rate")
        bins: Any = scalar_content(num_mel_bins, "num_mel_bins")
        length = scalar_content(dft_length, "dft_length")
        rows: Any = None if length is None else length // 2 + 1
        return TensorType(self.output_datatype, (rows, bins))

    def evaluate(self, *operands: Array) -> Any:
        bins, length, rate = (int(o.reshape(-1)[0]) for o in operands[:3])
        low, high = (float(o.reshape(-1)[0]) for o in operands[3:])
        mel_low, mel_high = (2595 * np.log10(1 + f / 700) for f in (low, high))
        mels = mel_low + np.arange(bins + 2) * ((mel_high - mel_low) / (bins + 2))
        hertz = 700 * (np.power(10, mels / 2595) - 1)
        edges = np.floor((length + 1) * hertz / rate).astype(np.int64)
        result = np.zeros((length // 2 + 1, bins))
        for band in range(bins):
            start, centre, end = edges[band : band + 3]
            if start == centre:
                result[centre, band] = 1
            else:
                rising = np.arange(start, centre + 1)
                result[rising, band] = (rising - start) / (centre - start)
            if centre < end:
                falling = np.arange(centre, end)
                result[falling, band] = (end - falling) / (end - centre)
        return result.astype(self.output_datatype.numpy)
