"""Copies, reductions and pooling that calibration measures."""

from __future__ import annotations

from .draw import Draw, Rows, copies_for, residence
from .recipe import Recipe

TRANSPOSES = ((0, 2, 1, 3), (0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2), (2, 0, 3, 1), (0, 2, 1, 3))


def movements(count: int, draw: Draw) -> Rows:
    """Copies of all kinds."""
    for index in range(count):
        which, again = index % 12, index // 12
        rows, columns = draw.size(2, 512, 8), draw.size(8, 2048, 16)
        while rows * columns > 1 << 19:
            columns = max(8, columns // 2)
        copies = min(copies_for(8.0 * rows * columns, residence(again)), 16)
        if which in (0, 1, 2, 3):
            shape = (1, rows, draw.size(2, 16, 4), max(columns // 8, 2))
            perm = TRANSPOSES[(again + which) % len(TRANSPOSES)]
            yield Recipe("transpose", {"shape": list(shape), "perm": list(perm)}, copies, "all", "movement")
        elif which in (4, 5):
            sizes = {"rows": rows, "columns": columns, "axis": 1 + again % 2, "parts": (2, 3, 4)[again % 3]}
            yield Recipe("concat", sizes, copies, "all", "movement")
        elif which == 6:
            sizes = {"rows": rows // 2 * 2, "columns": columns // 2 * 2, "axis": 1 + again % 2}
            yield Recipe("split", sizes, copies, "all", "movement")
        elif which in (7, 8):
            sizes = {"rows": rows, "columns": columns, "axis": 1 + again % 2, "step": (1, 1, 1, 2)[again % 4]}
            yield Recipe("slice", sizes, copies, "all", "movement")
        elif which == 9:
            entries = draw.size(64, 16384, 64)
            yield Recipe("gather", {"entries": entries, "rows": rows, "columns": min(columns, 1024)}, 1, "all", "movement")
        elif which == 10:
            yield Recipe("expand", {"rows": rows, "times": 4, "columns": max(columns // 4, 4)}, copies, "all", "movement")
        else:
            forms = (("pad", {}), ("resize", {"mode": "nearest"}), ("rearrange", {"op": "DepthToSpace"}), ("resize", {"mode": "linear"}),
                     ("pad", {}), ("rearrange", {"op": "SpaceToDepth"}))  # fmt: skip
            kind, extra = forms[again % len(forms)]
            yield Recipe(kind, {"c": max(4, draw.size(4, 96, 8) // 4 * 4), "size": 2 * draw.size(4, 32, 4), **extra}, 1, "all", "movement")


def reductions(count: int, draw: Draw) -> Rows:
    """Reductions over rows and columns, pooling."""
    for index in range(count // 5):
        op, batch = ("ReduceMean", "ReduceSum", "ReduceMax")[index % 3], (1, draw.size(2, 32, 4))[index // 3 % 2]
        sizes = {"op": op, "batch": batch, "rows": draw.size(8, 512, 8), "columns": draw.size(16, 512, 16), "last": False}
        yield Recipe("reduce", sizes, (1, 4)[index // 6 % 2], "all", "reduction")
    for index in range(count - count // 5):
        which, again = index % 8, index // 8
        rows, columns = draw.size(2, 768, 16), draw.size(16, 2048, 16)
        while rows * columns > 1 << 20:
            columns = max(16, columns // 2)
        copies = min(copies_for(4.0 * rows * columns, residence(again)), 16)
        if which in (0, 1, 2):
            op = ("ReduceMean", "ReduceSum", "ReduceMean", "ReduceMax")[again % 4]
            yield Recipe("reduce", {"op": op, "rows": rows, "columns": columns, "last": which != 1}, copies, "all", "reduction")
        elif which == 3:
            op = ("GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool")[again % 3]
            yield Recipe("pool", {"op": op, "c": rows, "size": draw.size(4, 48, 1)}, min(copies, 6), "basic", "reduction")
        elif which in (4, 5):
            op, k = (("MaxPool", 3), ("AveragePool", 2), ("MaxPool", 2), ("AveragePool", 3))[again % 4]
            channels, size = draw.channels(8, 256), draw.size(8, 100, 4)
            sizes = {"op": op, "c": channels, "size": size, "k": k, "stride": (2, 1)[again % 2]}
            yield Recipe("pool", sizes, (1, 4)[which - 4], "basic", "reduction")
        elif which == 6:
            op, k = (("MaxPool", 3), ("AveragePool", 3), ("MaxPool", 2))[again % 3]
            sizes = {"op": op, "c": 16 * draw.size(2, 24, 1), "size": draw.size(8, 80, 4), "k": k, "stride": 1 + again % 2}
            yield Recipe("pools", sizes, 1, "all", "reduction")
        else:
            yield Recipe("argmax", {"rows": rows, "columns": columns}, 1, "all", "reduction")


def small_forms(count: int, draw: Draw) -> Rows:
    """Attention over few rows, channels that are shuffled, sums."""
    for index in range(count):
        which = index % 3
        if which == 0:
            rows = draw.size(4, 96, 8)
            sizes = {"heads": draw.size(1, 12, 4), "size": draw.one_of((16, 32, 64)), "queries": rows, "keys": rows}
            yield Recipe("attention", sizes, (1, 4)[index // 3 % 2], "all", "attention")
        elif which == 1:
            groups, channels, area = draw.one_of((2, 3, 4, 8)), draw.size(8, 136, 4), draw.size(5, 56, 7) ** 2
            while groups * channels * area > 1 << 20:
                channels = max(4, channels // 2)
            sizes = {"shape": [1, groups, channels, area], "perm": [0, 2, 1, 3]}
            yield Recipe("transpose", sizes, (1, 5)[index // 3 % 2], "all", "movement")
        else:
            sizes = {"op": "Sum", "rows": draw.size(4, 512, 16), "columns": draw.size(16, 1024, 16)}
            yield Recipe("binary", sizes, (1, 4)[index // 3 % 2], "all", "elementwise")


def joins(count: int, draw: Draw) -> Rows:
    """Concatenations along the last axis in short pieces."""
    for index in range(count):
        columns, parts = draw.one_of((1, 1, 2, 3, 4, 6, 8)), draw.one_of((2, 2, 3, 4, 8))
        rows = draw.size(64, 65536, 64)
        while rows * columns * parts > 1 << 19:
            rows //= 2
        kind, width = ("concat", columns) if index % 3 else ("split", columns * parts)
        yield Recipe(kind, {"rows": rows, "columns": width, "axis": 2, "parts": parts}, 1, "all", "movement")
