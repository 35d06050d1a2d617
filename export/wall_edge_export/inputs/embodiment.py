"""The robot that a checkpoint drives: its degrees of freedom, their slots in the model, their normalisation.

What each is, ROBOT.yaml's ``embodiment`` section says; without it they are joints by their own names, in one
unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from wall_edge.bundle import Degree, Embodiment, Layout, Pose, Reference, RotationForm
from wall_edge.checks import MAX_DOF
from wall_edge.config import (
    EmbodimentConfig,
    Entry,
    HeldEntry,
    JointEntry,
    PositionEntry,
    RobotConfig,
    RotationEntry,
    SinkEntry,
    expand,
)
from wall_edge.config_loader import Invalid
from wall_edge.errors import ConfigError
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.contradictions import refuse_contradictions
from wall_edge_export.inputs.slots import Pairs, described_slots, own_joints
from wall_edge_export.inputs.statistics import Statistics, read_statistics

JointUnit = Literal["rad", "deg"]
Meaning = tuple[tuple[Degree, ...], dict[str, RotationForm]]
"""What slots are, and how rotations among them are written."""
_FAR = 3.0
"""Half ranges off the middle: no value of training."""


def embodiment(
    checkpoint: Checkpoint,
    robot: RobotConfig | None,
    *,
    statistics: str | None,
    unit: JointUnit | None,
    reference: Reference,
) -> Embodiment:
    """What the policy's state and actions are. Raises :class:`CheckpointError` or :class:`ConfigError`.

    ``statistics``: whose to take in a checkpoint that holds several robots'; ``unit``: what the policy's
    joint angles are in, where no ``embodiment`` section says so joint by joint; ``reference``: what
    actions are relative to, where none says so.
    """
    section = robot.embodiment if robot is not None else None
    if robot is not None and section is not None:
        state, action = _described(checkpoint, robot, section, unit, reference)
    else:
        joints = own_joints(checkpoint, robot, unit or "rad", reference)
        state, action = ((degrees, {}) for degrees in joints)
    for side, (degrees, _) in (("state", state), ("action", action)):
        if len(degrees) > MAX_DOF:
            raise ConfigError(
                f"{len(degrees)} degrees of freedom of the {side}", expected=f"at most {MAX_DOF}"
            )
    numbers = read_statistics(checkpoint, statistics)
    made = _embodiment(numbers, robot, state, action)
    refuse_contradictions(numbers, made, robot)
    if section is not None:
        _refuse_unseen_values(section, made.state)
    return made


def _embodiment(
    numbers: Statistics, robot: RobotConfig | None, state: Meaning, action: Meaning
) -> Embodiment:
    known: Mapping[str, Pose] = {} if robot is None or robot.kinematics is None else robot.kinematics.poses
    named = dict.fromkeys(
        d.of for degrees, _ in (state, action) for d in degrees if d.part in ("position", "rotation")
    )
    try:
        return Embodiment(
            name=robot.name if robot is not None else numbers.robot or "unnamed",
            state=numbers.state.layout(*state, numbers.folder),
            action=numbers.action.layout(*action, numbers.folder),
            poses={name: known[name] for name in named if name in known},
        )
    except Invalid as problem:
        raise ConfigError(f"embodiment: {problem}") from problem


def _described(
    checkpoint: Checkpoint,
    robot: RobotConfig,
    section: EmbodimentConfig,
    unit: JointUnit | None,
    reference: Reference,
) -> tuple[Meaning, Meaning]:
    _refuse_two_units(robot, section, unit)
    _refuse_strangers(robot, section)
    state, action = described_slots(checkpoint, robot)
    degrees, rotations = _expanded(section.observed, state, reference)
    # An action's entry may stand for the state too, and a state is never an offset.
    seen = tuple(replace(degree, reference="absolute") for degree in degrees)
    return (seen, rotations), _expanded(section.action, action, reference)


def _expanded(entries: Mapping[str, Entry], pairs: Pairs, reference: Reference) -> Meaning:
    degrees, rotations = expand(entries, pairs, reference)
    return tuple(degrees), dict(rotations)


def _refuse_two_units(robot: RobotConfig, section: EmbodimentConfig, unit: JointUnit | None) -> None:
    """Whoever says ``deg`` for all joints would take an entry without a unit for one of them."""
    if robot.model is not None and robot.model.unit is not None:
        raise ConfigError(
            f"model.unit is {robot.model.unit!r}",
            expected="none beside embodiment, whose entries say each joint's unit",
            fix="remove it, and set unit in the entries that are not in rad",
        )
    for name, entry in (*section.observed.items(), *section.action.items()):
        if isinstance(entry, JointEntry) and unit is not None and {unit, entry.unit} == {"rad", "deg"}:
            raise ConfigError(
                f"embodiment: {name} in {entry.unit}",
                expected=f"{unit}, as the wall_edge block of the checkpoint's config.json says",
                fix="correct the one that is wrong",
            )


def _refuse_strangers(robot: RobotConfig, section: EmbodimentConfig) -> None:
    """Joints, poses and sinks that ROBOT.yaml does not have."""
    joints = [joint.name for joint in robot.joints]
    poses = list(robot.kinematics.poses) if robot.kinematics is not None else []
    for name, entry in (*section.observed.items(), *section.action.items()):
        if isinstance(entry, JointEntry):
            _refuse_stranger(f"embodiment: {name}: joint", entry.joints, joints, "joints")
        elif isinstance(entry, SinkEntry):
            _refuse_stranger(f"embodiment: {name}: sink", (entry.sink,), list(robot.sinks), "sinks")
        elif isinstance(entry, PositionEntry | RotationEntry):
            _refuse_stranger(f"embodiment: {name}: pose", (entry.pose,), poses, "kinematics.poses")


def _refuse_stranger(what: str, names: Sequence[str], known: Sequence[str], where: str) -> None:
    if strange := [name for name in names if name not in known]:
        raise ConfigError(
            f"{what} {', '.join(strange)}",
            expected=f"one of ROBOT.yaml's {where}: {', '.join(known) or 'there is none'}",
            fix=f"add it to {where}, or correct the name",
        )


def _refuse_unseen_values(section: EmbodimentConfig, state: Layout) -> None:
    """What the policy is shown of what it does not drive must be something that it was trained on."""
    for i, degree in enumerate(state.degrees):
        value = _shown_value(section, degree)
        if value is None:
            continue
        middle, half = state.offset[i], state.scale[i]
        if abs(value - middle) > _FAR * half:
            raise ConfigError(
                f"embodiment: the policy would see {value:g} of {degree.name}",
                expected=f"about {middle - half:.4g} to {middle + half:.4g}, as in training",
                fix="set value of what is held, state of a sink",
            )


def _shown_value(section: EmbodimentConfig, degree: Degree) -> float | None:
    """What stands in for a measurement; None where there is one."""
    group, number = degree.name, 0
    if group not in section.observed:
        group, _, digits = degree.name.rpartition("_")
        number = int(digits)
    entry = section.observed[group]
    if not isinstance(entry, HeldEntry | SinkEntry):
        return None
    values = entry.value if isinstance(entry, HeldEntry) else entry.state
    return values[0] if len(values) == 1 else values[number]
