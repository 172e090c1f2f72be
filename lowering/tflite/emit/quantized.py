"""Quantisation and dequantisation where they are arithmetic, and operators in integers that are no products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value, constant
from ....ir.ops.activation import Clip, HardSwish, LeakyRelu, PRelu, Relu, Sigmoid
from ....ir.ops.binary import Add, Div, Max, Min, Mul, Sub
from ....ir.ops.channels_last import ChannelsLastMaxPool, ChannelsLastResize
from ....ir.ops.concat import Concat, Pad, Split
from ....ir.ops.gather import Gather
from ....ir.ops.quantize import DequantizeLinear, QuantizeLinear, integer_range
from ....ir.ops.reduction import ReduceMax, ReduceMean, ReduceMin
from ....ir.ops.reshape import Expand, Flatten, Reshape, Squeeze, Tile, Unsqueeze
from ....ir.ops.slice import Slice
from ....ir.ops.softmax import Softmax
from ....ir.ops.transpose import Transpose
from ....ir.ops.unary import Identity, Tanh
from ...backend import Verdict
from ..emitter import Emitter
from ..quantized import Grid, Plan, constant_integers, in_integers
from ..quantized_emitter import QuantizedEmitter
from ..registry import emission_of, emits, no
from ..writer import Quantization
from .elementwise import arithmetic as real_arithmetic
from .indexing import gather as real_gather
from .movement import concat as real_concat
from .movement import expand, identity, reshape, slice_, split, tile, transpose
from .movement import ones as squeezed
from .padding import pad as real_pad
from .padding import widths_of
from .pooling import _greatest, write
from .reduction import reduction as real_reduction
from .resize import axes_of, kernel_flags, portable, resize_by_kernel

STORED = frozenset((DType.UINT8, DType.INT8, DType.UINT16, DType.INT16, DType.INT32))
REAL = frozenset((DType.FLOAT, DType.FLOAT16))
ARITHMETIC = "probe of LiteRT 2.3: division, ROUND, limits and CAST against ONNX Runtime"
NEARLY = 2e-3
"""How far the logarithm of a scale that kernels take for a power of two may be off; LiteRT 2.3 has 1e-3."""
COARSER = 1.001
"""A kernel's own parameters may be requantised to those of the model when they are at most this much coarser: the sum of both roundings
then stays within one step."""


# -- quantisation as arithmetic ------------------------------------------------------------------------------------------------
def _scaled(node: Node) -> Verdict | None:
    x, scale = node.inputs[0], node.inputs[1]
    op: Any = node.op
    stored = node.output if isinstance(op, QuantizeLinear) else x
    real = x if isinstance(op, QuantizeLinear) else node.output
    assert x is not None and scale is not None and stored is not None and real is not None and x.rank is not None
    if stored.dtype not in STORED and not _unpacked(node):
        return no(f"there are no conversions of elements of type {stored.dtype}", "dtype")
    if real.dtype not in REAL or scale.dtype not in REAL:
        return no("scales and real numbers have to be float32 or float16", "dtype")
    if getattr(op, "precision", None) not in (None, DType.FLOAT):
        return no("the division is not done in float32", "attribute")
    if scale.rank and scale.rank > 1 and (x.tensor.static_shape is None or scale.tensor.static_shape is None):
        return no("the sizes of blocks are not known before the run", "dynamic-shape")
    return None


def _unpacked(node: Node) -> bool:
    """Whether a constant of few bits is dequantised, which happens before the run."""
    return isinstance(node.op, DequantizeLinear) and all(v is None or v.data is not None for v in node.inputs)


def _aligned(e: Emitter, node: Node, parameter: Value) -> int:
    """Scales or zero points in a form that broadcasts against the operand, as float32."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, QuantizeLinear | DequantizeLinear) and x is not None and x.rank is not None
    trailing = x.rank - 1 - op.axis % x.rank if x.rank else 0
    if parameter.data is not None:
        array = parameter.data.numpy().astype(np.float32)
        if array.ndim > 1 or op.block_size and array.ndim:
            shape = x.tensor.static_shape
            assert shape is not None
            axis = op.axis % x.rank
            return e.constant(np.take(np.repeat(array, op.block_size, axis), range(shape[axis]), axis))
        return e.constant(array.reshape(()) if array.size == 1 else array.reshape(-1, *(1,) * trailing))
    tensor = e.cast(e.operand(parameter), DType.FLOAT)
    if parameter.rank and parameter.rank > 1:
        return _repeated(e, tensor, op.axis % x.rank, op.block_size, e.shape(e.operand(x)))
    return tensor if parameter.shape in ((), (1,)) else e.reshaped(tensor, [e.shape(tensor)[0], *(1,) * trailing])


