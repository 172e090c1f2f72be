"""Random numbers. LiteRT draws its own: with a seed the same ones in every session, without one others each time."""

from __future__ import annotations

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.random import RandomNormal, RandomNormalLike, RandomUniform, RandomUniformLike
from ...backend import Verdict
from ...seeds import whole_seed
from ..emitter import Emitter, activation
from ..registry import emits, no

KERNELS = "probe of LiteRT 2.3: mean, deviation and range of the numbers"


def _floats(node: Node) -> Verdict | None:
    """The kernels draw float32, which is rounded to float16 where that is wanted."""
    dtype = node.output.dtype
    return None if dtype in (DType.FLOAT, DType.FLOAT16) else no(f"there is no kernel that draws numbers of type {dtype}", "dtype", KERNELS)


@emits(RandomUniform, RandomUniformLike, dtypes=None, when=_floats, level="decomposed", evidence=KERNELS)
def uniform(e: Emitter, node: Node) -> None:
    """RANDOM_UNIFORM between 0 and 1, stretched and moved."""
    op = node.op
    assert isinstance(op, RandomUniform | RandomUniformLike)
    _drawn(e, node, "RANDOM_UNIFORM", op.high - op.low, op.low)


@emits(RandomNormal, RandomNormalLike, dtypes=None, when=_floats, level="decomposed", evidence=KERNELS)
def normal(e: Emitter, node: Node) -> None:
    """RANDOM_STANDARD_NORMAL, stretched and moved."""
    op = node.op
    assert isinstance(op, RandomNormal | RandomNormalLike)
    _drawn(e, node, "RANDOM_STANDARD_NORMAL", op.scale, op.mean)


def _drawn(e: Emitter, node: Node, kernel: str, factor: float, offset: float) -> None:
    shape = node.output.tensor.static_shape
    sizes = e.ints(shape) if shape is not None else e.shape_of(e.operand(node.inputs[0]))
    none, seed = activation("NONE"), whole_seed(node.op.seed)  # type: ignore[attr-defined]
    x = e.temporary(node.output.shape or (), DType.FLOAT)
    e.op(kernel, [sizes], [x], seed=0 if seed is None else seed + 1, seed2=0)
    if factor != 1:
        x = e.binary("MUL", x, e.number(factor), fusedActivationFunction=none)
    if offset != 0:
        x = e.binary("ADD", x, e.number(offset), fusedActivationFunction=none)
    if node.output.dtype is DType.FLOAT:
        e.alias(node.output, x)
    else:
        e.cast_into(x, e.result(node.output))
