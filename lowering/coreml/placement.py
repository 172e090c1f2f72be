"""Where Core ML will probably run each operator: Neural Engine, GPU or CPU.

Off the device this is an estimate by rules, each with its source; on macOS `measured` reads Core ML's own plan instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

APPLE_PRECISION = "coremltools guide, Typed Execution: the Neural Engine computes in float16"
APPLE_FLEXIBLE = "coremltools guide, Flexible Input Shapes: ranges of sizes run on CPU and GPU, enumerated shapes also on the Neural Engine"
APPLE_TRANSFORMERS = "Apple Machine Learning Research, Deploying Transformers on the Apple Neural Engine (2022)"
APPLE_STATES = "coremltools guide, Stateful Models: states are supported on all compute units since iOS18"
COMMUNITY = "community measurements of which layers leave the Neural Engine (hollance/neural-engine)"

_CPU_ONLY = {
    "non_zero": "the size of its result depends on the data",
    "non_maximum_suppression": "its result depends on the data step by step",
    "while_loop": "control flow runs on the CPU",
    "cond": "control flow runs on the CPU",
    "lstm": "recurrent layers leave the Neural Engine",
    "gru": "recurrent layers leave the Neural Engine",
    "rnn": "recurrent layers leave the Neural Engine",
    "argsort": "sorting runs on the CPU",
    "topk": "sorting runs on the CPU",
    "reverse_sequence": "its indices depend on the data",
    "range_1d": "it computes indices",
    "shape": "it reads sizes",
}
_GPU_ONLY = {
    "gather": "taking elements by index leaves the Neural Engine",
    "gather_nd": "taking elements by index leaves the Neural Engine",
    "gather_along_axis": "taking elements by index leaves the Neural Engine",
    "scatter": "placing elements by index leaves the Neural Engine",
    "scatter_nd": "placing elements by index leaves the Neural Engine",
    "scatter_along_axis": "placing elements by index leaves the Neural Engine",
    "cumsum": "sums along an axis leave the Neural Engine",
    "resample": "sampling at computed positions leaves the Neural Engine",
    "crop_resize": "sampling at computed positions leaves the Neural Engine",
}
_FREE = ("const", "identity")
_WIDEST = 16384
_LARGEST_KERNEL = 13


@dataclass(frozen=True)
class Placement:
    """One operator.

    Attributes:
        name: the operator's first result.
        op: its MIL type.
        unit: ``ane``, ``gpu`` or ``cpu``.
        reason: why not the Neural Engine; empty when it is.
        source: where the rule comes from.
    """

    name: str
    op: str
    unit: str
    reason: str = ""
    source: str = ""

    def to_json(self) -> dict[str, str]:
        """The same facts as plain data."""
        facts = {"name": self.name, "op": self.op, "unit": self.unit}
        return facts | ({"reason": self.reason, "source": self.source} if self.reason else {})


def predict(spec: Any, ranged: bool) -> list[Placement]:
    """An estimate for every operator of the main function.

    Args:
        spec: the specification of an ML program.
        ranged: whether sizes of inputs are ranges.
    """
    function = spec.mlProgram.functions["main"]
    block = next(iter(function.block_specializations.values()))
    constants: dict[str, Any] = {}
    found = []
    for operation in block.operations:
        if operation.type == "const":
            constants[operation.outputs[0].name] = operation.attributes["val"]
        elif operation.type not in _FREE and not operation.type.startswith("constexpr_"):
            found.append(_placement(operation, constants, ranged))
    return found


def _placement(operation: Any, constants: Mapping[str, Any], ranged: bool) -> Placement:
    name = operation.outputs[0].name if operation.outputs else ""
    for unit, reason, source in _objections(operation, constants, ranged):
        return Placement(name, operation.type, unit, reason, source)
    return Placement(name, operation.type, "ane")


def _objections(operation: Any, constants: Mapping[str, Any], ranged: bool) -> Iterator[tuple[str, str, str]]:
    """What keeps an operator off the Neural Engine, the weightiest first."""
    kind = operation.type
    if kind in _CPU_ONLY:
        yield "cpu", _CPU_ONLY[kind], COMMUNITY
    dtypes, shapes = _types(operation)
    if any(d in ("INT32", "BOOL", "STRING") for d in dtypes) and not any(d in ("FLOAT16", "FLOAT32") for d in dtypes):
        yield "cpu", "it computes integers or truth values", APPLE_PRECISION
    if any(d == "FLOAT32" for d in dtypes):
        yield "gpu", "it computes in float32", APPLE_PRECISION
    if ranged:
        yield "gpu", "sizes of inputs are ranges", APPLE_FLEXIBLE
    if kind in _GPU_ONLY:
        yield "gpu", _GPU_ONLY[kind], COMMUNITY
    if any(len(shape) > 4 for shape in shapes):
        yield "gpu", "more than four dimensions", APPLE_TRANSFORMERS
    widest = max((d for shape in shapes for d in shape), default=0)
    if widest > _WIDEST:
        yield "gpu", f"a dimension of {widest} elements", COMMUNITY
    if kind in ("conv", "conv_transpose"):
        dilations = _ints(operation, "dilations", constants)
        if any(d > 1 for d in dilations):
            yield "gpu", "a dilated convolution", COMMUNITY
    if kind in ("max_pool", "avg_pool"):
        sizes = _ints(operation, "kernel_sizes", constants)
        if any(size > _LARGEST_KERNEL for size in sizes):
            yield "gpu", f"a pooling window of {max(sizes)} elements", COMMUNITY


def _types(operation: Any) -> tuple[list[str], list[list[int]]]:
    """Element types and known sizes of the results."""
    dtypes, shapes = [], []
    for output in operation.outputs:
        tensor = output.type.tensorType
        descriptor = tensor.DESCRIPTOR.fields_by_name["dataType"].enum_type
        dtypes.append(descriptor.values_by_number[tensor.dataType].name)
        shapes.append([int(d.constant.size) for d in tensor.dimensions if d.WhichOneof("dimension") == "constant"])
    return dtypes, shapes


def _ints(operation: Any, parameter: str, constants: Mapping[str, Any]) -> list[int]:
    """The elements of a constant integer parameter; empty when it is absent."""
    if parameter not in operation.inputs:
        return []
    binding = operation.inputs[parameter].arguments[0]
    value = binding.value if binding.WhichOneof("binding") == "value" else constants.get(binding.name)
    if value is None:
        return []
    return list(value.immediateValue.tensor.ints.values)


def summary(placements: Sequence[Placement]) -> dict[str, Any]:
    """Counts by unit, changes of the unit along the program, and the reasons with their counts."""
    counts = {unit: sum(p.unit == unit for p in placements) for unit in ("ane", "gpu", "cpu")}
    reasons: dict[str, int] = {}
    for p in placements:
        if p.reason:
            key = f"{p.unit}: {p.reason} [{p.source}]"
            reasons[key] = reasons.get(key, 0) + 1
    switches = sum(a.unit != b.unit for a, b in zip(placements, placements[1:], strict=False))
    ordered = dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))
    return {"estimate": True, "operators": counts, "switches": switches, "reasons": ordered}


def measured(package: Path, units: str = "ALL") -> list[Placement]:
    """Core ML's own plan for a compiled package; it exists on macOS 14.4 and newer alone.

    Args:
        package: the ``.mlmodelc`` folder that ``coremltools.models.utils.compile_model`` makes of a package.
        units: a name of ``coremltools.ComputeUnit``.
    """
    import coremltools
    from coremltools.models.compute_plan import MLComputePlan

    plan = MLComputePlan.load_from_path(str(package), compute_units=coremltools.ComputeUnit[units])
    program = plan.model_structure.program
    found = []
    for operation in program.functions["main"].block.operations if program is not None else ():
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        if usage is None:
            continue
        unit = _UNITS.get(type(usage.preferred_compute_device).__name__, "cpu")
        cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
        reason = "" if cost is None or not math.isfinite(cost.weight) else f"share of the cost {cost.weight:.4f}"
        name = operation.outputs[0].name if operation.outputs else ""
        found.append(Placement(name, operation.operator_name, unit, reason, "MLComputePlan"))
    return found


_UNITS = {"MLNeuralEngineComputeDevice": "ane", "MLGPUComputeDevice": "gpu", "MLCPUComputeDevice": "cpu"}
