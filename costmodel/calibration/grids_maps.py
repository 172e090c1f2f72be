"""Functions of elements and rows that calibration measures."""

from __future__ import annotations

from .draw import Draw, Rows, copies_for, residence
from .recipe import Recipe

UNARIES = ("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "HardSwish", "Gelu", "Sqrt", "Clip", "Neg", "LeakyRelu", "HardSigmoid", "QuickGelu",
           "FastGelu", "Silu", "Pow2", "Pow3", "Cos", "Log", "Softplus", "Abs", "Not", "Elu", "Reciprocal", "Floor")  # fmt: skip

BINARIES = ("Add", "Mul", "Sub", "Div", "Max", "Pow", "Equal", "Greater", "And")


def elementwise(count: int, draw: Draw) -> Rows:
    """Functions of one operand; the frequent ones more often."""
    for index in range(count):
        op = UNARIES[index % len(UNARIES)] if index % 2 else UNARIES[(index // 2) % 9]
        total = draw.size(64, 1 << 20, 256)
        copies = copies_for(8.0 * total, residence(index // 2))
        yield Recipe("unary", {"op": op, "elements": total}, min(copies, 24), "all", "elementwise")
    for source, target in (("float32", "bool"), ("bool", "float32"), ("int64", "float32"), ("float32", "int64"), ("int64", "int32")):
        for total in (256, 8192, 65536, 524288):
            yield Recipe("cast", {"elements": total, "source": source, "target": target}, 1, "all", "elementwise")


def binaries(count: int, draw: Draw) -> Rows:
    """Functions of two operands in all forms of broadcasting."""
    for index in range(count):
        op = ("Add", "Mul", "Add", "Mul", "Add", "Sub", "Div")[index % 7]
        form = ("same", "channel", "row", "scalar", "same")[index % 5]
        rows, columns = draw.size(4, 1024, 16), draw.size(16, 3136, 16)
        while rows * columns > 1 << 20:
            columns = max(16, columns // 2)
        copies = copies_for((12.0 if form == "same" else 8.0) * rows * columns, residence(index // 2))
        yield Recipe("binary", {"op": op, "rows": rows, "columns": columns, "form": form}, min(copies, 16), "all", "elementwise")
    for op in ("Equal", "Greater", "And", "Pow", "Max"):
        dtype = "bool" if op == "And" else "float32"
        for rows in (4, 64, 512):
            yield Recipe("binary", {"op": op, "rows": rows, "columns": 256, "dtype": dtype}, 1, "all", "elementwise")
    for op, dtype in (("Add", "int64"), ("Mul", "int64"), ("Add", "int32"), ("Equal", "int32"), ("Equal", "int64"), ("Greater", "int64")):
        for rows in (4, 64, 512):
            yield Recipe("binary", {"op": op, "rows": rows, "columns": 256, "dtype": dtype}, 1, "all", "elementwise")
    for index in range(max(count // 6, 2)):
        rows, columns = draw.size(4, 1024, 16), draw.size(64, 1536, 64)
        yield Recipe("bias", {"rows": rows, "columns": columns}, (1, 4)[index % 2], "all", "elementwise")
    for total in (200, 1000, 8000, 40_000, 400_000):
        yield Recipe("where", {"elements": total, "run": 64}, 1, "all", "elementwise")
    for op, dtype in (("Equal", "int32"), ("Equal", "int64"), ("Add", "float32"), ("Mul", "float32"), ("Greater", "int64")):
        for rows, columns in ((8, 64), (64, 250), (300, 512), (1500, 600)):
            yield Recipe("binary", {"op": op, "rows": rows, "columns": columns, "dtype": dtype, "form": "outer"}, 1, "all", "elementwise")


NORMALIZATIONS = ("LayerNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization", "BatchNormalization",
                  "InstanceNormalization", "SkipSimplifiedLayerNormalization")  # fmt: skip


def normalizations(count: int, draw: Draw) -> Rows:
    """Normalisations over rows."""
    for index in range(count):
        op = NORMALIZATIONS[(0, 1, 0, 2, 0, 3, 4, 5)[index % 8]]
        rows, columns = draw.size(1, 1024, 16), draw.size(32, 1536, 32)
        columns = max(columns // 16, 1) * 16 if op == "BatchNormalization" else columns
        copies = copies_for(8.0 * rows * columns, residence(index // 2))
        yield Recipe("normalize", {"op": op, "rows": rows, "columns": columns}, min(copies, 24), "all", "normalization")


def local_responses(count: int, draw: Draw) -> Rows:
    """Normalisation over neighbouring channels."""
    for index in range(count):
        sizes = {"c": draw.channels(16, 256), "size": draw.size(8, 64, 4)}
        yield Recipe("lrn", sizes, (1, 3)[index % 2], "all", "normalization")


def softmaxes(count: int, draw: Draw) -> Rows:
    """Softmax over the last axis, sometimes over an inner one."""
    for index in range(count):
        rows, columns = draw.size(1, 2048, 16), draw.size(8, 1024, 16)
        copies = copies_for(8.0 * rows * columns, residence(index))
        yield Recipe("softmax", {"rows": rows, "columns": columns}, min(copies, 24), "all", "softmax")
