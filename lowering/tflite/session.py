"""A TFLite artifact, loaded into LiteRT's interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...ir.diagnostics import Diagnostic
from ..backend import E_LOAD, E_RUN, Session
from ..signature import Signature
from ..wide_floats import check_range
from .quiet import Printed, quiet_stderr


class TfLiteSession(Session):
    """A .tflite file behind its public signature; tensors are paired with names by position."""

    def __init__(self, path: Path, signature: Signature, options: Mapping[str, Any], narrowed: bool = False) -> None:
        """Load the model at ``path``.

        Args:
            path: the .tflite file.
            signature: the public inputs and outputs.
            options: those of the backend.
            narrowed: whether float64 is computed in float32, so that inputs have to fit.

        Raises:
            Diagnostic: E0504 when the runtime rejects the model.
        """
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self.signature, self._narrowed = signature, narrowed
        kernels = OpResolverType.AUTO if options["xnnpack"] else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        printed = Printed()
        try:
            with quiet_stderr(printed):
                self._interpreter = Interpreter(
                    model_path=str(path), num_threads=options["threads"] or 1, experimental_op_resolver_type=kernels
                )
                if not self._sizes_vary():
                    self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            notes = [str(error)[:2000], *printed.lines()]
            raise Diagnostic(E_LOAD, "LiteRT does not load the model", path.name, notes=notes) from error
        details = [*self._interpreter.get_input_details(), *self._interpreter.get_output_details()]
        self._inputs = [d["index"] for d in details[: len(signature.inputs)]]
        self._outputs = [d["index"] for d in details[len(signature.inputs) :]]
        fixed = [tuple(int(n) for n in d["shape"]) for d in details[: len(signature.inputs)]]
        self._shapes = None if self._sizes_vary() else fixed

    def _sizes_vary(self) -> bool:
        """Whether tensors are allocated for the sizes of each run: other sizes than those need not fit together."""
        return any(d["shape_signature"].size and d["shape_signature"].min() < 0 for d in self._interpreter.get_input_details())

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name; see `Session.run`."""
        arrays = [np.asarray(a) for a in self.signature.check(feeds).values()]
        if self._narrowed:
            for spec, array in zip(self.signature.inputs, arrays, strict=True):
                check_range(array, spec.name, "LiteRT")
        interpreter = self._interpreter
        printed = Printed()
        try:
            with quiet_stderr(printed):
                if [a.shape for a in arrays] != self._shapes:
                    for index, array in zip(self._inputs, arrays, strict=True):
                        interpreter.resize_tensor_input(index, array.shape, strict=True)
                    interpreter.allocate_tensors()
                    self._shapes = [a.shape for a in arrays]
                for index, array in zip(self._inputs, arrays, strict=True):
                    interpreter.set_tensor(index, array)
                interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            self._shapes = None
            hint = "check that the sizes of the inputs fit together"
            notes = [str(error)[:2000], *printed.lines()]
            raise Diagnostic(E_RUN, "LiteRT stopped while running", hint=hint, notes=notes) from error
        results = [interpreter.get_tensor(index) for index in self._outputs]
        return {spec.name: array for spec, array in zip(self.signature.outputs, results, strict=True)}
