"""What artifacts lack of the model whatever the backend: quantisation parameters, free dimensions, the interface, metadata."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, constant
from edgec.ir.model import Model
from edgec.ir.ops.quantize import DequantizeLinear, QuantizeLinear
from edgec.ir.types import TensorType
from edgec.lowering.artifact import FINER_KINDS, LOSS_KINDS, Artifact, Loss
from edgec.lowering.losses import carried_by, general_losses
from edgec.lowering.signature import Signature, TensorSpec

LOWERING = Path(__file__).parents[2] / "lowering"


def quantised(scale: float = 0.5, zero: int = 3) -> Model:
    """An input that is quantised and dequantised."""
    graph = Graph("q")
    x = graph.add_input("x", TensorType(DType.FLOAT, (symbol("batch"), 4)))
    parameters = constant(np.float32(scale), "scale", DType.FLOAT), constant(np.uint8(zero), "zero", DType.UINT8)
    stored = graph.insert(QuantizeLinear(), [x, *parameters], name="q").output
    graph.set_outputs([graph.insert(DequantizeLinear(), [stored, *parameters], name="dq").output], ["y"])
    return Model(graph, opsets={"": 21}, metadata={"labels": "a,b"})


def artifact(model: Model, **changes) -> Artifact:
    return replace(Artifact("toy", {}, Signature.of(model), carries={"metadata": ["labels"]}), **changes)


def test_nothing_is_lost_of_an_artifact_that_carries_everything() -> None:
    model = quantised()
    assert general_losses(carried_by(model), artifact(model), model) == ()


def test_quantisation_parameters() -> None:
    source = carried_by(quantised())
    assert [p.text for p in source.quantisation] == ["u8 per tensor, asymmetric"] * 2
    lost = general_losses(source, artifact(quantised()), quantised(scale=0.25))
    assert [(loss.kind, loss.where) for loss in lost] == [
        ("quantisation", "q, dq")
    ] and "2 quantisations (u8 per tensor, asymmetric)" in lost[0].what
    moved = general_losses(source, artifact(quantised()), quantised(zero=4))
    assert [loss.kind for loss in moved] == ["quantisation"]
    told = artifact(quantised(), carries={"metadata": ["labels"], "quantisation": True})
    assert general_losses(source, told, quantised(scale=0.25)) == ()


def test_channels_and_blocks_are_told_apart() -> None:
    graph = Graph("w")
    weights = constant(np.zeros((4, 6), np.int8), "w")
    scales = constant(np.ones(6, np.float32), "s")
    first = graph.insert(DequantizeLinear(axis=1), [weights, scales], name="channels").output
    blocks = constant(np.ones((2, 6), np.float32), "t")
    second = graph.insert(DequantizeLinear(axis=0, block_size=2), [weights, blocks], name="blocks").output
    graph.set_outputs([first, second], ["a", "b"])
    found = carried_by(Model(graph)).quantisation
    assert [p.text for p in found] == ["i8 per channel of axis 1, symmetric", "i8 in blocks of 2, symmetric"]


def test_metadata_and_interface() -> None:
    model = quantised()
    before = carried_by(model)

    def lost(*inputs: TensorSpec, **changes) -> list[tuple[str, str]]:
        signature = Signature(inputs or before.signature.inputs, before.signature.outputs)
        found = general_losses(before, artifact(model, signature=signature, **changes), model)
        assert all(loss.group in LOSS_KINDS for loss in found)
        return [(loss.kind, loss.what) for loss in found]

    assert lost(carries={}) == [("metadata", "the manifest keeps labels, the artifact itself does not")]
    assert lost(TensorSpec("x", DType.FLOAT, (1, 4))) == [("dynamic-dimension", "fixed: batch = 1")]
    assert lost(TensorSpec("x", DType.FLOAT16, ("batch", 4))) == [("interface", "its elements are f16, not f32")]
    assert lost(TensorSpec("x0", DType.FLOAT, ("batch", 4))) == [("interface", "the artifact has none of this name")]
    assert lost(TensorSpec("x", DType.FLOAT, ("batch", 4, 1))) == [("interface", "it has 3 dimensions, not 2")]


def test_what_the_backend_says_itself_is_not_repeated() -> None:
    model = quantised()
    own = Loss("dynamic-dimension", "input 'x'", "fixed to one image")
    signature = Signature((TensorSpec("x", DType.FLOAT, (1, 4)),), Signature.of(model).outputs)
    assert general_losses(carried_by(model), artifact(model, signature=signature, losses=(own,)), model) == ()


def test_every_kind_that_a_backend_names_has_a_group() -> None:
    kinds = set()
    for path in sorted(LOWERING.rglob("*.py")):
        kinds.update(re.findall(r"Loss\(\s*\"([a-z-]+)\"", path.read_text(encoding="utf-8")))
    assert len(kinds) > 3 and kinds <= {*LOSS_KINDS, *FINER_KINDS}
    assert set(FINER_KINDS.values()) <= set(LOSS_KINDS)
