"""A cost model of one's own: a roofline on which small kernels do not reach the peak.

    python examples/cost_model_plugin.py [OUTPUT_FOLDER]

predicts a small network with the built-in roofline and with this one. The command line and the benchmark take it too:

    edgec cost MODEL --target x86-avx2 --tier ramped-roofline --plugin examples/cost_model_plugin.py
    python -m benchmarks.costmodel --target host.toml --tier ramped-roofline --plugin examples/cost_model_plugin.py

An installed package offers its `create` as an entry point of the group `edgec.costmodels` instead of registering it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from edgec.costmodel.calibrated import CalibratedTarget
from edgec.costmodel.compiled import Sized
from edgec.costmodel.hardware import Target
from edgec.costmodel.model import CostModel, Estimate, bound_names, register_cost_model
from edgec.costmodel.roofline import Roofs, combine, level_traffic

HALF = 2e5  # operations at which a kernel runs at half of the attained rate
SURE = 0.5  # the low end of the interval relative to what is expected; the high end is its inverse


class RampedRoofline:
    """Arithmetic at peak x efficiency x n / (n + HALF), memory at the slowest level, overlapping as the engine says."""

    name = "ramped-roofline"

    def estimate(self, sized: Sized, roofs: Roofs) -> Estimate:
        """Seconds of every kernel: arrays ``[kernels, n]``."""
        kernels = sized.compiled.schedule.kernels
        rates = np.array([roofs.peak(k.dtype)[0].value * roofs.efficiency(k.geometry.kernel)[1] for k in kernels])[:, None]
        compute = (sized.flops + np.where(sized.flops > 0, HALF, 0.0)) / rates
        traffic = level_traffic(sized, roofs)
        per_level = traffic / np.array([level.bandwidth.value for level in roofs.levels])[:, None, None]
        memory, slowest = per_level.max(axis=0), per_level.argmax(axis=0)
        launch = roofs.engine.dispatch_s.value
        expected = launch + combine(compute, memory, roofs.overlap)
        bound = np.where(np.maximum(compute, memory) < launch, 0, np.where(memory > compute, slowest + 2, 1))
        return Estimate(SURE * expected, expected, expected / SURE, bound, bound_names(roofs), traffic)


def create(target: Target, calibrated: CalibratedTarget | None) -> CostModel:
    """What the tier's name stands for; a model that learns would look at ``calibrated``."""
    return RampedRoofline()


register_cost_model(RampedRoofline.name, create)


def main(folder: Path) -> None:
    """Predict a small network with both models."""
    import onnx

    import edgec
    from edgec.costmodel.predict import predict
    from edgec.costmodel.targets import load_target

    path = folder / "network.onnx"
    text = """<ir_version: 10, opset_import: ["" : 18]> network (float[16,64] x) => (float[16,64] y) {
        shape = Constant <value = int64[2] {64, 64}> ()  filled = ConstantOfShape (shape)
        first = MatMul (x, filled)  active = Relu (first)  y = MatMul (active, filled) }"""
    onnx.save(onnx.parser.parse_model(text), path)
    for tier in ("spec", RampedRoofline.name):
        found = predict(edgec.load(path), load_target("x86-avx2"), tier=tier)
        print(f"{tier:16s} {found.seconds[1] * 1e6:8.3f} µs")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("."))
