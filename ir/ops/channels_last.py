"""Spatial operators whose data operand and result have the channels last: ``[batch, *spatial, channels]``.

Each has the attributes and the further operands of its ONNX counterpart, unchanged: weights stay ``[filters, channels / group, *kernel]``
and the parameters of a Resize keep the order batch, channels, spatial. Inference and evaluation are those of the counterpart between
two transpositions, so there is one definition of every meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..op import EDGEC, Op
from ..types import TensorType
from .conv import Conv, ConvTranspose
from .normalization import LRN
from .numerics import Array
from .operands import unresolved
from .pooling import AveragePool, LpPool, MaxPool
from .resize import Resize
from .vision import DepthToSpace, GridSample, SpaceToDepth


def to_last(rank: int) -> tuple[int, ...]:
    """The permutation that moves the channels from axis 1 to the end.

    >>> to_last(4)
    (0, 2, 3, 1)
    """
    return (0, *range(2, rank), 1)


def to_first(rank: int) -> tuple[int, ...]:
    """The permutation that moves the channels from the end to axis 1.

    >>> to_first(4)
    (0, 3, 1, 2)
    """
    return (0, rank - 1, *range(1, rank - 1))


class ChannelsLastOp(Op, abstract=True):
    """An operator between two transpositions.

    Class attributes:
        plain: the ONNX operator that takes the channels at axis 1.
    """

    domain: ClassVar[str] = EDGEC
    plain: ClassVar[type[Op]]

    def counterpart(self) -> Op:
        """The ONNX operator with the same attributes."""
        return self.plain(**dict(self.attributes()))

    def infer_between(self, x: Any, *operands: Any) -> Any:
        """The result type from the counterpart's for the operand with channels first."""
        if type(x) is not TensorType:
            return unresolved(x, "X")
        shape = x.shape
        first = TensorType(x.dtype, None if shape is None else tuple(shape[a] for a in to_first(len(shape))))
        result = self.counterpart().infer(first, *operands)
        result = result[0] if type(result) is tuple else result
        if type(result) is not TensorType or result.shape is None:
            return result
        return TensorType(result.dtype, tuple(result.shape[a] for a in to_last(len(result.shape))))

    def evaluate(self, x: Array, *operands: Array | None) -> Array:
        result = self.counterpart().evaluate(x.transpose(to_first(x.ndim)), *operands)
        result = result[0] if type(result) is tuple else result
        return np.ascontiguousarray(result.transpose(to_last(result.ndim)))


@dataclass(frozen=True)
class ChannelsLastConv(ChannelsLastOp):
    """`Conv` of ``[batch, *spatial, channels]``."""

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    plain: ClassVar[type[Op]] = Conv

    def infer(self, x: TensorType, w: TensorType, b: TensorType | None = None) -> Any:
        return self.infer_between(x, w, b)


@dataclass(frozen=True)
class ChannelsLastConvTranspose(ChannelsLastOp):
    """`ConvTranspose` of ``[batch, *spatial, channels]``."""

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    output_padding: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    plain: ClassVar[type[Op]] = ConvTranspose

    def infer(self, x: TensorType, w: TensorType, b: TensorType | None = None) -> Any:
        return self.infer_between(x, w, b)


class _Unary(ChannelsLastOp, abstract=True):
    def infer(self, x: TensorType) -> Any:
        return self.infer_between(x)


@dataclass(frozen=True)
class ChannelsLastMaxPool(_Unary):
    """`MaxPool` of ``[batch, *spatial, channels]``, without the positions."""

    kernel_shape: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: int = 0
    dilations: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    plain: ClassVar[type[Op]] = MaxPool


@dataclass(frozen=True)
class ChannelsLastAveragePool(_Unary):
    """`AveragePool` of ``[batch, *spatial, channels]``."""

    kernel_shape: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: int = 0
    count_include_pad: int = 0
    dilations: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    plain: ClassVar[type[Op]] = AveragePool


@dataclass(frozen=True)
class ChannelsLastLpPool(_Unary):
    """`LpPool` of ``[batch, *spatial, channels]``."""

    kernel_shape: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: int = 0
    dilations: tuple[int, ...] | None = None
    p: int = 2
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    plain: ClassVar[type[Op]] = LpPool


@dataclass(frozen=True)
class ChannelsLastLRN(_Unary):
    """`LRN` across the channels of ``[batch, *spatial, channels]``."""

    size: int
    alpha: float = 0.0001
    beta: float = 0.75
    bias: float = 1.0
    plain: ClassVar[type[Op]] = LRN


@dataclass(frozen=True)
class ChannelsLastDepthToSpace(_Unary):
    """`DepthToSpace` of ``[batch, height, width, channels]``."""

    blocksize: int
    mode: str = "DCR"
    plain: ClassVar[type[Op]] = DepthToSpace


@dataclass(frozen=True)
class ChannelsLastSpaceToDepth(_Unary):
    """`SpaceToDepth` of ``[batch, height, width, channels]``."""

    blocksize: int
    mode: str = "DCR"
    plain: ClassVar[type[Op]] = SpaceToDepth


@dataclass(frozen=True)
class ChannelsLastResize(ChannelsLastOp):
    """`Resize` of ``[batch, *spatial, channels]``; roi, scales, sizes and ``axes`` speak of the order batch, channels, spatial."""

    antialias: int = 0
    axes: tuple[int, ...] | None = None
    coordinate_transformation_mode: str = "half_pixel"
    cubic_coeff_a: float = -0.75
    exclude_outside: int = 0
    extrapolation_value: float = 0.0
    keep_aspect_ratio_policy: str = "stretch"
    mode: str = "nearest"
    nearest_mode: str = "round_prefer_floor"
    plain: ClassVar[type[Op]] = Resize
    shape_operands = (1, 2, 3)

    def infer(
        self,
        x: TensorType,
        roi: TensorType | None = None,
        scales: TensorType | None = None,
        sizes: TensorType | None = None,
    ) -> Any:
        return self.infer_between(x, roi, scales, sizes)


@dataclass(frozen=True)
class ChannelsLastGridSample(ChannelsLastOp):
    """`GridSample` of ``[batch, *spatial, channels]`` at the positions ``grid [batch, *out, rank]``."""

    align_corners: int = 0
    mode: str = "linear"
    padding_mode: str = "zeros"
    plain: ClassVar[type[Op]] = GridSample

    def infer(self, x: TensorType, grid: TensorType) -> Any:
        return self.infer_between(x, grid)


CHANNELS_LAST: dict[type[Op], type[ChannelsLastOp]] = {
    cls.plain: cls
    for cls in (
        ChannelsLastConv,
        ChannelsLastConvTranspose,
        ChannelsLastMaxPool,
        ChannelsLastAveragePool,
        ChannelsLastLpPool,
        ChannelsLastLRN,
        ChannelsLastDepthToSpace,
        ChannelsLastSpaceToDepth,
        ChannelsLastResize,
        ChannelsLastGridSample,
    )
}
"""The channels-last form of each operator that has one."""


def channels_last_form(op: Op) -> ChannelsLastOp | None:
    """The channels-last operator with the attributes of ``op``, None when there is none."""
    cls = CHANNELS_LAST.get(type(op))
    if cls is None:
        return None
    return cls(**{name: value for name, value in op.attributes() if name != "storage_order"})
