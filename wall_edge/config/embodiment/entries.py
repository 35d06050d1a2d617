"""The ``embodiment`` section of ROBOT.yaml: what every degree of freedom of the checkpoint is on this robot.

Keys are the checkpoint's own names: of one degree of freedom, or of a group of them
(``follow_left_ee_rotation`` for ``follow_left_ee_rotation_0`` to ``_2``). Nothing is guessed: each name is
described, or refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wall_edge.bundle import ROTATION_SIZES, Reference, RotationForm, Unit
from wall_edge.checks import MAX_DOF, between, counted, require_name, require_names
from wall_edge.config_loader import Invalid

_LARGEST = 1e4


@dataclass(frozen=True)
class JointEntry:
    """Joints of this robot, one a degree of freedom; a gripper is one in its own unit.

    ``percent`` and ``own`` are lines through two points: ``values`` (of percent, 0 and 100 unless it says
    -100 and 100) stand for the ends of ``range``, joint positions in rad (m of a slider), which may fall.
    """

    kind: Literal["joint"]
    joint: str | tuple[str, ...]
    unit: Unit
    values: tuple[float, float] | None = None
    range: tuple[float, float] | None = None
    reference: Reference | None = None
    """null: that of ``model.action_reference``."""
    slot: int | None = None
    """Where the checkpoint names no slots: the first that this entry takes; null: the next."""

    def __post_init__(self) -> None:
        require_names("joint", self.joints)
        counted("joint", self.joints, 1, MAX_DOF)
        mapped = self.unit in ("percent", "own")
        if mapped and len(self.joints) > 1:
            raise Invalid("joint", list(self.joints), expected=f"one joint, as {self.unit} has a range")
        if mapped != (self.range is not None):
            expected = (
                f"the joint's positions at both ends of {self.unit}" if mapped else f"none, of {self.unit}"
            )
            raise Invalid("range", self.range, expected=expected)
        if (self.unit == "own" and self.values is None) or (self.values is not None and not mapped):
            raise Invalid(
                "values", self.values, expected="two values of the policy for unit own (or percent)"
            )
        for key in ("values", "range"):
            ends = getattr(self, key)
            for i, end in enumerate(ends or ()):
                between(f"{key}[{i}]", end, -_LARGEST, _LARGEST)
            if ends is not None and ends[0] == ends[1]:
                raise Invalid(key, list(ends), expected="two different values")

    @property
    def joints(self) -> tuple[str, ...]:
        return (self.joint,) if isinstance(self.joint, str) else self.joint

    @property
    def ends(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """``values`` and ``range`` of a mapped joint."""
        return None if self.range is None else (self.values or (0.0, 100.0), self.range)


@dataclass(frozen=True)
class PositionEntry:
    """The position of a pose of ``kinematics.poses`` [m]: three degrees of freedom."""

    kind: Literal["position"]
    pose: str
    reference: Reference | None = None
    slot: int | None = None


@dataclass(frozen=True)
class RotationEntry:
    """The rotation of a pose of ``kinematics.poses``: as many degrees of freedom as ``form`` has."""

    kind: Literal["rotation"]
    pose: str
    form: RotationForm
    reference: Reference | None = None
    slot: int | None = None


@dataclass(frozen=True)
class SinkEntry:
    """Values for a sink of ``sinks``, such as a base's velocity; ``state`` is what the policy sees of it."""

    kind: Literal["sink"]
    sink: str
    size: int | None = None
    """How many degrees of freedom, where the checkpoint does not say."""
    state: tuple[float, ...] = (0.0,)
    slot: int | None = None


@dataclass(frozen=True)
class HeldEntry:
    """Degrees of freedom that this robot does not follow; the policy sees ``value`` of them."""

    kind: Literal["held"]
    value: tuple[float, ...] = (0.0,)
    """One for all, or one each."""
    size: int | None = None
    slot: int | None = None


@dataclass(frozen=True)
class PaddingEntry:
    """Slots that the checkpoint was trained without: masked out, as in training."""

    kind: Literal["padding"]
    size: int | None = None
    slot: int | None = None


Entry = JointEntry | PositionEntry | RotationEntry | SinkEntry | HeldEntry | PaddingEntry


@dataclass(frozen=True)
class EmbodimentConfig:
    """What the policy's degrees of freedom are."""

    action: dict[str, Entry]
    state: dict[str, Entry] | None = None
    """null: as ``action``."""

    def __post_init__(self) -> None:
        for key, entries in (("action", self.action), ("state", self.state)):
            if entries is None:
                continue
            counted(key, entries, 1, MAX_DOF)
            for name, entry in entries.items():
                require_name(f"{key}.{name}", name)
                between(f"{key}.{name}.slot", entry.slot, 0, 1 << 20)
            _check_twice(key, entries)
        if all(isinstance(entry, HeldEntry | PaddingEntry) for entry in self.action.values()):
            kinds = {name: entry.kind for name, entry in self.action.items()}
            fix = "say of one at least which joint, pose or sink it is"
            raise Invalid("action", kinds, expected="a degree of freedom that the policy moves", fix=fix)

    @property
    def observed(self) -> dict[str, Entry]:
        """The entries of the state."""
        return self.action if self.state is None else self.state


def _check_twice(key: str, entries: dict[str, Entry]) -> None:
    """Whether two entries are one joint, one part of a pose, or one sink."""
    taken: dict[tuple[str, str], str] = {}
    for name, entry in entries.items():
        for what, of in _targets(entry):
            first = taken.setdefault((what, of), name)
            if first != name:
                attribute = "pose" if what in ("position", "rotation") else what
                expected = f"another {what} than that of {key}.{first}"
                raise Invalid(f"{key}.{name}.{attribute}", of, expected=expected)


def _targets(entry: Entry) -> list[tuple[str, str]]:
    """What an entry is, by the key that says so."""
    if isinstance(entry, JointEntry):
        return [("joint", joint) for joint in entry.joints]
    if isinstance(entry, PositionEntry | RotationEntry):
        return [(entry.kind, entry.pose)]
    return [("sink", entry.sink)] if isinstance(entry, SinkEntry) else []


def entry_size(entry: Entry) -> int | None:
    """How many degrees of freedom an entry is; None where only the checkpoint knows."""
    if isinstance(entry, JointEntry):
        return len(entry.joints)
    if isinstance(entry, PositionEntry):
        return 3
    if isinstance(entry, RotationEntry):
        return ROTATION_SIZES[entry.form]
    return entry.size


@dataclass(frozen=True)
class SinkConfig:
    """Where the values of a sink go: a JSON line a chunk, as a datagram to a UNIX socket."""

    path: str | None = None
    """Relative to the file; null: into the event log only."""


Sinks = dict[str, SinkConfig]