def _repeated(e: Emitter, x: int, axis: int, block: int, shape: Sequence[int | None]) -> int:
    """Each slice of a tensor along an axis ``block`` times, cut to a shape."""
    before, after = list(e.shape(x)[: axis + 1]), list(e.shape(x)[axis + 1 :])
    wide = e.temporary([*before, block, *after], e.dtype(x))
    repeats = [1] * (len(shape) + 1)
    repeats[axis + 1] = block
    e.op("TILE", [e.reshaped(x, [*before, 1, *after]), e.ints(repeats)], [wide])
    whole = e.reshaped(wide, [*before[:-1], (before[-1] or 0) * block, *after])
    if e.shape(whole) == tuple(shape):
        return whole
    y = e.temporary(shape, e.dtype(x))
    e.op("SLICE", [whole, e.ints([0] * len(shape)), e.ints([n or 0 for n in shape])], [y])
    return y


@emits(QuantizeLinear, dtypes=REAL, when=_scaled, level="decomposed", evidence=ARITHMETIC)
def quantize(e: Emitter, node: Node) -> None:
    """The quotient rounded half to even, plus the zero point, limited, as integers."""
    x, scale, zero = node.inputs[0], node.inputs[1], node.operand(2)
    assert x is not None and scale is not None and node.output.dtype is not None
    y = e.unary("ROUND", e.binary("DIV", e.cast(e.operand(x), DType.FLOAT), _aligned(e, node, scale), fusedActivationFunction=0))
    if zero is not None and not (zero.data is not None and not zero.data.numpy().any()):
        y = e.binary("ADD", y, _aligned(e, node, zero), fusedActivationFunction=0)
    low, high = integer_range(node.output.dtype)
    y = e.binary("MINIMUM", e.binary("MAXIMUM", y, e.number(float(low))), e.number(float(high)))
    e.cast_into(y if node.output.dtype is not DType.UINT16 else e.cast(y, DType.INT32), e.result(node.output))


@emits(DequantizeLinear, dtypes=None, when=_scaled, level="decomposed", evidence=ARITHMETIC)
def dequantize(e: Emitter, node: Node) -> None:
    """The integers minus the zero point, times the scale."""
    x, scale, zero = node.inputs[0], node.inputs[1], node.operand(2)
    assert x is not None and scale is not None
    if _unpacked(node):
        arrays = [None if v is None or v.data is None else v.data.numpy() for v in node.inputs]
        e.alias(node.output, e.constant(node.op.evaluate(*arrays), node.output.name))
        return
    y = e.operand(x)
    if zero is not None and not (zero.data is not None and not zero.data.numpy().any()):
        if x.dtype is DType.INT32:
            y = e.binary("SUB", y, e.operand(zero), fusedActivationFunction=0)
            y = e.cast(y, DType.FLOAT)
        else:
            y = e.binary("SUB", e.cast(y, DType.FLOAT), _aligned(e, node, zero), fusedActivationFunction=0)
    operands = [e.cast(y, DType.FLOAT), _aligned(e, node, scale)]
    if node.output.dtype is DType.FLOAT:
        e.op("MUL", operands, [e.result(node.output)], fusedActivationFunction=0)
    else:
        e.cast_into(e.binary("MUL", operands[0], operands[1], fusedActivationFunction=0), e.result(node.output))


# -- operators that move elements ----------------------------------------------------------------------------------------------
def real_form(node: Node, plan: Plan) -> str | None:
    """The float32 form has to exist: the integer form is the same."""
    found = emission_of(node)
    return found.reason if isinstance(found, Verdict) else None


in_integers(Identity, when=real_form, grid="operand")(identity)
in_integers(Reshape, Flatten, when=real_form, grid="operand")(reshape)
in_integers(Squeeze, Unsqueeze, when=real_form, grid="operand")(squeezed)
in_integers(Transpose, when=real_form, grid="operand")(transpose)
in_integers(Slice, when=real_form, grid="operand")(slice_)
in_integers(Split, when=real_form, grid="operand")(split)
in_integers(Tile, when=real_form, grid="operand")(tile)
in_integers(Expand, when=real_form, grid="operand")(expand)
in_integers(Gather, when=real_form, grid="operand")(real_gather)
in_integers(ReduceMax, ReduceMin, when=real_form, grid="operand")(real_reduction)


def _zero_filled(node: Node, plan: Plan) -> str | None:
    assert isinstance(node.op, Pad)
    value = node.operand(2)
    if node.op.mode == "constant" and value is not None and (value.data is None or value.data.numpy().any()):
        return "it is not filled with zero"
    return "the widths are computed at run time" if widths_of(node) is None else real_form(node, plan)


