"""Control flow: If, Loop and Scan.

Their subgraphs are the node's regions and read values of the enclosing graphs directly. Besides `infer`, which looks at the types of the
regions' outputs, these operators say which types the inputs of their regions have (`region_inputs`), and they evaluate with callables
that run the regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..dims import Dim
from ..dtypes import DType
from ..op import Op
from ..types import OptionalType, TensorType, Type
from .cells import scalar_of
from .common import attribute_error, dtype_error, normalize_axis, shape_error, unify_dim
from .joining import join, outside


def _truth(value: Any) -> bool:
    return bool(np.asarray(value).reshape(-1)[0])


def require_condition(cond: Any) -> None:
    """Check that a condition is a bool tensor."""
    if isinstance(cond, TensorType) and cond.dtype is not DType.BOOL:
        raise dtype_error(f"the condition must be bool, not {cond.dtype}")


@dataclass(frozen=True)
class If(Op):
    """Run one of two regions; a known condition gives the types of the region that runs, otherwise what both have in common."""

    region_names: ClassVar[tuple[str, ...]] = ("then_branch", "else_branch")

    def infer(self, cond: TensorType, *, regions: Sequence[Any] = ()) -> Any:
        require_condition(cond)
        then_branch, else_branch = regions
        if then_branch.inputs or else_branch.inputs:
            raise shape_error("a branch of If declares inputs; it may only read values around it")
        known = scalar_of(cond)
        if isinstance(known, int):
            return tuple(value.type for value in (then_branch if known else else_branch).outputs)
        if len(then_branch.outputs) != len(else_branch.outputs):
            raise shape_error(f"the branches return {len(then_branch.outputs)} and {len(else_branch.outputs)} values")
        return tuple(
            join(outside(a.type, then_branch), outside(b.type, else_branch), f"results {i} of the branches")
            for i, (a, b) in enumerate(zip(then_branch.outputs, else_branch.outputs, strict=True))
        )

    def dead_regions(self, operands: Sequence[Any]) -> tuple[int, ...]:
        """The branch that never runs when the condition is known; what stands in it need not fit the types around it."""
        known = scalar_of(operands[0])
        return (1 if known else 0,) if isinstance(known, int) else ()

    def region_inputs(self, operands: Sequence[Any], index: int, results: Sequence[Type] | None = None) -> list[Type]:
        """Branches take no inputs."""
        return []

    def evaluate(self, cond: Any, *, regions: Sequence[Any] = ()) -> Any:
        return regions[0 if _truth(cond) else 1]()


@dataclass(frozen=True)
class Loop(Op):
    """Run the body until its condition fails or the trip count is reached.

    The body takes the iteration number, the condition and the carried values; it returns the condition, the carried values and elements
    of the scan outputs, which are stacked.
    """

    region_names: ClassVar[tuple[str, ...]] = ("body",)

    def infer(self, M: TensorType | None = None, cond: TensorType | None = None, *v_initial: Any, regions: Sequence[Any] = ()) -> Any:
        body = regions[0]
        require_condition(cond)
        self._check(body, len(v_initial))
        results = [value.type for value in body.outputs]
        require_condition(results[0])
        carried = [
            _carried(initial, outside(result, body), f"the initial and the next value of loop-carried value {i}")
            for i, (initial, result) in enumerate(zip(v_initial, results[1:], strict=False))
        ]
        trips = self._trips(M, cond, results[0])
        stacked = [_stack(outside(result, body), trips, 0) for result in results[1 + len(v_initial) :]]
        return (*carried, *stacked)

    @staticmethod
    def _check(body: Any, carried: int) -> None:
        if len(body.inputs) != carried + 2:
            raise shape_error(f"the body takes {len(body.inputs)} inputs for {carried} carried values (2 more are needed)")
        if len(body.outputs) < carried + 1:
            raise shape_error(f"the body returns {len(body.outputs)} values for {carried} carried values (1 more is needed)")

    @staticmethod
    def _trips(M: Any, cond: Any, again: Any) -> Dim | None:
        """The number of iterations when the condition never fails."""
        count = scalar_of(M)
        if isinstance(count, int):
            count = max(count, 0)
        start = 1 if cond is None else scalar_of(cond)
        if start == 0 or count == 0:
            return 0
        return count if start == 1 and scalar_of(again) == 1 else None

    def region_inputs(self, operands: Sequence[Any], index: int, results: Sequence[Type] | None = None) -> list[Type]:
        """The types of the body's inputs; a carried value that changes its shape from one iteration to the next is widened."""
        initial = list(operands[2:])
        if results is not None:
            initial = [_carried_in(a, b) for a, b in zip(initial, results[1:], strict=False)]
        return [TensorType(DType.INT64, ()), TensorType(DType.BOOL, (), (1,)), *initial]

    def evaluate(self, M: Any = None, cond: Any = None, *v_initial: Any, regions: Sequence[Any] = ()) -> Any:
        body = regions[0]
        limit = None if M is None else int(np.asarray(M).reshape(-1)[0])
        going = cond is None or _truth(cond)
        carried: tuple[Any, ...] = tuple(v_initial)
        number_rank, flag_rank = (value.rank or 0 for value in body.graph.inputs[:2])
        scanned: list[list[Any]] = [[] for _ in body.graph.outputs[1 + len(carried) :]]
        trip = 0
        while going and (limit is None or trip < limit):
            number, flag = np.full((1,) * number_rank, trip, np.int64), np.full((1,) * flag_rank, True)
            results = body(number, flag, *carried)
            going = _truth(results[0])
            carried = results[1 : 1 + len(carried)]
            for parts, part in zip(scanned, results[1 + len(carried) :], strict=True):
                parts.append(part)
            trip += 1
        types = [value.type for value in body.graph.outputs[1 + len(carried) :]]
        return (*carried, *(_stack_arrays(p, t, 0) for p, t in zip(scanned, types, strict=True)))


