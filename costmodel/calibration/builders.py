"""Builders of floating-point operators: one function per form, registered by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .recipe import Sketch, builder

Sizes = Mapping[str, Any]
UNARY = ("Relu", "Sigmoid", "Tanh", "Erf", "Exp", "Sqrt", "Neg", "Abs", "HardSwish", "Gelu", "LeakyRelu", "Softplus", "HardSigmoid", "Elu",
         "Cos", "Sin", "Log", "Reciprocal", "Clip", "Not", "Floor", "Mish")  # fmt: skip


@builder("run")
def _run(sketch: Sketch, sizes: Sizes) -> None:
    """Tiny nodes on tiny tensors: overheads of a run and of a node."""
    value = sketch.feed((1, 8))
    for index in range(sizes["nodes"]):
        value = sketch.add("Relu" if index % 2 else "Sigmoid", [value])
    sketch.result(value)


@builder("cold")
def _cold(sketch: Sketch, sizes: Sizes) -> None:
    """Tiny nodes between large ones that push everything out of the caches."""
    small, large = sketch.feed((1, 8)), sketch.feed((sizes["m"], sizes["k"]))
    for _ in range(sizes["groups"]):
        wide = sketch.add("MatMul", [large, sketch.weight((sizes["k"], sizes["k"]))])
        for index in range(sizes["nodes"]):
            small = sketch.add(("Relu", "Sigmoid", "Neg", "Tanh")[index % 4], [small])
        large = wide
    sketch.result(small)
    sketch.result(large)


@builder("view")
def _view(sketch: Sketch, sizes: Sizes) -> None:
    value = sketch.feed((sizes["n"], 8))
    for index in range(sizes["nodes"]):
        shape = [8, -1] if index % 2 == 0 else [-1, 8]
        value = sketch.add("Sigmoid", [sketch.add("Reshape", [value, sketch.weight((2,), np.int64, shape)])])
    sketch.result(value)


@builder("shape")
def _shape(sketch: Sketch, sizes: Sizes) -> None:
    """Arithmetic on shapes, which only dynamic models carry out."""
    data = sketch.feed((4, 8), symbolic=True)
    one, two = (sketch.weight((1,), np.int64, [v]) for v in (1, 2))
    zero = sketch.weight((1,), np.int64, [0])
    for index in range(sizes["nodes"]):
        shape = sketch.add("Shape", [data])
        first, second = (sketch.add("Gather", [shape, which], axis=0) for which in (zero, one))
        operators = ("Mul", "Div") if index % 2 == 0 else ("Div", "Mul")
        sizes_ = [sketch.add(op, [size, two]) for op, size in zip(operators, (first, second), strict=True)]
        data = sketch.add("Sigmoid", [sketch.add("Reshape", [data, sketch.add("Concat", sizes_, axis=0)])])
    sketch.result(data)


@builder("matmul")
def _matmul(sketch: Sketch, sizes: Sizes) -> None:
    """A product with a constant, or of two activations; with a bias when asked."""
    batch = tuple(sizes.get("batch", ()))
    left = sketch.feed((*batch, sizes["m"], sizes["k"]))
    if sizes.get("free"):
        right = sketch.feed((*batch, sizes["k"], sizes["n"]))
    else:
        right = sketch.weight((sizes["k"], sizes["n"]))
    value = sketch.add("MatMul", [left, right])
    if sizes.get("bias"):
        value = sketch.add("Add", [value, sketch.weight((sizes["n"],))])
    sketch.result(value)


@builder("gemm")
def _gemm(sketch: Sketch, sizes: Sizes) -> None:
    left = sketch.feed((sizes["m"], sizes["k"]))
    right = sketch.weight((sizes["n"], sizes["k"]))
    sketch.result(sketch.add("Gemm", [left, right, sketch.weight((sizes["n"],))], transB=1))


@builder("conv")
def _conv(sketch: Sketch, sizes: Sizes) -> None:
    """A convolution on a rectangle (or, with ``length``, a line, ``upright`` as a column); an activation that the runtime may fuse."""
    k, inputs, outputs, groups = sizes["k"], sizes["c"], sizes["f"], sizes.get("groups", 1)
    spatial, taps = (sizes.get("size", 0), sizes.get("width", sizes.get("size", 0))), (k, k)
    if "length" in sizes:
        spatial, taps = ((sizes["length"], 1), (k, 1)) if sizes.get("upright") else ((sizes["length"],), (k,))
    data = sketch.feed((sizes.get("batch", 1), inputs, *spatial))
    weights = [sketch.weight((outputs, inputs // groups, *taps)), sketch.weight((outputs,))]
    step = [sizes.get("stride", 1)] * len(spatial)
    pads = [0 if sizes.get("open") else tap // 2 for tap in taps] * 2
    value = sketch.add("Conv", [data, *weights], group=groups, strides=step, pads=pads, kernel_shape=list(taps))
    if sizes.get("activation"):
        value = sketch.add(sizes["activation"], [value])
    sketch.result(value)


@builder("blocks")
def _blocks(sketch: Sketch, sizes: Sizes) -> None:
    """Convolutions in a row, as layouts that runtimes choose need several in order to pay; the last ones add a residual."""
    channels, size, k = sizes["c"], sizes["size"], sizes["k"]
    groups = channels if sizes.get("depthwise") else 1
    value = sketch.feed((1, channels, size, size))
    before = value
    for _ in range(sizes.get("repeat", 3)):
        before = value
        weights = [sketch.weight((channels, channels // groups, k, k)), sketch.weight((channels,))]
        value = sketch.add("Conv", [value, *weights], group=groups, pads=[k // 2] * 4, kernel_shape=[k, k])
        if sizes.get("activation"):
            value = sketch.add(sizes["activation"], [value])
        if sizes.get("residual"):
            value = sketch.add("Add", [value, before])
    if sizes.get("pool"):
        windows: dict[str, Any] = {} if "Global" in sizes["pool"] else {"kernel_shape": [3, 3], "strides": [2, 2]}
        value = sketch.add(sizes["pool"], [value], **windows)
    sketch.result(value)


@builder("chain")
def _chain(sketch: Sketch, sizes: Sizes) -> None:
    """Few or many convolutions in a row: what changes of layout cost at both ends shows by comparison."""
    value, inputs, k = sketch.feed((sizes.get("batch", 1), sizes["c"], sizes["size"], sizes["size"])), sizes["c"], sizes["k"]
    for _ in range(sizes["repeat"]):
        weights = [sketch.weight((sizes["f"], inputs, k, k)), sketch.weight((sizes["f"],))]
        value, inputs = sketch.add("Conv", [value, *weights], pads=[k // 2] * 4, kernel_shape=[k, k]), sizes["f"]
    sketch.result(value)


@builder("normalized-chain")
def _normalized_chain(sketch: Sketch, sizes: Sizes) -> None:
    """Normalisation and activation before every convolution, results collected by concatenation."""
    value, channels = sketch.feed((1, sizes["c"], sizes["size"], sizes["size"])), sizes["c"]
    for _ in range(sizes["repeat"]):
        positive = np.full((channels,), 0.5, np.float32)
        vectors = [sketch.weight((channels,)), sketch.weight((channels,)), sketch.weight((channels,))]
        normal = sketch.add("BatchNormalization", [value, *vectors, sketch.weight((channels,), np.float32, positive)])
        active = sketch.add(sizes.get("activation", "Relu"), [normal])
        made = sketch.add("Conv", [active, sketch.weight((sizes["f"], channels, 1, 1))], kernel_shape=[1, 1])
        if sizes.get("joined", True):
            value, channels = sketch.add("Concat", [value, made], axis=1), channels + sizes["f"]
        else:
            value, channels = made, sizes["f"]
    sketch.result(value)


@builder("shuffle")
def _shuffle(sketch: Sketch, sizes: Sizes) -> None:
    """Channels that are shuffled between convolutions of groups."""
    groups, channels, size = sizes["groups"], sizes["groups"] * sizes["c"], sizes["size"]
    value = sketch.feed((1, channels, size, size))
    for _ in range(sizes.get("repeat", 2)):
        value = sketch.add("Conv", [value, sketch.weight((channels, sizes["c"], 1, 1))], group=groups, kernel_shape=[1, 1])
        value = sketch.add("Reshape", [value, sketch.weight((5,), np.int64, [1, groups, sizes["c"], size, size])])
        value = sketch.add("Transpose", [value], perm=[0, 2, 1, 3, 4])
        value = sketch.add("Reshape", [value, sketch.weight((4,), np.int64, [1, channels, size, size])])
    sketch.result(value)


@builder("deconv")
def _deconv(sketch: Sketch, sizes: Sizes) -> None:
    data = sketch.feed((1, sizes["c"], sizes["size"], sizes["size"]))
    k = sizes["k"]
    weights = [sketch.weight((sizes["c"], sizes["f"], k, k)), sketch.weight((sizes["f"],))]
    sketch.result(sketch.add("ConvTranspose", [data, *weights], strides=[2, 2], kernel_shape=[k, k]))


@builder("attention")
def _attention(sketch: Sketch, sizes: Sizes) -> None:
    width = sizes["heads"] * sizes["size"]
    query = sketch.feed((sizes.get("batch", 1), sizes["queries"], width))
    keys, values = (sketch.feed((sizes.get("batch", 1), sizes["keys"], width)) for _ in range(2))
    sketch.result(sketch.add("MultiHeadAttention", [query, keys, values], "com.microsoft", num_heads=sizes["heads"]))


@builder("standard-attention")
def _standard_attention(sketch: Sketch, sizes: Sizes) -> None:
    """ONNX's own operator, of opset 23."""
    shape = (1, sizes["heads"], sizes["queries"], sizes["size"])
    sketch.result(sketch.add("Attention", [sketch.feed(shape) for _ in range(3)]))


