"""Which kernel class a node belongs to, and the sizes that determine its cost, as expressions over the symbolic dimensions.

The sizes of each class (every class has ``flops``, the operations outside of multiply-accumulates):

- gemm, gemv: batch, m, n, k; ``fixed`` is 1 when the right operand is constant and can be packed once
- conv-*: batch, groups, inputs and outputs (channels of one group), positions (of the result), area (of the operand), taps, width
  (the innermost spatial axis of the result), stride (product of the strides), edge (positions of a row beside padding), skipped and
  outside (taps over all positions of a channel that lie in the padding above and below: not computed, or computed on zeros that are not
  copied), activated (operations of a fused activation; none for Relu, which kernels do on the way), slides (1 for kernels that do not
  unfold)
- attention: batch, heads, shared (heads of keys and values), queries, keys, size, value_size, projection (multiply-accumulates)
- normalization, softmax: rows, columns
- reduction: elements, results, run (elements that follow each other in memory before the reduced position changes)
- movement: elements, run (elements copied from consecutive places)
- recurrent: steps, batch, gates (times directions), inputs, hidden
- elementwise: elements, run (elements until a broadcast operand begins or ceases to repeat)
- quantize: elements, run (elements that share a scale)
- control, unknown: elements
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.dims import Dim, minimum, product
from ..ir.graph import Node, Value
from ..ir.op import Opaque
from ..ir.types import TensorType
from .attention import attention_shape
from .flops import WEIGHTS, elements, vector_flops

VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "OptionalGetElement", "Optional")
SHAPES = ("Shape", "Size", "SequenceConstruct", "SequenceEmpty", "SequenceLength", "SequenceAt", "OptionalHasElement")
PRODUCTS = ("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulInteger", "QLinearMatMul", "QGemm", "MatMulNBits", "MatMulBnb4",
            "MatMulIntegerToFloat", "DynamicQuantizeMatMul")  # fmt: skip
CONVOLUTIONS = ("Conv", "FusedConv", "ConvInteger", "QLinearConv", "ConvTranspose", "DeformConv", "ChannelsLastConv",
                "ChannelsLastConvTranspose")  # fmt: skip
ATTENTIONS = ("Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention")
NORMALIZATIONS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", "SkipLayerNormalization",
                  "SkipSimplifiedLayerNormalization", "EmbedLayerNormalization", "InstanceNormalization", "GroupNormalization",
                  "BatchNormalization", "MeanVarianceNormalization", "LpNormalization", "LRN", "ChannelsLastLRN")  # fmt: skip
SOFTMAXES = ("Softmax", "LogSoftmax", "QLinearSoftmax", "Hardmax")
REDUCTIONS = ("ArgMax", "ArgMin", "CumSum", "CumProd", "TopK", "Unique", "NonZero", "Compress", "NonMaxSuppression", "MaxPool",
              "AveragePool", "LpPool", "NhwcMaxPool", "QLinearAveragePool", "QLinearGlobalAveragePool", "GlobalAveragePool",
              "GlobalMaxPool", "GlobalLpPool", "ChannelsLastMaxPool", "ChannelsLastAveragePool", "ChannelsLastLpPool")  # fmt: skip
MOVEMENTS = ("Transpose", "Concat", "Split", "Slice", "Gather", "GatherElements", "GatherND", "GatherBlockQuantized", "ScatterElements",
             "ScatterND", "TensorScatter", "Pad", "Tile", "Expand", "DepthToSpace", "SpaceToDepth", "ChannelsLastDepthToSpace",
             "ChannelsLastSpaceToDepth", "Resize", "ChannelsLastResize", "ReverseSequence", "OneHot", "EyeLike", "ConstantOfShape", "Range",
             "Trilu", "QLinearConcat", "Col2Im", "CenterCropPad", "MaxUnpool", "ConcatFromSequence", "SplitToSequence",
             "SequenceInsert", "SequenceErase", "GridSample", "ChannelsLastGridSample", "AffineGrid", "RoiAlign", "MaxRoiPool",
             "ReorderInput", "ReorderOutput", "Upsample")  # fmt: skip
QUANTIZATIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
RECURRENT = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")
BLOCKED = "com.microsoft.nchwc"  # the layout of ONNX Runtime's convolutions
THIN = 4  # filters below which a product with the unfolded operand is bound by unfolding it
FEW = 8  # input channels below which such convolutions read the plain layout
CONTROL = ("If", "Loop", "Scan", "SequenceMap")


@dataclass(frozen=True)
class Geometry:
    """The kernel class of a node, its sizes, and a variant that tells apart kernels whose coefficients differ."""

    kernel: str
    sizes: Mapping[str, Dim]
    variant: str = ""


def is_view(node: Node) -> bool:
    """Whether the result shares the operand's memory."""
    return node.op.op_name in VIEWS and not node.op.domain


