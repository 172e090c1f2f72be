"""Operators of saved packages against ONNX Runtime's operators of the same meaning."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("coremltools")


from tests.lowering.coreml_programs import evaluate, mb, random

F = np.float32


def runtime(op: str, operands: list[np.ndarray | None], outputs: int = 1, opset: int = 22, **attributes: Any) -> list[np.ndarray]:
    """One ONNX operator's results; operands may be absent."""
    names = [f"i{n}" if v is not None else "" for n, v in enumerate(operands)]
    results = [f"o{n}" for n in range(outputs)]
    node = helper.make_node(op, names, results, **attributes)
    initializers = [numpy_helper.from_array(v, f"i{n}") for n, v in enumerate(operands) if v is not None]
    infos = [helper.make_tensor_value_info(r, TensorProto.UNDEFINED, None) for r in results]
    graph = helper.make_graph([node], "g", [], infos, initializers)
    for info in graph.output:
        info.ClearField("type")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    session: Any = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {})


def close(got: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, tolerance, tolerance)


@pytest.mark.parametrize(
    ("shape", "weight", "strides", "pad", "dilations", "groups"),
    [
        ((2, 4, 9), (6, 4, 3), [2], [1, 2], [1], 1),
        ((1, 4, 9, 8), (6, 4, 3, 2), [2, 1], [1, 2, 0, 1], [1, 2], 1),
        ((1, 4, 9, 8), (8, 2, 3, 3), [1, 1], [1, 1, 1, 1], [1, 1], 2),
        ((2, 4, 9, 8), (4, 1, 3, 3), [2, 2], [0, 1, 0, 1], [1, 1], 4),
        ((1, 4, 9, 8), (8, 1, 3, 3), [1, 1], [0, 0, 0, 0], [2, 1], 4),
        ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), [1, 2, 2], [1, 0, 0, 1, 1, 1], [1, 1, 1], 1),
    ],
)
def test_conv(tmp_path, shape, weight, strides, pad, dilations, groups):
    x, w, b = random(*shape), random(*weight, seed=1), random(weight[0], seed=2)
    parameters = {"strides": strides, "pad_type": "custom", "pad": pad, "dilations": dilations, "groups": groups}
    (got,) = evaluate(lambda x: mb.conv(x=x, weight=w, bias=b, **parameters), {"x": x}, tmp_path)
    (expected,) = runtime("Conv", [x, w, b], strides=strides, pads=pad[0::2] + pad[1::2], dilations=dilations, group=groups)
    close(got, expected)


@pytest.mark.parametrize(("pad_type", "auto_pad"), [("valid", "VALID"), ("same", "SAME_UPPER"), ("same_lower", "SAME_LOWER")])
def test_padding_types(tmp_path, pad_type, auto_pad):
    x, w = random(1, 3, 10, 7), random(5, 3, 4, 3, seed=1)
    kernel, strides = [4, 3], [3, 2]

    def build(x):
        pooling = {"x": x, "kernel_sizes": kernel, "strides": strides, "pad_type": pad_type}
        return [
            mb.conv(x=x, weight=w, strides=strides, pad_type=pad_type),
            mb.max_pool(**pooling),
            mb.avg_pool(**pooling),
            mb.avg_pool(**pooling, exclude_padding_from_average=True),
        ]

    conv, largest, mean, inner = evaluate(build, {"x": x}, tmp_path)
    shared = {"kernel_shape": kernel, "strides": strides, "auto_pad": auto_pad}
    close(conv, runtime("Conv", [x, w], **shared)[0])
    close(largest, runtime("MaxPool", [x], **shared)[0])
    close(inner, runtime("AveragePool", [x], **shared)[0])
    close(mean, runtime("AveragePool", [x], **shared, count_include_pad=1)[0])


