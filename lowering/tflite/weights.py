"""Weights in fewer bits: float16, and symmetric int8 or int4 that kernels multiply with activations quantised at run time.

A kernel for int8 weights and float32 activations ("hybrid") quantises each row of its operand when it runs, multiplies integers, and scales
the sums. Where there is none, the weights are dequantised once when the model is loaded: the file is as small, the arithmetic float32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...ir.data import ArrayData
from ...ir.dtypes import DType
from ..artifact import Loss
from .schema import tensor_type
from .writer import FEWEST, FlatModel, Operator, Quantization, SubGraph, Tensor

STORED = ("keep", "f16", "int8", "int4")
SCALES = ("minmax", "mse")
SHRINK = {"keep": 1, "f16": 2, "int8": 4, "int4": 8}
"""By how much the size of weights is divided at most."""
COARSE = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
FINE = (-0.06, -0.04, -0.02, 0.02, 0.04, 0.06)
"""Shares of the greatest magnitude that are tried as the end of the range, and what is then added to the best."""
GREATEST_HALF = 65504.0
SMALLEST_HALF = 2.0**-14  # of those with full precision
BLOCKS = (32, 64, 128, 256)
"""Sizes of blocks that XNNPACK takes."""
PER_CHANNEL_VERSION = 12
BLOCKWISE_VERSION = 13
RECURRENT = ("UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "RNN")


@dataclass(frozen=True)
class Hybrid:
    """A kernel that takes integer weights beside float32 activations.

    Attributes:
        operand: which operand the weights are.
        axis: the dimension along which scales vary, None when the kernel takes one scale only.
        version: of the operator with int8 weights.
        int4: of the operator with int4 weights, 0 when it has no kernel for them.
    """

    operand: int
    axis: int | None
    version: int
    int4: int


KERNELS = {
    "CONV_2D": Hybrid(1, 0, 5, 7),
    "DEPTHWISE_CONV_2D": Hybrid(1, 3, 6, 0),
    "FULLY_CONNECTED": Hybrid(1, 0, 9, 10),
    "BATCH_MATMUL": Hybrid(1, None, 4, 0),
}
"""Probed in LiteRT 2.3 with XNNPACK and with the builtin kernels."""
ASYMMETRIC = ("FULLY_CONNECTED", "BATCH_MATMUL")
"""Operators with an option for zero points of the activations; convolutions always have them."""
DEQUANTISED = ("TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE", "GATHER", *KERNELS)
"""Operators whose constant operands are weights worth few bits also where no kernel takes them as they are."""


@dataclass(frozen=True)
class Report:
    """What became of the weights.

    Attributes:
        facts: counts, and effective bits by number of bits.
        losses: what is less precise.
    """

    facts: dict[str, Any]
    losses: list[Loss]


def quantised_symmetrically(array: Any, axis: int | None, bits: int, scales: str) -> tuple[Any, Any]:
    """Integers without zero point and their scales: ``array ≈ scale · integers``.

    Args:
        array: float32 numbers.
        axis: the dimension whose indices have a scale each; None for one scale.
        bits: 8 or 4; the range is symmetric, ±127 or ±7.
        scales: ``minmax`` reaches the greatest magnitude, ``mse`` has the least squared error among several ranges (never a greater one
            than ``minmax``).

    Returns:
        The integers as int8 and the float32 scales as a vector.
    """
    greatest = (1 << (bits - 1)) - 1
    rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1) if axis is not None else array.reshape(1, -1)
    extremes = np.abs(rows).max(axis=1)
    chosen = scales_of(extremes, 1.0, greatest)
    if scales == "mse":
        chosen = _least_squares(rows, extremes, greatest)
    whole = np.clip(np.rint(rows / chosen[:, None]), -greatest, greatest).astype(np.int8)
    if axis is None:
        return whole.reshape(array.shape), chosen
    rest = [n for i, n in enumerate(array.shape) if i != axis]
    return np.ascontiguousarray(np.moveaxis(whole.reshape(-1, *rest), 0, axis)), chosen


def scales_of(extremes: Any, share: Any, greatest: int) -> Any:
    """Scales whose range ends at a share of the greatest magnitude."""
    return np.maximum(np.where(extremes > 0, extremes * share / greatest, 1.0), np.finfo(np.float32).tiny).astype(np.float32)


def _least_squares(rows: Any, extremes: Any, greatest: int) -> Any:
    """For each row the scale with the least squared error of those that are tried, the choice by extremes among them."""
    best = np.ones(len(rows))
    least = _squared_error(rows, scales_of(extremes, best, greatest), greatest)

    def attempt(share: Any) -> None:
        nonlocal best, least
        error = _squared_error(rows, scales_of(extremes, share, greatest), greatest)
        best, least = np.where(error < least, share, best), np.minimum(error, least)

    for share in COARSE:
        attempt(np.full(len(rows), share))
    middle = best
    for offset in FINE:
        attempt(np.minimum(middle + offset, 1.0))
    return scales_of(extremes, best, greatest)


def _squared_error(rows: Any, scale: Any, greatest: int) -> Any:
    steps = rows / scale[:, None]
    np.clip(np.rint(steps, out=steps), -greatest, greatest, out=steps)
    steps *= scale[:, None]
    steps -= rows
    return np.square(steps, out=steps).sum(axis=1, dtype=np.float64)


def quantised_in_blocks(array: Any, block: int, scales: str) -> tuple[Any, Any] | None:
    """Rows as integers of four bits with a float16 scale for every ``block`` elements; None when float16 cannot hold a scale.

    Args:
        array: ``[rows, columns]``, columns a multiple of the block.
        block: elements that share a scale.
        scales: see `quantised_symmetrically`.

    Returns:
        The integers ``[rows, columns]`` as int8 and the scales ``[rows, columns / block]``.
    """
    rows = array.reshape(-1, block)
    _, exact = quantised_symmetrically(rows, 0, 4, scales)
    steps = exact.astype(np.float16)
    if not ((steps >= SMALLEST_HALF) & np.isfinite(steps)).all():
        return None
    whole = np.clip(np.rint(rows / steps.astype(np.float32)[:, None]), -7, 7).astype(np.int8)
    return whole.reshape(array.shape), steps.reshape(array.shape[0], -1)


def compress(flat: FlatModel, stored: str, scales: str = "minmax", block: int | None = None) -> Report:
    """Store the float32 weights of a model in fewer bits.

    Args:
        flat: the model, which is changed.
        stored: ``f16``, ``int8`` or ``int4``.
        scales: see `quantised_symmetrically`.
        block: elements of a row that share a scale in products with int4 weights; one scale for each row without it.

    Raises:
        Diagnostic: E0510 when they still do not fit into a file.
    """
    count: Counter[str] = Counter()
    bits: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    errors: dict[str, float] = {}
    with flat.settled():
        for graph in flat.subgraphs:
            first = []
            for index in _weights(graph):
                made = _Weight(flat, graph, index).stored(stored, scales, block)
                if made is None:
                    count["kept"] += 1
                    continue
                first += made.operators
                count[made.kind] += 1
                elements[made.form] += made.elements
                bits[made.form] += made.bits
                errors[made.form] = max(errors.get(made.form, 0.0), made.error)
            graph.operators[:0] = first
    effective = {form: round(bits[form] / elements[form], 3) for form in sorted(bits)}
    facts = {"stored": stored, "scales": scales if stored != "f16" else "", **dict(sorted(count.items())), "effective_bits": effective}
    losses = [
        Loss(
            "storage",
            f"{elements[form]} weights",
            f"{form}, {effective[form]} bits each, off by at most {errors[form]:.2g} of the greatest",
        )
        for form in sorted(errors)
    ]
    if count["hybrid"]:
        losses.append(Loss("precision", f"{count['hybrid']} operators", "their activations are quantised to int8 at run time, row by row"))
    return Report(facts, losses)


def _weights(graph: SubGraph) -> Iterator[int]:
    """The large float32 constants of a graph that operators read."""
    float32 = tensor_type(DType.FLOAT)
    read = dict.fromkeys(i for operator in graph.operators for i in operator.inputs if i >= 0)
    for index in read:
        tensor = graph.tensors[index]
        size = int(np.prod([n or 0 for n in tensor.shape]))
        if tensor.buffer and tensor.type_code == float32 and size >= FEWEST and index not in graph.outputs:
            yield index


@dataclass(frozen=True)
class _Made:
    kind: str
    form: str
    elements: int
    bits: int
    error: float
    operators: list[Operator]


class _Weight:
    """One constant and the operators that read it."""

    def __init__(self, flat: FlatModel, graph: SubGraph, index: int) -> None:
        self.flat, self.graph, self.index = flat, graph, index
        self.tensor: Tensor = graph.tensors[index]
        self.uses = [(i, o) for i, o in enumerate(graph.operators) if index in o.inputs]

    def stored(self, stored: str, scales: str, block: int | None) -> _Made | None:
        """Store the constant in fewer bits; None when it stays."""
        if any(operator.name in RECURRENT for _, operator in self.uses):
            return None
        array = np.frombuffer(self.flat.content(self.tensor.buffer), np.float32).reshape([n or 0 for n in self.tensor.shape])
        if not np.isfinite(array).all():
            return None
        if stored == "f16":
            return self._half(array)
        if array.ndim < 2 or not all(operator.name in DEQUANTISED for _, operator in self.uses):
            return None  # biases, positions and the like
        kernels = {self._kernel(operator) for _, operator in self.uses}
        kernel = kernels.pop() if len(kernels) == 1 else None
        width = 4 if stored == "int4" and kernel is not None and kernel.int4 else 8
        axis = kernel.axis if kernel is not None else self._common_axis()
        if width == 4 and block and kernel is KERNELS["FULLY_CONNECTED"] and array.shape[1] % block == 0:
            made = self._blocks(array, block, scales)
            if made is not None:
                return made
        return self._integers(array, kernel, axis, width, scales)

    def _kernel(self, operator: Operator) -> Hybrid | None:
        """The kernel that takes the constant as integers."""
        kernel = KERNELS.get(operator.name)
        if kernel is None or [i for i, t in enumerate(operator.inputs) if t == self.index] != [kernel.operand]:
            return None
        source = self.graph.tensors[operator.inputs[0]]
        if source.type_code != tensor_type(DType.FLOAT):
            return None
        return kernel

    def _common_axis(self) -> int | None:
        axes = {KERNELS[o.name].axis if o.name in KERNELS else 0 if o.name in ("TRANSPOSE_CONV", "GATHER") else None for _, o in self.uses}
        return axes.pop() if len(axes) == 1 else None

    def _half(self, array: Any) -> _Made | None:
        if np.abs(array).max(initial=0.0) > GREATEST_HALF:
            return None
        half = array.astype(np.float16)
        error = _relative(array, half.astype(np.float32))
        operators = [self._dequantised(ArrayData(half), None, 3)]
        return _Made("dequantised", "float16", array.size, 16 * array.size, error, operators)

    def _integers(self, array: Any, kernel: Hybrid | None, axis: int | None, width: int, scales: str) -> _Made:
        whole, steps = quantised_symmetrically(array, axis, width, scales)
        shape = [1] * array.ndim
        if axis is not None:
            shape[axis] = -1
        error = _relative(array, whole * steps.reshape(shape))
        data = ArrayData(whole, DType.INT8 if width == 8 else DType.INT4)
        parameters = Quantization(tuple(float(s) for s in steps), (0,) * len(steps), axis or 0)
        size = width * array.size + 32 * len(steps)
        form = f"int{width}"
        if kernel is None:
            return _Made("dequantised", form, array.size, size, error, [self._dequantised(data, parameters, 5 if len(steps) > 1 else 2)])
        version = kernel.version if width == 8 else kernel.int4
        if kernel is KERNELS["FULLY_CONNECTED"] and len(steps) > 1:
            version = PER_CHANNEL_VERSION
        self._replace(data, parameters, version)
        return _Made("hybrid", form, array.size, size, error, [])

    def _blocks(self, array: Any, block: int, scales: str) -> _Made | None:
        found = quantised_in_blocks(array, block, scales)
        if found is None:
            return None
        whole, steps = found
        buffer = self.flat.buffer(ArrayData(steps))
        tensor = self.graph.tensor(f"{self.tensor.name}/scales", tensor_type(DType.FLOAT16), steps.shape, buffer)
        self._replace(ArrayData(whole, DType.INT4), Quantization((), (), 0, block, tensor), BLOCKWISE_VERSION)
        error = _relative(array, whole * np.repeat(steps.astype(np.float32), block, axis=1))
        return _Made("hybrid", "int4", array.size, 4 * array.size + 16 * steps.size, error, [])

    def _replace(self, data: ArrayData, parameters: Quantization, version: int) -> None:
        """Let the operators read integers in place of the constant."""
        stored = replace(self.tensor, type_code=tensor_type(data.dtype), buffer=self.flat.buffer(data), quantization=parameters)
        self.graph.tensors[self.index] = stored
        for place, operator in self.uses:
            options = dict(operator.options)
            if operator.name in ASYMMETRIC:
                options["asymmetricQuantizeInputs"] = True
            code = self.flat.operator_code(operator.name, version)
            self.graph.operators[place] = replace(operator, code=code, options=options)

    def _dequantised(self, data: ArrayData, parameters: Quantization | None, version: int) -> Operator:
        """The operator that computes the float32 tensor from a constant of fewer bits."""
        name = f"{self.tensor.name}/stored"
        source = self.graph.tensor(name, tensor_type(data.dtype), self.tensor.shape, self.flat.buffer(data), parameters)
        self.graph.tensors[self.index] = replace(self.tensor, buffer=0)
        return Operator(self.flat.operator_code("DEQUANTIZE", version), "DEQUANTIZE", (source,), (self.index,), {})


def _relative(array: Any, found: Any) -> float:
    """The greatest difference as a share of the greatest magnitude."""
    extreme = float(np.abs(array).max(initial=0.0))
    return float(np.abs(array - found).max(initial=0.0)) / extreme if extreme else 0.0