def is_fixed(value: Value, depth: int = 4) -> bool:
    """Whether a value is the same in every run: a constant, or computed from constants in a few steps."""
    producer = value.producer
    if producer is None or depth == 0:
        return value.is_constant
    if not producer.op.pure or producer.regions or not producer.inputs:
        return False
    return all(v is None or is_fixed(v, depth - 1) for v in producer.inputs)


def computes_shapes(node: Node) -> bool:
    """Whether the results are small integer tensors whose elements inference knows: arithmetic on shapes, no data."""
    return bool(node.outputs) and all(v.content is not None for v in node.outputs)


def geometry(node: Node, im2col: bool = False) -> Geometry:
    """Class and sizes of a node; of class ``unknown`` when the operator or a shape that it needs is not known.

    Args:
        im2col: convolutions unfold their operand into a matrix first, as on engines without a direct kernel.
    """
    name = node.op.op_name
    flops = vector_flops(node)
    found: Geometry | None = None
    if not isinstance(node.op, Opaque):
        if name == "Region":
            found = _region(node, im2col)
        elif computes_shapes(node) and not is_view(node):
            found = Geometry("control", {"elements": _result_elements(node)}, "shape")
        elif name in CONVOLUTIONS:
            found = _convolution(node, im2col)
        else:
            builder = _BUILDERS.get(name) or (_reduction if name.startswith("Reduce") else _elementwise if node.op.elementwise else None)
            found = builder(node) if builder is not None else None
    if found is None:
        return Geometry("unknown", {"elements": _result_elements(node), "flops": flops if flops is not None else 0})
    return Geometry(found.kernel, {**found.sizes, "flops": flops if flops is not None else 0}, found.variant)


def _result_elements(node: Node) -> Dim:
    total: Dim = 0
    for value in node.outputs:
        if isinstance(value.type, TensorType) and value.type.elements is not None:
            total = total + value.type.elements
    return total


def _shape(value: Value | None) -> tuple[Any, ...] | None:
    return None if value is None else value.shape


def _attribute(node: Node, name: str, default: Any = None) -> Any:
    return dict(node.op.attributes()).get(name, default)


def _main(body: Any) -> Node | None:
    """The node that dominates a fused body: its contraction."""
    for node in body:
        if node.op.op_name in PRODUCTS or node.op.op_name in CONVOLUTIONS or node.op.op_name in ATTENTIONS:
            return node
    return None


def _region(node: Node, im2col: bool) -> Geometry | None:
    main = _main(node.regions[0])
    if main is not None:
        return geometry(main, im2col)
    inner = [geometry(n, im2col) for n in node.regions[0]]
    strongest = next((g for g in inner if g.kernel in ("normalization", "softmax", "reduction")), None)
    return strongest or _elementwise(node)


# -- matrix products ---------------------------------------------------------------------------------------------------
def _operand_positions(name: str) -> tuple[int, int]:
    return (0, 3) if name in ("QLinearMatMul", "QGemm", "QLinearConv") else (0, 1)


