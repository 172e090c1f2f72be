"""Which kernel class a node belongs to, and the sizes that determine its cost, as expressions over the symbolic dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.graph import Node
from ..ir.op import Opaque
from .flops import vector_flops
from .geometry_contractions import attention, convolution, einsum, product_of_matrices, recurrent
from .geometry_parts import Geometry, computes_shapes, is_view, result_elements
from .geometry_streams import elementwise, moved, quantized, reduction, rows
from .operators import (
    ATTENTIONS,
    CONTROL,
    CONVOLUTIONS,
    MOVEMENTS,
    NORMALIZATIONS,
    PRODUCTS,
    QUANTIZATIONS,
    RECURRENT,
    REDUCTIONS,
    SHAPES,
    SOFTMAXES,
    VIEWS,
)


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
            found = Geometry("control", {"elements": result_elements(node)}, "shape")
        elif name in CONVOLUTIONS:
            found = convolution(node, im2col)
        else:
            builder = _BUILDERS.get(name) or (reduction if name.startswith("Reduce") else elementwise if node.op.elementwise else None)
            found = builder(node) if builder is not None else None
    if found is None:
        return Geometry("unknown", {"elements": result_elements(node), "flops": flops if flops is not None else 0})
    return Geometry(found.kernel, {**found.sizes, "flops": flops if flops is not None else 0}, found.variant)


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
    return strongest or elementwise(node)


def _fixed(kernel: str) -> Callable[[Node], Geometry | None]:
    return lambda node: Geometry(kernel, {"elements": result_elements(node)})


_BUILDERS: dict[str, Callable[[Node], Geometry | None]] = {
    **dict.fromkeys(PRODUCTS, product_of_matrices),
    **dict.fromkeys(ATTENTIONS, attention),
    **dict.fromkeys(NORMALIZATIONS, rows("normalization")),
    **dict.fromkeys(SOFTMAXES, rows("softmax")),
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(MOVEMENTS, moved),
    **dict.fromkeys(QUANTIZATIONS, quantized),
    **dict.fromkeys(RECURRENT, recurrent),
    **dict.fromkeys(SHAPES, _fixed("control")),
    **dict.fromkeys(VIEWS, _fixed("view")),
    **dict.fromkeys(CONTROL, _fixed("control")),
    "Einsum": einsum,
    "RotaryEmbedding": elementwise,
    "LinearAttention": elementwise,
    **dict.fromkeys(("Bernoulli", "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial"), elementwise),
    **dict.fromkeys(("DFT", "STFT", "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"), elementwise),
}
