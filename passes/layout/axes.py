"""Operators that drop, insert, merge or split axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...ir.graph import Node
from ...ir.ops.gather import Gather
from ...ir.ops.reduction import ArgReduction, Reduction
from ...ir.ops.reshape import Flatten, Reshape, Shape, Size, Squeeze, Unsqueeze
from .agnostic import data_alternate, plain_perm, static_ints
from .alternate import Alternate, Builder, Port, alternates
from .forms import Form
from .regroup import Group, carried, dropped_groups, reshape_groups


def both_forms(node: Node, port: Port, groups: Sequence[Group]) -> tuple[Form, Form] | None:
    """The forms of operand 0 and result 0 when one of them is given."""
    x, y = node.inputs[0], node.output
    assert x is not None and x.shape is not None and y.shape is not None
    if port.is_result:
        other = carried([g.reversed() for g in groups], port.form, y.shape)
        return None if other is None else (other, port.form)
    if port.index != 0:
        return None
    other = carried(groups, port.form, x.shape)
    return None if other is None else (port.form, other)


# -- reductions ----------------------------------------------------------------------------------------------------------------
@alternates(Reduction)
def reduction(node: Node, port: Port) -> Alternate | None:
    """A reduction over the moved axes."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Reduction) and x is not None and x.rank is not None
    listed = static_ints(node, 1) if node.operand(1) is not None else ()
    if listed is None or plain_perm(port) is None:
        return None
    axes = op.chosen_axes(listed, x.rank)
    if not axes:
        return data_alternate(node, port.form, op)
    forms = (port.form, port.form) if op.keepdims else both_forms(node, port, dropped_groups(x.rank, axes))
    if forms is None:
        return None
    places = sorted(forms[0].position(a) for a in axes)

    def build(b: Builder, given: Sequence[Any]) -> Any:
        return b.add(op, given[0], b.ints(places))

    return Alternate((forms[0], *(None,) * (len(node.inputs) - 1)), (forms[1],), build)