def _product(node: Node) -> Geometry | None:
    left_index, right_index = _operand_positions(node.op.op_name)
    right_value = node.operand(right_index)
    left, result = _shape(node.operand(left_index)), node.output.shape
    if left is None or result is None or right_value is None or not left:
        return None
    transposed = bool(_attribute(node, "transA", 0))
    depth = left[-2 if transposed and len(left) > 1 else -1]
    columns = result[-1] if result and (right_value.rank is None or right_value.rank > 1) else 1
    fixed = is_fixed(right_value)
    rank = right_value.rank
    total = product(result)
    if rank is not None and rank <= 2:
        batch: Dim = 1
        rows = product(result[:-1]) if rank == 2 and len(left) > 1 else 1 if len(left) < 2 else total
    else:
        batch, rows = product(result[:-2]), result[-2] if len(result) > 1 else 1
    if node.op.op_name in ("MatMulNBits", "MatMulBnb4"):
        batch, rows = 1, product(result[:-1])
    kernel = "gemv" if rows == 1 or columns == 1 else "gemm"
    return Geometry(kernel, {"batch": batch, "m": rows, "n": columns, "k": depth, "fixed": int(fixed)})


def _einsum(node: Node) -> Geometry | None:
    """A contraction of two operands as a batched product; with one operand it moves or reduces."""
    terms, _, result_term = _attribute(node, "equation", "").replace(" ", "").partition("->")
    labels = terms.split(",")
    shapes = [_shape(node.operand(i)) for i in range(len(labels))]
    if any(s is None for s in shapes) or "." in terms or len(labels) != 2:
        return _moved(node) if len(labels) == 1 else None
    if not result_term:
        joined = "".join(labels)
        result_term = "".join(sorted(c for c in set(joined) if joined.count(c) == 1))
    sizes = {c: d for term, shape in zip(labels, shapes, strict=True) for c, d in zip(term, shape or (), strict=True)}

    def size(chosen: list[str]) -> Dim:
        return product([sizes[c] for c in chosen])

    both = [c for c in labels[0] if c in labels[1]]
    batch, depth = size([c for c in both if c in result_term]), size([c for c in both if c not in result_term])
    rows, columns = size([c for c in labels[0] if c not in both]), size([c for c in labels[1] if c not in both])
    right = node.operand(1)
    sizes_found = {"batch": batch, "m": rows, "n": columns, "k": depth, "fixed": int(right is not None and is_fixed(right))}
    return Geometry("gemv" if rows == 1 or columns == 1 else "gemm", sizes_found)


# -- convolutions ------------------------------------------------------------------------------------------------------
def _convolution(node: Node, im2col: bool) -> Geometry | None:
    name = node.op.op_name
    last = name.startswith("ChannelsLast") or bool(_attribute(node, "channels_last", 0))
    data, weight, result = _shape(node.operand(0)), _shape(node.operand(_operand_positions(name)[1])), node.output.shape
    if data is None or weight is None or result is None or len(result) < 3:
        return None
    groups = _attribute(node, "group", 1)
    channels, filters = (data[-1], result[-1]) if last else (data[1], result[1])
    area, positions = (data[1:-1], result[1:-1]) if last else (data[2:], result[2:])
    taps = product(weight[2:]) if len(weight) > 2 else 1
    strides = _attribute(node, "strides") or ()
    if "Transpose" in name:  # the operand is what the kernel slides over
        area, positions = positions, area
    per_group_in, per_group_out = channels // groups, filters // groups
    sizes: dict[str, Dim] = {
        "batch": data[0], "groups": groups, "inputs": per_group_in, "outputs": per_group_out, "positions": product(positions),
        "area": product(area), "taps": taps, "width": positions[-1], "stride": product(tuple(strides)),
        **_borders(node, weight[2:], strides, positions), "activated": product(result) * _activation_weight(node), "slides": 0,
    }  # fmt: skip
    if groups != 1:
        kernel = "conv-depthwise" if per_group_in == 1 else "conv-grouped"
    else:
        kernel = "conv-im2col" if im2col and taps != 1 and node.op.domain != BLOCKED else "conv-direct"
    form = "pointwise" if taps == 1 else "transposed" if "Transpose" in name else ""
    gathered = "strided" if strides and strides[-1] != 1 else ""  # single elements are unfolded, not rows
    if kernel == "conv-depthwise" and node.op.domain != BLOCKED and not last:
        form = "-".join(part for part in ("" if taps == 9 else "wide", gathered) if part)
    elif kernel == "conv-direct" and not form and node.op.domain != BLOCKED and not last:
        form = "thin" if type(per_group_out) is int and per_group_out < THIN else gathered
    layout = "blocked" if node.op.domain == BLOCKED else "last" if last else ""
    flat = positions[-1] == 1 and not any(_attribute(node, "pads") or ())
    if layout == "blocked" and (flat or taps == 1 and sizes["stride"] == 1):
        sizes["width"] = sizes["positions"]  # a column, or an image without neighbourhoods, is computed as one row
    if kernel == "conv-direct" and sizes["positions"] == 1:
        form = "single"
    if layout == "blocked" and kernel == "conv-direct" and type(per_group_in) is int and per_group_in < FEW:
        form = "few"
    return Geometry(kernel, sizes, "-".join(part for part in (layout, form) if part))


