"""ROBOT.yaml's entries over a checkpoint's own names: what each degree of freedom is, or why nobody knows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from wall_edge.bundle import Degree, Part, Reference, RotationForm, Unit
from wall_edge.config.embodiment.entries import (
    Entry,
    HeldEntry,
    JointEntry,
    PaddingEntry,
    PositionEntry,
    RotationEntry,
    SinkEntry,
    entry_size,
)
from wall_edge.errors import ConfigError
from wall_edge.files import shown

_ANGLES = ("rpy", "euler_zyx", "rotvec")
_SHOWN = 500
Named = tuple[str, int]
"""A degree of freedom of the checkpoint, and the model's slot that it takes."""


def expand(
    entries: Mapping[str, Entry], layout: Sequence[Named], reference: Reference = "absolute"
) -> tuple[tuple[Degree, ...], dict[str, RotationForm]]:
    """What each named slot of ``layout`` is, in its order, and how rotations among them are written.

    An entry ``g`` covers ``g``, or ``g_0`` to ``g_n``; padding takes no part. ``reference``: that of entries
    that say none. Raises :class:`ConfigError` for a name that is not described, or twice; an entry that the
    checkpoint does not have; another size or slot than the checkpoint's; one slot with two names.
    """
    _check_layout(layout)
    groups = _groups(entries, layout)
    degrees = {}
    for group, members in groups.items():
        entry = entries[group]
        members.sort(key=lambda named: (len(named[0]), named[0]))  # g_2 before g_10
        _check_members(group, entry, members)
        for number, (name, slot) in enumerate(members if not isinstance(entry, PaddingEntry) else ()):
            part, of, index, unit, said = _meaning(entry, number)
            degrees[slot] = Degree(name, slot, part, of, index, unit, said or reference)
    if not degrees:
        raise ConfigError("embodiment: nothing but padding", expected="degrees of freedom that are something")
    rotations = {e.pose: e.form for e in (entries[g] for g in groups) if isinstance(e, RotationEntry)}
    return tuple(degrees[slot] for _, slot in layout if slot in degrees), rotations


def _check_layout(layout: Sequence[Named]) -> None:
    names: dict[str, int] = {}
    slots: dict[int, str] = {}
    for name, slot in layout:
        if name in names:
            raise ConfigError(f"two degrees of freedom named {shown(name)}", expected="names of their own")
        if slot in slots:
            raise ConfigError(
                f"slot {slot} of the checkpoint is {shown(slots[slot])} and {shown(name)}",
                expected="one name for a slot",
            )
        names[name], slots[slot] = slot, name


def _groups(entries: Mapping[str, Entry], layout: Sequence[Named]) -> dict[str, list[Named]]:
    """The checkpoint's names by the entry that covers them."""
    names = [name for name, _ in layout]
    groups: dict[str, list[Named]] = {}
    nameless: list[str] = []
    for name, slot in layout:
        group = _group(name)
        # An entry of a name that the checkpoint has is of that name alone.
        covers = [each for each in (name, group) if each in entries and (each == name or each not in names)]
        if name != group and len(covers) == 2:
            raise ConfigError(
                f"embodiment: {shown(name)} is described as itself and as one of {shown(group)}",
                expected="one entry for it",
                fix="remove one of them",
            )
        if not covers:
            nameless.append(name)
        else:
            groups.setdefault(covers[0], []).append((name, slot))
    strange = [g for g, entry in entries.items() if g not in groups and not isinstance(entry, PaddingEntry)]
    if strange:
        choices = dict.fromkeys(_group(name) if _group(name) not in names else name for name in nameless)
        raise ConfigError(
            f"embodiment: {shown(strange[0])} is no degree of freedom of the checkpoint",
            expected=f"one of {_listed(names)}",
            fix=_meant(strange[0], choices),
        )
    if nameless:
        raise ConfigError(
            f"embodiment: nothing describes {_listed(nameless)}",
            expected="an entry for each degree of freedom of the checkpoint",
            fix="say what it is; what this robot does not follow is 'held' or 'padding'",
        )
    return groups


def _group(name: str) -> str:
    """``g`` of ``g_0``; a name without a number is its own group."""
    numbered = re.fullmatch(r"(.+)_(0|[1-9][0-9]{0,3})", name)
    return name if numbered is None else numbered[1]


def _check_members(group: str, entry: Entry, members: Sequence[Named]) -> None:
    """Whether a group of the checkpoint has the size and the slots that its entry says."""
    where, names, count = f"embodiment: {group}", [name for name, _ in members], len(members)
    numbered = [f"{group}_{number}" for number in range(count)]
    if names not in ([group], numbered):
        raise ConfigError(f"{where} has {_listed(names)}", expected=f"{numbered[0]} to {numbered[-1]}")
    size = entry_size(entry)
    if size is not None and size != count:
        raise ConfigError(
            f"{where} is {size} degrees of freedom ({entry.kind})",
            expected=f"{count}, as the checkpoint has {_listed(names)}",
        )
    values = {HeldEntry: "value", SinkEntry: "state"}.get(type(entry))
    if values is not None and len(numbers := getattr(entry, values)) not in (1, count):
        raise ConfigError(f"{where}.{values} has {len(numbers)} numbers", expected=f"1, or {count}")
    first = min(slot for _, slot in members)
    if entry.slot is not None and entry.slot != first:
        raise ConfigError(
            f"{where}.slot is {entry.slot}",
            expected=f"{first}, where the checkpoint has {names[0]}",
            fix="leave slot out: the checkpoint names its slots",
        )


def _meaning(entry: Entry, number: int) -> tuple[Part, str, int, Unit, Reference | None]:
    """Part, what of, which component, unit and reference of one member of a group."""
    if isinstance(entry, JointEntry):
        return "joint", entry.joints[number], 0, entry.unit, entry.reference
    if isinstance(entry, PositionEntry):
        return "position", entry.pose, number, "m", entry.reference
    if isinstance(entry, RotationEntry):
        return "rotation", entry.pose, number, "rad" if entry.form in _ANGLES else "own", entry.reference
    if isinstance(entry, SinkEntry):
        return "sink", entry.sink, number, "own", "absolute"
    return "held", "", number, "own", "absolute"


def _listed(names: Iterable[str]) -> str:
    return shown(", ".join(names), _SHOWN)


def _meant(word: str, choices: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f"did you mean {close[0]!r}?" if close else "remove it, or take the checkpoint of this robot"