@pytest.mark.parametrize("shape", [(1, 3, 11), (2, 3, 11, 10)])
def test_pooling_with_ceil_mode_and_pads(tmp_path, shape):
    x, rank = random(*shape), len(shape) - 2
    kernel, strides, pads = [3, 4][:rank], [2, 3][:rank], [1, 2][:rank]
    pooling = {"kernel_sizes": kernel, "strides": strides, "pad_type": "custom", "pad": [p for p in pads for _ in "be"], "ceil_mode": True}

    def build(x):
        return [
            mb.max_pool(x=x, **pooling),
            mb.avg_pool(x=x, **pooling),
            mb.avg_pool(x=x, **pooling, exclude_padding_from_average=True),
            mb.l2_pool(x=x, **pooling),
        ]

    largest, mean, inner, norm = evaluate(build, {"x": x}, tmp_path)
    shared = {"kernel_shape": kernel, "strides": strides, "pads": pads * 2, "ceil_mode": 1}
    close(largest, runtime("MaxPool", [x], **shared)[0])
    close(mean, runtime("AveragePool", [x], **shared, count_include_pad=1)[0])
    close(inner, runtime("AveragePool", [x], **shared)[0])
    close(norm, runtime("LpPool", [x], **shared, p=2)[0])


@pytest.mark.parametrize(
    ("shape", "weight", "strides", "pad", "dilations", "groups"),
    [
        ((2, 4, 7), (4, 3, 3), [2], [1, 0], [1], 1),
        ((1, 4, 5, 6), (4, 3, 3, 2), [2, 3], [1, 0, 0, 1], [1, 2], 1),
        ((1, 4, 5, 6), (4, 2, 3, 3), [1, 2], [0, 0, 1, 1], [1, 1], 2),
    ],
)
def test_conv_transpose(tmp_path, shape, weight, strides, pad, dilations, groups):
    x, w, b = random(*shape), random(*weight, seed=1), random(weight[1] * groups, seed=2)
    parameters = {"strides": strides, "dilations": dilations, "groups": groups}
    rank = len(strides)
    shared = {"strides": strides, "dilations": dilations, "group": groups}
    (expected,) = runtime("ConvTranspose", [x, w, b], pads=pad[0::2] + pad[1::2], **shared)
    extra = [s - 1 for s in strides]
    (larger,) = runtime("ConvTranspose", [x, w, b], pads=pad[0::2] + pad[1::2], output_padding=extra, **shared)

    def build(x):
        return [
            mb.conv_transpose(x=x, weight=w, bias=b, pad_type="custom", pad=pad, **parameters),
            mb.conv_transpose(x=x, weight=w, bias=b, pad_type="custom", pad=pad, output_shape=list(larger.shape), **parameters),
            mb.conv_transpose(x=x, weight=w, bias=b, pad_type="same", **parameters),
        ]

    got, filled, same = evaluate(build, {"x": x}, tmp_path)
    close(got, expected)
    close(filled, larger)
    sizes = [n * s for n, s in zip(shape[2:], strides, strict=True)]
    close(same, runtime("ConvTranspose", [x, w, b], auto_pad="SAME_UPPER", output_shape=sizes, **shared)[0])
    assert len(sizes) == rank


def test_normalisations(tmp_path):
    x = random(2, 4, 5, 6)
    gamma, beta, mean, variance = random(4, seed=1), random(4, seed=2), random(4, seed=3), random(4, seed=4, low=0.5)

    def build(x):
        return [
            mb.batch_norm(x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=F(1e-3)),
            mb.instance_norm(x=x, gamma=gamma, beta=beta, epsilon=F(1e-3)),
            mb.local_response_norm(x=x, size=3, alpha=F(0.1), beta=F(0.6), k=F(1.5)),
            mb.silu(x=x),
        ]

    batch, instance, local, silu = evaluate(build, {"x": x}, tmp_path)
    close(batch, runtime("BatchNormalization", [x, gamma, beta, mean, variance], epsilon=1e-3)[0])
    close(instance, runtime("InstanceNormalization", [x, gamma, beta], epsilon=1e-3)[0])
    close(local, runtime("LRN", [x], size=3, alpha=0.1, beta=0.6, bias=1.5)[0])
    close(silu, x * runtime("Sigmoid", [x])[0])


