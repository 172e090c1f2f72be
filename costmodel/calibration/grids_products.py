"""Products, attention and recurrent layers that calibration measures."""

from __future__ import annotations

from .draw import HUGE, Draw, Rows, copies_for, residence
from .recipe import Recipe


def products(count: int, draw: Draw) -> Rows:
    """Matrix products with constants."""
    for index in range(count):
        m, n, k = draw.size(2, 1024, 16), draw.size(8, 3072, 32), draw.size(16, 3072, 32)
        while m * n * k > 4e8:
            m = max(2, m // 2)
        copies = copies_for(4.0 * (m * k + k * n + m * n), residence(index), m * n * k)
        if index % 4 == 3:
            yield Recipe("gemm", {"m": m, "n": n, "k": k}, copies, focus="gemm")
            continue
        extra = {"bias": True} if index % 2 else {}
        yield Recipe("matmul", {"m": m, "n": n, "k": k, **extra}, copies, focus="gemm")


def batched(count: int, draw: Draw) -> Rows:
    """Products of activations, as attention computes them."""
    for index in range(count):
        heads, rows, size = draw.size(1, 16, 4), draw.size(8, 384, 16), draw.size(16, 128, 32)
        m, n, k = (rows, rows, size) if index % 2 else (rows, size, rows)
        copies = copies_for(4.0 * heads * (m * k + k * n + m * n), residence(index // 2), heads * m * n * k)
        yield Recipe("matmul", {"batch": [1, heads], "m": m, "n": n, "k": k, "free": True}, copies, focus="gemm")


def vectors(count: int, draw: Draw) -> Rows:
    """Products of one row."""
    for index in range(count):
        n, k = draw.size(16, 4096, 32), draw.size(16, 4096, 32)
        copies = copies_for(4.0 * n * k, HUGE if index % 8 == 6 and n * k > 1.2e6 else residence(index), n * k)
        if index % 3 == 2:
            yield Recipe("gemm", {"m": 1, "n": n, "k": k}, copies, focus="gemv")
        elif index % 9 == 1:
            m = draw.size(8, 2048, 16)
            yield Recipe("matmul", {"m": m, "n": 1, "k": k}, copies_for(4.0 * m * k, residence(index)), focus="gemv")
        else:
            yield Recipe("matmul", {"m": 1, "n": n, "k": k}, copies, focus="gemv")


def attentions(count: int, draw: Draw) -> Rows:
    """Fused attention."""
    for index in range(count):
        rows = 1 if index % 4 == 3 else draw.size(8, 320, 16)
        keys = draw.size(16, 512, 16) if rows == 1 else rows
        sizes = {"heads": draw.size(1, 16, 4), "size": draw.one_of((32, 64, 80)), "queries": rows, "keys": keys}
        yield Recipe("attention", sizes, (1, 6)[index % 2], "all", "attention")


def standard_attentions(count: int, draw: Draw) -> Rows:
    """Attention as ONNX defines it."""
    for index in range(count):
        rows, heads, size = draw.size(8, 384, 16), draw.size(1, 12, 4), draw.one_of((16, 32, 64))
        sizes = {"heads": heads, "size": size, "queries": rows, "opset": 23}
        yield Recipe("standard-attention", sizes, (1, 3)[index % 2], "all", "attention")


def recurrents(count: int, draw: Draw) -> Rows:
    """Recurrent layers."""
    for index in range(count):
        op, steps = ("LSTM", "GRU")[index % 3 == 2], draw.size(1, 64, 8)
        sizes = {"op": op, "steps": steps, "inputs": draw.size(16, 256, 16), "hidden": draw.size(16, 256, 16)}
        yield Recipe("recurrent", sizes, (1, 8)[index % 2], "all", "recurrent")
