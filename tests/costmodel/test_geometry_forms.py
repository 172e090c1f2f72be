"""Forms of kernels that have coefficients of their own: what tells them apart."""

import numpy as np
import pytest

from edgec.costmodel.geometry import geometry
from edgec.costmodel.kernels import KERNELS, features
from edgec.costmodel.model import stall_of
from edgec.costmodel.traffic import bounded_traffic
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant, int64s
from edgec.ir.ops.conv import Conv
from edgec.ir.ops.quantize import DequantizeLinear
from edgec.ir.ops.reduction import ReduceSum
from edgec.ir.ops.transpose import Transpose
from edgec.ir.types import TensorType
from edgec.runtime.measure_layers import Layer, Operand, geometry_of


def of(op, shape, *constants, dtype=DType.FLOAT):
    graph = Graph()
    value = graph.add(op, graph.add_input("x", TensorType(dtype, shape)), *constants)
    return geometry(value.producer)


def weights(*shape):
    return constant(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("shape", "weight", "attributes", "variant"),
    [
        ((1, 64, 1, 1), (32, 64, 1, 1), {}, "single"),
        ((1, 64, 9, 9), (32, 64, 1, 1), {}, "pointwise"),
        ((1, 64, 9, 9), (2, 64, 3, 3), {"pads": (1, 1, 1, 1)}, "thin"),
        ((1, 64, 9, 9), (32, 64, 3, 3), {"pads": (1, 1, 1, 1), "strides": (2, 1)}, ""),
        ((1, 64, 9, 9), (32, 64, 3, 3), {"pads": (1, 1, 1, 1), "strides": (1, 2)}, "strided"),
        ((1, 64, 9, 9), (64, 1, 5, 5), {"pads": (2, 2, 2, 2), "group": 64, "strides": (2, 1)}, "wide"),
        ((1, 64, 9, 9), (64, 1, 5, 5), {"pads": (2, 2, 2, 2), "group": 64, "strides": (1, 2)}, "wide-strided"),
    ],
)
def test_convolutions(shape, weight, attributes, variant) -> None:
    assert of(Conv(**attributes), shape, weights(*weight)).variant == variant


def test_taps_on_padding_are_not_copied() -> None:
    """Of an image of two rows, a 5 x 5 kernel with padding sees rows that do not exist in six of ten cases."""
    found = of(Conv(group=8, pads=(2, 2, 2, 2)), (1, 8, 2, 40), weights(8, 1, 5, 5))
    assert features(found.kernel, found.sizes)["copies"] == 8 * (2 * 25 - 6 * 5)


@pytest.mark.parametrize(
    ("perm", "variant"), [((0, 2, 1, 3), "transpose"), ((0, 2, 3, 1), "transpose-flat"), ((2, 0, 3, 1), "transpose-general")]
)
def test_transpositions(perm, variant) -> None:
    assert of(Transpose(perm=perm), (2, 3, 4, 5)).variant == variant


@pytest.mark.parametrize(
    ("shape", "axis", "variant"), [((4, 5, 6), 2, "reducesum-last"), ((4, 5, 6), 1, "reducesum"), ((1, 5, 6), 1, "reducesum-leading")]
)
def test_reductions(shape, axis, variant) -> None:
    assert of(ReduceSum(), shape, int64s([axis])).variant == variant


def test_scales_per_axis() -> None:
    one, many = constant(np.float32(0.1)), constant(np.full(5, 0.1, np.float32))
    found = of(DequantizeLinear(axis=0), (5, 6, 7), many, dtype=DType.INT8)
    assert found.variant == "dequantizelinear-axis" and found.sizes["run"] == 42
    assert of(DequantizeLinear(), (5, 6, 7), one, dtype=DType.INT8).sizes["run"] == 210


def test_stalls_grow_with_the_rows_of_a_panel() -> None:
    rows = np.array([[1.0], [4.0], [12.0], [500.0]])
    assert stall_of("gemm", {"m": rows})[:, 0] == pytest.approx([1 / 12, 4 / 12, 1.0, 1.0])
    assert KERNELS["softmax"].stall is None and not stall_of("softmax", {"rows": rows}).any()


def test_an_operand_that_is_slid_over_is_not_read_unfolded() -> None:
    unfolded = bounded_traffic(1, 4000.0, 8.0, 900.0, 1e5)
    slid = bounded_traffic(1, 4000.0, 8.0, 900.0, 1e5, left=4000.0 * 8)
    assert slid == 4000 * 8 + 900 * 8 + 4000 * 8 < unfolded


def test_planes_that_fall_into_the_same_sets_are_told_apart() -> None:
    def reorder(side: int) -> str:
        shape = (1, 3, side, side)
        return geometry_of(Layer("r", "Reorder", (Operand("x", shape),), (Operand("y", shape),), variant="reorder")).variant

    assert reorder(128) == "reorder-aliased" and reorder(112) == "reorder"


def test_channels_are_repeated_over_whole_planes() -> None:
    operands = (Operand("x", (1, 8, 5, 5)), Operand("b", (1, 8, 1, 1), constant=True))
    found = geometry_of(Layer("a", "Add", operands, (Operand("y", (1, 8, 5, 5)),), variant="add"))
    assert found.kernel == "elementwise" and found.sizes["run"] == 25
