"""The robot that a checkpoint drives: its joints, their slots in the model, and their normalisation.

Two flavours of statistics are known: upstream's ``min`` and ``delta`` tensors, and LeRobot's processors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from wall_edge.bundle import RADIANS, Embodiment, Normalization
from wall_edge.checks import MAX_DOF
from wall_edge.config import RobotConfig
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge.files import is_plain_name, shown
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.checkpoint.dof import Layout
from wall_edge_export.checkpoint.lerobot_policy import ACTION, STATE, LeRobotPolicy, Range

Unit = Literal["rad", "deg"]
Statistics = Mapping[str, npt.NDArray[np.float64]]
_GRIPPERS = ("gripper", "jaw", "claw", "finger", "hand")
_MOST_VALUE = 1e4
_ASK = "set model.robot in ROBOT.yaml and pass --robot"


def embodiment(
    checkpoint: Checkpoint,
    robot: RobotConfig | None,
    *,
    statistics: str | None,
    unit: Unit,
    reference: str,
) -> Embodiment:
    """Joints, slots and normalisation. Raises :class:`CheckpointError` or :class:`ConfigError`.

    ``statistics``: whose to take in a checkpoint that holds several robots'; ``unit``: what the policy's
    joint angles are in; ``reference``: ``absolute`` or ``state``.
    """
    policy = checkpoint.policy
    if policy is not None:
        action, state = _lerobot_layouts(checkpoint, policy, robot)
        ranges_by_key = policy.ranges()
        ranges = [
            ranges_by_key[key]
            for key in (STATE, ACTION)
            if key in ranges_by_key and (key == STATE or reference == "absolute")
        ]
        _refuse_percent(policy.folder, action.names, ranges, unit)
        state_scale, action_scale = policy.normalizations()
    else:
        action, state = _layouts(checkpoint, robot)
        tensors = _statistics(checkpoint, statistics)
        state_scale = _min_delta(tensors["propri"], checkpoint.shape.state_dof, state, clip=1.0)
        action_scale = _min_delta(tensors["action"], checkpoint.shape.action_dof, action, clip=None)
        scales = (state_scale, action_scale) if reference == "absolute" else (state_scale,)
        _refuse_percent(checkpoint.folder, action.names, [_range(scale) for scale in scales], unit)
    _check_sizes(action.names, (state_scale, action_scale))
    return Embodiment(
        name=robot.name if robot is not None else statistics or "unnamed",
        dof_names=action.names,
        unit="rad",
        action_reference=reference,
        state=_in_radians(state_scale, unit),
        action=_in_radians(action_scale, unit),
        state_slots=state.slots,
        action_slots=action.slots,
        lower=robot.per_joint(lambda joint: joint.lower) if robot is not None else None,
        upper=robot.per_joint(lambda joint: joint.upper) if robot is not None else None,
        data_unit=unit,
    )


def _refuse_percent(where: object, joints: tuple[str, ...], ranges: Sequence[Range], unit: Unit) -> None:
    """One unit for all joints would take a gripper's per cent for degrees: half of its travel.

    No file says units. LeRobot's arms give a gripper in 0 to 100 of its range and everything else in degrees
    (``motors_bus.py``, ``RANGE_0_100``), clamped: a gripper whose ``ranges`` all lie within 0 and 100, and
    any joint that spans both ends exactly, is no angle.
    """
    for index, joint in enumerate(joints if ranges else ()):
        low = min(float(low[index]) for low, _ in ranges)
        high = max(float(high[index]) for _, high in ranges)
        named = any(word in joint.lower() for word in _GRIPPERS)
        whole = abs(low) < 1e-3 and abs(high - 100) < 1e-3
        if low >= -0.5 and 2 * math.pi < high <= 100.5 and (named or whole):
            raise CheckpointError(
                f"{where}: {joint} went from {low:.4g} to {high:.4g}, per cent of its range, and not {unit}",
                expected="angles of every joint: a unit for each joint is not supported yet",
                fix="train on a data set whose gripper is in degrees or rad",
            )


def _check_sizes(joints: tuple[str, ...], scales: Sequence[Normalization]) -> None:
    """What a bundle may hold, asked before one is made."""
    if len(joints) > MAX_DOF:
        raise ConfigError(f"{len(joints)} joints", expected=f"at most {MAX_DOF}")
    for index, joint in enumerate(joints):
        for normalization in scales:
            offset, scale = normalization.offset[index], normalization.scale[index]
            if abs(offset) > _MOST_VALUE or not 0 < scale <= _MOST_VALUE:
                raise CheckpointError(
                    f"the normaliser of {joint}: middle {offset:g}, half range {scale:g}",
                    expected=f"numbers of at most {_MOST_VALUE:g}",
                    fix="use the statistics that were saved with these weights",
                )


def _range(normalization: Normalization) -> Range:
    middle, half = np.array(normalization.offset), np.array(normalization.scale)
    return middle - half, middle + half


def _in_radians(normalization: Normalization, unit: Unit) -> Normalization:
    """The same normalisation of angles in rad: a unit is only a factor."""
    factor = RADIANS[unit]
    offset, scale = (
        tuple(value * factor for value in values) for values in (normalization.offset, normalization.scale)
    )
    return Normalization(offset, scale, normalization.clip)


def _lerobot_layouts(
    checkpoint: Checkpoint, policy: LeRobotPolicy, robot: RobotConfig | None
) -> tuple[Layout, Layout]:
    """LeRobot fills the first slots, in the dataset's order, and does not say what is in them."""
    model = (checkpoint.shape.action_dof, checkpoint.shape.state_dof)
    if policy.slots != model:
        raise CheckpointError(
            f"{policy.folder / 'config.json'}: max_action_dim and max_state_dim {list(policy.slots)}",
            expected=f"the model's slots {list(model)}",
            fix="pass the --base that this policy was trained from",
        )
    dof = policy.action_dof
    if policy.state_dof != dof:
        raise _unlike(dof, policy.state_dof)
    if robot is None or robot.dof != dof:
        what = "no ROBOT.yaml" if robot is None else f"ROBOT.yaml's {robot.dof} joints"
        raise ConfigError(
            f"{what} for a policy whose {dof} degrees of freedom LeRobot does not name",
            expected=f"joints: {dof} of them, in the order of the policy's dataset",
            fix="pass --robot ROBOT.yaml",
        )
    layout = Layout(tuple(joint.name for joint in robot.joints), tuple(range(dof)))
    return layout, layout