def _resized(x: np.ndarray, sizes: tuple[int, int], **attributes: Any) -> np.ndarray:
    return runtime("Resize", [x, None, None, np.array([*x.shape[:2], *sizes], np.int64)], **attributes)[0]


@pytest.mark.parametrize("sizes", [(10, 12), (5, 9), (3, 4), (1, 7)])
def test_bilinear_resizing(tmp_path, sizes):
    x, (height, width) = random(2, 3, 5, 6), sizes

    def build(x):
        def resized(mode: str) -> Any:
            return mb.resize_bilinear(x=x, target_size_height=height, target_size_width=width, sampling_mode=mode)

        whole = mb.resize(x=x, shape=[height, width], resized_dims=np.uint32(2), sampling_mode="UNALIGN_CORNERS")
        return [resized("DEFAULT"), resized("STRICT_ALIGN_CORNERS"), resized("UNALIGN_CORNERS"), whole]

    default, aligned, centred, whole = evaluate(build, {"x": x}, tmp_path)
    close(default, _resized(x, sizes, mode="linear", coordinate_transformation_mode="asymmetric"))
    close(aligned, _resized(x, sizes, mode="linear", coordinate_transformation_mode="align_corners"))
    close(centred, _resized(x, sizes, mode="linear", coordinate_transformation_mode="half_pixel"))
    close(whole, centred)


