"""Executes the blocks of an ML Program.

Every operator whose operands or results are 16-bit floats is evaluated in float32 on the exact values of its operands, and its result is
rounded to float16 once, to nearest even; values beyond 65504 become infinite. Only softmax rounds every step. A device may add in float16
or keep float32 between operators that it fuses, so its results differ from these in the last bits of float16.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....ir.diagnostics import Diagnostic, did_you_mean
from .errors import E_DECLARED, E_EVALUATION, E_OPERATOR, Undefined, damaged
from .registry import STRUCTURAL, Call, Operator, operators
from .values import Constants, Declared, declared

_HALF = np.dtype(np.float16)


@dataclass(frozen=True)
class Binding:
    """One operand: the name of a value, or a constant; ``fixed`` when it is the same in every run."""

    name: str
    value: Any = None
    fixed: bool = False


@dataclass
class Step:
    """One operation, ready to run.

    Attributes:
        type: the operator's name.
        where: how diagnostics name it.
        operator: its evaluation; None for the structural ones.
        operands: by parameter, one or several bindings.
        outputs: names and declared types of the results.
        blocks: nested blocks of control flow.
        constant: whether its results depend on constants alone.
        drops: names that no later operation of the block reads.
        cache: constant results, and constant operands widened to float32.
    """

    type: str
    where: str
    operator: Operator | None
    operands: dict[str, list[Binding]]
    outputs: list[tuple[str, Declared]]
    blocks: list[Program]
    constant: bool = False
    drops: tuple[str, ...] = ()
    cache: dict[Any, Any] = field(default_factory=dict)


@dataclass
class Program:
    """A block: its inputs, its operations in order, the names that it gives."""

    inputs: list[tuple[str, Declared]]
    steps: list[Step]
    outputs: list[str]

    def reads(self) -> set[str]:
        """Every name that the block or a block inside reads."""
        names = set(self.outputs)
        for step in self.steps:
            names |= step_reads(step)
        return names


def step_reads(step: Step) -> set[str]:
    """Every name that an operation reads, also inside its blocks."""
    names = {b.name for bindings in step.operands.values() for b in bindings if b.name}
    for block in step.blocks:
        names |= block.reads()
    return names


class Builder:
    """Turns protobuf blocks into steps; constants are read when they are first used."""

    def __init__(self, constants: Constants) -> None:
        self._constants = constants
        self._fixed: set[str] = set()

    def block(self, message: Any, inputs: Iterable[Any]) -> Program:
        """Prepare a block.

        Args:
            message: the Block message.
            inputs: its NamedValueType messages (a function's, for its outermost block).

        Raises:
            Diagnostic: E0540 for damage, E0541 naming every operator that cannot be evaluated.
        """
        program = Program([(v.name, declared(v.type)) for v in inputs], [self._step(o) for o in message.operations], list(message.outputs))
        alive = set(program.outputs)
        for step in reversed(program.steps):
            used = step_reads(step) | {name for name, _ in step.outputs}
            step.drops = tuple(sorted(used - alive))
            alive |= used
        made = {name for step in program.steps for name, _ in step.outputs} | {name for name, _ in program.inputs}
        for step in program.steps:
            step.drops = tuple(name for name in step.drops if name in made)
        return program

    def _step(self, message: Any) -> Step:
        name = message.outputs[0].name if message.outputs else ""
        where = f"operation '{name}' ({message.type})" if name else f"operation {message.type}"
        known = operators().get(message.type)
        if known is None and message.type not in STRUCTURAL:
            raise _unknown(message.type, where)
        operands = {key: [self._binding(b) for b in argument.arguments] for key, argument in message.inputs.items()}
        for key, value in message.attributes.items():
            if key != "name" and message.type != "const":
                operands[key] = [Binding("", _Lazy(self._constants, value), True)]
        outputs = [(v.name, declared(v.type)) for v in message.outputs]
        blocks = [self.block(b, b.inputs) for b in message.blocks]
        step = Step(message.type, where, known, operands, outputs, blocks)
        if message.type == "const":
            if "val" not in message.attributes:
                raise damaged("a constant has no value", where)
            step.operands = {"val": [Binding("", _Lazy(self._constants, message.attributes["val"]))]}
        elif known is not None:
            _check_parameters(step, known)
        step.constant = step.type == "const" or (step.type.startswith("constexpr_") and step_reads(step) <= self._fixed)
        if step.constant:
            self._fixed |= {name for name, _ in outputs}
        return step

    def _binding(self, message: Any) -> Binding:
        if message.WhichOneof("binding") == "name":
            return Binding(message.name, None, message.name in self._fixed)
        return Binding("", _Lazy(self._constants, message.value), True)


class _Lazy:
    """A constant that is decoded when it is first needed."""

    def __init__(self, constants: Constants, message: Any) -> None:
        self._constants, self._message, self._value, self._read = constants, message, None, False

    def get(self) -> Any:
        if not self._read:
            self._value, self._read = self._constants.read(self._message), True
        return self._value


def _unknown(name: str, where: str) -> Diagnostic:
    hint = did_you_mean(name, sorted(operators()))
    return Diagnostic(E_OPERATOR, f"the operator {name} cannot be evaluated", where, hint if hint.startswith("did") else "")


def _check_parameters(step: Step, known: Operator) -> None:
    extra = sorted(set(step.operands) - known.parameters)
    if extra:
        raise Diagnostic(E_OPERATOR, f"the operand '{extra[0]}' of {step.type} cannot be evaluated", step.where)
    missing = sorted(known.required - set(step.operands))
    if missing:
        raise damaged(f"{step.type} has no operand '{missing[0]}'", step.where)


class Machine:
    """Runs prepared blocks.

    Attributes:
        states: the arrays of the session's states by name.
        watch: names of values to keep when they are computed.
        kept: the values of ``watch`` that were computed, the last one of a loop's.
    """

    def __init__(self, opset: int, states: dict[str, Any], watch: frozenset[str] = frozenset()) -> None:
        self.opset = opset
        self.states = states
        self.watch = watch
        self.kept: dict[str, Any] = {}

    def run(self, program: Program, values: Sequence[Any], outer: _Scope | None = None) -> list[Any]:
        """The block's outputs for the values of its inputs.

        Raises:
            Diagnostic: E0541 and E0542 naming the operation, E0543 when a result is not what is declared.
        """
        scope = _Scope(dict(zip((name for name, _ in program.inputs), values, strict=True)), outer)
        self._keep(scope.own)
        with np.errstate(all="ignore"):
            for step in program.steps:
                results = self._results(step, scope)
                for (name, _), result in zip(step.outputs, results, strict=True):
                    scope.own[name] = result
                    if name in self.watch:
                        self.kept[name] = result
                for name in step.drops:
                    scope.own.pop(name, None)
        return [scope[name] for name in program.outputs]

    def _keep(self, values: Mapping[str, Any]) -> None:
        for name in self.watch & values.keys():
            self.kept[name] = values[name]

    def _results(self, step: Step, scope: _Scope) -> Sequence[Any]:
        if step.constant and "results" in step.cache:
            return step.cache["results"]
        try:
            results = self._evaluated(step, scope)
        except Undefined as why:
            code = E_OPERATOR if why.unknown else E_EVALUATION
            raise Diagnostic(code, f"{step.type} cannot be evaluated: {why}", step.where) from None
        except Diagnostic as problem:
            raise problem if problem.where else _placed(problem, step.where) from None
        except (ArithmeticError, IndexError, LookupError, MemoryError, TypeError, ValueError) as error:
            raise Diagnostic(E_EVALUATION, f"{step.type} cannot be evaluated: {error}", step.where) from error
        if len(results) != len(step.outputs):
            raise Diagnostic(E_DECLARED, f"{step.type} gives {len(results)} results, {len(step.outputs)} are declared", step.where)
        results = [_conformed(r, d, n, step) for r, (n, d) in zip(results, step.outputs, strict=True)]
        if step.constant:
            step.cache["results"] = results
        return results

    def _evaluated(self, step: Step, scope: _Scope) -> Sequence[Any]:
        if step.type == "const":
            return [step.operands["val"][0].value.get()]
        operands = {key: self._operand(step, key, bindings, scope) for key, bindings in step.operands.items()}
        if step.operator is None:
            return self._structural(step, operands, scope)
        if step.operator.wants_call:
            operands["call"] = Call(self.opset, tuple(d for _, d in step.outputs))
        result = step.operator.evaluate(**operands)
        return result if isinstance(result, tuple) else (result,)

    @staticmethod
    def _operand(step: Step, key: str, bindings: list[Binding], scope: _Scope) -> Any:
        values = [scope[b.name] if b.name else b.value.get() for b in bindings]
        if step.operator is not None and not step.operator.moves:
            values = [_widened(v, b, step, (key, i)) for i, (v, b) in enumerate(zip(values, bindings, strict=True))]
        several = key in step.operator.tuples if step.operator is not None else key == "loop_vars"
        if several:
            return values
        if len(values) != 1:
            raise Undefined(f"its operand '{key}' has {len(values)} values")
        return values[0]

    def _structural(self, step: Step, operands: dict[str, Any], scope: _Scope) -> Sequence[Any]:
        if step.type == "cond":
            return self.run(step.blocks[0 if bool(operands["pred"]) else 1], [], scope)
        if step.type == "while_loop":
            carried = operands["loop_vars"]
            condition, body = step.blocks
            while bool(self.run(condition, carried, scope)[0]):
                carried = self.run(body, carried, scope)
            return carried
        name = step.operands["input"][0].name
        if name not in self.states:
            raise Undefined(f"'{name}' is not a state")
        if step.type == "read_state":
            return [self.states[name]]
        update = operands["data"]
        state = self.states[name]
        if update.shape != state.shape or update.dtype != state.dtype:
            raise Undefined(f"a state {state.dtype}{list(state.shape)} cannot hold {update.dtype}{list(update.shape)}")
        self.states[name] = update
        return []


class _Scope:
    """Values by name: the block's own, then those of the blocks around it."""

    def __init__(self, own: dict[str, Any], outer: _Scope | None) -> None:
        self.own, self._outer = own, outer

    def __getitem__(self, name: str) -> Any:
        if name in self.own:
            return self.own[name]
        if self._outer is None:
            raise Undefined(f"the value '{name}' does not exist")
        return self._outer[name]


def _placed(problem: Diagnostic, where: str) -> Diagnostic:
    return Diagnostic(problem.code, problem.message, where, problem.hint, problem.notes)


def _widened(value: Any, binding: Binding, step: Step, place: tuple[str, int]) -> Any:
    """A 16-bit float as float32; of constants the result is kept."""
    if not isinstance(value, np.ndarray) or value.dtype != _HALF:
        return value
    if not binding.fixed:
        return value.astype(np.float32)
    if place not in step.cache:
        step.cache[place] = value.astype(np.float32)
    return step.cache[place]


def _conformed(result: Any, type_: Declared, name: str, step: Step) -> Any:
    """The result in the declared element type; `Diagnostic` E0543 when it is something else."""
    if type_.kind != "tensor" or type_.element is None or isinstance(result, str):
        return result
    result = np.asarray(result)
    stored = type_.element.stored
    if result.dtype != stored:
        result = _cast(result, stored, name, step)
    sizes = result.shape if type_.shape is None else type_.shape
    if len(result.shape) != len(sizes) or any(n is not None and n != m for n, m in zip(sizes, result.shape, strict=True)):
        shape = ["?" if n is None else n for n in sizes]
        raise Diagnostic(E_DECLARED, f"'{name}' is declared with shape {shape}, evaluating gives {list(result.shape)}", step.where)
    return result


def _cast(result: Any, stored: np.dtype[Any], name: str, step: Step) -> Any:
    floats = result.dtype.kind == "f" and stored.kind == "f"
    integers = result.dtype.kind in "iu" and stored.kind in "iu"
    if integers and result.size:
        limits = np.iinfo(stored)
        integers = int(result.min()) >= limits.min and int(result.max()) <= limits.max
    if not floats and not integers:
        raise Diagnostic(E_DECLARED, f"'{name}' is declared {stored}, evaluating gives {result.dtype} that it cannot hold", step.where)
    return result.astype(stored)