in_integers(Pad, when=_zero_filled, grid="operand")(real_pad)


@in_integers(ChannelsLastMaxPool, when=real_form, grid="operand")
def max_pool(e: QuantizedEmitter, node: Node) -> None:
    """Padded with the least integer."""
    x = e.operand(node.inputs[0])
    low = float(integer_range(e.dtype(x))[0])
    write(e, node, x, lambda t, window, y, code: _greatest(e, t, window, y, code, low))


# -- operators on the grid of their result -------------------------------------------------------------------------------------
def _all_quantised(node: Node, plan: Plan) -> str | None:
    grids = [plan.grid(v) for v in node.inputs]
    if None in grids:
        return "an operand is not quantised per tensor by constants"
    if len({g.dtype for g in grids if g is not None}) > 1:
        return "the operands have elements of several types"
    return real_form(node, plan)


def _whole_tensors(node: Node, plan: Plan) -> str | None:
    if any(v is not None and v.data is not None and v not in plan.grids for v in node.inputs):
        return "an operand is a constant that is not quantised"
    return _all_quantised(node, plan)


in_integers(Concat, when=_whole_tensors, grid="result")(real_concat)


@in_integers(Max, Min, when=_whole_tensors, grid="result")
def extremes(e: QuantizedEmitter, node: Node) -> None:
    """Rounding keeps order, so that operands may be rounded to the result's grid first."""
    kernel = "MAXIMUM" if isinstance(node.op, Max) else "MINIMUM"
    first, *others = [e.operand(v) for v in node.inputs]
    for other in others[:-1]:
        first = e.binary(kernel, first, other)
    if others:
        e.op(kernel, [first, others[-1]], [e.result(node.output)], 2)
    else:
        e.alias(node.output, first)


def _bound(value: Value | None) -> float | None:
    return None if value is None or value.data is None else float(value.data.numpy().reshape(-1)[0])


def _known_bounds(node: Node, plan: Plan) -> str | None:
    constant = all(v is None or v.data is not None for v in node.inputs[1:])
    return None if constant else "its bounds are computed at run time"


@in_integers(Relu, Clip, when=_known_bounds, grid="result")
def limits(e: QuantizedEmitter, node: Node) -> None:
    """The integers limited; rounding keeps order, so that it may come first."""
    grid = e.plan.grids[node.output]
    low, high = (0.0, None) if isinstance(node.op, Relu) else (_bound(node.operand(1)), _bound(node.operand(2)))
    x = e.operand(node.inputs[0])
    steps = []
    if low is not None and low > grid.range[0]:
        steps.append(("MAXIMUM", low))
    if high is not None and high < grid.range[1]:
        steps.append(("MINIMUM", high))
    for kernel, bound in steps:
        number = constant_integers(constant(np.asarray(bound, np.float32)), grid)
        y = e.on(grid, e.shape(x))
        e.op(kernel, [x, e.constant(number, quantization=grid.parameters)], [y], 2)
        x = y
    e.alias(node.output, x)


# -- arithmetic ----------------------------------------------------------------------------------------------------------------
def _summable(node: Node, plan: Plan) -> str | None:
    """Whether a sum is one for the kernel of int16.

    Where all scales are powers of two, or nearly so, it shifts: one operand has to have the scale of the result, the other none that is
    coarser, and what the scales are off goes lost.
    """
    grids = [plan.grid(v) for v in (*node.inputs, node.output)]
    if grids[2] is not None and grids[2].dtype is DType.INT16:
        scales = [np.float32(g.scale) for g in grids if g is not None]
        exponents = [float(np.rint(np.log2(s))) for s in scales]
        if all(abs(float(np.log2(s)) - e) < NEARLY for s, e in zip(scales, exponents, strict=True)):
            left, right, result = exponents
            exact = all(float(s) == 2.0**e for s, e in zip(scales, exponents, strict=True))
            if not exact or max(left, right) != result:
                return "the int16 kernel takes scales near powers of two for such, and shifts"
    return _all_quantised(node, plan)


in_integers(Add, Sub, when=_summable)(real_arithmetic)
in_integers(Mul, when=_all_quantised)(real_arithmetic)


def _divisor(node: Node, plan: Plan) -> float | None:
    """The number that a node divides by."""
    value = node.inputs[1]
    assert value is not None
    array = plan.stored[value].real() if value in plan.stored else value.data.numpy() if value.data is not None else None
    if array is None or array.size != 1 or len(array.shape) > (node.inputs[0].rank or 0):  # type: ignore[union-attr]
        return None
    number = float(array.reshape(-1)[0])
    return number if np.isfinite(number) and np.isfinite(1 / number if number else np.inf) else None


