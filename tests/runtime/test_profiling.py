"""Profiles: of bundles on this machine, and foreign ones; traces; damaged files."""

import csv
import io
import json
import sqlite3
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")

import edgec
from edgec.ir.diagnostics import Diagnostic
from edgec.ir.serial.reader import read_model
from edgec.runtime.measure_ort import ort_subject
from edgec.runtime.profiling.bundle import profile_bundle
from edgec.runtime.profiling.feeds import made_up
from edgec.runtime.profiling.fused import origins
from edgec.runtime.profiling.importing import import_profile
from edgec.runtime.profiling.timeline import Event, Profile, chrome_trace, sources_of, with_sources, write_trace

NETWORK = """<ir_version: 8, opset_import: ["" : 17]> network (float[1,16,12,12] x) => (float[1,10] y)
    <float[16,16,3,3] w = {%s}, float[16] b = {%s}, float[10,16] v = {%s}, float[10] c = {%s}> {
    [conv_1] a = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (x, w, b)
    [relu_1] r = Relu (a)
    [conv_2] d = Conv <kernel_shape = [3,3], pads = [1,1,1,1]> (r, w, b)
    [add_1] e = Add (d, r)
    [relu_2] f = Relu (e)
    [pool] g = GlobalAveragePool (f)
    [flat] h = Flatten (g)
    [dense] i = Gemm <transB = 1> (h, v, c)
    [soft] y = Softmax (i)
}"""


def numbers(count: int) -> str:
    return ", ".join(f"{x:.3f}" for x in np.random.default_rng(count).normal(0, 0.1, count))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "network.onnx"
    onnx.save(onnx.parser.parse_model(NETWORK % tuple(numbers(n) for n in (2304, 16, 160, 10))), path)
    return path


def test_fused_nodes_are_traced_back(model: Path) -> None:
    feeds = {"x": np.zeros((1, 16, 12, 12), np.float32)}
    found = ort_subject(model, feeds).model
    assert found is not None
    traced = origins(found.graph, read_model(model).graph)
    covered = [name for names in traced.values() for name in names]
    assert sorted(set(covered)) == ["add_1", "conv_1", "conv_2", "dense", "flat", "pool", "relu_1", "relu_2", "soft"]
    second = next(names for names in traced.values() if "conv_2" in names)
    assert set(second) == {"conv_2", "add_1", "relu_2"}
    first = next(names for names in traced.values() if "conv_1" in names)
    assert set(first) == {"conv_1", "relu_1"}


@pytest.mark.parametrize("target", ["ort", "openvino", "tflite"])
def test_a_bundle_is_profiled_operator_by_operator(model: Path, target: str, tmp_path: Path) -> None:
    pytest.importorskip({"ort": "onnxruntime", "openvino": "openvino", "tflite": "ai_edge_litert"}[target])
    bundle = edgec.compile(model, target=target, output=tmp_path / "bundle")
    found = profile_bundle(bundle, made_up(bundle), runs=3, target=edgec_target())
    assert found.seconds > 0 and found.prediction is not None
    covered = {name for o in found.operators for name in o.sources}
    assert covered >= {"conv_1", "conv_2", "dense"}
    assert sum(o.measured for o in found.operators) > 0.2 * found.seconds
    known = [o for o in found.operators if o.predicted is not None]
    assert len(known) >= 0.5 * len(found.operators)
    heavy = next(o for o in known if "conv_2" in o.sources)
    assert heavy.predicted is not None and heavy.predicted[0] < heavy.predicted[1] < heavy.predicted[2] and heavy.bound


def edgec_target():
    from edgec.costmodel.targets import load_target

    return load_target("x86-avx2")


def test_bundles_for_other_devices_are_refused(model: Path, tmp_path: Path) -> None:
    bundle = edgec.compile(model, target="ort", output=tmp_path / "bundle")
    bundle.manifest["target"] = "coreml"
    with pytest.raises(Diagnostic) as caught:
        profile_bundle(bundle, {"x": np.zeros((1, 16, 12, 12), np.float32)})
    assert caught.value.code == "E0651"


# -- LiteRT by difference ----------------------------------------------------------------------------------------------
def test_prefixes_end_in_the_whole_model(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from edgec.runtime.measure_tflite import tflite_subject
    from edgec.runtime.profiling.litert import prefixes

    bundle = edgec.compile(model, target="tflite", output=tmp_path / "bundle")
    data = (bundle.folder / "model.tflite").read_bytes()
    feeds = [np.ones((1, 16, 12, 12), np.float32)]
    pieces = list(prefixes(data))
    counts = []
    for piece in pieces:
        path = tmp_path / "piece.tflite"
        path.write_bytes(piece)
        counts.append(len(tflite_subject(path, feeds).schedule.kernels))
    assert counts == list(range(1, len(pieces) + 1))
    whole = bundle.run({"x": feeds[0]})["y"]
    last = tflite_subject(path, feeds).session
    assert np.array_equal(last.get_tensor(last.get_output_details()[0]["index"]).reshape(-1), whole.reshape(-1))


# -- foreign profiles --------------------------------------------------------------------------------------------------
def test_ort_profile(tmp_path: Path) -> None:
    events = [
        {"cat": "Session", "ph": "X", "name": "model_run", "ts": 10, "dur": 50, "tid": 1, "args": {}},
        {
            "cat": "Node",
            "ph": "X",
            "name": "conv_1_kernel_time",
            "ts": 12,
            "dur": 30,
            "tid": 1,
            "args": {"op_name": "Conv", "provider": "CPU"},
        },
        {"cat": "Node", "ph": "X", "name": "conv_1_fence_after", "ts": 42, "dur": 1, "tid": 1, "args": {"op_name": "Conv"}},
    ]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(events))
    found = import_profile(path, "ort")
    assert found.runs == 1 and found.totals() == {"kernel": pytest.approx(3e-5), "sync": pytest.approx(1e-6)}
    kernel = next(e for e in found.events if e.kind == "kernel")
    assert (kernel.name, kernel.op, kernel.start) == ("conv_1", "Conv", pytest.approx(1.2e-5))


