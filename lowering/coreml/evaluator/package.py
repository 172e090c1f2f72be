"""Opens a saved Core ML package and evaluates it off the device."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ....ir.diagnostics import Diagnostic, did_you_mean
from ...backend import E_NOT_INSTALLED
from ...signature import Signature, TensorSpec
from .errors import E_FLEXIBLE, damaged
from .machine import Builder, Machine, Program
from .values import Constants, Declared, declared

_OPSETS = {"CoreML5": 15, "CoreML6": 16, "CoreML7": 17, "CoreML8": 18, "CoreML9": 18}


@dataclass(frozen=True)
class Flexible:
    """The sizes that one input admits beside its default.

    Attributes:
        ranges: per axis the smallest and the greatest size, None for no upper bound; empty when shapes are enumerated.
        shapes: the enumerated shapes.
    """

    ranges: tuple[tuple[int, int | None], ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether an input may have this shape."""
        if self.shapes:
            return shape in self.shapes
        return len(shape) == len(self.ranges) and all(
            low <= n and (high is None or n <= high) for n, (low, high) in zip(shape, self.ranges, strict=True)
        )

    def __str__(self) -> str:
        if self.shapes:
            return " or ".join(str(list(shape)) for shape in self.shapes)
        return "[" + ", ".join(str(low) if low == high else f"{low}..{'' if high is None else high}" for low, high in self.ranges) + "]"


@dataclass(frozen=True)
class PackageSignature(Signature):
    """What a function of a package takes, gives and keeps.

    Attributes:
        states: the states with their element types and shapes.
        flexible: by input, the shapes it admits, when it admits several.
        images: names of inputs that the device takes as images; the evaluator takes their pixels as the tensor that the program declares.
    """

    states: tuple[TensorSpec, ...] = ()
    flexible: Mapping[str, Flexible] = field(default_factory=dict)
    images: tuple[str, ...] = ()


class PackageEvaluator:
    """Evaluates a function of a saved ``.mlpackage``, operator by operator, from its protobuf specification and weight files alone.

    States start as zeros and live as long as the evaluator (or until `reset`).

    Attributes:
        signature: inputs, outputs and states.
        opset: the iOS version (15 to 18) whose operator definitions the function uses.
        functions: the names of the package's functions.
    """

    def __init__(self, path: str | Path, function: str | None = None) -> None:
        """Open a package.

        Args:
            path: the ``.mlpackage`` folder.
            function: the function to evaluate; the package's default one (``main`` when there is only one) when None.

        Raises:
            Diagnostic: E0503 when coremltools is not installed, E0540 for a package that cannot be read, E0541 for an operator without
                an evaluation.
        """
        self._path = Path(path)
        spec = _specification(self._path)
        main = spec.mlProgram
        self.functions: tuple[str, ...] = tuple(sorted(main.functions))
        name = function or spec.description.defaultFunctionName or "main"
        if name not in main.functions:
            raise damaged(f"the package has no function '{name}'", str(path), did_you_mean(name, list(self.functions)))
        message = main.functions[name]
        if message.opset not in _OPSETS or message.opset not in message.block_specializations:
            raise damaged(f"the operator set '{message.opset}' is not known", str(path), hint="")
        self.function = name
        self.opset = _OPSETS[message.opset]
        constants = Constants(_data(self._path) / "weights")
        self._types = {v.name: declared(v.type) for v in message.inputs}
        self._program = Builder(constants).block(message.block_specializations[message.opset], message.inputs)
        self.signature = self._signature(_features(spec, name))
        self._states: dict[str, Any] = {}
        self.reset()

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs by name.

        Args:
            feeds: an array per input, of the declared element type.

        Raises:
            Diagnostic: E0601–E0603 and E0544 for wrong feeds, E0541–E0543 for operations that cannot be evaluated.
        """
        return self._run(feeds, frozenset())[0]

    def tensors(self, feeds: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """Intermediate values by name, as the program computes them; of a loop's values the last ones. States advance as in `run`.

        Raises:
            Diagnostic: as `run`; E0540 for a name that the program does not have or does not reach.
        """
        wanted = frozenset(names)
        kept = self._run(feeds, wanted)[1]
        missing = sorted(wanted - kept.keys())
        if missing:
            raise damaged(f"the program computes no value '{missing[0]}'", str(self._path), did_you_mean(missing[0], self.value_names()))
        return kept

    def value_names(self) -> list[str]:
        """The names of every value that the function's outermost block computes, in order, constants excepted."""
        return [name for step in self._program.steps if not step.constant for name, _ in step.outputs]

    def operations(self) -> list[str]:
        """The operator types of the function in order, nested blocks included, constants excepted."""
        return list(_types(self._program))

    @property
    def states(self) -> dict[str, Any]:
        """Copies of the states by name."""
        return {name: value.copy() for name, value in self._states.items()}

    def reset(self) -> None:
        """Set every state to zeros, as a new session on the device does."""
        for name, type_ in self._types.items():
            if type_.kind == "state" and type_.element is not None:
                self._states[name] = np.zeros([n or 0 for n in type_.shape or ()], type_.element.stored)

    def _run(self, feeds: Mapping[str, Any], watch: frozenset[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        checked = self.signature.check(feeds, str(self._path))
        for name, flexible in self.signature.flexible.items():
            if not flexible.admits(checked[name].shape):
                message = f"input '{name}' has shape {list(checked[name].shape)}, the package admits {flexible}"
                raise Diagnostic(E_FLEXIBLE, message, str(self._path))
        machine = Machine(self.opset, dict(self._states), watch)
        values = [None if type_.kind == "state" else checked[name] for name, type_ in self._program.inputs]
        results = machine.run(self._program, values)
        self._states = machine.states
        return dict(zip(self._program.outputs, results, strict=True)), machine.kept

    def _signature(self, features: _Features) -> PackageSignature:
        described = {f.name: f for f in features.inputs}
        inputs, states, flexible, images = [], [], {}, []
        for name, type_ in self._types.items():
            if type_.kind == "state":
                states.append(_tensor_spec(name, type_))
                continue
            if name not in described:
                raise damaged(f"the program's input '{name}' is not described", str(self._path))
            inputs.append(_tensor_spec(name, type_))
            feature = described.pop(name)
            if feature.type.WhichOneof("Type") == "imageType":
                images.append(name)
            sizes = _flexible(feature.type, type_)
            if sizes is not None:
                flexible[name] = sizes
        unknown = [name for name in described if name not in self._types]
        if unknown:
            raise damaged(f"the described input '{unknown[0]}' is not one of the program's", str(self._path))
        types = {name: type_ for step in self._program.steps for name, type_ in step.outputs} | self._types
        missing = [name for name in self._program.outputs if name not in types]
        missing += [f.name for f in features.outputs if f.name not in self._program.outputs]
        if missing:
            raise damaged(f"the output '{missing[0]}' is not computed", str(self._path))
        outputs = [_tensor_spec(name, types[name]) for name in self._program.outputs]
        return PackageSignature(tuple(inputs), tuple(outputs), tuple(states), flexible, tuple(images))


@dataclass(frozen=True)
class _Features:
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def _features(spec: Any, function: str) -> _Features:
    """The descriptions of a function's inputs and outputs."""
    for described in spec.description.functions:
        if described.name == function:
            return _Features(tuple(described.input), tuple(described.output))
    return _Features(tuple(spec.description.input), tuple(spec.description.output))


def _data(path: Path) -> Path:
    """The folder of the package's model and weights, found through its manifest; `Diagnostic` E0540 when there is none."""
    try:
        manifest = json.loads((path / "Manifest.json").read_text("utf-8"))
        item = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]
        return (path / "Data" / item["path"]).parent
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(f"the package's manifest cannot be read: {error}", str(path)) from None


def _specification(path: Path) -> Any:
    """The package's Model message; `Diagnostic` E0540 when it cannot be read or is not an ML Program."""
    message = _message()
    try:
        raw = next(iter(sorted(_data(path).glob("*.mlmodel")))).read_bytes()
        message.ParseFromString(raw)
    except StopIteration:
        raise damaged("the package holds no model", str(path)) from None
    except Exception as error:  # protobuf's DecodeError is not importable without the library's internals
        raise damaged(f"the specification does not parse: {error}", str(path)) from None
    if message.WhichOneof("Type") != "mlProgram":
        raise damaged(f"the model is not an ML Program but {message.WhichOneof('Type')}", str(path), hint="")
    return message


def _message() -> Any:
    logger = logging.getLogger("coremltools")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)  # importing it off macOS warns of versions that do not matter here
        proto: Any = import_module("coremltools.proto.Model_pb2")
    except ImportError:
        raise Diagnostic(E_NOT_INSTALLED, "evaluating a Core ML package needs coremltools", hint="pip install 'edgec[coreml]'") from None
    finally:
        logger.setLevel(level)
    return proto.Model()