@alternates(ArgReduction)
def arg_reduction(node: Node, port: Port) -> Alternate | None:
    """ArgMax and ArgMin along the moved axis."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, ArgReduction) and x is not None and x.rank is not None
    if plain_perm(port) is None:
        return None
    axis = op.axis % x.rank
    forms = (port.form, port.form) if op.keepdims else both_forms(node, port, dropped_groups(x.rank, (axis,)))
    if forms is None:
        return None
    moved = replace(op, axis=forms[0].position(axis))  # type: ignore[type-var]
    return Alternate((forms[0],), (forms[1],), lambda b, given: b.add(moved, given[0]))


# -- shapes --------------------------------------------------------------------------------------------------------------------
@alternates(Squeeze)
def squeeze(node: Node, port: Port) -> Alternate | None:
    """Squeeze of the moved axes."""
    x = node.inputs[0]
    assert x is not None and x.shape is not None
    if node.operand(1) is not None:
        axes = static_ints(node, 1)
    else:
        axes = tuple(i for i, d in enumerate(x.shape) if d == 1)
    if axes is None:
        return None
    axes = tuple(a % len(x.shape) for a in axes)
    forms = both_forms(node, port, dropped_groups(len(x.shape), axes))
    if forms is None:
        return None
    places = sorted(forms[0].position(a) for a in axes)
    return Alternate(
        (forms[0], *(None,) * (len(node.inputs) - 1)), (forms[1],), lambda b, given: b.add(Squeeze(), given[0], b.ints(places))
    )


@alternates(Unsqueeze)
def unsqueeze(node: Node, port: Port) -> Alternate | None:
    """Unsqueeze of the moved axes."""
    axes, rank = static_ints(node, 1), node.output.rank
    assert rank is not None
    if axes is None:
        return None
    axes = tuple(a % rank for a in axes)
    forms = both_forms(node, port, [g.reversed() for g in dropped_groups(rank, axes)])
    if forms is None:
        return None
    places = sorted(forms[1].position(a) for a in axes)
    return Alternate((forms[0], None), (forms[1],), lambda b, given: b.add(Unsqueeze(), given[0], b.ints(places)))


@alternates(Reshape, Flatten)
def reshape(node: Node, port: Port) -> Alternate | None:
    """Reshape where the axes that it merges or splits lie together in the form too."""
    x, y = node.inputs[0], node.output
    assert x is not None and x.shape is not None and y.shape is not None
    if 0 in x.shape:
        return None
    groups = reshape_groups(x.shape, y.shape)
    forms = both_forms(node, port, groups) if groups is not None else None
    if forms is None:
        return None
    target = reshape_target(forms[0].shape(x.shape), forms[1].shape(y.shape))
    if target is None:
        return _computed_reshape(node, forms)
    operands = (forms[0], *(None,) * (len(node.inputs) - 1))
    return Alternate(operands, (forms[1],), lambda b, given: b.add(Reshape(), given[0], b.ints(target)))


def reshape_target(source: Sequence[Any], target: Sequence[Any]) -> list[int] | None:
    """The operand of a Reshape between two shapes, with 0 for copied dimensions and one -1; None when that does not suffice."""
    result: list[int] = []
    for index, dim in enumerate(target):
        if type(dim) is int:
            if dim == 0:
                return None
            result.append(dim)
        else:
            result.append(0 if index < len(source) and source[index] == dim else -1)
    return result if result.count(-1) <= 1 else None


def _computed_reshape(node: Node, forms: tuple[Form, Form]) -> Alternate | None:
    """Reshape with the computed target in the order of the moved axes."""
    target = node.operand(1)
    entries = target.content if target is not None and forms[1].shuffle is None else None
    if target is None or entries is None or any(e is None or type(e) is int and e < 1 for e in entries):
        return None
    perm = forms[1].perm
    return Alternate(
        (forms[0], None), (forms[1],), lambda b, given: b.add(Reshape(), given[0], b.add(Gather(axis=0), given[1], b.ints(perm)))
    )


@alternates(Shape)
def shape(node: Node, port: Port) -> Alternate | None:
    """The dimensions, picked from those of the moved operand."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Shape) and x is not None and x.rank is not None
    if plain_perm(port) is None or port.is_result:
        return None
    places = [port.form.position(a) for a in range(x.rank)[op.start : op.end]]
    return Alternate((port.form,), (None,), lambda b, given: b.add(Gather(axis=0), b.add(Shape(), given[0]), b.ints(places)))


@alternates(Size)
def size(node: Node, port: Port) -> Alternate | None:
    """The number of elements, the same in every form."""
    return None if port.is_result else Alternate((port.form,), (None,), lambda b, given: b.add(node.op, given[0]))


# -- gathering -----------------------------------------------------------------------------------------------------------------
@alternates(Gather)
def gather(node: Node, port: Port) -> Alternate | None:
    """Gather along the moved axis."""
    op, x, indices = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, Gather) and x is not None and x.rank is not None and indices is not None and indices.rank is not None
    if plain_perm(port) is None:
        return None
    axis, count = op.axis % x.rank, indices.rank
    groups = [Group((a,), (a,) if a < axis else tuple(range(axis, axis + count)) if a == axis else (a + count - 1,)) for a in range(x.rank)]
    forms = gathered_forms(node, port, groups, axis)
    if forms is None:
        return None
    moved = replace(op, axis=forms[0].position(axis))
    return Alternate((forms[0], None), (forms[1],), lambda b, given: b.add(moved, given[0], given[1]))


def gathered_forms(node: Node, port: Port, groups: Sequence[Group], axis: int) -> tuple[Form, Form] | None:
    """The forms around a Gather; its index axes stay together and in order, whatever their sizes."""
    y = node.output
    assert y.rank is not None
    perm, after = port.form.perm, groups[axis].after
    if not port.is_result:
        if port.index != 0:
            return None
        return port.form, Form(tuple(place for a in perm for place in groups[a].after))
    starts = [place for place, a in enumerate(perm) if a in after]
    if after and tuple(perm[starts[0] : starts[0] + len(after)]) != after:
        return None
    source: list[int] = []
    for place in perm:
        owner = next(g.before[0] for g in groups if place in g.after)
        if owner not in source:
            source.append(owner)
    if not after:
        source.insert(axis, axis)
    return Form(tuple(source)), port.form