def test_trtexec_layers_and_times(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    layers = [{"count": 100}, {"name": "conv_1 + relu_1", "timeMs": 20.0, "averageMs": 0.2, "medianMs": 0.19, "percentage": 66.0}]
    path.write_text(json.dumps([*layers, {"name": "dense", "timeMs": 10.0, "percentage": 33.0}]))
    found = with_sources(import_profile(path, "trtexec"), {"conv_1": ["c1"], "relu_1": ["r1"], "dense": ["d"]})
    assert [(e.name, e.seconds, e.sources) for e in found.events] == [
        ("conv_1 + relu_1", pytest.approx(2e-4), ("c1", "r1")),
        ("dense", pytest.approx(1e-4), ("d",)),
    ]
    keys = {"startH2dMs": 1.0, "endH2dMs": 1.5, "startComputeMs": 1.5, "endComputeMs": 3.5, "startD2hMs": 3.5, "endD2hMs": 3.75}
    path.write_text(json.dumps([keys, {k: v + 10 for k, v in keys.items()}]))
    times = import_profile(path, "trtexec")
    assert times.runs == 2 and times.totals()["copy"] == pytest.approx(1.5e-3)


def nsys_database(path: Path, capability: tuple[int, int] = (8, 6)) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE StringIds (id INTEGER, value TEXT);
        INSERT INTO StringIds VALUES (1, 'sgemm'), (2, 'void sgemm<float>()');
        CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, streamId INT, correlationId INT, demangledName INT, shortName INT,
            gridX INT, gridY INT, gridZ INT, blockX INT, blockY INT, blockZ INT, registersPerThread INT, staticSharedMemory INT,
            dynamicSharedMemory INT);
        INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (5000, 9000, 7, 33, 2, 1, 10, 1, 1, 256, 1, 1, 64, 1024, 0);
        CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, streamId INT, copyKind INT, bytes INT);
        INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (1000, 3000, 7, 1, 4096), (9500, 9900, 7, 2, 128);
        CREATE TABLE CUPTI_ACTIVITY_KIND_SYNCHRONIZATION (start INT, end INT, syncType INT);
        INSERT INTO CUPTI_ACTIVITY_KIND_SYNCHRONIZATION VALUES (9900, 9950, 3);
        CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, end INT, globalTid INT, correlationId INT);
        INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (4000, 4100, 99, 33);
        CREATE TABLE NVTX_EVENTS (start INT, end INT, eventType INT, globalTid INT, text TEXT, textId INT);
        INSERT INTO NVTX_EVENTS VALUES (3000, 6000, 59, 99, 'network', NULL), (3900, 4200, 59, 99, 'dense', NULL),
            (4300, 4400, 59, 99, 'other', NULL);
        CREATE TABLE TARGET_INFO_GPU (computeMajor INT, computeMinor INT);
        """
    )
    connection.execute("INSERT INTO TARGET_INFO_GPU VALUES (?, ?)", capability)
    connection.commit()
    connection.close()


def test_nsys_database(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    nsys_database(path)
    found = with_sources(import_profile(path, "nsys"), {"dense": ["fc"]})
    assert [e.kind for e in found.events] == ["copy", "kernel", "copy", "sync"]
    kernel = found.events[1]
    assert (kernel.name, kernel.op, kernel.sources, kernel.seconds) == ("dense", "sgemm", ("fc",), pytest.approx(4e-6))
    assert kernel.details["occupancy"] == pytest.approx(32 / 48)  # 64 registers × 256 threads: four blocks of eight warps
    assert [e.name for e in found.events if e.kind == "copy"] == ["host to device", "device to host"]
    assert found.totals()["copy"] == pytest.approx(2.4e-6)
    nsys_database(tmp_path / "other.sqlite", (3, 5))
    assert "occupancy" not in import_profile(tmp_path / "other.sqlite", "nsys").events[1].details


def test_nsys_table(tmp_path: Path) -> None:
    rows = [
        {"Start (ns)": 100, "Duration (ns)": 50, "Strm": 7, "Name": "[CUDA memcpy Host-to-Device]", "Bytes (MB)": "0.5"},
        {"Start (ns)": 200, "Duration (ns)": 70, "Strm": 7, "Name": "sgemm", "Bytes (MB)": ""},
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    (tmp_path / "p.csv").write_text("Processing [x.sqlite] with cuda_gpu_trace...\n" + text.getvalue())
    (tmp_path / "p.json").write_text(json.dumps(rows))
    for name in ("p.csv", "p.json"):
        found = import_profile(tmp_path / name, "nsys")
        assert [(e.kind, round(e.seconds * 1e9)) for e in found.events] == [("copy", 50), ("kernel", 70)]


BENCHMARK = """Operator-wise Profiling Info for Initialization:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
ModifyGraphWithDelegate, 1.5, 1.5, 80.0%, 80.0%, 0, 1, ModifyGraphWithDelegate/0

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0.5, 0.4, 80.0%, 80.0%, 0, 1, [relu_1]:0
SOFTMAX, 0.1, 0.1, 20.0%, 100.0%, 0, 1, [soft]:1