def test_upsampling_and_nearest_resizing(tmp_path):
    x = random(2, 3, 5, 6)

    def build(x):
        factors = {"x": x, "scale_factor_height": F(2), "scale_factor_width": F(1.5)}
        return [
            mb.upsample_bilinear(**factors, align_corners=True),
            mb.upsample_bilinear(**factors, align_corners=False),
            mb.upsample_bilinear(**factors, align_corners=False, half_pixel_centers=False),
            mb.upsample_nearest_neighbor(**factors),
            mb.resize_nearest_neighbor(x=x, target_size_height=7, target_size_width=4),
            mb.resize(x=x, shape=[0, 4], resized_dims=np.uint32(2), interpolation_mode="NEAREST_NEIGHBOR"),
        ]

    aligned, centred, default, nearest, middle, kept = evaluate(build, {"x": x}, tmp_path)
    close(aligned, _resized(x, (10, 9), mode="linear", coordinate_transformation_mode="align_corners"))
    close(centred, _resized(x, (10, 9), mode="linear", coordinate_transformation_mode="half_pixel"))
    close(default, _resized(x, (10, 9), mode="linear", coordinate_transformation_mode="asymmetric"))
    close(nearest, _resized(x, (10, 9), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"))
    half = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
    close(middle, _resized(x, (7, 4), **half))
    close(kept, _resized(x, (5, 4), **half))


@pytest.mark.parametrize(("padding", "mode"), [("constant", "zeros"), ("border", "border")])
@pytest.mark.parametrize("aligned", [True, False])
def test_resample(tmp_path, padding, mode, aligned):
    x, points = random(2, 3, 5, 6), random(2, 4, 7, 2, seed=1, low=-1.4, high=1.4)

    def build(x, points):
        shared = {
            "padding_mode": padding,
            "padding_value": F(0),
            "coordinates_mode": "normalized_minus_one_to_one",
            "align_corners": aligned,
        }
        return [mb.resample(x=x, coordinates=points, sampling_mode=m, **shared) for m in ("bilinear", "nearest")]

    bilinear, nearest = evaluate(build, {"x": x, "points": points}, tmp_path)
    shared = {"padding_mode": mode, "align_corners": int(aligned)}
    close(bilinear, runtime("GridSample", [x, points], mode="linear", **shared)[0])
    close(nearest, runtime("GridSample", [x, points], mode="nearest", **shared)[0])


@pytest.mark.parametrize(("padding", "aligned"), [("reflection", True), ("symmetric", False)])
def test_resample_with_reflections(tmp_path, padding, aligned):
    x, points = random(1, 2, 5, 6), random(1, 4, 7, 2, seed=1, low=-2.5, high=2.5)
    shared = {"padding_mode": padding, "padding_value": F(0), "coordinates_mode": "normalized_minus_one_to_one", "align_corners": aligned}
    inputs = {"x": x, "points": points}
    (got,) = evaluate(lambda x, points: mb.resample(x=x, coordinates=points, sampling_mode="bilinear", **shared), inputs, tmp_path)
    close(got, runtime("GridSample", [x, points], mode="linear", padding_mode="reflection", align_corners=int(aligned))[0])


def test_affine_samples_like_a_grid(tmp_path):
    x, theta = random(2, 3, 5, 6), random(2, 2, 3, seed=1, low=-1, high=1)
    grid = runtime("AffineGrid", [theta, np.array([2, 3, 4, 7], np.int64)], align_corners=1)[0]

    def build(x):
        parameters = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": F(0)}
        parameters |= {"coordinates_mode": "normalized_minus_one_to_one", "align_corners": True}
        return mb.affine(x=x, transform_matrix=theta.reshape(2, 6), output_height=4, output_width=7, **parameters)

    (got,) = evaluate(build, {"x": x}, tmp_path)
    close(got, runtime("GridSample", [x, grid.astype(F)], mode="linear", padding_mode="zeros", align_corners=1)[0], 1e-4)


def _ifoz(onnx_order: np.ndarray) -> np.ndarray:
    """Gates in the order input, output, forget, cell to input, forget, output, cell."""
    i, o, f, c = np.split(onnx_order, 4)
    return np.concatenate([i, f, o, c])


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm(tmp_path, direction):
    steps, batch, size, hidden = 5, 2, 3, 4
    count = 2 if direction == "bidirectional" else 1
    x = random(steps, batch, size)
    w, r = random(count, 4 * hidden, size, seed=1), random(count, 4 * hidden, hidden, seed=2)
    b, p = random(count, 8 * hidden, seed=3), random(count, 3 * hidden, seed=4)
    h, c = random(count, batch, hidden, seed=5), random(count, batch, hidden, seed=6)
    expected = runtime("LSTM", [x, w, r, b, None, h, c, p], 3, hidden_size=hidden, direction=direction)

    def gates(d: int, suffix: str) -> dict[str, np.ndarray]:
        i, o, f = np.split(p[d], 3)
        parts = {"weight_ih": _ifoz(w[d]), "weight_hh": _ifoz(r[d]), "peephole": np.concatenate([i, f, o])}
        parts["bias"] = _ifoz(b[d][: 4 * hidden] + b[d][4 * hidden :])
        return {name + suffix: value for name, value in parts.items()}

    weights = gates(0, "") | (gates(1, "_back") if count == 2 else {})
    start = {"initial_h": np.concatenate(list(h), -1), "initial_c": np.concatenate(list(c), -1)}
    states, last_h, last_c = evaluate(
        lambda x: list(mb.lstm(x=x, **start, **weights, direction=direction, output_sequence=True)), {"x": x}, tmp_path
    )
    sequence = np.moveaxis(expected[0], 1, 2).reshape(steps, batch, count * hidden)
    close(states, sequence[::-1] if direction == "reverse" else sequence)
    close(last_h, np.concatenate(list(expected[1]), -1))
    close(last_c, np.concatenate(list(expected[2]), -1))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_gru_and_rnn(tmp_path, direction):
    steps, batch, size, hidden = 5, 2, 3, 4
    x, h = random(steps, batch, size), random(1, batch, hidden, seed=5)
    w, r, b = random(1, 3 * hidden, size, seed=1), random(1, 3 * hidden, hidden, seed=2), random(1, 3 * hidden, seed=3)
    both = np.concatenate([b, np.zeros_like(b)], 1)
    shared = {"hidden_size": hidden, "direction": direction}
    gru = runtime("GRU", [x, w, r, both, None, h], 2, linear_before_reset=0, **shared)
    simple = w[:, :hidden], r[:, :hidden], b[:, :hidden]
    rnn = runtime("RNN", [x, simple[0], simple[1], np.concatenate([simple[2], 0 * simple[2]], 1), None, h], 2, **shared)

    def roz(zrh: np.ndarray) -> np.ndarray:
        z, reset, o = np.split(zrh[0], 3)
        return np.concatenate([reset, o, z])

    def build(x):
        common = {"x": x, "initial_h": h[0], "direction": direction, "output_sequence": True}
        first = mb.gru(**common, weight_ih=roz(w), weight_hh=roz(r), bias=roz(b))
        second = mb.rnn(**common, weight_ih=simple[0][0], weight_hh=simple[1][0], bias=simple[2][0])
        return [*first, *second]

    gru_states, gru_last, rnn_states, rnn_last = evaluate(build, {"x": x}, tmp_path)
    order = slice(None, None, -1 if direction == "reverse" else 1)
    close(gru_states[order], gru[0][:, 0])
    close(gru_last, gru[1][0])
    close(rnn_states[order], rnn[0][:, 0])
    close(rnn_last, rnn[1][0])


@pytest.mark.parametrize(("mode", "reduction"), [("update", "none"), ("add", "add"), ("mul", "mul"), ("max", "max"), ("min", "min")])
def test_scatters(tmp_path, mode, reduction):
    data, updates = random(4, 3, 5), random(4, 2, 5, seed=1)
    index = np.stack([np.random.default_rng(n).permutation(3)[:2] for n in range(20)]).reshape(4, 5, 2).swapaxes(1, 2)
    points = np.array([[3, 1], [0, 2]], np.int64)
    slices = random(2, 5, seed=2)

    def build(data, updates, slices):
        return [
            mb.scatter_along_axis(data=data, indices=index.astype(np.int32), updates=updates, axis=1, mode=mode),
            mb.scatter_nd(data=data, indices=points.astype(np.int32), updates=slices, mode=mode),
            mb.scatter(data=data, indices=np.array([2, 0], np.int32), updates=updates, axis=1, mode=mode),
        ]

    elements, positions, rows = evaluate(build, {"data": data, "updates": updates, "slices": slices}, tmp_path)
    close(elements, runtime("ScatterElements", [data, index.astype(np.int64), updates], axis=1, reduction=reduction)[0])
    close(positions, runtime("ScatterND", [data, points, slices], reduction=reduction)[0])
    whole = np.broadcast_to(np.array([2, 0]).reshape(1, 2, 1), updates.shape).astype(np.int64)
    close(rows, runtime("ScatterElements", [data, whole, updates], axis=1, reduction=reduction)[0])


def test_movements(tmp_path):
    x, i = random(2, 8, 4, 6), np.array([[2, 0], [1, 3]], np.int32)
    lengths = np.array([3, 1], np.int32)

    def build(x):
        return [
            mb.depth_to_space(x=x, block_size=2),
            mb.pixel_shuffle(x=x, upscale_factor=2),
            mb.space_to_depth(x=x, block_size=2),
            mb.gather_nd(x=x, indices=np.array([[0, 3], [1, 7]], np.int32)),
            mb.one_hot(indices=i, one_hot_vector_size=5, axis=1, on_value=F(3), off_value=F(-1)),
            mb.reverse_sequence(x=x, lengths=lengths, seq_axis=2, batch_axis=0),
            mb.pixel_unshuffle(x=mb.pixel_shuffle(x=x, upscale_factor=2), downscale_factor=np.uint32(2)),
            mb.batch_to_space(
                x=mb.space_to_batch(x=x, block_shape=[2, 3], paddings=[[1, 1], [0, 0]]), block_shape=[2, 3], crops=[[1, 1], [0, 0]]
            ),
            mb.cumsum(x=x, axis=1, exclusive=True, reverse=True),
            mb.sliding_windows(x=x, axis=-1, size=3, stride=2),
        ]

    got = evaluate(build, {"x": x}, tmp_path)
    close(got[0], runtime("DepthToSpace", [x], blocksize=2, mode="DCR")[0])
    close(got[1], runtime("DepthToSpace", [x], blocksize=2, mode="CRD")[0])
    close(got[2], runtime("SpaceToDepth", [x], blocksize=2)[0])
    close(got[3], runtime("GatherND", [x, np.array([[0, 3], [1, 7]], np.int64)])[0])
    close(got[4], runtime("OneHot", [i.astype(np.int64), np.array(5), np.array([-1, 3], F)], axis=1)[0])
    reversed_ = runtime("ReverseSequence", [x.transpose(2, 0, 1, 3).copy(), lengths.astype(np.int64)], time_axis=0, batch_axis=1)[0]
    close(got[5], reversed_.transpose(1, 2, 0, 3))
    close(got[6], x)
    close(got[7], x)
    close(got[8], runtime("CumSum", [x, np.array(1)], exclusive=1, reverse=1)[0])
    close(got[9], np.stack([x[..., 0:3], x[..., 2:5]], -2))


def test_crops_sample_like_roi_align(tmp_path):
    x = random(2, 3, 9, 10)
    boxes = np.array([[1, 2, 6, 7], [0.5, 1, 8, 3.5]], F)  # top, left, bottom, right

    def build(x):
        shared = {"x": x, "boxes": boxes, "box_indices": np.array([1, 0], np.int32), "target_height": 4, "target_width": 3}
        return mb.crop_resize(**shared, sampling_mode="OFFSET_CORNERS", spatial_scale=F(0.5))

    (got,) = evaluate(build, {"x": x}, tmp_path)
    rois, owners = boxes[:, [1, 0, 3, 2]], np.array([1, 0], np.int64)
    attributes = {"output_height": 4, "output_width": 3, "sampling_ratio": 1, "spatial_scale": 0.5}
    close(got, runtime("RoiAlign", [x, rois, owners], coordinate_transformation_mode="output_half_pixel", opset=16, **attributes)[0])


def test_non_maximum_suppression(tmp_path):
    rng = np.random.default_rng(0)
    boxes = np.concatenate([rng.uniform(0, 50, (1, 30, 2)), rng.uniform(5, 20, (1, 30, 2))], -1).astype(F)
    scores = rng.permutation(30).astype(F).reshape(1, 30, 1)
    rows = {"iou_threshold": F(0.3), "score_threshold": F(5.5), "max_boxes": 25}
    coordinates, values, index, count = evaluate(
        lambda boxes, scores: list(mb.non_maximum_suppression(boxes=boxes, scores=scores, **rows)),
        {"boxes": boxes, "scores": scores},
        tmp_path,
        opset=15,
    )
    limits = [np.array([25], np.int64), np.array([0.3], F), np.array([5.5], F)]
    chosen = runtime("NonMaxSuppression", [boxes, scores.swapaxes(1, 2).copy(), *limits], center_point_box=1)[0][:, 2]
    assert 0 < len(chosen) < 25
    assert count.tolist() == [len(chosen)]
    np.testing.assert_array_equal(index[0], [*chosen, *[-1] * (25 - len(chosen))])
    np.testing.assert_array_equal(coordinates[0, : len(chosen)], boxes[0, chosen])
    np.testing.assert_array_equal(values[0, : len(chosen)], scores[0, chosen])
    assert not coordinates[0, len(chosen) :].any()
