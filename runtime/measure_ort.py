"""ONNX Runtime as something to time: one session, its bound inputs, and the schedule of the kernels that it runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..costmodel.ort_graph import E_OPTIMIZED
from ..costmodel.schedule import Schedule, build_schedule
from ..ir.diagnostics import Diagnostic
from ..ir.model import Model
from ..lowering.ort.engine import to_ort
from .measure_subject import Subject, bindings_of

LEVELS = {"all": "ORT_ENABLE_ALL", "extended": "ORT_ENABLE_EXTENDED", "basic": "ORT_ENABLE_BASIC", "disable": "ORT_DISABLE_ALL"}


def ort_subject(
    source: bytes | str | Path,
    feeds: Mapping[str, Any],
    threads: int = 1,
    level: str = "all",
    profile: Path | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Subject:
    """A loaded model with bound inputs.

    Args:
        source: a serialised ONNX model or the path of one.
        feeds: arrays by input name.
        threads: within one operator.
        level: how far the runtime optimises, one of `LEVELS`.
        profile: where the runtime writes its own profile, as the beginning of a file name; None for no profile.
        sizes: values for symbolic dimensions, which the runtime then takes as constant.

    Raises:
        Diagnostic: E1017 when the runtime refuses the model, and what reading its optimised graph raises.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])
    for name, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(name, size)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(written)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "optimized.data")
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
        try:
            session = onnxruntime.InferenceSession(
                source if isinstance(source, bytes) else str(source), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime raises many kinds without a common root
            place = "" if isinstance(source, bytes) else str(source)
            raise Diagnostic(E_OPTIMIZED, str(error).strip().splitlines()[0], place) from error
        from ..ir.serial.reader import read_model

        model = read_model(written)
        schedule = schedule_of(model)
    outputs = len(session.get_outputs())
    return Subject(_bound(session, feeds), schedule, bindings_of(model.graph, feeds), model, session, outputs, dict(sizes or {}))


def schedule_of(model: Model) -> Schedule:
    """The kernels of an optimised graph: quantisation that is still there really runs."""
    return build_schedule(model.graph, fold_quantization=False)


def _bound(session: Any, feeds: Mapping[str, Any]) -> Callable[[], None]:
    """One run with inputs in place and outputs in the runtime's own memory."""
    binding = session.io_binding()
    held = {name: to_ort(value) for name, value in feeds.items()}
    for item in session.get_inputs():
        binding.bind_ortvalue_input(item.name, held[item.name])
    for item in session.get_outputs():
        binding.bind_output(item.name, "cpu")

    def run() -> None:
        session.run_with_iobinding(binding)

    return run