============================== Top by Computation Time ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
CONV_2D, 0.5, 0.4, 80.0%, 80.0%, 0, 1, [relu_1]:0
"""


def test_benchmark_model(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(BENCHMARK)
    found = import_profile(path, "litert")
    assert [(e.name, e.op, e.seconds) for e in found.events] == [
        ("relu_1", "CONV_2D", pytest.approx(4e-4)),
        ("soft", "SOFTMAX", pytest.approx(1e-4)),
    ]


def test_benchmark_model_binary(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from ai_edge_litert import profiling_info_pb2 as messages

    data = messages.BenchmarkProfilingData(model_name="m")
    part = data.runtime_profile.subgraph_profiles.add(subgraph_name="main")
    item = part.per_op_profiles.add(node_type="CONV_2D", name="conv", run_order=1)
    item.inference_microseconds.avg = 250
    path = tmp_path / "p.pb"
    path.write_bytes(data.SerializeToString())
    assert [(e.name, e.seconds) for e in import_profile(path, "litert").events] == [("conv", pytest.approx(2.5e-4))]


@pytest.mark.parametrize("form", ["ort", "trtexec", "nsys", "litert"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"[1, 2]",
        b'[{"ph": "X"}]',
        b"\x00\xff\xfe",
        b"SQLite format 3\x00junk",
        b'[{"name": "x"}]',
        b"node type, avg_ms\nx",
    ],
)
def test_damaged_profiles_are_refused(tmp_path: Path, form: str, data: bytes) -> None:
    path = tmp_path / "p"
    path.write_bytes(data)
    with pytest.raises(Diagnostic) as caught:
        import_profile(path, form)
    assert caught.value.code == "E0650" and caught.value.where == str(path)


def test_a_cut_off_database_is_refused(tmp_path: Path) -> None:
    nsys_database(tmp_path / "p.sqlite")
    data = (tmp_path / "p.sqlite").read_bytes()
    (tmp_path / "p.sqlite").write_bytes(data[: len(data) // 2])
    with pytest.raises(Diagnostic) as caught:
        import_profile(tmp_path / "p.sqlite", "nsys")
    assert caught.value.code == "E0650"


def test_unknown_formats_and_files(tmp_path: Path) -> None:
    with pytest.raises(Diagnostic, match="no format 'nsight'"):
        import_profile(tmp_path / "p", "nsight")
    with pytest.raises(Diagnostic, match="no such file"):
        import_profile(tmp_path / "p", "ort")


# -- traces and names --------------------------------------------------------------------------------------------------
def test_chrome_trace(tmp_path: Path) -> None:
    events = (
        Event("a", "Conv", "kernel", None, 2e-6, "", ("n1",)),
        Event("b", "Relu", "kernel", None, 1e-6),
        Event("c", "copy", "copy", 5e-6, 1e-6, "stream 7", (), {"bytes": 4}),
    )
    path = tmp_path / "trace.json"
    write_trace(Profile("x", events), path)
    found = [e for e in json.loads(path.read_text())["traceEvents"] if e["ph"] == "X"]
    assert [(e["name"], e["ts"], e["dur"]) for e in found] == [("a", 0.0, 2.0), ("b", 2.0, 1.0), ("c", 5.0, 1.0)]
    assert found[0]["args"] == {"op": "Conv", "source": "n1"} and found[2]["args"]["bytes"] == 4
    assert found[0]["tid"] == found[1]["tid"] != found[2]["tid"]
    assert chrome_trace(Profile("x", ()))["traceEvents"][0]["ph"] == "M"


@pytest.mark.parametrize(
    "name, expected",
    [
        ("conv", ("c",)),
        ("conv + relu", ("c", "r")),
        ("conv,relu", ("c", "r")),
        ("PWN(conv, relu)", ("c", "r")),
        ("{ForeignNode[conv...relu]}", ()),
        ("conv/WithoutBiases", ("c",)),
        ("unheard-of", ()),
    ],
)
def test_layer_names_that_fusion_made(name: str, expected: tuple[str, ...]) -> None:
    assert sources_of(name, {"conv": ["c"], "relu": ["r"]}) == expected
