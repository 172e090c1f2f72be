"""The graph that ONNX Runtime really runs: its optimised graph, read back with the operators that only occur there.

For convolutional networks on the CPU that is the blocked-channel layout (``com.microsoft.nchwc``): tensors keep the shape
``[batch, channels, *spatial]`` with channels rounded up to the block, and convolutions carry their activation and residual. These
operators are known here by their types alone; they are priced, never executed.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..ir.diagnostics import Diagnostic, code
from ..ir.model import Model
from ..ir.op import Op
from ..ir.ops.pooling import pool_shape
from ..ir.ops.windows import explicit_pads, per_axis, window_counts
from ..ir.types import TensorType

DOMAIN = "com.microsoft.nchwc"
BLOCK = 8  # channels; processors with wider vectors use 16, which rounds few models differently

E_OPTIMIZED = code(
    "E1017",
    "ONNX Runtime does not load the model",
    "To price what ONNX Runtime really runs it is asked for its optimised graph, and it refused the model.",
)


class _Blocked(Op, abstract=True):
    """An operator of the blocked layout. It is not pure in the sense of passes: nothing here can be merged, folded or executed."""

    domain: ClassVar[str] = DOMAIN
    pure: ClassVar[bool] = False


def _rounded(channels: Any) -> Any:
    return (channels + (BLOCK - 1)) // BLOCK * BLOCK


@dataclass(frozen=True)
class BlockedConv(_Blocked):
    """Convolution with bias, residual and activation."""

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    activation: str = ""
    activation_params: tuple[float, ...] | None = None
    op_name: ClassVar[str] = "Conv"

    def infer(self, x: TensorType, w: TensorType, b: TensorType | None = None, residual: TensorType | None = None) -> Any:
        if x.shape is None or w.shape is None:
            return TensorType(x.dtype, None)
        rank = len(x.shape) - 2
        counts = window_counts(
            x.shape[2:],
            w.shape[2:],
            per_axis(self.strides, rank, "strides"),
            per_axis(self.dilations, rank, "dilations"),
            explicit_pads(self.pads, rank, self.auto_pad),
            self.auto_pad,
        )
        return TensorType(x.dtype, (x.shape[0], w.shape[0], *counts))


@dataclass(frozen=True)
class BlockedMaxPool(_Blocked):
    """Maximum over windows."""

    kernel_shape: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: int = 0
    dilations: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    storage_order: int = 0
    strides: tuple[int, ...] | None = None
    op_name: ClassVar[str] = "MaxPool"

    def infer(self, x: TensorType) -> Any:
        return TensorType(x.dtype, pool_shape(self, x.shape))


@dataclass(frozen=True)
class BlockedAveragePool(_Blocked):
    """Average over windows."""

    kernel_shape: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: int = 0
    count_include_pad: int = 0
    dilations: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    op_name: ClassVar[str] = "AveragePool"

    def infer(self, x: TensorType) -> Any:
        return TensorType(x.dtype, pool_shape(self, x.shape))


class _BlockedGlobalPool(_Blocked, abstract=True):
    def infer(self, x: TensorType) -> Any:
        return TensorType(x.dtype, None if x.shape is None else (*x.shape[:2], *(1 for _ in x.shape[2:])))


@dataclass(frozen=True)
class BlockedGlobalAveragePool(_BlockedGlobalPool):
    """Average of every channel."""

    op_name: ClassVar[str] = "GlobalAveragePool"


@dataclass(frozen=True)
class BlockedGlobalMaxPool(_BlockedGlobalPool):
    """Maximum of every channel."""

    op_name: ClassVar[str] = "GlobalMaxPool"


@dataclass(frozen=True)
class BlockedUpsample(_Blocked):
    """Enlargement by whole factors."""

    scales: tuple[int, ...] = ()
    mode: str = "nearest"
    coordinate_transformation_mode: str = "asymmetric"
    op_name: ClassVar[str] = "Upsample"

    def infer(self, x: TensorType) -> Any:
        if x.shape is None or len(self.scales) != len(x.shape):
            return TensorType(x.dtype, None)
        return TensorType(x.dtype, tuple(d * int(s) for d, s in zip(x.shape, self.scales, strict=True)))


@dataclass(frozen=True)
class ReorderInput(_Blocked):
    """From the plain layout to the blocked one."""

    channels_last: int = 0

    def infer(self, x: TensorType) -> Any:
        if x.shape is None:
            return x
        plain = (x.shape[0], x.shape[-1], *x.shape[1:-1]) if self.channels_last else x.shape
        return TensorType(x.dtype, (plain[0], _rounded(plain[1]), *plain[2:]))


@dataclass(frozen=True)
class ReorderOutput(_Blocked):
    """From the blocked layout to the plain one."""

    channels: int = 0
    channels_last: int = 0

    def infer(self, x: TensorType) -> Any:
        if x.shape is None:
            return x
        spatial = x.shape[2:]
        shape = (x.shape[0], *spatial, self.channels) if self.channels_last else (x.shape[0], self.channels, *spatial)
        return TensorType(x.dtype, shape)


def optimized_by_ort(path: str | Path, threads: int = 1, level: str = "all") -> Model:
    """The model as ONNX Runtime's CPU provider runs it.

    Args:
        path: an ONNX file.
        threads: intra-op threads of the session (the optimised graph does not depend on them today).
        level: ``all``, ``extended``, ``basic`` or ``none``: how far it optimises.

    Raises:
        Diagnostic: E1017 when the runtime refuses the model, and what reading raises.
    """
    import onnxruntime

    from ..ir.serial.reader import read_model

    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = {
        "all": levels.ORT_ENABLE_ALL,
        "extended": levels.ORT_ENABLE_EXTENDED,
        "basic": levels.ORT_ENABLE_BASIC,
        "none": levels.ORT_DISABLE_ALL,
    }[level]
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(written)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "optimized.data")
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
        try:
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime raises many kinds without a common root
            raise Diagnostic(E_OPTIMIZED, str(error).strip().splitlines()[0], str(path)) from error
        return read_model(written)
