"""The pass that brings spatial operators into their channels-last forms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...ir.graph import Node, Value
from ...ir.ops.channels_last import CHANNELS_LAST, channels_last_form, to_first, to_last
from ...ir.ops.conv import Conv
from ...ir.ops.normalization import GroupNormalization
from ...ir.ops.pooling import GlobalAveragePool, GlobalLpPool, GlobalMaxPool, MaxPool
from ...ir.ops.reduction import ReduceL1, ReduceL2, ReduceMax, ReduceMean
from ...ir.ops.resize import Resize
from ...ir.ops.transpose import Transpose
from ...ir.ops.vision import DepthToSpace
from ..algebra import exclusive
from ..decompose.normalization import per_channel, standardized
from ..decompose.terms import Terms
from ..driver import RulePass
from ..rewriter import Decline, Result, Rewriter, rewrites_op

GROUP = "channels-last"
SPATIAL_RANKS = (3, 4, 5)
NORMALIZATIONS = ("BatchNormalization", "InstanceNormalization")


@dataclass(frozen=True)
class ChannelsLast(RulePass):
    """Bring convolutions, poolings and other spatial operators into forms with channels last, between Transposes."""

    name: ClassVar[str] = GROUP
    groups: ClassVar[tuple[str, ...]] = (GROUP,)


@rewrites_op(*CHANNELS_LAST, name="spatial-channels-last", group=GROUP)
def channels_last(node: Node, b: Rewriter) -> Result:
    """f(x) is the channels-last form of f between two Transposes."""
    x = node.inputs[0]
    assert x is not None
    if x.rank not in SPATIAL_RANKS:
        return Decline("the input has no one, two or three spatial dimensions")
    if isinstance(node.op, Conv) and any(_reordered(user) is node for user in node.output.users()):
        return Decline("its filters are put into another order first")
    if isinstance(node.op, MaxPool) and len(node.outputs) > 1 and node.outputs[1].uses:
        return Decline("the positions are used too")
    if isinstance(node.op, Resize):
        reason = _resizes_more(node, x)
        if reason:
            return Decline(reason)
    form = channels_last_form(node.op)
    assert form is not None
    y = b.add(form, b.add(Transpose(perm=to_last(x.rank)), x), *node.inputs[1:])
    return b.add(Transpose(perm=to_first(x.rank)), y)


def _resizes_more(node: Node, x: Value) -> str:
    """Why a Resize is not one of spatial dimensions alone; empty when it is."""
    op, y = node.op, node.output
    assert isinstance(op, Resize) and x.rank is not None
    if op.axes is not None:
        return "batch or channels are resized" if any(a % x.rank < 2 for a in op.axes) else ""
    scales = node.operand(2)
    if scales is not None and scales.data is not None and scales.data.shape != (0,):
        numbers = scales.data.numpy()
        if numbers[0] != 1 or numbers[1] != 1:
            return "batch or channels are resized"
    elif x.shape is None or y.shape is None or x.shape[:2] != y.shape[:2]:
        return "batch or channels may be resized"
    if op.coordinate_transformation_mode == "tf_crop_and_resize":
        roi = node.operand(1)
        if roi is None or roi.data is None:
            return "the region of interest is not constant"
        begins, ends = roi.data.numpy().reshape(2, -1)
        if any(begins[:2]) or any(ends[:2] != 1):
            return "batch or channels are cropped"
    return ""


@rewrites_op(DepthToSpace, name="depth-order-into-conv", group=GROUP, benefit=2)
def depth_order(node: Node, b: Rewriter) -> Result:
    """Where a convolution with constant filters gives the channels, they come in the order DCR, which kernels have, instead of CRD."""
    op, conv = node.op, _reordered(node)
    assert isinstance(op, DepthToSpace)
    if conv is None:
        return None
    weight, bias = conv.inputs[1], conv.operand(2)
    assert weight is not None and weight.data is not None
    filters = weight.data.shape[0]
    order = np.arange(filters).reshape(-1, op.blocksize**2).T.reshape(-1)
    operands = [v if v is None or v.data is None else b.constant(v.data.numpy()[order], v.data.dtype) for v in (weight, bias)]
    b.credit(conv)
    return b.add(replace(op, mode="DCR"), b.add(conv.op, conv.inputs[0], *operands))


def _reordered(node: Node) -> Node | None:
    """The convolution whose constant filters can give the channels for a DepthToSpace in another order."""
    op, x = node.op, node.inputs[0]
    conv = x.producer if x is not None else None
    if not isinstance(op, DepthToSpace) or op.mode != "CRD" or x is None or conv is None or not exclusive(x, node):
        return None
    parameters = [v for v in conv.inputs[1:] if v is not None]
    fits = isinstance(conv.op, Conv) and conv.op.group == 1 and all(v.data is not None for v in parameters)
    return conv if fits else None


@rewrites_op(GlobalAveragePool, GlobalMaxPool, GlobalLpPool, name="global-pool-to-reduce", group=GROUP)
def global_pool(node: Node, b: Rewriter) -> Result:
    """A global pooling is a reduction of the spatial dimensions, which works in either layout."""
    op, x = node.op, node.inputs[0]
    assert x is not None
    if x.rank is None or x.rank < 3:
        return Decline("the number of spatial dimensions is not known")
    axes = b.ints(range(2, x.rank))
    if isinstance(op, GlobalAveragePool):
        return b.add(ReduceMean(), x, axes)
    if isinstance(op, GlobalMaxPool):
        return b.add(ReduceMax(), x, axes)
    assert isinstance(op, GlobalLpPool)
    if op.p not in (1, 2):
        return Decline(f"there is no reduction by the {op.p}-norm")
    return b.add(ReduceL1() if op.p == 1 else ReduceL2(), x, axes)


@rewrites_op(GroupNormalization, name="split-group-normalization", group=GROUP)
def group_normalization(node: Node, b: Rewriter) -> Result:
    """Normalisation of ``[batch, groups, channels of a group, …]``: no axis is merged that channels last would tear apart."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, GroupNormalization) and x is not None
    if x.shape is None or len(x.shape) < 3 or not isinstance(x.shape[1], int):
        return Decline("the number of channels is not known")
    t = Terms(b)
    rank, spatial = len(x.shape), len(x.shape) - 2
    parts = [t.dim(x, 0), op.num_groups, x.shape[1] // op.num_groups, *(t.dim(x, axis) for axis in range(2, rank))]
    grouped = t.reshape(t.widen(x), parts)
    y, _, _ = standardized(t, grouped, range(2, 3 + spatial), op.epsilon)
    y = t.reshape(y, [t.dim(x, axis) for axis in range(rank)])
    scale, bias = node.inputs[1], node.inputs[2]
    assert scale is not None and bias is not None
    scaled = t.mul(y, per_channel(t, scale, rank))
    return t.cast(t.add(scaled, per_channel(t, bias, rank)), node.output.dtype)


def layout_pipeline() -> str:
    """The text of what brings a cleaned-up graph into channels-last form.

    >>> layout_pipeline()
    'decompose{ops=[BatchNormalization,InstanceNormalization]},fold-constants,channels-last,assign-layout,dead-code'
    """
    return f"decompose{{ops=[{','.join(NORMALIZATIONS)}]}},fold-constants,channels-last,assign-layout,dead-code"
