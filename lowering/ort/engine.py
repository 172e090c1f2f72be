"""One ONNX Runtime session with every ONNX element type at its boundary and diagnostics in place of its
exceptions.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.data import pack, unpack
from ...ir.diagnostics import Diagnostic, did_you_mean
from ...ir.dtypes import DType
from ..backend import E_LOAD, E_OPTION, E_RUN

LEVELS = ("disable", "basic", "extended", "layout", "all")
_LEVEL_NAMES = {
    "disable": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT", "all": "ORT_ENABLE_ALL",
}  # fmt: skip
_UNUSUAL = ("bfloat16", "float8", "float4", "float6", "int4", "int2")
_NODE_PATTERNS = (
    re.compile(r"running (?P<op>\S+) node\. Name:'(?P<name>[^']*)'"),
    re.compile(r"implementation for (?P<op>[\w.]+)\(\d+\) node with name '(?P<name>[^']*)'"),
    re.compile(r"Node \((?P<name>[^)]*)\) Op \((?P<op>[^)]*)\)"),
    re.compile(r"operator \((?P<op>[^)]*)\) in node \((?P<name>[^)]*)\)"),
    re.compile(r"In Node, \(\"(?P<name>[^\"]*)\", (?P<op>\w+)"),
    re.compile(r"Error in Node:\s?(?P<name>\S+)"),
    re.compile(r"Node:(?P<name>\S+) Output:"),
)


class Engine:
    """A model loaded in ONNX Runtime on the CPU.

    Attributes:
        input_types: the runtime's type by input name, such as ``tensor(float)``.
        output_types: likewise for the outputs, in their order.
    """

    def __init__(
        self,
        model: bytes | Path,
        *,
        level: str = "all",
        threads: int | None = None,
        libraries: Sequence[str | Path] = (),
        data_folder: Path | None = None,
        where: str = "",
    ) -> None:
        """Load a model.

        Args:
            model: a serialised model, or the path of one.
            level: graph optimisation level, one of `LEVELS`; ``disable`` gives the numeric oracle.
            threads: threads within one operator (None: the runtime decides).
            libraries: shared libraries with custom operators.
            data_folder: where external weights of a model given as bytes lie.
            where: what diagnostics name.

        Raises:
            Diagnostic: E0504 when the runtime rejects the model or a library, E0506 for an unknown level.
        """
        import onnxruntime

        if level not in LEVELS:
            raise Diagnostic(E_OPTION, f"there is no optimisation level '{level}'", hint=did_you_mean(level, list(LEVELS)))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.inter_op_num_threads = 1
        if threads is not None:
            options.intra_op_num_threads = threads
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVEL_NAMES[level])
        if level == "disable":
            options.add_session_config_entry("session.disable_prepacking", "1")
        if data_folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(data_folder))
        self.where = where or (str(model) if isinstance(model, Path) else "")
        for library in libraries:
            try:
                options.register_custom_ops_library(str(library))
                ctypes.CDLL(str(library))  # stays loaded: some libraries crash when they are loaded again after their last session
            except Exception as error:
                hint = "build it against the installed onnxruntime and name an existing shared library"
                raise Diagnostic(E_LOAD, "a custom operator library does not load", str(library), hint, _notes(error)) from error
        source = str(model) if isinstance(model, Path) else model
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise Diagnostic(
                E_LOAD, f"ONNX Runtime does not load the model: {_summary(error)}", _place(error, self.where), notes=_notes(error)
            ) from error
        self.input_types = {item.name: item.type for item in self._session.get_inputs()}
        self.output_types = {item.name: item.type for item in self._session.get_outputs()}

    def run(self, feeds: Mapping[str, Any], names: Sequence[str] | None = None) -> dict[str, Any]:
        """Outputs by name: arrays, lists of arrays for sequences, None for an absent optional.

        Args:
            feeds: arrays of exactly the declared element types.
            names: the outputs wanted (default: all).

        Raises:
            Diagnostic: E0505 naming the node at which the runtime stopped.
        """
        wanted = list(self.output_types) if names is None else list(names)
        types = [*self.input_types.values(), *(self.output_types[name] for name in wanted)]
        try:
            if any(unusual in type_ for type_ in types for unusual in _UNUSUAL):
                values = self._session.run_with_ort_values(wanted, {name: to_ort(value) for name, value in feeds.items()})
                results = [from_ort(value) for value in values]
            else:
                results = self._session.run(wanted, dict(feeds))
        except Exception as error:
            hint = "check that the sizes of the inputs fit together"
            raise Diagnostic(E_RUN, f"ONNX Runtime stopped: {_summary(error)}", _place(error, self.where), hint, _notes(error)) from error
        return dict(zip(wanted, (_plain(item) for item in results), strict=True))


def to_ort(value: Any) -> Any:
    """An OrtValue that holds an array of any ONNX element type (numpy-less ones travel as their packed
    bytes).
    """
    import onnxruntime

    array = np.asarray(value)
    dtype = DType.from_numpy(array.dtype)
    if array.dtype.kind != "V" and dtype.bits >= 8 and not _is_ml(array.dtype):
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    packed = bytes(pack(array, dtype))
    result = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), dtype.code, "cpu")
    ctypes.memmove(result.data_ptr(), packed, len(packed))
    return result


def from_ort(value: Any) -> Any:
    """The array in an OrtValue."""
    if not value.has_value():
        return None
    if not value.is_tensor():
        return value.numpy()
    dtype = DType.from_code(value.element_type())
    shape = tuple(value.shape())
    if dtype is DType.STRING or dtype.bits >= 8 and not _is_ml(dtype.numpy):
        return value.numpy()
    raw = ctypes.string_at(value.data_ptr(), dtype.nbytes(int(np.prod(shape, dtype=np.int64))))
    return np.array(unpack(raw, dtype, shape))


def _is_ml(dtype: np.dtype[Any]) -> bool:
    return dtype.type.__module__.startswith("ml_dtypes")


def _plain(item: Any) -> Any:
    return np.asarray(item) if isinstance(item, np.generic) else item


def _summary(error: Exception) -> str:
    text = str(error)
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"\S*onnxruntime/\S+\.(?:cc|h):\d+ .*?\) ?(?=\S)", "", text, count=1)
    line = next((part.strip() for part in text.splitlines() if part.strip()), type(error).__name__)
    return line if len(line) <= 300 else line[:297] + "..."


def _notes(error: Exception) -> list[str]:
    text = str(error).strip()
    return [text if len(text) <= 2000 else text[:1997] + "..."] if text else []


def _place(error: Exception, fallback: str) -> str:
    text = str(error)
    for pattern in _NODE_PATTERNS:
        match = pattern.search(text)
        if match and match["name"]:
            operator = match.groupdict().get("op")
            return f"node '{match['name']}'" + (f" ({operator})" if operator else "")
    return fallback
