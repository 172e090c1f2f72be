"""A decoder with a cache of fixed length on Core ML and TFLite chooses the tokens that the original chooses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgec
from edgec.ir.diagnostics import Diagnostic
from edgec.runtime.bundle import Bundle, load_bundle
from tests.kv_cache_models import LAYERS, VOCABULARY, decoder, fixed, greedy, growing

LENGTH, PROMPT, COUNT, PREFILL = 24, (3, 17, 8, 29, 5), 16, 8


def saved(spelling: str, folder: Path) -> tuple[onnx.ModelProto, Path]:
    proto, path = decoder(spelling), folder / "model.onnx"
    onnx.save(proto, path)
    return proto, path


def specs_of(bundle: Bundle) -> dict[str, Any]:
    return {spec.name: spec.shape for spec in bundle.session.signature.inputs}


def error_of(found: list, expected: list) -> float:
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(found, expected, strict=True))


# -- Core ML ----------------------------------------------------------------------------------------------------------------
def coreml(path: Path, output: Path, **options: Any) -> Bundle:
    pytest.importorskip("coremltools")
    return edgec.compile(
        path,
        target="coreml",
        output=output,
        dims={"batch": 1, "sequence": 1},
        options={"kv_cache": LENGTH, "runtime": "evaluator", **options},
    )


@pytest.mark.parametrize("spelling", ["compare", "operator", "table"])
def test_states_keep_the_cache(spelling: str, tmp_path: Path) -> None:
    proto, path = saved(spelling, tmp_path)
    bundle = coreml(path, tmp_path / "bundle", minimum_target="iOS18", states="auto")
    assert not any(name.startswith("past") for name in specs_of(bundle))
    assert len(bundle.manifest["lowering"]["states"]) == 2 * LAYERS
    expected, reference = greedy(growing(proto), PROMPT, COUNT)
    tokens, logits = greedy(fixed(bundle.run, specs_of(bundle), LENGTH), PROMPT, COUNT)
    assert tokens == expected
    assert error_of(logits, reference) < 2e-3, "states hold float16"


def test_states_are_updated_in_slices(tmp_path: Path) -> None:
    from edgec.lowering.coreml.evaluator import PackageEvaluator

    _, path = saved("compare", tmp_path)
    coreml(path, tmp_path / "bundle", minimum_target="iOS18", states="auto")
    operations = PackageEvaluator(next((tmp_path / "bundle").glob("*.mlpackage"))).operations()
    assert operations.count("slice_update") == operations.count("write_state") == 2 * LAYERS
    assert "scatter" not in operations and "scatter_nd" not in operations


@pytest.mark.parametrize("target", ["iOS15", "iOS18"])
@pytest.mark.parametrize("spelling", ["compare", "tokens-first"])
def test_buffers_go_in_and_out(spelling: str, target: str, tmp_path: Path) -> None:
    proto, path = saved(spelling, tmp_path)
    bundle = coreml(path, tmp_path / "bundle", minimum_target=target)
    expected, reference = greedy(growing(proto), PROMPT, COUNT)
    tokens, logits = greedy(fixed(bundle.run, specs_of(bundle), LENGTH), PROMPT, COUNT)
    assert tokens == expected and error_of(logits, reference) < 1e-5


def test_automatic_states_need_buffers(tmp_path: Path) -> None:
    _, path = saved("compare", tmp_path)
    with pytest.raises(Diagnostic, match="no output is an input that was written into"):
        coreml(path, tmp_path / "bundle", minimum_target="iOS18", states="auto", kv_cache=None, shapes="past=1..8;total=2..9")


# -- TFLite -----------------------------------------------------------------------------------------------------------------
def tflite(path: Path, output: Path, **options: Any) -> Bundle:
    pytest.importorskip("ai_edge_litert")
    return edgec.compile(path, target="tflite", output=output, dims={"batch": 1}, options={"kv_cache": LENGTH, **options})


@pytest.mark.parametrize("xnnpack", [True, False])
@pytest.mark.parametrize("spelling", ["compare", "tokens-first", "operator", "table"])
def test_prefill_and_decode_share_a_file(spelling: str, xnnpack: bool, tmp_path: Path) -> None:
    proto, path = saved(spelling, tmp_path)
    folder = tmp_path / "bundle"
    tflite(path, folder, signatures=f"prefill:sequence={PREFILL};decode:sequence=1", xnnpack=xnnpack)
    prefill, decode = (load_bundle(folder, signature=key) for key in ("prefill", "decode"))
    assert specs_of(prefill)["input_ids"] == (1, PREFILL) and specs_of(decode)["input_ids"] == (1, 1)
    kept: dict[str, Any] = {}

    def run(feeds: Any) -> dict[str, Any]:
        first = feeds["position"][0] == 0
        given = {**feeds, **({} if first else kept)}
        results = (prefill if first else decode).run(given)
        kept.update({name.replace("present", "past_key_values"): array for name, array in results.items() if name != "logits"})
        return results

    expected, reference = greedy(growing(proto), PROMPT, COUNT)
    padded = np.array([[*PROMPT, *[0] * (PREFILL - len(PROMPT))]])
    step = fixed(run, specs_of(prefill), LENGTH)
    logits = [step(padded, 0)["logits"][0, len(PROMPT) - 1]]
    tokens = [int(logits[0].argmax())]
    for position in range(len(PROMPT), len(PROMPT) + COUNT - 1):
        logits.append(step(np.array([[tokens[-1]]]), position)["logits"][0, -1])
        tokens.append(int(logits[-1].argmax()))
    assert tokens == expected and error_of(logits, reference) < 1e-5


def test_weights_are_stored_once(tmp_path: Path) -> None:
    _, path = saved("compare", tmp_path)
    single = tflite(path, tmp_path / "single", signatures={"decode": {"sequence": 1}})
    both = tflite(path, tmp_path / "both", signatures={"prefill": {"sequence": PREFILL}, "decode": {"sequence": 1}})
    sizes = [(b.folder / "model.tflite").stat().st_size for b in (single, both)]
    weights = sum(len(t.raw_data) for t in decoder("compare").graph.initializer)
    assert sizes[1] - sizes[0] > 0 and sizes[0] > weights * 0.9
    names = [sorted(b.manifest["lowering"]["signatures"]) for b in (single, both)]
    assert names == [["decode"], ["decode", "prefill"]]
    buffers = _weight_buffers(both.folder / "model.tflite")
    assert len(buffers) == len(set(buffers)), "no buffer is there twice"


def _weight_buffers(path: Path) -> list[bytes]:
    from edgec.lowering.tflite.schema import schema

    model = schema().ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    return [bytes(b.data) for b in model.buffers if b.data is not None and len(b.data) > 64]


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    _, path = saved("compare", tmp_path)
    options = {"signatures": {"prefill": {"sequence": PREFILL}, "decode": {"sequence": 1}}}
    files = [(tflite(path, tmp_path / name, **options).folder / "model.tflite").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("signatures", "reason"),
    [
        ("decode", "is not possible|no dimension|positive"),
        ("decode:sequence=none", "is not a positive number"),
        ("decode:sequences=1", "signature 'decode'"),
        ({"de code": {"sequence": 1}}, "is not possible"),
        ([1], "is no mapping"),
    ],
)
def test_impossible_signatures(signatures: Any, reason: str, tmp_path: Path) -> None:
    _, path = saved("compare", tmp_path)
    if signatures == "decode":
        bundle = tflite(path, tmp_path / "bundle", signatures=signatures)  # a signature that binds nothing further is fine
        assert list(bundle.manifest["lowering"]["signatures"]) == ["decode"]
        return
    with pytest.raises(Diagnostic, match=reason) as failure:
        tflite(path, tmp_path / "bundle", signatures=signatures)
    assert failure.value.code == "E0506"


def test_an_unknown_signature_is_refused(tmp_path: Path) -> None:
    _, path = saved("compare", tmp_path)
    bundle = tflite(path, tmp_path / "bundle", signatures={"decode": {"sequence": 1}})
    with pytest.raises(Diagnostic, match="no signature 'decod'"):
        load_bundle(bundle.folder, signature="decod").run({})
    assert json.loads((bundle.folder / "manifest.json").read_text())["lowering"]["signatures"]["decode"]


@pytest.mark.parametrize("length", [0, -4, 2.5, True])
def test_impossible_lengths(length: Any, tmp_path: Path) -> None:
    _, path = saved("compare", tmp_path)
    with pytest.raises(Diagnostic, match="is not a number of positions"):
        tflite(path, tmp_path / "bundle", kv_cache=length)


def test_tokens_are_not_all_alike(tmp_path: Path) -> None:
    """The comparison of tokens says something only if they vary."""
    tokens, _ = greedy(growing(decoder("compare")), PROMPT, COUNT)
    assert len(set(tokens)) > 3 and max(tokens) < VOCABULARY