def _known_divisor(node: Node, plan: Plan) -> str | None:
    grid = plan.grid(node.inputs[0])
    if grid is None or grid.dtype is not DType.INT8 or _divisor(node, plan) is None:
        return "there is no integer kernel for quotients of what is computed"
    return None


@in_integers(Div, when=_known_divisor)
def quotient(e: QuantizedEmitter, node: Node) -> None:
    """A product with the reciprocal of a number, which a scale holds."""
    number = _divisor(node, e.plan)
    assert number is not None
    reciprocal = e.constant(np.asarray(np.sign(number), np.int8), quantization=Quantization((abs(1 / number),), (0,)))
    y, code = e.activated(node)
    e.op("MUL", [e.operand(node.inputs[0]), reciprocal], [y], 2, fusedActivationFunction=code)


@in_integers(HardSwish, when=real_form)
def hard_swish(e: QuantizedEmitter, node: Node) -> None:
    e.op("HARD_SWISH", [e.operand(node.inputs[0])], [e.result(node.output)])


@in_integers(LeakyRelu, when=real_form)
def leaky_relu(e: QuantizedEmitter, node: Node) -> None:
    assert isinstance(node.op, LeakyRelu)
    e.op("LEAKY_RELU", [e.operand(node.inputs[0])], [e.result(node.output)], 2, alpha=node.op.alpha)


@in_integers(PRelu, when=_all_quantised)
def prelu(e: QuantizedEmitter, node: Node) -> None:
    e.op("PRELU", [e.operand(v) for v in node.inputs], [e.result(node.output)])


def fixed_grid(node: Node, dtype: DType) -> Grid:
    """The only parameters with which a kernel gives results."""
    if dtype is DType.INT16:
        return Grid(dtype, Quantization((1 / 32768,), (0,)))
    return Grid(dtype, Quantization((1 / 128,), (0,)) if isinstance(node.op, Tanh) else Quantization((1 / 256,), (-128,)))


def _coarse_enough(node: Node, plan: Plan) -> str | None:
    x, wanted = plan.grid(node.inputs[0]), plan.grids.get(node.output)
    if x is None or wanted is None:
        return None
    fixed = fixed_grid(node, x.dtype)
    if x.dtype is DType.INT16 and isinstance(node.op, Tanh):
        return "the int16 kernel is up to three steps off"
    if fixed.scale > COARSER * wanted.scale:
        return f"the kernel's results have steps of {fixed.scale:g}, coarser than the model's {wanted.scale:g}"
    return real_form(node, plan)


@in_integers(Sigmoid, Tanh, Softmax, when=_coarse_enough)
def bounded(e: QuantizedEmitter, node: Node) -> None:
    """Kernels whose results have fixed parameters, requantised to the model's."""
    x = e.operand(node.inputs[0])
    fixed, wanted = fixed_grid(node, e.dtype(x)), e.plan.grids[node.output]
    if isinstance(node.op, Softmax):
        y = _softmax(e, node, x, fixed)
    else:
        y = e.on(fixed, e.shape(x))
        e.op("TANH" if isinstance(node.op, Tanh) else "LOGISTIC", [x], [y], 2)
    e.alias(node.output, y if fixed == wanted else e.moved(y, fixed, wanted))


def _softmax(e: QuantizedEmitter, node: Node, x: int, fixed: Grid) -> int:
    assert isinstance(node.op, Softmax)
    rank = len(e.shape(x))
    order = list(range(rank))
    axis = node.op.axis % rank
    order[axis], order[-1] = order[-1], order[axis]
    turned = e.transposed(x, order)
    y = e.on(fixed, e.shape(turned))
    e.op("SOFTMAX", [turned], [y], 2, beta=1.0)
    return e.transposed(y, order)


@in_integers(ReduceMean, when=real_form)
def mean(e: QuantizedEmitter, node: Node) -> None:
    real_reduction(e, node)


def _sampled(node: Node, plan: Plan) -> str | None:
    axes = axes_of(node)
    if isinstance(axes, str):
        return axes
    flags = kernel_flags(portable(node), axes)
    if flags is None:
        return "the kernels do not sample so"
    x, y = plan.grid(node.inputs[0]), plan.grids.get(node.output)
    if portable(node).mode != "nearest" and x is not None and y is not None and x.scale > COARSER * y.scale:
        return f"the kernel's results have steps of {x.scale:g}, coarser than the model's {y.scale:g}"
    return real_form(node, plan)


def _copies(node: Node) -> bool:
    return portable(node).mode == "nearest"


@in_integers(ChannelsLastResize, when=_sampled, grid="operand", moves=_copies)
def resize(e: QuantizedEmitter, node: Node) -> None:
    resize_by_kernel(e, node)
