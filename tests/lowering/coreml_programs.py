"""Small ML Programs, built with coremltools and saved as packages, for the tests of the package evaluator."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder
from coremltools.converters.mil.mil import Function, Program, types

from edgec.lowering.coreml.evaluator import PackageEvaluator

mb: Any = Builder  # its operators are attributes that appear when they are registered
TARGETS = {15: ct.target.iOS15, 16: ct.target.iOS16, 17: ct.target.iOS17, 18: ct.target.iOS18}


def placeholder(array: np.ndarray) -> Any:
    """An input for arrays like this one (bool comes in as int32, which programs must convert)."""
    return mb.placeholder(shape=array.shape, dtype=types.numpy_type_to_builtin_type(array.dtype))


def save(build: Callable[..., Any], inputs: Mapping[str, Any], folder: Path, opset: int = 17) -> Path:
    """Save the program that ``build`` makes of its inputs, without coremltools' passes.

    Args:
        build: takes the inputs by name and returns one variable or several.
        inputs: placeholders, or arrays for placeholders like them.
        folder: where the package goes.
        opset: the iOS version.
    """
    program = Program()
    specs = {key: placeholder(v) if isinstance(v, np.ndarray) else v for key, v in inputs.items()}
    with Function(specs, opset_version=TARGETS[opset]) as function:
        outputs = build(**function.inputs)
        function.set_outputs(list(outputs) if isinstance(outputs, list | tuple) else [outputs])
        program.add_function("main", function)
    path = folder / "model.mlpackage"
    passes: Any = ct.PassPipeline.EMPTY
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = ct.convert(
            program,
            source="milinternal",
            convert_to="mlprogram",
            minimum_deployment_target=TARGETS[opset],
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=passes,
            skip_model_load=True,
        )
        model.save(str(path))
    return path


def evaluate(build: Callable[..., Any], arrays: Mapping[str, np.ndarray], folder: Path, opset: int = 17) -> list[np.ndarray]:
    """The outputs of the saved program for these inputs, in their order."""
    evaluator = PackageEvaluator(save(build, arrays, folder, opset))
    return list(evaluator.run(arrays).values())


def random(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Uniform float32 values."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def spec_of(path: Path) -> Any:
    """The saved specification."""
    return ct.utils.load_spec(str(path))


def rewrite(path: Path, spec: Any) -> Path:
    """Write a changed specification back into its package."""
    model = next(path.glob("Data/*/*.mlmodel"))
    model.write_bytes(spec.SerializeToString())
    return path


def only_block(spec: Any) -> Any:
    """The outermost block of ``main``."""
    return next(iter(spec.mlProgram.functions["main"].block_specializations.values()))
