"""The node tests of ONNX that ONNX Runtime fails on the original pass after legalisation."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgec.ir.diagnostics import Diagnostic, Exit
from edgec.ir.graph import constant
from edgec.ir.serial.reader import read_model_bytes
from edgec.lowering.ort import legalize
from edgec.lowering.ort.engine import Engine
from edgec.lowering.ort.restrictions import restriction
from edgec.lowering.registry import backend
from edgec.passes.context import Context
from edgec.passes.manager import run_passes
from edgec.runtime.bundle import write_bundle

CURED = [
    "test_lstm_batchwise",
    "test_gru_batchwise",
    "test_simple_rnn_batchwise",
    "test_max_int16",
    "test_max_uint16",
    "test_min_int16",
    "test_min_uint16",
    "test_pow_types_float32_uint32",
    "test_top_k_uint64",
    "test_strnormalizer_nostopwords_nochangecase",
    "test_strnormalizer_export_monday_casesensintive_upper",
    "test_bitcast_bool_to_uint8",
    "test_dft_axis_opset19",
    "test_dft_opset19",
    "test_dft_rfft_opset19",
    "test_swiglu",
    "test_swiglu_alpha",
    "test_attention_3d_causal_bf16",
    "test_onehot_with_bfloat16_values",
    "test_celu_bfloat16",
    "test_quantizelinear_int16",
    "test_dequantizelinear_uint4",
    "test_roialign_aligned_true",
    "test_dft_irfft_opset19",
    "test_mod_float32_mixed_sign_fmod_0",
    "test_convinteger_with_padding",
    "test_reduce_max_empty_set_bool",
    "test_attention_4d_diff_heads_mask4d_padded_kv",
    "test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal",
]


@lru_cache(maxsize=1)
def suite() -> dict[str, Any]:
    """The node cases of the installed ONNX package by name."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case for case in collect_testcases(None)}


def plain(value: Any) -> Any:
    """A stored value of the suite as an array."""
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


@pytest.mark.parametrize("name", CURED)
def test_the_expected_outputs_come_out(name: str, tmp_path: Path) -> None:
    case = suite()[name]
    model = read_model_bytes(case.model.SerializeToString())
    target = backend("ort")
    run_passes(model, f"{legalize.NAME},dead-code", Context())
    bundle = write_bundle(target.lower(model, {"threads": 1}), tmp_path / "bundle", {})
    for inputs, outputs in case.data_sets:
        found = bundle.run({v.name: plain(x) for v, x in zip(case.model.graph.input, inputs, strict=True)})
        for expected, actual in zip(map(plain, outputs), found.values(), strict=True):
            assert actual.dtype == expected.dtype and actual.shape == expected.shape
            if expected.dtype == object:
                assert expected.tolist() == actual.tolist()
                continue
            wanted, given = expected.astype(np.float64), actual.astype(np.float64)
            rtol = max(case.rtol, 2**-7) if expected.dtype.name == "bfloat16" else case.rtol
            np.testing.assert_allclose(given, wanted, rtol=rtol, atol=case.atol)


@pytest.mark.parametrize("name", ["test_lstm_batchwise", "test_max_int16", "test_top_k_uint64"])
def test_the_original_is_refused_by_the_runtime(name: str) -> None:
    with pytest.raises(Diagnostic):
        Engine(suite()[name].model.SerializeToString())


def test_a_resize_that_the_runtime_gets_wrong_is_cured_once_its_scales_are_known() -> None:
    case = suite()["test_resize_downsample_scales_linear_align_corners"]
    model = read_model_bytes(case.model.SerializeToString())
    (x, scales), (expected,) = case.data_sets[0]
    model.graph.replace(model.inputs[1], constant(plain(scales), "fixed_scales"))
    feeds = {"X": plain(x), "scales": plain(scales)}
    wrong = Engine(model.to_bytes()).run(feeds)["Y"]
    assert not np.allclose(wrong, expected, rtol=1e-3)
    assert restriction(next(iter(model.graph)), 21) is not None
    run_passes(model, legalize.NAME, Context())
    np.testing.assert_allclose(Engine(model.to_bytes()).run(feeds)["Y"], expected, rtol=case.rtol)


def test_what_nothing_cures_is_refused_with_the_reason() -> None:
    model = read_model_bytes(suite()["test_image_decoder_decode_png_rgb"].model.SerializeToString())
    run_passes(model, legalize.NAME, Context())
    with pytest.raises(Diagnostic) as caught:
        backend("ort").lower(model, {})
    assert caught.value.exit is Exit.TARGET_REFUSED and "no CPU kernel for ImageDecoder" in caught.value.message


def test_what_runs_already_is_left_alone() -> None:
    model = read_model_bytes(suite()["test_matmul_2d"].model.SerializeToString())
    assert not run_passes(model, legalize.NAME, Context()).modified
