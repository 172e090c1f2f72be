"""Roles, roll-ups, fusion and the phases of generation: sums agree, fused kernels are divided, closed forms hold."""

import math

import numpy as np
import pytest

from edgec.costmodel.analysis.fusion_report import explain_fusion, spilled_bytes
from edgec.costmodel.analysis.layouts import layout_locality
from edgec.costmodel.analysis.llm import LlmConfig, config_of, decoder_graph, read_config
from edgec.costmodel.analysis.phases import decode_crossover, generation_phases, phase_intensity, phase_symbols
from edgec.costmodel.analysis.roles import find_roles
from edgec.costmodel.analysis.rollup import layer_rollup, node_shares, scope_of, scope_rollup, typical_shares
from edgec.costmodel.predict import Predictor, predict
from edgec.costmodel.schedule import label
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Value
from edgec.ir.types import TensorType
from edgec.passes.context import Context
from edgec.passes.regions import GroupRegions
from tests.costmodel.samples import B, S, encoder, engine, op, quantity, single, target, weight

SMALL = LlmConfig(layers=2, hidden=64, heads=4, kv_heads=2, intermediate=160, vocabulary=500)


def spelled_encoder(width: int = 32, heads: int = 4) -> Graph:
    """A layer of a transformer with its attention spelled out in products and a softmax, and biases."""
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (B, S, width)))

    def linear(value: Value, outputs: int, name: str) -> Value:
        shape = value.shape or ()
        node = graph.insert(op("MatMul"), [value, weight(shape[-1], outputs)], name=name)
        return graph.add(op("Add"), node.output, weight(outputs))

    def split(value: Value, name: str) -> Value:
        from edgec.ir.graph import int64s

        shaped = graph.add(op("Reshape"), value, int64s([0, 0, heads, width // heads]))
        return graph.insert(op("Transpose", perm=(0, 2, 1, 3)), [shaped], name=name).output

    from edgec.ir.graph import int64s

    normed = graph.add(op("LayerNormalization"), x, weight(width), weight(width))
    q, k, v = (split(linear(normed, width, n), n + ".split") for n in "qkv")
    keys = graph.add(op("Transpose", perm=(0, 1, 3, 2)), k)
    scores = graph.insert(op("MatMul"), [q, keys], name="scores").output
    scores = graph.insert(op("Mul"), [scores, weight(1)], name="scale").output
    probabilities = graph.insert(op("Softmax"), [scores], name="softmax").output
    mixed = graph.insert(op("MatMul"), [probabilities, v], name="mix").output
    joined = graph.add(op("Reshape"), graph.add(op("Transpose", perm=(0, 2, 1, 3)), mixed), int64s([0, 0, width]))
    y = graph.insert(op("Add"), [x, linear(joined, width, "out")], name="residual1").output
    inner = graph.insert(
        op("Relu"), [linear(graph.add(op("LayerNormalization"), y, weight(width), weight(width)), 4 * width, "up")], name="act"
    )
    y = graph.insert(op("Add"), [y, linear(inner.output, width, "down")], name="residual2").output
    graph.set_outputs([linear(y, 10, "head")], ["y"])
    return graph


def test_roles_follow_from_structure_alone() -> None:
    roles = find_roles(spelled_encoder())
    names = {name: role.name for name, role in roles.items()}
    assert [names[n] for n in ("q", "k", "v", "q.split")] == ["qkv"] * 4
    assert [names[n] for n in ("scores", "scale", "softmax", "mix", "out")] == ["qk", "softmax", "softmax", "av", "out"]
    assert [names[n] for n in ("up", "act", "down", "head")] == ["ffn", "ffn", "ffn", "head"]
    assert names["residual1"] == names["residual2"] == "residual"
    assert roles["q"].layer == "0" and roles["down"].layer == "0" and roles["head"].layer == "after"
    assert {role.group for role in roles.values()} == {"attn", "ffn", "norm", "residual", "head"}


def test_rollups_add_up_to_the_nodes() -> None:
    graph = encoder(3)
    prediction = predict(graph, target(), {"batch": 2, "seq": 64})
    shares = node_shares(prediction, graph)
    found = layer_rollup(prediction, shares)
    total = sum(n.seconds[1] for n in prediction.nodes)
    assert sum(found["groups"].values()) == pytest.approx(total, rel=1e-12)
    assert sum(sum(parts.values()) for parts in found["layers"].values()) == pytest.approx(total, rel=1e-12)
    assert set(found["groups"]) == {"attn", "ffn", "norm", "residual"}
    assert set(found["layers"]) == {"0", "1", "2"}
    first, second = found["layers"]["0"], found["layers"]["1"]
    assert first["attn"] == pytest.approx(second["attn"], rel=1e-6) and first["ffn"] == pytest.approx(second["ffn"], rel=1e-6)


def test_fused_attention_is_divided_by_operations_and_flagged() -> None:
    graph = encoder()
    prediction = predict(graph, target(), {"batch": 1, "seq": 64})
    found = layer_rollup(prediction, node_shares(prediction, graph))
    core = next(n for n in prediction.nodes if n.kernel == "attention")
    assert found["split"] == [core.name]
    parts = found["attention"]
    assert parts["qk"] == parts["av"] == pytest.approx(core.seconds[1] * core.macs / core.flops)  # half of the products each
    assert parts["qk"] + parts["av"] + parts["softmax"] == pytest.approx(core.seconds[1])
    assert parts["qkv"] == pytest.approx(3 * parts["out"], rel=1e-6)


def test_spelled_and_grouped_attention_have_the_same_parts() -> None:
    graph = spelled_encoder()
    plain = predict(graph, target(), {"batch": 1, "seq": 64})
    before = layer_rollup(plain, node_shares(plain, graph))
    grouped = spelled_encoder()
    GroupRegions().run(grouped, Context())
    fused = predict(grouped, target(), {"batch": 1, "seq": 64})
    after = layer_rollup(fused, node_shares(fused, graph))
    assert not before["split"] and set(after["groups"]) <= set(before["groups"])
    assert sum(after["groups"].values()) == pytest.approx(sum(n.seconds[1] for n in fused.nodes))
    assert after["groups"]["attn"] < before["groups"]["attn"]  # biases have joined their products


@pytest.mark.parametrize("length, width", [(128, 96), (768, 96), (576, 96)])
def test_the_share_of_attention_is_n_over_6d_plus_n(length: int, width: int) -> None:
    graph = encoder(2, width=width)
    prediction = predict(graph, target(), {"batch": 1, "seq": length})
    found = typical_shares(prediction, node_shares(prediction, graph))
    assert found["macs"]["attention products"] == pytest.approx(length / (6 * width + length), rel=1e-9)
    assert sum(found["macs"].values()) == pytest.approx(1) and sum(found["seconds"].values()) == pytest.approx(1)


def test_scopes_are_a_tree_that_adds_up() -> None:
    graph = decoder_graph(SMALL)
    prediction = predict(graph, target(), {"batch": 1, "sequence": 1, "past": 8})
    tree = scope_rollup(prediction)
    assert tree["seconds"] == pytest.approx(sum(n.seconds[1] for n in prediction.nodes))

    def check(place: dict) -> None:
        if place["children"]:
            assert place["seconds"] == pytest.approx(sum(child["seconds"] for child in place["children"]))
        for child in place["children"]:
            check(child)

    check(tree)
    assert [c["name"] for c in tree["children"]][:3] == ["Gather_0", "layers.0", "layers.1"]
    given = scope_rollup(prediction, {n.name: ("all",) for n in prediction.nodes})
    assert scope_of("/a/b/MatMul") == ("a", "b") and given["seconds"] == tree["seconds"]


# -- fusion ------------------------------------------------------------------------------------------------------------
def chain(length: int = 4, size: int = 1 << 20) -> Graph:
    graph = Graph()
    value = graph.add_input("x", TensorType(DType.FLOAT, (size,)))
    for _ in range(length):
        value = graph.add(op("Relu"), value)
    graph.set_outputs([value], ["y"])
    return graph


def test_a_chain_has_intensity_n_over_eight_and_stays_bound_by_memory() -> None:
    plain, grouped = chain(), chain()
    GroupRegions().run(grouped, Context())
    device = target(engine(dispatch_s=quantity(1e-6, "s")))
    predictor = Predictor(grouped, device)
    found = explain_fusion(predict(plain, device), predictor.predict(), grouped, predictor.roofs)
    assert len(found) == 1
    case = found[0]
    assert case.intensities == (0.125,) * 4 and case.intensity_before == 0.125 and case.intensity_after == 0.5
    moved = 8 * (1 << 20) / 25.6e9
    assert case.roofline_before == pytest.approx(4 * (moved + 1e-6)) and case.roofline_after == pytest.approx(moved + 1e-6)
    assert case.seconds_before == pytest.approx(4 * (moved + 1e-6)) and case.gain == pytest.approx(3 * (moved + 1e-6))
    assert case.verdict == "fuse" and case.bound_after == "DRAM" and "AI 0.125 -> 0.5" in case.evidence


def test_weights_count_before_and_after() -> None:
    def graph() -> Graph:
        made = Graph()
        x = made.add_input("x", TensorType(DType.FLOAT, (4, 256)))
        made.set_outputs([made.add(op("Relu"), made.add(op("Add"), made.add(op("MatMul"), x, weight(256, 256)), weight(256)))], ["y"])
        return made

    plain, grouped = graph(), graph()
    GroupRegions().run(grouped, Context())
    predictor = Predictor(grouped, target())
    case = explain_fusion(predict(plain, target()), predictor.predict(), grouped, predictor.roofs)[0]
    assert case.weight_bytes == 4 * (256 * 256 + 256)
    assert case.bytes_after == case.weight_bytes + 2 * 4 * 4 * 256
    assert case.bytes_before == case.bytes_after + 4 * 4 * 4 * 256  # two intermediates, written and read
    assert case.flops == pytest.approx(2 * 4 * 256 * 256 + 2 * 4 * 256)


def test_many_live_intermediates_spill() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (64,)))
    values = [graph.add(op("Sin"), graph.add(op("Mul"), x, weight(64))) for _ in range(20)]
    total = values[0]
    for value in values[1:]:
        total = graph.add(op("Add"), total, value)
    graph.set_outputs([total], ["y"])
    GroupRegions(max_nodes=100).run(graph, Context())
    region = next(n for n in graph if n.op.op_name == "Region")
    assert spilled_bytes(region, {}) > 0
    short = chain(3, 64)
    GroupRegions().run(short, Context())
    assert spilled_bytes(next(iter(short)), {}) == 0


def test_locality_of_layouts() -> None:
    graph = single("Conv", (1, 64, 14, 14), (64, 64, 1, 1), constants=(1,))
    found = layout_locality(graph, predict(graph, target()))
    by_layout = {entry["layout"]: entry for entry in found}
    assert by_layout["NCHW"]["contiguity"] == 0 and by_layout["NHWC"]["contiguity"] == 1
    assert by_layout["NCHW"]["line_use"] == pytest.approx(1 / 16) and by_layout["NHWC"]["line_use"] == 1
    product = single("MatMul", (8, 256), (256, 256), constants=(1,))
    layouts = {entry["layout"]: entry["line_use"] for entry in layout_locality(product, predict(product, target()))}
    assert layouts == {"k x n": 1 / 16, "n x k": 1.0}


# -- language models ---------------------------------------------------------------------------------------------------
def decoder() -> tuple[Predictor, object]:
    graph = decoder_graph(SMALL)
    return Predictor(graph, target(engine(dispatch_s=quantity(1e-6, "s")))), phase_symbols(graph)


def test_the_decoder_has_the_parameters_of_its_description() -> None:
    graph = decoder_graph(SMALL)
    held = sum(v.data.array.size for n in graph for v in n.inputs if v is not None and v.data is not None and v.rank == 2)  # type: ignore[attr-defined]
    assert held == SMALL.parameters
    tied = LlmConfig(**{**SMALL.__dict__, "tied": True, "gated": False, "parallel": True})
    table = tied.vocabulary * tied.hidden
    assert tied.parameters == SMALL.parameters - table - tied.layers * tied.hidden * tied.intermediate
    assert {label(n) for n in decoder_graph(tied)} and phase_symbols(decoder_graph(tied)).past == "past"


def test_phases_add_up_and_decoding_grows_with_the_cache() -> None:
    predictor, symbols = decoder()
    found = generation_phases(predictor, symbols, prompt=64, generated=20, batch=2, vocabulary=500)  # type: ignore[arg-type]
    assert found.decode.shape == (3, 19) and found.cached
    assert np.all(np.diff(found.decode[1]) > 0)
    for i in range(3):
        parts = found.init[i] + found.prefill[i] + sum(found.decode[i]) + found.post[i]
        assert math.isclose(found.total[i], parts, rel_tol=1e-9)
    for step in (0, 7, 18):
        one = predictor.predict({"batch": 2, "sequence": 1, "past": 64 + step})
        assert found.decode[1, step] == pytest.approx(one.seconds[1], rel=1e-12)
    assert found.prefill[1] == pytest.approx(predictor.predict({"batch": 2, "sequence": 64, "past": 1}).seconds[1], rel=1e-12)
    assert found.kv_bytes == 2 * 2 * 2 * SMALL.kv_heads * SMALL.size * 2 * 84  # bytes, batch, layers, keys and values, tokens
    assert found.tokens_per_second[1] == pytest.approx(2 * 19 / found.decode[1].sum())


def test_prefill_is_intense_and_decoding_is_not() -> None:
    predictor, symbols = decoder()
    prompts = phase_intensity(predictor, symbols, 1, np.array([1, 16, 64, 256]), np.array([1, 1, 1, 1]))  # type: ignore[arg-type]
    batches = phase_intensity(predictor, symbols, np.array([1, 2, 4]), np.array([1, 1, 1]), np.array([8, 8, 8]))  # type: ignore[arg-type]
    assert np.all(np.diff(prompts) > 0) and np.all(np.diff(batches) > 0)
    assert batches[0] < 1.2 < prompts[-1] / 10  # one multiply-accumulate per weight of two bytes


@pytest.mark.parametrize("ridge, past", [(2.0, 8), (8.0, 8), (1e4, 8)])
def test_the_crossover_is_where_the_intensity_passes_the_ridge(ridge: float, past: int) -> None:
    predictor, symbols = decoder()
    found = decode_crossover(predictor, symbols, past, ridge)  # type: ignore[arg-type]
    batches = np.arange(1, 2000)
    ones = np.ones_like(batches)
    reached = phase_intensity(predictor, symbols, batches, ones, past * ones) >= ridge  # type: ignore[arg-type]
    assert found.batch == (int(batches[reached][0]) if reached.any() else None)
    assert found.heuristic == ridge and found.limit > 0


def test_models_without_a_cache_read_everything_again() -> None:
    graph = Graph()
    ids = graph.add_input("ids", TensorType(DType.INT64, (B, S)))
    graph.set_outputs([graph.add(op("MatMul"), graph.add(op("Gather"), weight(50, 8), ids), weight(8, 50))], ["logits"])
    symbols = phase_symbols(graph)
    assert (symbols.batch, symbols.sequence, symbols.past) == ("batch", "seq", "")
    predictor = Predictor(graph, target())
    found = generation_phases(predictor, symbols, 10, 5)
    assert not found.cached and found.kv_bytes == 0
    assert found.decode[1, 2] == pytest.approx(predictor.predict({"batch": 1, "seq": 13}).seconds[1])
    with pytest.raises(Diagnostic) as caught:
        phase_symbols(single("Relu", (B, 3, 8)))
    assert caught.value.code == "E1022"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"layers": 0}, "layers"),
        ({"heads": "four"}, "heads"),
        ({"laers": 3}, "laers"),
        ({"kv_heads": 3}, "share"),
        ({"dtype": "f15"}, "f15"),
    ],
)
def test_bad_descriptions_are_refused(change: dict, message: str, tmp_path) -> None:
    table = {"layers": 2, "hidden": 64, "heads": 4, "intermediate": 128, "vocabulary": 100}
    with pytest.raises(Diagnostic, match=message) as caught:
        config_of({**table, **change})
    assert caught.value.code == "E1021"
    path = tmp_path / "model.toml"
    path.write_text("".join(f"{k} = {v}\n" for k, v in table.items()))
    assert read_config(path).parameters == config_of(table).parameters
    path.write_text("layers = ")
    with pytest.raises(Diagnostic):
        read_config(path)