@dataclass(frozen=True)
class Scan(Op):
    """Run the body once per slice of the scan inputs, carrying states and stacking the other results."""

    num_scan_inputs: int
    scan_input_axes: tuple[int, ...] | None = None
    scan_input_directions: tuple[int, ...] | None = None
    scan_output_axes: tuple[int, ...] | None = None
    scan_output_directions: tuple[int, ...] | None = None
    region_names: ClassVar[tuple[str, ...]] = ("body",)
    since: ClassVar[int] = 8

    def infer(self, *initial_state_and_scan_inputs: Any, regions: Sequence[Any] = ()) -> Any:
        operands, body = initial_state_and_scan_inputs, regions[0]
        states = self._states(len(operands))
        if len(body.inputs) != len(operands):
            raise shape_error(f"the body takes {len(body.inputs)} inputs for {len(operands)} operands")
        results = [outside(value.type, body) for value in body.outputs]
        carried = [join(a, b, "the initial and the next state") for a, b in zip(operands[:states], results, strict=False)]
        trips: Dim | None = None
        for position, operand in enumerate(operands[states:]):
            if isinstance(operand, TensorType) and operand.shape is not None:
                axis = normalize_axis(self._option(self.scan_input_axes, position), len(operand.shape), "scan_input_axes")
                trips = unify_dim(trips, operand.shape[axis], "the lengths of the scan inputs")
        stacked = [_stack(type_, trips, self._option(self.scan_output_axes, position)) for position, type_ in enumerate(results[states:])]
        return (*carried, *stacked)

    def _states(self, operands: int) -> int:
        if not 1 <= self.num_scan_inputs <= operands:
            raise attribute_error(f"num_scan_inputs {self.num_scan_inputs} does not fit {operands} operands")
        return operands - self.num_scan_inputs

    @staticmethod
    def _option(values: tuple[int, ...] | None, position: int) -> int:
        return 0 if values is None or position >= len(values) else values[position]

    def region_inputs(self, operands: Sequence[Any], index: int, results: Sequence[Type] | None = None) -> list[Type]:
        """States, widened where they change their shape, and the scan inputs without the scanned axis."""
        states = self._states(len(operands))
        carried = list(operands[:states])
        if results is not None:
            carried = [join(a, b, "scan states") for a, b in zip(carried, results, strict=False)]
        return [*carried, *(self._slice_type(o, i) for i, o in enumerate(operands[states:]))]

    def _slice_type(self, operand: Any, position: int) -> Any:
        if not isinstance(operand, TensorType) or operand.shape is None:
            return operand
        axis = normalize_axis(self._option(self.scan_input_axes, position), len(operand.shape), "scan_input_axes")
        return TensorType(operand.dtype, operand.shape[:axis] + operand.shape[axis + 1 :])

    def evaluate(self, *initial_state_and_scan_inputs: Any, regions: Sequence[Any] = ()) -> Any:
        operands, body = initial_state_and_scan_inputs, regions[0]
        states = self._states(len(operands))
        carried: tuple[Any, ...] = operands[:states]
        sequences = []
        for position, operand in enumerate(operands[states:]):
            moved = np.moveaxis(operand, self._option(self.scan_input_axes, position), 0)
            sequences.append(moved[::-1] if self._option(self.scan_input_directions, position) else moved)
        scanned: list[list[Any]] = [[] for _ in body.graph.outputs[states:]]
        for step in range(len(sequences[0])):
            results = body(*carried, *(s[step] for s in sequences))
            carried = results[:states]
            for parts, part in zip(scanned, results[states:], strict=True):
                parts.append(part)
        stacked = []
        for position, (parts, value) in enumerate(zip(scanned, body.graph.outputs[states:], strict=True)):
            ordered = parts[::-1] if self._option(self.scan_output_directions, position) else parts
            stacked.append(_stack_arrays(ordered, value.type, self._option(self.scan_output_axes, position)))
        return (*carried, *stacked)


def _carried(initial: Any, result: Any, what: str) -> Any:
    """The type of a loop-carried value after the loop. One that starts as an optional and is then always present counts as present."""
    if isinstance(initial, OptionalType) and not isinstance(result, OptionalType):
        return join(initial.element, result, what)
    return join(initial, result, what)


def _carried_in(initial: Any, result: Any) -> Any:
    """The type of a loop-carried value at the start of any iteration."""
    joined = _carried(initial, result, "loop-carried values")
    return OptionalType(joined) if isinstance(initial, OptionalType) and not isinstance(joined, OptionalType) else joined


def _stack(element: Any, count: Dim | None, axis: int) -> Any:
    if not isinstance(element, TensorType) or element.shape is None:
        return TensorType(element.dtype, None) if isinstance(element, TensorType) else element
    place = normalize_axis(axis, len(element.shape) + 1, "scan_output_axes")
    return TensorType(element.dtype, (*element.shape[:place], count, *element.shape[place:]))  # type: ignore[arg-type]


def _stack_arrays(parts: list[Any], element: Any, axis: int) -> Any:
    if parts:
        return np.stack(parts, axis)
    shape = [d if isinstance(d, int) else 0 for d in element.shape or ()]
    shape.insert(axis if axis >= 0 else axis + len(shape) + 1, 0)
    return np.zeros(shape, element.dtype.numpy)
