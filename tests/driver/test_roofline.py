"""`edgec roofline`: ridge points, the intensity of convolutions, targets with their memory levels, and bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgec.costmodel.analysis.convolutions import Convolution, convolution_graph, convolutions, stated_target
from edgec.costmodel.predict import predict
from edgec.costmodel.targets import load_target
from edgec.driver.roofline import parse_kernels, parse_peaks, parse_rate
from edgec.ir.diagnostics import Diagnostic

Run = Callable[..., tuple[int, str, str]]
EDGE_GPU = ("--peak", "1e12", "--bw", "25.6e9")


def document(edgec: Run, *arguments: object) -> dict:
    status, out, err = edgec("roofline", *arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def row(found: dict, kernel: str, channels: int, size: int, dtype: str = "f32") -> dict:
    key = (kernel, channels, size, dtype)
    return next(r for r in found["convolutions"] if (r["kernel"], r["channels"], r["size"], r["dtype"]) == key)


def test_the_edge_gpu_of_the_worked_example(edgec: Run) -> None:
    found = document(edgec, *EDGE_GPU)
    assert found["schema"] == "edgec.roofline/1" and found["ok"]
    assert found["levels"] == [
        {"name": "memory", "bytes": None, "bandwidth": 25.6e9, "ridge": {"f32": 39.0625, "f16": 39.0625}, "nominal_bandwidth": 25.6e9}
    ]
    for channels, size, pointwise, square in ((64, 56, 15.8, 131.9), (256, 28, 55.0, 233.0)):
        for kernel, wanted in (("1x1", pointwise), ("3x3", square)):
            single, half = row(found, kernel, channels, size), row(found, kernel, channels, size, "f16")
            assert single["intensity"] == pytest.approx(wanted, rel=5e-3)
            assert half["intensity"] == pytest.approx(2 * single["intensity"])
            assert single["attainable"] == pytest.approx(min(1e12, single["intensity"] * 25.6e9))
    assert row(found, "1x1", 64, 56)["bound"] == "memory" and row(found, "1x1", 256, 28)["bound"] == "compute"
    assert row(found, "dw3x3", 64, 56)["intensity"] == pytest.approx(2.24, rel=5e-3)
    assert row(found, "dw3x3", 64, 56)["share"] == pytest.approx(2.247 * 25.6e9 / 1e12, rel=1e-3)


def test_the_text_prints_the_ridge(edgec: Run) -> None:
    status, out, _ = edgec("roofline", *EDGE_GPU)
    assert status == 0 and "ridge       39.06 FLOP/B at memory" in out and "131.9" in out


def test_peaks_by_type(edgec: Run) -> None:
    found = document(edgec, "--peak", "f32=1Top/s", "--peak", "i8=4TFLOP/s", "--bw", "25.6GB/s")
    assert found["levels"][0]["ridge"] == {"f32": 39.0625, "i8": 156.25}
    assert {r["dtype"] for r in found["convolutions"]} == {"f32", "i8"}
    lent = document(edgec, "--peak", "f32=1e12", "--bw", "1e9", "--dtype", "f16")
    assert not lent["convolutions"][0]["native"] and lent["convolutions"][0]["attainable"] > 0


def test_targets_have_a_ridge_for_every_level_and_type(edgec: Run) -> None:
    found = document(edgec, "--target", "orin-nano")
    assert [level["name"] for level in found["levels"]] == ["L1", "L2", "DRAM"] and {"f32", "f16", "i8"} <= found["peaks"].keys()
    for level in found["levels"]:
        assert level["bandwidth"] < level["nominal_bandwidth"]
        for dtype, peak in found["peaks"].items():
            assert level["ridge"][dtype] == pytest.approx(peak / level["bandwidth"])
    dram = next(level for level in load_target("orin-nano").engines[0].memory if level.name == "DRAM")
    assert found["levels"][-1]["nominal_bandwidth"] == pytest.approx(dram.bandwidth.value)
    assert (
        row(found, "1x1", 64, 56)["near"] == "L2" and row(found, "1x1", 64, 56)["attainable_near"] > row(found, "1x1", 64, 56)["attainable"]
    )
    status, out, _ = edgec("roofline", "--target", "raspberry-pi-5", "--engine", "cpu", "--threads", "1", "--dtype", "f32,i4")
    assert status == 0 and "i4*" in out and "no i4 arithmetic" in out


def test_the_batch_shares_the_weights(edgec: Run) -> None:
    one, many = (document(edgec, *EDGE_GPU, "--batch", batch, "--size", "7", "--channels", "512")["convolutions"] for batch in (1, 64))
    assert many[0]["flops"] == 64 * one[0]["flops"] and many[0]["intensity"] > 5 * one[0]["intensity"]


def test_the_cost_model_says_the_same(edgec: Run) -> None:
    """A prediction of the same convolutions on the same roofs: intensity and time of every one."""
    cases = convolutions([(1, False), (3, False), (3, True)], [16, 64], [28], ["f32"], 2)
    found = predict(convolution_graph(cases), stated_target({"f32": 1e12}, 25.6e9))
    assert len(found.nodes) == len(cases) == 6
    for case, node in zip(cases, found.nodes, strict=True):
        assert node.flops / node.bytes == pytest.approx(case.intensity)
        assert node.seconds[1] == pytest.approx(max(case.flops / 1e12, case.bytes / 25.6e9))
    assert Convolution(2, False, 4, 8).kernel == "2x2"


def test_the_page_holds_every_convolution(edgec: Run, tmp_path: Path) -> None:
    path = tmp_path / "roofline.html"
    status, _, err = edgec("roofline", *EDGE_GPU, "--dtype", "f32,f16,i4", "--html", path)
    assert status == 0 and "leaves out i4" in err
    page = path.read_text()
    data = json.loads(page.split("const DATA = ")[1].split(";\n")[0])
    assert [t["target"] for t in data["targets"]] == ["stated, f32", "stated, f16"]
    assert len(data["graphs"][0]["name"]) == 12 and "dw3x3 256ch 28x28" in data["graphs"][0]["name"]
    assert data["targets"][0]["roofline"]["levels"][0]["ridge"]["f32"] == 39.0625


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        ((), "E0801", "--peak 1e12 --bw 25.6e9"),
        (("--peak", "1e12"), "E0801", "--bw"),
        (("--bw", "1e12"), "E0801", "--peak"),
        (("--peak", "fast", "--bw", "1e9"), "E0801", "'fast' is no rate"),
        (("--peak", "1e12", "--bw", "-1"), "E0801", "'-1' is no rate"),
        (("--peak", "1e12", "--bw", "25 parsec"), "E0801", "25.6GB/s"),
        (("--peak", "fp32=1e12", "--bw", "1e9"), "E0801", "did you mean 'f32'?"),
        ((*EDGE_GPU, "--dtype", "fp32"), "E0801", "did you mean 'f32'?"),
        ((*EDGE_GPU, "--target", "orin-nano"), "E0801", "--target"),
        ((*EDGE_GPU, "--engine", "gpu"), "E0801", "--target"),
        ((*EDGE_GPU, "--kernel", "3x5"), "E0801", "square"),
        ((*EDGE_GPU, "--channels", "0"), "E0801", "from 1 on"),
        (("--target", "orin-nani"), "E1001", "orin-nan"),
        (("--target", "orin-nano", "--engine", "gpuu"), "E1013", "gpu"),
        (("--target", "raspberry-pi-5", "--threads", "99"), "E0801", "at most 4"),
        ((*EDGE_GPU, "--dtype", "i4", "--html", "x.html"), "E0801", "--html"),
    ],
)
def test_bad_input_is_explained(edgec: Run, arguments: tuple[str, ...], code: str, words: str) -> None:
    status, _, err = edgec("roofline", *arguments)
    assert status == 2 and f"error[{code}]" in err and words in err, err
    assert "Traceback" not in err


def test_options_are_parsed() -> None:
    assert parse_kernels("1,3x3,dw3,depthwise-5") == [(1, False), (3, False), (3, True), (5, True)]
    assert parse_peaks(["1e12", "f16=2e12,i8=4Tops/s"]) == (1e12, {"f16": 2e12, "i8": 4e12})
    assert parse_rate("68 GB/s", "--bw", "B/s") == 68e9
    for wrong in ("", "1.2.3", "1e999", "5 ms"):
        with pytest.raises(Diagnostic):
            parse_rate(wrong, "--bw", "B/s")
