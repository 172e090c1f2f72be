"""PyTorch modules through both exporters, against PyTorch itself."""

import numpy as np
import pytest

import edgec
from edgec.ir.diagnostics import Diagnostic
from edgec.torch_import import TraceWarning, axes_from_shapes, shapes_from_axes

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install 'edgec[torch]')")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


class Perceptron(torch.nn.Module):
    """A small network with a GELU and a LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.second = torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.Linear(16, 4)

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        return self.second(self.norm(torch.nn.functional.gelu(self.first(x))))


class Branching(torch.nn.Module):
    """A branch on tensor values, which tracing freezes."""

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        if x.sum() > 0:
            return x * 2
        return x - 1


def _agrees(model: edgec.Model, module: "torch.nn.Module", x: "torch.Tensor", tmp_path) -> None:
    bundle = edgec.compile(model, target="ort", output=tmp_path / "bundle")
    (name,) = (v.name for v in model.inputs)
    (result,) = bundle.run({name: x.numpy()}).values()
    with torch.no_grad():
        np.testing.assert_allclose(result, module(x).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_options_reach_the_exporter_and_values_agree(exporter: str, tmp_path) -> None:
    module = Perceptron().train()
    model = edgec.from_torch(
        module,
        (torch.randn(2, 8),),
        input_names=["features"],
        output_names=["scores"],
        dynamic_axes={"features": {0: "batch"}},
        opset=18,
        exporter=exporter,
    )
    assert module.training, "the module's mode is restored"
    assert model.properties["exporter"] == exporter
    assert model.opsets[""] == 18
    assert model.inputs[0].name == "features" and model.graph.output_names == ("scores",)
    assert str(model.inputs[0].shape[0]) == "batch" and model.inputs[0].shape[1] == 8
    _agrees(model, module.eval(), torch.randn(5, 8), tmp_path)


def test_recognition_works_on_both_exports() -> None:
    for exporter in ("dynamo", "torchscript"):
        model = edgec.from_torch(Perceptron(), (torch.randn(2, 8),), input_names=["x"], opset=18, exporter=exporter)
        names = [node.op.op_name for node in edgec.optimize(model).graph]
        assert names.count("Gelu") == 1 and names.count("LayerNormalization") == 1, (exporter, names)


def test_frozen_branch_is_warned_about() -> None:
    with pytest.warns(TraceWarning, match="branch on tensor values was frozen"):
        model = edgec.from_torch(Branching(), (torch.ones(2, 3),), input_names=["x"])
    assert model.properties["exporter"] == "torchscript"
    assert any("dynamo failed" in note for note in model.notes) and any("frozen" in note for note in model.notes)


def test_total_failure_names_both_reasons() -> None:
    class Impossible(torch.nn.Module):
        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            raise RuntimeError("this module cannot run")

    with pytest.raises(Diagnostic) as caught:
        edgec.from_torch(Impossible(), (torch.ones(1),))
    assert caught.value.code == "E0702" and len(caught.value.notes) == 2
    assert all("this module cannot run" in note for note in caught.value.notes)


def test_dynamic_dimensions_convert_between_the_two_forms() -> None:
    assert shapes_from_axes({"a": [0, 1]}, ["a", "b"], 2) == ({0: "a_0", 1: "a_1"}, None)
    assert axes_from_shapes(({0: "batch"}, None), ["a", "b"]) == {"a": {0: "batch"}}
    assert axes_from_shapes(None, None) is None
