"""Closed forms of whole models."""

from edgec.costmodel.predict import predict
from edgec.costmodel.symbolic import symbolic_costs
from edgec.ir.dims import Dim, substitute
from tests.costmodel.samples import B, S, encoder, mlp, target

POINT = {"batch": 3, "seq": 40}


def test_a_transformer() -> None:
    found = symbolic_costs(encoder(2))
    assert found.total.macs == 2 * (12 * 32 * 32 * B * S + 64 * B * S * S) and found.macs == {"f32": found.total.macs}
    assert found.classes["attention"].macs == 128 * B * S * S
    assert found.weight_bytes == 2 * 4 * (12 * 32 * 32 + 4 * 32)
    assert found.unknown == () and found.kv_bytes == 0
    assert found.classes["gemm"].weight_bytes == 2 * 4 * 12 * 32 * 32


def test_closed_forms_agree_with_predictions() -> None:
    graph = encoder(2)
    symbolic, numeric = symbolic_costs(graph), predict(graph, target(), POINT)

    def value(dim: Dim) -> Dim:
        return substitute(dim, POINT)

    assert value(symbolic.total.macs) == numeric.macs and value(symbolic.total.flops) == numeric.flops
    assert value(symbolic.total.bytes) == sum(n.bytes for n in numeric.nodes)
    assert value(symbolic.peak.bytes) == numeric.peak_bytes and value(symbolic.weight_bytes) == numeric.weight_bytes
    assert [name for name, _ in symbolic.kernels] == [n.name for n in numeric.nodes]


def test_precision_changes_bytes_and_types() -> None:
    found = symbolic_costs(mlp(), "i8")
    assert found.macs == {"i8": 3 * 64 * 64 * B} and found.weight_bytes == 3 * (64 * 64 + 64)