def _borders(node: Node, kernel: Sequence[Any], strides: Sequence[int], positions: Sequence[Dim]) -> dict[str, Dim]:
    """What the padding does: ``edge`` positions of a row see it from the sides, ``skipped`` or ``outside`` taps from above."""
    pads, rank = list(_attribute(node, "pads") or ()), len(kernel)
    if len(pads) != 2 * rank or rank != 2 or "Transpose" in node.op.op_name or not all(type(k) is int for k in kernel):
        return {"edge": 0, "skipped": 0, "outside": 0}
    down, across = (strides[0], strides[1]) if len(strides) == 2 else (1, 1)
    edge = -(-pads[1] // across) + -(-pads[3] // across)
    rows = sum(max(0, pad - i * down) for pad in (pads[0], pads[2]) for i in range(pad))
    width = positions[-1]
    taps = rows * kernel[1] * width
    if node.op.domain != BLOCKED:
        return {"edge": 0, "skipped": 0, "outside": taps}
    return {"edge": min(edge, width) if type(width) is int else edge, "skipped": taps, "outside": 0}


def _activation_weight(node: Node) -> int:
    name = _attribute(node, "activation") or ""
    return 0 if name in ("", "none", "Relu") else WEIGHTS.get(name, 1)


# -- attention ---------------------------------------------------------------------------------------------------------
def _attention(node: Node) -> Geometry | None:
    found = attention_shape(node)
    if found is None:
        return None
    sizes = {"batch": found.batch, "heads": found.heads, "shared": found.shared, "queries": found.queries, "keys": found.keys,
             "size": found.size, "value_size": found.value_size, "projection": found.projection}  # fmt: skip
    return Geometry("attention", sizes, "" if node.op.domain else "standard")  # ONNX's own operator has a kernel of its own


# -- the rest ----------------------------------------------------------------------------------------------------------
def _rows(kernel: str) -> Callable[[Node], Geometry | None]:
    def build(node: Node) -> Geometry | None:
        shape = node.output.shape
        if shape is None:
            return None
        axis = _attribute(node, "axis", -1)
        rank = len(shape)
        axis = (axis + rank if axis < 0 else axis) if isinstance(axis, int) and rank else 0
        if node.op.op_name in ("InstanceNormalization", "GroupNormalization", "BatchNormalization", "LRN"):
            columns = product(shape[2:])
        elif node.op.op_name in ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"):
            columns = product(shape[axis:])
        else:
            columns = shape[axis] if rank else 1
        total = product(shape)
        variant = node.op.op_name.lower()
        return Geometry(kernel, {"rows": total // columns if columns != 0 else 0, "columns": columns}, variant)

    return build


def _elementwise(node: Node) -> Geometry | None:
    found = elements(node)
    if found is None:
        return None
    return Geometry("elementwise", {"elements": found, "run": _broadcast_run(node, found)}, node.op.op_name.lower())


def _broadcast_run(node: Node, total: Dim) -> Dim:
    shapes = [v.shape for v in node.inputs if v is not None and v.shape is not None and v.rank]
    result = node.output.shape
    if result is None or len({tuple(map(str, s)) for s in shapes}) < 2:
        return total
    return broadcast_run(shapes, result)


def broadcast_run(shapes: Sequence[Sequence[Any]], result: Sequence[Any]) -> Dim:
    """Consecutive elements that loops over operands of different shapes take at once: until one operand begins or ceases to repeat.

    >>> broadcast_run([(2, 8, 5, 5), (8, 1, 1)], (2, 8, 5, 5)), broadcast_run([(2, 4, 16), (16,)], (2, 4, 16))
    (25, 16)
    """
    run: Dim = 1
    before: tuple[bool, ...] | None = None
    for axis in range(1, len(result) + 1):
        if result[-axis] == 1:
            continue
        repeats = tuple(len(s) < axis or s[-axis] == 1 for s in shapes)
        if before is not None and repeats != before:
            return run
        before, run = repeats, run * result[-axis]
    return run


def _quantized(node: Node) -> Geometry | None:
    """Rows of elements that share a scale; scales per axis have loops of their own."""
    shape = node.output.shape
    if shape is None:
        return None
    scale, total = node.operand(1), product(shape)
    if node.op.op_name == "DynamicQuantizeLinear" or scale is None or scale.rank != 1 or scale.shape == (1,):
        return Geometry("quantize", {"elements": total, "run": total}, node.op.op_name.lower())
    axis = _attribute(node, "axis", 1) % max(len(shape), 1)
    return Geometry("quantize", {"elements": total, "run": product(shape[axis + 1 :])}, f"{node.op.op_name.lower()}-axis")


def _reduction(node: Node) -> Geometry | None:
    data, results = _shape(node.operand(0)), elements(node)
    if data is None or results is None:
        return None
    axes = _attribute(node, "axes") or (node.inputs[1].ints if len(node.inputs) > 1 and node.inputs[1] is not None else None)
    rank = len(data)
    reduced = {a + rank if a < 0 else a for a in axes} if axes is not None else set(range(rank))
    if axes is None and node.op.op_name.startswith("Arg"):
        reduced = {_attribute(node, "axis", 0) % max(rank, 1)}
    run: Dim = 1
    for position in reversed(range(rank)):
        if data[position] != 1 and position in reduced:
            break
        run = run * data[position]
    sizes = {"elements": product(data), "results": results, "run": run}
    layout = "blocked-" if node.op.domain == BLOCKED else ""
    return Geometry("reduction", sizes, layout + node.op.op_name.lower() + _reduced_side(node, data, reduced, run))


def _reduced_side(node: Node, data: Sequence[Any], reduced: set[int], run: Dim) -> str:
    """Which axes Reduce* takes away, since runtimes have loops of their own for each: the last, the leading, or some between."""
    if not node.op.op_name.startswith("Reduce"):
        return ""
    if run == 1:
        return "-last"
    first = min((axis for axis in reduced if data[axis] != 1), default=0)
    return "-leading" if product(data[:first]) == 1 else ""


def _moved(node: Node) -> Geometry | None:
    shape = node.output.shape
    if shape is None:
        return None
    total = _result_elements(node)
    run = _run(node, shape)
    form = _attribute(node, "mode") if node.op.op_name.endswith("Resize") else None
    if node.op.op_name == "Transpose":
        form = _transposed_form(_order(node, shape), shape, run)
    name = node.op.op_name.removeprefix("ChannelsLast").lower()
    return Geometry("movement", {"elements": total, "run": run}, f"{name}-{form}" if form else name)


def _order(node: Node, shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(_attribute(node, "perm") or reversed(range(len(shape))))


def _transposed_form(order: Sequence[int], shape: tuple[Any, ...], run: Dim) -> str:
    """Runtimes have a fast loop where one axis moves past others: ``flat`` when single elements move, plain when rows do."""
    moved = [axis for position, axis in enumerate(order) if shape[position] != 1]
    rests = (moved[:i] + moved[i + 1 :] for i in range(len(moved)))
    if not all(moved == sorted(moved) or rest != sorted(rest) for rest in rests):
        return "flat" if run == 1 else ""
    return "" if moved == sorted(moved) else "general"


def _run(node: Node, shape: tuple[Any, ...]) -> Dim:
    """Consecutive elements that are copied from consecutive places."""
    name, data = node.op.op_name.removeprefix("ChannelsLast"), _shape(node.operand(0))
    if name == "Transpose":
        return _unmoved(_order(node, shape), shape)
    if name in ("Concat", "Split", "QLinearConcat"):
        axis = _attribute(node, "axis", 0)
        return product(shape[axis if axis >= 0 else len(shape) + axis :])
    if name == "Gather":
        axis = _attribute(node, "axis", 0)
        return product(data[axis + 1 :]) if data is not None and axis >= 0 else 1
    if name in ("GatherElements", "ScatterElements", "DepthToSpace", "SpaceToDepth", "Resize", "GridSample", "Col2Im", "Upsample"):
        return 1
    if name in ("ReorderInput", "ReorderOutput"):
        return product(shape[2:])
    if data is None or len(data) != len(shape):
        return shape[-1] if shape else 1
    steps = node.inputs[4] if name == "Slice" and len(node.inputs) > 4 else None
    whole = steps is None or all(step == 1 for step in steps.ints or (2,))
    run: Dim = 1
    for before, after in zip(reversed(data), reversed(shape), strict=True):
        if before != after:
            return run * (minimum(before, after) if whole else 1)
        run = run * after
    return run


def _unmoved(order: Sequence[int], shape: tuple[Any, ...]) -> Dim:
    """Elements of the trailing axes that a permutation leaves in place; axes of one element move nothing."""
    moved = [axis for position, axis in enumerate(order) if shape[position] != 1]
    sizes = [size for size in shape if size != 1]
    ranked = sorted(moved)
    kept = 0
    while kept < len(moved) and moved[len(moved) - 1 - kept] == ranked[len(moved) - 1 - kept]:
        kept += 1
    return product(sizes[len(sizes) - kept :])


def _recurrent(node: Node) -> Geometry | None:
    data, weight, recurrent = (_shape(node.operand(i)) for i in range(3))
    if data is None or weight is None or recurrent is None:
        return None
    gates = weight[0] * (weight[2] if node.op.op_name.startswith("Dynamic") else weight[1])
    inputs, hidden = data[2], recurrent[1 if node.op.op_name.startswith("Dynamic") else 2]
    sizes = {"steps": data[0], "batch": data[1], "gates": gates, "inputs": inputs, "hidden": hidden}
    return Geometry("recurrent", sizes, node.op.op_name.lower())


def _fixed(kernel: str) -> Callable[[Node], Geometry | None]:
    return lambda node: Geometry(kernel, {"elements": _result_elements(node)})


_BUILDERS: dict[str, Callable[[Node], Geometry | None]] = {
    **dict.fromkeys(PRODUCTS, _product),
    **dict.fromkeys(ATTENTIONS, _attention),
    **dict.fromkeys(NORMALIZATIONS, _rows("normalization")),
    **dict.fromkeys(SOFTMAXES, _rows("softmax")),
    **dict.fromkeys(REDUCTIONS, _reduction),
    **dict.fromkeys(MOVEMENTS, _moved),
    **dict.fromkeys(QUANTIZATIONS, _quantized),
    **dict.fromkeys(RECURRENT, _recurrent),
    **dict.fromkeys(SHAPES, _fixed("control")),
    **dict.fromkeys(VIEWS, _fixed("view")),
    **dict.fromkeys(CONTROL, _fixed("control")),
    "Einsum": _einsum,
    "RotaryEmbedding": _elementwise,
    "LinearAttention": _elementwise,
    **dict.fromkeys(("Bernoulli", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial"), _elementwise),
    **dict.fromkeys(("DFT", "STFT", "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"), _elementwise),
}
