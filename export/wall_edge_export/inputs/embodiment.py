"""The robot that a checkpoint drives: its degrees of freedom, their slots in the model, their normalisation.

What each is, ROBOT.yaml's ``embodiment`` section says; without it they are joints by their own names, in one
unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from wall_edge.bundle import Degree, Embodiment, Layout, Pose, Reference, RotationForm
from wall_edge.checks import MAX_DOF
from wall_edge.config import (
    EmbodimentConfig,
    HeldEntry,
    JointEntry,
    RobotConfig,
    SinkEntry,
    expand,
)
from wall_edge.config_loader import Invalid
from wall_edge.errors import ConfigError
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.contradictions import refuse_contradictions
from wall_edge_export.inputs.slots import described_slots, joints_by_name
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
        joints = joints_by_name(checkpoint, robot, unit or "rad", reference)
        state, action = ((degrees, {}) for degrees in joints)
    for side, (degrees, _) in (("state", state), ("action", action)):
        if len(degrees) > MAX_DOF:
            raise ConfigError(
                f"{len(degrees)} degrees of freedom of the {side}", expected=f"at most {MAX_DOF}"
            )
    numbers = read_statistics(checkpoint, statistics)
    result = _embodiment(numbers, robot, state, action)
    refuse_contradictions(numbers, result, robot)
    if section is not None:
        _refuse_unseen_values(section, result.state)
    return result


def _embodiment(
    numbers: Statistics, robot: RobotConfig | None, state: Meaning, action: Meaning
) -> Embodiment:
    poses: Mapping[str, Pose] = {} if robot is None or robot.kinematics is None else robot.kinematics.poses
    named = dict.fromkeys(
        d.of for degrees, _ in (state, action) for d in degrees if d.part in ("position", "rotation")
    )
    try:
        return Embodiment(
            name=robot.name if robot is not None else numbers.robot or "unnamed",
            state=numbers.state.layout(*state, numbers.folder),
            action=numbers.action.layout(*action, numbers.folder),
            poses={name: poses[name] for name in named if name in poses},
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
    _refuse_two_units(section, unit)
    state, action = described_slots(checkpoint, robot)
    degrees, rotations = expand(section.observed, state, reference)
    # An action's entry may stand for the state too, and a state is never an offset.
    state_degrees = tuple(replace(degree, reference="absolute") for degree in degrees)
    return (state_degrees, rotations), expand(section.action, action, reference)


def _refuse_two_units(section: EmbodimentConfig, unit: JointUnit | None) -> None:
    """``unit``: what the checkpoint says for all joints; an entry that says none is in rad."""
    for name, entry in (*section.observed.items(), *section.action.items()):
        if isinstance(entry, JointEntry) and unit is not None and {unit, entry.unit} == {"rad", "deg"}:
            raise ConfigError(
                f"embodiment: {name} in {entry.unit}",
                expected=f"{unit}, as the wall_edge block of the checkpoint's config.json says",
                fix="correct the one that is wrong",
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