def _tensor_spec(name: str, type_: Declared) -> TensorSpec:
    if type_.element is None:
        return TensorSpec(name, None, None, "unknown")
    shape = None if type_.shape is None else tuple(f"{name}_{axis}" if n is None else n for axis, n in enumerate(type_.shape))
    return TensorSpec(name, type_.element.dtype, shape, "tensor" if type_.kind != "list" else "sequence")


def _flexible(feature: Any, type_: Declared) -> Flexible | None:
    """The sizes that a described input admits beside its default one; None when there is only that."""
    if feature.WhichOneof("Type") == "imageType":
        return _flexible_image(feature.imageType, type_)
    array = feature.multiArrayType
    kind = array.WhichOneof("ShapeFlexibility")
    if kind == "enumeratedShapes":
        return Flexible(shapes=tuple(tuple(s.shape) for s in array.enumeratedShapes.shapes))
    if kind == "shapeRange":
        return Flexible(tuple(_bounds(r) for r in array.shapeRange.sizeRanges))
    return None


def _flexible_image(image: Any, type_: Declared) -> Flexible | None:
    batch, channels = (1 if n is None else n for n in (type_.shape or (None, None))[:2])
    kind = image.WhichOneof("SizeFlexibility")
    if kind == "enumeratedSizes":
        return Flexible(shapes=tuple((batch, channels, s.height, s.width) for s in image.enumeratedSizes.sizes))
    if kind == "imageSizeRange":
        sizes = image.imageSizeRange
        return Flexible(((batch, batch), (channels, channels), _bounds(sizes.heightRange), _bounds(sizes.widthRange)))
    return None


def _bounds(message: Any) -> tuple[int, int | None]:
    return int(message.lowerBound), None if message.upperBound < 0 else int(message.upperBound)


def _types(program: Program) -> Iterator[str]:
    for step in program.steps:
        if not step.constant:
            yield step.type
        for block in step.blocks:
            yield from _types(block)
