"""Sizes of kernels that pass over their operands: functions of elements and rows, reductions, copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir.dims import Dim, minimum, product
from ..ir.graph import Node
from .flops import elements
from .geometry_parts import Geometry, attribute, result_elements, shape_of
from .operators import BLOCKED


def rows(kernel: str) -> Callable[[Node], Geometry | None]:
    def build(node: Node) -> Geometry | None:
        shape = node.output.shape
        if shape is None:
            return None
        axis = attribute(node, "axis", -1)
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


def elementwise(node: Node) -> Geometry | None:
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


def quantized(node: Node) -> Geometry | None:
    """Rows of elements that share a scale; scales per axis have loops of their own."""
    shape = node.output.shape
    if shape is None:
        return None
    scale, total = node.operand(1), product(shape)
    if node.op.op_name == "DynamicQuantizeLinear" or scale is None or scale.rank != 1 or scale.shape == (1,):
        return Geometry("quantize", {"elements": total, "run": total}, node.op.op_name.lower())
    axis = attribute(node, "axis", 1) % max(len(shape), 1)
    return Geometry("quantize", {"elements": total, "run": product(shape[axis + 1 :])}, f"{node.op.op_name.lower()}-axis")


def reduction(node: Node) -> Geometry | None:
    data, results = shape_of(node.operand(0)), elements(node)
    if data is None or results is None:
        return None
    axes = attribute(node, "axes") or (node.inputs[1].ints if len(node.inputs) > 1 and node.inputs[1] is not None else None)
    rank = len(data)
    reduced = {a + rank if a < 0 else a for a in axes} if axes is not None else set(range(rank))
    if axes is None and node.op.op_name.startswith("Arg"):
        reduced = {attribute(node, "axis", 0) % max(rank, 1)}
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


def moved(node: Node) -> Geometry | None:
    shape = node.output.shape
    if shape is None:
        return None
    total = result_elements(node)
    run = _run(node, shape)
    form = attribute(node, "mode") if node.op.op_name.endswith("Resize") else None
    if node.op.op_name == "Transpose":
        form = _transposed_form(_order(node, shape), shape, run)
    name = node.op.op_name.removeprefix("ChannelsLast").lower()
    return Geometry("movement", {"elements": total, "run": run}, f"{name}-{form}" if form else name)


def _order(node: Node, shape: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(attribute(node, "perm") or reversed(range(len(shape))))


def _transposed_form(order: Sequence[int], shape: tuple[Any, ...], run: Dim) -> str:
    """Runtimes have a fast loop where one axis moves past others: ``flat`` when single elements move, plain when rows do."""
    moved = [axis for position, axis in enumerate(order) if shape[position] != 1]
    rests = (moved[:i] + moved[i + 1 :] for i in range(len(moved)))
    if not all(moved == sorted(moved) or rest != sorted(rest) for rest in rests):
        return "flat" if run == 1 else ""
    return "" if moved == sorted(moved) else "general"


def _run(node: Node, shape: tuple[Any, ...]) -> Dim:
    """Consecutive elements that are copied from consecutive places."""
    name, data = node.op.op_name.removeprefix("ChannelsLast"), shape_of(node.operand(0))
    if name == "Transpose":
        return _unmoved(_order(node, shape), shape)
    if name in ("Concat", "Split", "QLinearConcat"):
        axis = attribute(node, "axis", 0)
        return product(shape[axis if axis >= 0 else len(shape) + axis :])
    if name == "Gather":
        axis = attribute(node, "axis", 0)
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
