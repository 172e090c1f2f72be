"""Branches and loops in LiteRT: what they contain is listed, priced, and counted."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

import edgec
from edgec.costmodel.compiled import CompiledSchedule
from edgec.costmodel.schedule import Schedule
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.model import Model
from edgec.ir.ops.control import If
from edgec.ir.ops.matmul import MatMul
from edgec.ir.ops.recurrent import LSTM
from edgec.ir.types import TensorType
from edgec.runtime.measure_tflite import tflite_subject
from edgec.runtime.tflite_bodies import ASSUMED_TRIPS, bodies_of

STEPS, UNITS = 24, 448  # heavy enough to stay a loop: 3 MB of weights a step


def weights(*shape: int):
    return constant((np.random.default_rng(2).standard_normal(shape) * 0.05).astype(np.float32))


def recurrent() -> Graph:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (STEPS, 1, 16)))
    made = graph.insert(LSTM(hidden_size=UNITS), [x, weights(1, 4 * UNITS, 16), weights(1, 4 * UNITS, UNITS)], outputs=3)
    graph.set_outputs([made.outputs[0]], ["y"])
    return graph


def branching() -> Graph:
    """A branch of one product and one of three."""
    graph = Graph()
    flag, x = graph.add_input("flag", TensorType(DType.BOOL, ())), graph.add_input("x", TensorType(DType.FLOAT, (4, 64)))
    regions = []
    for products in (1, 3):
        region = Graph()
        y = x
        for _ in range(products):
            y = region.add(MatMul(), y, weights(64, 64))
        region.set_outputs([y], ["inner"])
        regions.append(region)
    node = graph.insert(If(), [flag], outputs=1, regions=regions)
    graph.set_outputs([node.output], ["y"])
    return graph


def schedule_of(graph: Graph, folder, *feeds) -> Schedule:
    edgec.compile(Model(graph), target="tflite", output=folder / "bundle")
    return tflite_subject(folder / "bundle" / "model.tflite", list(feeds)).schedule


def test_the_steps_of_a_loop_are_counted(tmp_path) -> None:
    schedule = schedule_of(recurrent(), tmp_path, np.zeros((STEPS, 1, 16), np.float32))
    inside = [k for k in schedule.kernels if k.count == STEPS]
    assert any(k.op == "FULLY_CONNECTED" and k.macs == 4 * UNITS * UNITS for k in inside)
    assert [k.geometry.variant for k in inside if k.geometry.kernel == "control"] == ["while"] and all(k.known for k in inside)
    assert not any(k.op in ("IF", "WHILE") for k in schedule.kernels)


def test_of_branches_the_heavier_one_is_listed(tmp_path) -> None:
    schedule = schedule_of(branching(), tmp_path, np.array(True), np.zeros((4, 64), np.float32))
    assert sum(k.op == "FULLY_CONNECTED" for k in schedule.kernels) == 3
    assert "if" in [k.geometry.variant for k in schedule.kernels]


def test_bodies_without_control_flow_are_not_read(tmp_path) -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType(DType.FLOAT, (4, 64)))
    graph.set_outputs([graph.add(MatMul(), x, weights(64, 64))], ["y"])
    schedule = schedule_of(graph, tmp_path, np.zeros((4, 64), np.float32))
    assert [k.count for k in schedule.kernels] == [1]
    (main,) = bodies_of(tmp_path / "bundle" / "model.tflite")
    assert [o.kind for o in main.operators] == ["FULLY_CONNECTED"] and ASSUMED_TRIPS > 1


def test_what_a_loop_reads_again_is_found_where_the_iteration_before_left_it(tmp_path) -> None:
    schedule = schedule_of(recurrent(), tmp_path, np.zeros((STEPS, 1, 16), np.float32))
    sized = CompiledSchedule(schedule).at({})
    looped = [i for i, k in enumerate(schedule.kernels) if k.count == STEPS]
    owners = sized.compiled.reuse.kernel
    inside = np.isin(owners, looped)
    tensors = {a.tensor for i in looped for a in schedule.kernels[i].accesses}
    iteration = sum(float(sized.tensor_bytes[t, 0]) for t in tensors)
    assert sized.distances[inside].max() <= iteration
    assert sized.compiled.reuse.distances(sized.tensor_bytes)[inside].max() > iteration  # from one inference to the next it is farther
