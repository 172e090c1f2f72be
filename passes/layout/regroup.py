"""How axes correspond across operators that merge, split, drop or insert them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.dims import product
from .forms import Form, Perm, Shuffle, keeps_order


@dataclass(frozen=True)
class Group:
    """Neighbouring axes of an operand that become neighbouring axes of the result: the same elements in the same order.

    Attributes:
        before: the operand's axes; empty for an inserted axis of size 1.
        after: the result's axes; empty for a dropped axis of size 1.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]

    def reversed(self) -> Group:
        """The same, seen from the result."""
        return Group(self.after, self.before)


def reshape_groups(source: Sequence[Any], target: Sequence[Any]) -> list[Group] | None:
    """The finest correspondence of the axes of two shapes with the same elements in order; None when sizes do not tell.

    >>> reshape_groups((2, 12, 5, 5), (2, 3, 4, 25))
    [Group(before=(0,), after=(0,)), Group(before=(1,), after=(1, 2)), Group(before=(2, 3), after=(3,))]
    """
    groups: list[Group] = []
    i = j = 0
    while i < len(source) or j < len(target):
        if i < len(source) and j < len(target) and source[i] == target[j]:
            groups.append(Group((i,), (j,)))
            i, j = i + 1, j + 1
        elif i < len(source) and source[i] == 1:
            groups.append(Group((i,), ()))
            i += 1
        elif j < len(target) and target[j] == 1:
            groups.append(Group((), (j,)))
            j += 1
        else:
            ends = _next_cut(source, target, i, j)
            if ends is None:
                return None
            groups.append(Group(tuple(range(i, ends[0])), tuple(range(j, ends[1]))))
            i, j = ends
    return groups


def _next_cut(source: Sequence[Any], target: Sequence[Any], i: int, j: int) -> tuple[int, int] | None:
    for total in range(2, len(source) - i + len(target) - j + 1):
        for taken in range(1, total):
            last, end = i + taken, j + total - taken
            if last <= len(source) and end <= len(target) and product(source[i:last]) == product(target[j:end]):
                return last, end
    return None


def dropped_groups(rank: int, dropped: Sequence[int]) -> list[Group]:
    """The correspondence for an operator that drops axes."""
    groups, place = [], 0
    for axis in range(rank):
        if axis in dropped:
            groups.append(Group((axis,), ()))
        else:
            groups.append(Group((axis,), (place,)))
            place += 1
    return groups


def carried(groups: Sequence[Group], form: Form, shape: Sequence[Any]) -> Form | None:
    """The form of the result that a form of the operand leads to, with no element moved; None when there is none.

    Args:
        groups: the correspondence (`Group.reversed` of each to ask for the operand's form).
        form: the form of the side called ``before``.
        shape: the dimensions of that side as written.

    Axes that appear get the place before the axis that follows them in the result as written.
    """
    if form.shuffle is not None:
        return _carried_shuffle(groups, form)
    owner = {axis: group for group in groups for axis in group.before}
    order: list[Group] = []
    shuffles: list[Shuffle] = []
    remaining = [axis for axis in form.perm if owner[axis].after]
    while remaining:
        group = owner[remaining[0]]
        taken = remaining[: len(group.before)]
        if any(owner[axis] is not group for axis in taken):
            taken, group = _without_ones(remaining, group, shape)
            if taken is None:
                return None
        if not keeps_order([group.before.index(a) for a in taken], [shape[a] for a in group.before]):
            dims = tuple(shape[a] for a in group.before)
            if len(group.after) != 1 or not all(type(d) is int for d in dims):
                return None
            shuffles.append(Shuffle(group.after[0], dims, tuple(group.before.index(a) for a in taken)))
        order.append(group)
        remaining = [axis for axis in remaining if owner[axis] is not owner[taken[0]]]
    if len(shuffles) > 1:
        return None
    return Form(_placed(groups, order), shuffles[0] if shuffles else None)


def _without_ones(remaining: Sequence[int], group: Group, shape: Sequence[Any]) -> tuple[Any, Group]:
    """The axes of a group at the head of ``remaining`` when only axes of size 1 lie elsewhere, completed to all of them in order."""
    large = [axis for axis in group.before if shape[axis] != 1]
    rest = [axis for axis in remaining if shape[axis] != 1]
    if sorted(rest[: len(large)]) != large:
        return None, group
    ones = [axis for axis in group.before if shape[axis] == 1]
    return [*rest[: len(large)], *ones], group


def _placed(groups: Sequence[Group], order: Sequence[Group]) -> Perm:
    """The result's axes in the order of the groups, inserted ones before their successor."""
    inserted: dict[Group | None, list[int]] = {}
    waiting: list[int] = []
    last: Group | None = None
    for group in groups:
        if not group.after:
            continue
        if not group.before:
            waiting.extend(group.after)
            continue
        inserted[group], waiting, last = waiting, [], group
    perm: list[int] = []
    for group in order:
        perm += [*inserted.get(group, ()), *group.after]
        if group == last:
            perm += waiting
    return tuple(perm) if last is not None else tuple(waiting)


def _carried_shuffle(groups: Sequence[Group], form: Form) -> Form | None:
    """A shuffled axis passes only where it stays an axis of its own."""
    shuffle = form.shuffle
    assert shuffle is not None
    group = next(g for g in groups if shuffle.axis in g.before)
    if len(group.before) != 1 or len(group.after) != 1:
        return None
    plain = carried(groups, Form(form.perm), (2,) * len(form.perm))
    return None if plain is None else Form(plain.perm, Shuffle(group.after[0], shuffle.dims, shuffle.order))