@builder("normalize")
def _normalize(sketch: Sketch, sizes: Sizes) -> None:
    rows, columns, op = sizes["rows"], sizes["columns"], sizes["op"]
    if op == "LayerNormalization":
        data = sketch.feed((rows, columns))
        sketch.result(sketch.add(op, [data, sketch.weight((columns,)), sketch.weight((columns,))], axis=-1))
    elif op == "SimplifiedLayerNormalization":
        data = sketch.feed((rows, columns))
        sketch.result(sketch.add(op, [data, sketch.weight((columns,))], axis=-1))
    elif op in ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"):
        operands = [sketch.feed((1, rows, columns)), sketch.feed((1, rows, columns)), sketch.weight((columns,))]
        operands += [sketch.weight((columns,))] if op == "SkipLayerNormalization" else []
        sketch.result(sketch.add(op, operands, "com.microsoft"))
    elif op == "BatchNormalization":
        data = sketch.feed((1, rows, columns // 16, 16))
        scales = [sketch.weight((rows,)) for _ in range(3)]
        sketch.result(sketch.add(op, [data, *scales, sketch.weight((rows,), values=np.ones(rows))]))
    else:
        data = sketch.feed((1, rows, columns))
        sketch.result(sketch.add(op, [data, sketch.weight((rows,)), sketch.weight((rows,))]))


@builder("softmax")
def _softmax(sketch: Sketch, sizes: Sizes) -> None:
    axis = sizes.get("axis", -1)
    shape = (sizes["rows"], sizes["columns"]) if axis == -1 else (1, sizes["columns"], sizes["rows"])
    sketch.result(sketch.add("Softmax", [sketch.feed(shape)], axis=axis))


@builder("unary")
def _unary(sketch: Sketch, sizes: Sizes) -> None:
    op, total = sizes["op"], sizes["elements"]
    if op == "Clip":
        limits = [sketch.weight((), values=np.float32(0)), sketch.weight((), values=np.float32(6))]
        sketch.result(sketch.add(op, [sketch.feed((1, total)), *limits]))
    elif op == "Not":
        sketch.result(sketch.add(op, [sketch.feed((1, total), np.bool_)]), np.bool_)
    elif op in ("Sqrt", "Log"):
        data = sketch.feed((1, total), values=np.abs(sketch.numbers((1, total))) + 0.1)
        sketch.result(sketch.add(op, [data]))
    elif op in ("FastGelu", "Gelu"):
        sketch.result(sketch.add(op, [sketch.feed((1, total))], "com.microsoft"))
    elif op in ("QuickGelu", "Silu"):
        sketch.result(sketch.add("QuickGelu", [sketch.feed((1, total))], "com.microsoft", alpha=1.702 if op == "QuickGelu" else 1.0))
    elif op.startswith("Pow"):
        sketch.result(sketch.add("Pow", [sketch.feed((1, total)), sketch.weight((), values=np.float32(op[3:]))]))
    else:
        sketch.result(sketch.add(op, [sketch.feed((1, total))]))


@builder("cast")
def _cast(sketch: Sketch, sizes: Sizes) -> None:
    source, target = np.dtype(sizes["source"]), np.dtype(sizes["target"])
    from onnx import helper

    data = sketch.feed((1, sizes["elements"]), source)
    sketch.result(sketch.add("Cast", [data], to=helper.np_dtype_to_tensor_dtype(target)), target)


@builder("binary")
def _binary(sketch: Sketch, sizes: Sizes) -> None:
    """Two operands of the same shape, or one that is broadcast (``channel``, ``row`` or ``scalar``), or both (``outer``)."""
    rows, columns, form = sizes["rows"], sizes["columns"], sizes.get("form", "same")
    dtype = np.dtype(sizes.get("dtype", "float32"))
    left = sketch.feed((1, rows, 1 if form == "outer" else columns), dtype)
    shape = {"same": (1, rows, columns), "channel": (1, rows, 1), "row": (columns,), "scalar": (), "outer": (columns,)}[form]
    constant = form in ("row", "scalar", "outer") or bool(sizes.get("constant"))
    right = sketch.weight(shape, dtype, np.abs(sketch.numbers(shape)) * 3 + 1) if constant else sketch.feed(shape, dtype)
    logical = sizes["op"] in ("Equal", "Greater", "Less", "And")
    sketch.result(sketch.add(sizes["op"], [left, right]), np.bool_ if logical else dtype)


@builder("bias")
def _bias(sketch: Sketch, sizes: Sizes) -> None:
    """A bias and a function, which runtimes fuse."""
    biased = sketch.add("Add", [sketch.feed((1, sizes["rows"], sizes["columns"])), sketch.weight((sizes["columns"],))])
    sketch.result(sketch.add("Gelu", [biased], "com.microsoft"))


@builder("where")
def _where(sketch: Sketch, sizes: Sizes) -> None:
    """A choice that changes after runs of elements, as masks do: a random one would measure branch prediction."""
    shape = (1, sizes["elements"])
    condition = sketch.feed(shape, np.bool_, (np.arange(sizes["elements"]) // sizes["run"] % 2 == 0).reshape(shape))
    sketch.result(sketch.add("Where", [condition, sketch.feed(shape), sketch.weight((), values=np.float32(-1))]))


@builder("transpose")
def _transpose(sketch: Sketch, sizes: Sizes) -> None:
    dtype = np.dtype(sizes.get("dtype", "float32"))
    sketch.result(sketch.add("Transpose", [sketch.feed(tuple(sizes["shape"]), dtype)], perm=list(sizes["perm"])), dtype)


@builder("concat")
def _concat(sketch: Sketch, sizes: Sizes) -> None:
    shape = (1, sizes["rows"], sizes["columns"])
    sketch.result(sketch.add("Concat", [sketch.feed(shape) for _ in range(sizes.get("parts", 2))], axis=sizes["axis"]))


@builder("split")
def _split(sketch: Sketch, sizes: Sizes) -> None:
    parts = sizes.get("parts", 2)
    data = sketch.feed((1, sizes["rows"], sizes["columns"]))
    first = sketch.add("Split", [data], outputs=parts, axis=sizes["axis"], num_outputs=parts)
    for name in (first, *(f"{first}_{i}" for i in range(1, parts))):
        sketch.result(name)


@builder("slice")
def _slice(sketch: Sketch, sizes: Sizes) -> None:
    data = sketch.feed((1, sizes["rows"], sizes["columns"]))
    axis, step = sizes["axis"], sizes.get("step", 1)
    end = (sizes["rows"], sizes["columns"])[axis - 1] // (1 if step > 1 else 2)
    operands = [sketch.weight((1,), np.int64, [v]) for v in (0, end, axis, step)]
    sketch.result(sketch.add("Slice", [data, *operands]))


@builder("gather")
def _gather(sketch: Sketch, sizes: Sizes) -> None:
    table = sketch.weight((sizes["entries"], sizes["columns"]))
    indices = sketch.random.integers(0, sizes["entries"], sizes["rows"])
    sketch.result(sketch.add("Gather", [table, sketch.feed((sizes["rows"],), np.int64, indices)], axis=0))


@builder("expand")
def _expand(sketch: Sketch, sizes: Sizes) -> None:
    data = sketch.feed((sizes["rows"], 1, sizes["columns"]))
    shape = sketch.weight((3,), np.int64, [sizes["rows"], sizes["times"], sizes["columns"]])
    sketch.result(sketch.add("Expand", [data, shape]))


@builder("pad")
def _pad(sketch: Sketch, sizes: Sizes) -> None:
    data = sketch.feed((1, sizes["c"], sizes["size"], sizes["size"]))
    sketch.result(sketch.add("Pad", [data, sketch.weight((8,), np.int64, [0, 0, 1, 1, 0, 0, 1, 1])]))


@builder("resize")
def _resize(sketch: Sketch, sizes: Sizes) -> None:
    data = sketch.feed((1, sizes["c"], sizes["size"], sizes["size"]))
    scales = sketch.weight((4,), np.float32, [1, 1, 2, 2])
    chosen = {"nearest": {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, "linear": {}}[sizes["mode"]]
    sketch.result(sketch.add("Resize", [data, "", scales], mode=sizes["mode"], **chosen))


@builder("rearrange")
def _rearrange(sketch: Sketch, sizes: Sizes) -> None:
    data = sketch.feed((1, sizes["c"], sizes["size"], sizes["size"]))
    sketch.result(sketch.add(sizes["op"], [data], blocksize=2))


@builder("reduce")
def _reduce(sketch: Sketch, sizes: Sizes) -> None:
    """Over the last axis, the leading one, or with a ``batch`` one between."""
    shape = (sizes.get("batch", 1), sizes["rows"], sizes["columns"])
    axis = 2 if sizes.get("last", True) else 1
    sketch.result(sketch.add(sizes["op"], [sketch.feed(shape), sketch.weight((1,), np.int64, [axis])], keepdims=1))


@builder("argmax")
def _argmax(sketch: Sketch, sizes: Sizes) -> None:
    sketch.result(sketch.add("ArgMax", [sketch.feed((sizes["rows"], sizes["columns"]))], axis=-1, keepdims=0), np.int64)


@builder("pool")
def _pool(sketch: Sketch, sizes: Sizes) -> None:
    data = sketch.feed((1, sizes["c"], sizes["size"], sizes["size"]))
    k = sizes.get("k", 0)
    windows: dict[str, Any] = {"kernel_shape": [k, k], "strides": [sizes.get("stride", 2)] * 2, "pads": [k // 2] * 4} if k else {}
    sketch.result(sketch.add(sizes["op"], [data], **windows))


@builder("pools")
def _pools(sketch: Sketch, sizes: Sizes) -> None:
    """Pooling in a row behind a convolution, so that it runs in the layout of convolutions."""
    channels, size, k = sizes["c"], sizes["size"], sizes["k"]
    data = sketch.feed((1, channels, size, size))
    value = sketch.add("Conv", [data, sketch.weight((16, channels, 1, 1))], kernel_shape=[1, 1])
    value = sketch.add("Conv", [value, sketch.weight((channels, 16, 1, 1))], kernel_shape=[1, 1])
    for _ in range(sizes.get("repeat", 4)):
        value = sketch.add(sizes["op"], [value], kernel_shape=[k, k], strides=[1, 1], pads=[k // 2, k // 2, (k - 1) // 2, (k - 1) // 2])
    if sizes.get("stride", 1) > 1:
        value = sketch.add(sizes["op"], [value], kernel_shape=[k, k], strides=[2, 2])
    sketch.result(value)


@builder("lrn")
def _lrn(sketch: Sketch, sizes: Sizes) -> None:
    sketch.result(sketch.add("LRN", [sketch.feed((1, sizes["c"], sizes["size"], sizes["size"]))], size=5))


@builder("recurrent")
def _recurrent(sketch: Sketch, sizes: Sizes) -> None:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[sizes["op"]]
    hidden, inputs = sizes["hidden"], sizes["inputs"]
    data = sketch.feed((sizes["steps"], sizes.get("batch", 1), inputs))
    weights = [sketch.weight((1, gates * hidden, inputs)), sketch.weight((1, gates * hidden, hidden))]
    sketch.result(sketch.add(sizes["op"], [data, *weights], hidden_size=hidden))
