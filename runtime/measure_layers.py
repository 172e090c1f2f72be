"""Kernels from what runtimes say of their layers: an operator's name, shapes of operands and results, little else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from ..costmodel.geometry_parts import Geometry
from ..costmodel.geometry_streams import broadcast_run
from ..costmodel.precision import BITS
from ..costmodel.schedule import Access, KernelInstance, Role, Schedule, Tensor
from ..ir.dims import maximum

Shape = tuple[int, ...]

DENSE = ("convolution", "conv_2d", "conv_3d", "groupconvolution", "depthwise_conv_2d")
TRANSPOSED = ("deconvolution", "transpose_conv")
PRODUCTS = ("fullyconnected", "matmul", "fully_connected", "batch_matmul", "batch_matmul_v3")
POOLS = ("pooling", "maxpool", "avgpool", "average_pool_2d", "max_pool_2d", "l2_pool_2d")
REDUCTIONS = ("reduce", "mean", "sum", "reduce_max", "reduce_min", "reduce_prod", "arg_max", "arg_min", "topk", "topk_v2", "cumsum")
NORMALIZATIONS = ("mvn", "normalizel2", "rms", "norm", "l2_normalization", "local_response_normalization", "lrn")
SOFTMAXES = ("softmax", "logsoftmax", "log_softmax")
MOVEMENTS = ("reorder", "transpose", "concatenation", "concat", "split", "split_v", "stridedslice", "strided_slice", "slice", "gather",
             "gather_nd", "gatherelements", "gathernd", "pad", "padv2", "mirror_pad", "tile", "broadcast", "broadcast_to", "interpolate",
             "resize_bilinear", "resize_nearest_neighbor", "depthtospace", "depth_to_space", "spacetodepth", "space_to_depth",
             "scatterupdate", "scatterelementsupdate", "scatterndupdate", "scatter_nd", "roll", "reversesequence", "pack", "unpack",
             "one_hot", "onehot", "embedding_lookup", "range", "fill", "shuffle_channels", "shufflechannels", "memoryinput",
             "memoryoutput")  # fmt: skip
JOINS = ("concatenation", "concat", "split", "split_v")
VIEWS = ("reshape", "squeeze", "expand_dims", "unsqueeze")
QUANTIZATIONS = ("quantize", "dequantize", "fakequantize", "fakequantizewithminmaxvars")
RECURRENT = ("lstmcell", "rnncell", "grucell", "rnnseq", "lstmsequence", "unidirectional_sequence_lstm")
ATTENTIONS = ("scaleddotproductattention", "scaledattn", "mha")
SHAPES = ("shapeof", "shape", "rank")
CONTRACTIONS = (*DENSE, *TRANSPOSED, *PRODUCTS, *RECURRENT, *ATTENTIONS)

BRANCHING = "branching"  # control flow whose bodies are layers of their own
LANES = 16  # numbers of the longest vectors
FEW_TAPS = 9  # of depthwise kernels in LiteRT; there are others for more
ALIASING = 4096  # bytes: planes that are multiples of it fall into the same sets of a cache, which changes of layout suffer from


@dataclass(frozen=True)
class Operand:
    """A tensor as a runtime names it.

    Attributes:
        name: unique.
        shape: sizes.
        dtype: short name of the element type.
        constant: whether it is a weight.
    """

    name: str
    shape: Shape
    dtype: str = "f32"
    constant: bool = False

    @property
    def bytes(self) -> int:
        """The size in memory."""
        return -(-prod(self.shape) * (BITS.get(self.dtype, 32) or 32) // 8)


@dataclass(frozen=True)
class Layer:
    """A layer that a runtime executes.

    Attributes:
        name: as the runtime's profile names it.
        op: the runtime's name of the operator.
        inputs: operands.
        outputs: results.
        sources: layers of the model before fusion that it computes.
        last: whether channels are the last axis of images.
        groups: of a convolution; None to tell from the shapes.
        variant: what else tells its kernel from others.
        stride: product of the strides of a convolution.
        extra: ``taps`` of a pooling window, ``weight`` (operations per element) of a fused elementwise layer.
        count: how often it runs in one inference.
    """

    name: str
    op: str
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    sources: tuple[str, ...] = ()
    last: bool = False
    groups: int | None = None
    variant: str = ""
    stride: int = 1
    extra: Mapping[str, int] = field(default_factory=dict)
    count: int = 1


def schedule_of_layers(layers: Sequence[Layer], outputs: Sequence[str] = ()) -> Schedule:
    """The schedule of layers in their order.

    Args:
        layers: without constants, inputs and outputs.
        outputs: names of tensors that leave the model.
    """
    position: dict[str, int] = {}
    tensors: list[Tensor] = []
    alias: dict[str, str] = {}
    kernels: list[KernelInstance] = []
    made = {o.name for layer in layers for o in layer.outputs}

    def access(operand: Operand, touched: int, write: bool) -> Access:
        name = operand.name
        while name in alias:
            name = alias[name]
        if name not in position:
            role: Role = "weight" if operand.constant else "output" if name in outputs else "activation" if name in made else "input"
            position[name] = len(tensors)
            tensors.append(Tensor(name, operand.bytes, role))
        index = position[name]
        size = tensors[index].bytes
        return Access(index, min(touched, size) if type(size) is int else size, write)

    for layer in layers:
        found = geometry_of(layer)
        if found.kernel == "view":
            alias.update({o.name: layer.inputs[0].name for o in layer.outputs[:1] if layer.inputs and o.name != layer.inputs[0].name})
        moved = sum(o.bytes for o in layer.outputs) if found.kernel == "movement" else None
        reads = [] if found.kernel in ("view", "control") else [access(o, o.bytes if moved is None else moved, False) for o in layer.inputs]
        writes = [] if found.kernel == "view" else [access(o, o.bytes, True) for o in layer.outputs]
        macs = multiplications(found)
        flops = found.sizes.get("flops", 0) + 2 * macs
        unique = tuple({(a.tensor, a.write): a for a in (*reads, *writes)}.values())
        kernels.append(
            KernelInstance(
                layer.name,
                layer.op,
                found,
                _dtype(layer),
                macs,
                flops,
                unique,
                layer.count,
                (layer.name,),
                layer.sources,
                found.kernel != "unknown",
            )
        )
    return Schedule(kernels, tensors)


def joined_run(layer: Layer) -> int:
    """Elements that a concatenation or a split copies at once: those of a part from the joined axis inwards, on average."""
    one, many = (layer.outputs, layer.inputs) if len(layer.outputs) == 1 else (layer.inputs[:1], layer.outputs)
    whole = one[0].shape
    parts = [o.shape for o in many if len(o.shape) == len(whole)]
    axes = [axis for axis, size in enumerate(whole) if any(part[axis] != size for part in parts)]
    if not axes:
        return max(prod(whole), 1)
    return max(prod(whole[axes[0] :]) // len(parts), 1)


def _aliases(operand: Operand) -> bool:
    """Whether the planes of an image fall into the same sets of a cache."""
    planes = operand.bytes // max(prod(operand.shape[:2]), 1)
    return len(operand.shape) > 2 and planes > 0 and planes % ALIASING == 0


def multiplications(found: Geometry) -> int:
    """Multiply-accumulates of a kernel."""
    s: Mapping[str, Any] = found.sizes
    if found.kernel in ("gemm", "gemv"):
        return s["batch"] * s["m"] * s["n"] * s["k"]
    if found.kernel.startswith("conv"):
        return s["batch"] * s["groups"] * s["positions"] * s["outputs"] * s["inputs"] * s["taps"]
    if found.kernel == "attention":
        return s["batch"] * s["heads"] * s["queries"] * s["keys"] * (s["size"] + s["value_size"])
    if found.kernel == "recurrent":
        return s["steps"] * s["batch"] * s["gates"] * (s["inputs"] + s["hidden"])
    return 0


def _dtype(layer: Layer) -> str:
    kinds = [o.dtype for o in (*layer.inputs, *layer.outputs)] or ["f32"]
    if layer.op.lower() in CONTRACTIONS:
        narrow = [d for d in kinds[:2] if d in ("i8", "u8")]
        return "i8" if len(narrow) == min(len(layer.inputs), 2) and narrow else kinds[0]
    return kinds[0]


def geometry_of(layer: Layer) -> Geometry:
    """Kernel class and sizes of a layer; of class ``unknown`` when its operator is not known."""
    name = layer.op.lower()
    result = layer.outputs[0].shape if layer.outputs else ()
    total = sum(prod(o.shape) for o in layer.outputs)
    variant = layer.variant or name
    if not layer.outputs or not layer.inputs and name not in ("range", "fill"):
        return Geometry("control", {"elements": total, "flops": 0}, variant)
    data = layer.inputs[0].shape if layer.inputs else ()
    if name in (*DENSE, *TRANSPOSED) and len(layer.inputs) > 1 and len(result) > 2:
        return _convolution(layer, name in TRANSPOSED)
    if name in PRODUCTS and len(layer.inputs) > 1 and data and result:
        return _product(layer)
    if name in ATTENTIONS and len(data) == 4 and len(layer.inputs) > 2:
        keys, values = layer.inputs[1].shape, layer.inputs[2].shape
        sizes = {"batch": data[0], "heads": data[1], "shared": keys[1], "queries": data[2], "keys": keys[2], "size": data[3]}
        return Geometry(
            "attention", {**sizes, "value_size": values[-1], "projection": 0, "flops": 13 * prod(data[:3]) * keys[2]}, layer.variant
        )
    if name in RECURRENT and len(layer.inputs) > 1:
        return _recurrent(layer)
    if name in POOLS or name in REDUCTIONS:
        window = prod(data) // max(prod(result), 1) if name not in POOLS else layer.extra.get("taps", 4)
        last = not data or len(result) != len(data) or data[-1:] != result[-1:]
        sizes = {"elements": prod(data), "results": prod(result), "run": 1 if last else prod(data[-1:])}
        return Geometry("reduction", {**sizes, "flops": prod(result) * max(window, 1)}, variant)
    if name in (*NORMALIZATIONS, *SOFTMAXES):
        columns = result[-1] if result else 1
        kernel = "softmax" if name in SOFTMAXES else "normalization"
        return Geometry(kernel, {"rows": total // max(columns, 1), "columns": columns, "flops": total * 12}, layer.variant)
    if name in VIEWS:
        return Geometry("view", {"elements": total, "flops": 0})
    if name == BRANCHING:
        return Geometry("control", {"elements": total, "flops": 0}, layer.variant)
    if name in SHAPES:
        return Geometry("control", {"elements": total, "flops": 0}, "shape")
    if name in MOVEMENTS:
        if name in JOINS:
            return Geometry("movement", {"elements": total, "run": joined_run(layer), "flops": 0}, variant)
        run = result[-1] if result and data and result[-1] == data[-1] and name != "reorder" else 1
        aliased = name == "reorder" and any(_aliases(operand) for operand in layer.inputs[:1])
        return Geometry("movement", {"elements": total, "run": run, "flops": 0}, f"{variant}-aliased" if aliased else variant)
    if name in QUANTIZATIONS:
        return Geometry("quantize", {"elements": total, "run": total, "flops": 2 * total}, variant)
    if name in ("control", "unknown", "loop", "if", "while", "tensoriterator", "memory"):
        return Geometry("unknown", {"elements": total, "flops": total})
    shapes = {o.shape for o in layer.inputs if prod(o.shape) > 1}
    run = broadcast_run(sorted(shapes), result) if len(shapes) > 1 and result else total
    return Geometry("elementwise", {"elements": total, "run": maximum(run, 1), "flops": total * layer.extra.get("weight", 1)}, variant)


def _convolution(layer: Layer, transposed: bool) -> Geometry:
    data, weight, result = layer.inputs[0].shape, layer.inputs[1].shape, layer.outputs[0].shape
    channels, filters = (data[-1], result[-1]) if layer.last else (data[1], result[1])
    area, positions = (data[1:-1], result[1:-1]) if layer.last else (data[2:], result[2:])
    rank = len(area)
    if layer.groups is not None:
        groups = layer.groups
    else:
        groups = weight[0] if len(weight) == rank + 3 else channels if layer.op.lower() == "depthwise_conv_2d" else 1
    taps = prod(weight[1:-1]) if layer.last else prod(weight[len(weight) - rank :])
    if transposed:
        area, positions = positions, area
    sizes = {
        "batch": data[0], "groups": groups, "inputs": max(channels // groups, 1), "outputs": max(filters // groups, 1),
        "positions": prod(positions), "area": prod(area), "taps": taps, "width": positions[-1], "stride": layer.stride, "edge": 0,
        "skipped": 0, "outside": 0, "activated": 0, "slides": int(bool(layer.variant)), "flops": prod(result),
        "tail": int(layer.last and channels % LANES != 0),
    }  # fmt: skip
    kernel = "conv-direct" if groups == 1 else "conv-depthwise" if channels == groups else "conv-grouped"
    form = "transposed" if transposed else "pointwise" if taps == 1 and layer.stride == 1 else ""
    if layer.last and kernel == "conv-depthwise" and taps > FEW_TAPS:
        form = "wide"
    return Geometry(kernel, sizes, "-".join(part for part in (layer.variant, form) if part))


def _product(layer: Layer) -> Geometry:
    left, right, result = layer.inputs[0].shape, layer.inputs[1].shape, layer.outputs[0].shape
    columns, depth = result[-1], left[-1]
    macs = prod(result) * depth
    if len(right) <= 2 or layer.inputs[1].constant:
        batch, rows = 1, prod(result[:-1])
    else:
        batch, rows = prod(result[:-2]), result[-2] if len(result) > 1 else 1
    sizes = {"batch": batch, "m": rows, "n": columns, "k": depth, "fixed": int(layer.inputs[1].constant), "flops": macs // max(depth, 1)}
    return Geometry("gemv" if rows == 1 or columns == 1 else "gemm", sizes, layer.variant)


def _recurrent(layer: Layer) -> Geometry:
    data = layer.inputs[0].shape
    steps, batch = (data[1], data[0]) if len(data) == 3 else (1, data[0])
    weights = [o.shape for o in layer.inputs if o.constant and len(o.shape) >= 2 and o.shape[-2] > 1]
    gates = weights[0][-2] if weights else 4 * layer.outputs[0].shape[-1]
    sizes = {"steps": steps, "batch": batch, "gates": gates, "inputs": data[-1], "hidden": layer.outputs[0].shape[-1]}
    return Geometry("recurrent", {**sizes, "flops": steps * batch * gates * 10}, layer.variant)