def _layouts(checkpoint: Checkpoint, robot: RobotConfig | None) -> tuple[Layout, Layout]:
    """The robot's joints are found among the checkpoint's degrees of freedom by name, some or all of them."""
    action, state = checkpoint.action_layout, checkpoint.state_layout
    if len(action.names) != len(state.names) or len(set(action.names)) != len(action.names):
        raise _unlike(len(action.names), len(state.names), action.names)
    joints = action.names if robot is None else tuple(joint.name for joint in robot.joints)
    strange = [name for name in joints if name not in action.names]
    if strange:
        raise ConfigError(
            f"ROBOT.yaml's joints {', '.join(strange)}",
            expected=f"some or all of the checkpoint's degrees of freedom: {', '.join(action.names)}",
            fix="rename joints, or take the checkpoint of this robot",
        )
    # Names of the state may differ (state_elbow, action_elbow); then both are listed in one order.
    same_names = set(joints) <= set(state.names)
    return _select(action, joints, action), _select(state, joints, state if same_names else action)


def _select(layout: Layout, joints: tuple[str, ...], names: Layout) -> Layout:
    return Layout(joints, tuple(layout.slots[names.names.index(joint)] for joint in joints))


def _unlike(action: int, state: int, names: tuple[str, ...] = ()) -> ConfigError:
    return ConfigError(
        f"{action} action and {state} state degrees of freedom: {', '.join(names)}".removesuffix(": "),
        expected="as many of one as of the other, with different names",
        fix="this daemon drives joints whose state it reads back; other layouts are not supported yet",
    )


def _statistics(checkpoint: Checkpoint, robot: str | None) -> dict[str, dict[str, npt.NDArray[np.float64]]]:
    """``action`` and ``propri`` → ``min`` and ``delta`` of the robot."""
    by_robot: dict[str, dict[str, dict[str, npt.NDArray[np.float64]]]] = {}
    for kind, statistic, name, values in checkpoint.normalizers():
        by_robot.setdefault(name, {}).setdefault(kind, {})[statistic] = values.double().numpy()
    if not by_robot:
        raise CheckpointError(
            f"{checkpoint.folder}: no normalisation statistics",
            expected="tensors action_preprocessor.normalizer_{action,propri}.{min,delta}.ROBOT",
            fix="export a fine-tuned checkpoint, or the folder that LeRobot saved with its processors",
        )
    robot_name = robot if robot is not None else (next(iter(by_robot)) if len(by_robot) == 1 else None)
    if robot_name not in by_robot:
        raise CheckpointError(
            f"{checkpoint.folder}: normalisation for robot {shown(repr(robot_name), 60)}",
            expected=f"one of {shown(', '.join(sorted(by_robot)))}",
            fix=_ASK,
        )
    if not is_plain_name(robot_name, "/") or ".." in robot_name:
        raise CheckpointError(
            f"{checkpoint.folder}: a robot named {shown(repr(robot_name), 60)}", expected="a plain name"
        )
    for kind in ("action", "propri"):
        if set(by_robot[robot_name].get(kind, {})) != {"min", "delta"}:
            raise CheckpointError(
                f"{checkpoint.folder}: normalizer_{kind}.*.{robot_name}", expected="min and delta"
            )
    return by_robot[robot_name]


def _min_delta(values: Statistics, slots: int, layout: Layout, *, clip: float | None) -> Normalization:
    """Upstream's rule: to [-1, 1] by ``2·(x - min)/delta - 1``.

    Statistics cover all of the model's slots, or the first of them where the rest is padding.
    """
    low, delta = values["min"], values["delta"]
    indices = list(layout.slots)
    fits = low.ndim == 1 and low.shape == delta.shape and max(indices) < len(low) <= slots
    if not fits or not np.all(np.isfinite([low[indices], delta[indices]])) or not np.all(delta[indices] > 0):
        raise CheckpointError(
            f"normaliser min {low.tolist()}, delta {delta.tolist()}",
            expected=f"finite numbers for {', '.join(layout.names)}, delta above 0",
            fix="use the statistics that were saved with these weights",
        )
    low, delta = low[indices], delta[indices]
    return Normalization(tuple((low + delta / 2).tolist()), tuple((delta / 2).tolist()), clip)
