"""Which degrees of freedom a checkpoint has, by name and slot, and which joints those are by name alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wall_edge.bundle import Degree, Reference, Unit
from wall_edge.config import Entry, RobotConfig, entry_size
from wall_edge.errors import CheckpointError, ConfigError
from wall_edge.files import shown
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.checkpoint.lerobot_policy import LeRobotPolicy
from wall_edge_export.checkpoint.settings.dof import Layout as Names

Pairs = tuple[tuple[str, int], ...]
"""Name and slot of each degree of freedom."""
_DESCRIBE = "say what each of them is under embodiment in ROBOT.yaml (docs/embodiment.md)"


def described_slots(checkpoint: Checkpoint, robot: RobotConfig) -> tuple[Pairs, Pairs]:
    """State and action of a checkpoint whose robot has an ``embodiment`` section. Raises ConfigError."""
    section, policy = robot.embodiment, checkpoint.policy
    if section is None:
        raise ValueError("a robot without an embodiment section")
    if policy is not None:
        _check_model(checkpoint, policy)
        state = _filled(
            "state" if section.state is not None else "action", section.observed, policy.state_dof
        )
        return state, _filled("action", section.action, policy.action_dof)
    if not checkpoint.action_layout.names or not checkpoint.state_layout.names:
        what = f"{checkpoint.folder}: no dof_config or no agent_pos_config"
        raise CheckpointError(what, expected="the names of its degrees of freedom", fix="add config.yml")
    return _pairs(checkpoint.state_layout), _pairs(checkpoint.action_layout)


def _pairs(names: Names) -> Pairs:
    return tuple(zip(names.names, names.slots, strict=True))


def _filled(side: str, entries: Mapping[str, Entry], dof: int) -> Pairs:
    """LeRobot names no slots: the entries fill the first ``dof``, in order or from their ``slot`` on."""
    names: dict[int, tuple[str, str]] = {}
    start = 0
    for group, entry in entries.items():
        size, key = entry_size(entry), f"embodiment.{side}.{group}"
        if entry.kind == "padding":
            expected = f"held, or what it is: LeRobot trained all {dof} degrees of freedom"
            raise ConfigError(f"{key}.kind is padding", expected=expected)
        if size is None:
            expected = f"how many of the {dof} degrees of freedom, which LeRobot does not name"
            raise ConfigError(f"{key}.size is missing", expected=expected)
        start = start if entry.slot is None else entry.slot
        for number, slot in enumerate(range(start, start + size)):
            if slot in names:
                what = f"{key}: slot {slot} is that of {names[slot][0]} already"
                raise ConfigError(what, expected="one name for a slot", fix="correct slot")
            if slot >= dof:
                what = f"{key}: slot {slot}"
                raise ConfigError(what, expected=f"0 to {dof - 1}: the policy has {dof} degrees of freedom")
            names[slot] = group, group if size == 1 else f"{group}_{number}"
        start += size
    if missing := [slot for slot in range(dof) if slot not in names]:
        raise ConfigError(
            f"embodiment.{side}: nothing for slots {', '.join(map(str, missing))}",
            expected=f"the policy's {dof} degrees of freedom, in the order of its data set",
            fix=f"describe them in ROBOT.yaml, under embodiment.{side}: what nobody follows is held",
        )
    return tuple((names[slot][1], slot) for slot in range(dof))


def joints_by_name(
    checkpoint: Checkpoint, robot: RobotConfig | None, unit: Unit, reference: Reference
) -> tuple[tuple[Degree, ...], tuple[Degree, ...]]:
    """State and action of a policy that commands joints by their own names. Raises ConfigError."""
    if checkpoint.policy is not None:
        _check_model(checkpoint, checkpoint.policy)
        joints = _unnamed_joints(checkpoint.policy, robot)
        return _joints(joints, range(len(joints)), unit), _joints(joints, range(len(joints)), unit, reference)
    action, state = checkpoint.action_layout, checkpoint.state_layout
    if len(action.names) != len(state.names) or len(set(action.names)) != len(action.names):
        raise _unlike(len(action.names), len(state.names), action.names)
    joints = action.names if robot is None else tuple(joint.name for joint in robot.joints)
    if strange := [name for name in joints if name not in action.names]:
        raise ConfigError(
            f"ROBOT.yaml's joints {', '.join(strange)}: the checkpoint has none of these names",
            expected=f"some or all of its degrees of freedom: {shown(', '.join(action.names), 2000)}",
            fix=f"rename joints, take the checkpoint of this robot, or {_DESCRIBE}",
        )
    # Names of the state may differ (state_elbow, action_elbow); then both are listed in one order.
    order = state if set(joints) <= set(state.names) else action
    slots = dict(zip(order.names, state.slots, strict=True))
    taken = dict(zip(action.names, action.slots, strict=True))
    return (
        _joints(joints, [slots[name] for name in joints], unit),
        _joints(joints, [taken[name] for name in joints], unit, reference),
    )


def _joints(
    names: Sequence[str], slots: Sequence[int], unit: Unit, reference: Reference = "absolute"
) -> tuple[Degree, ...]:
    return tuple(
        Degree(name, slot, "joint", name, unit=unit, reference=reference)
        for name, slot in zip(names, slots, strict=True)
    )


def _unnamed_joints(policy: LeRobotPolicy, robot: RobotConfig | None) -> tuple[str, ...]:
    """LeRobot fills the first slots, in the dataset's order, and does not say what is in them."""
    dof = policy.action_dof
    if policy.state_dof != dof:
        raise _unlike(dof, policy.state_dof)
    if robot is None or robot.dof != dof:
        what = "no ROBOT.yaml" if robot is None else f"ROBOT.yaml's {robot.dof} joints"
        raise ConfigError(
            f"{what} for a policy whose {dof} degrees of freedom LeRobot does not name",
            expected=f"joints: {dof} of them, in the order of the policy's dataset",
            fix=f"pass --robot ROBOT.yaml; if they are not its joints, {_DESCRIBE}",
        )
    return tuple(joint.name for joint in robot.joints)


def _check_model(checkpoint: Checkpoint, policy: LeRobotPolicy) -> None:
    model = (checkpoint.shape.action_dof, checkpoint.shape.state_dof)
    if policy.slots != model:
        raise CheckpointError(
            f"{policy.folder / 'config.json'}: max_action_dim and max_state_dim {list(policy.slots)}",
            expected=f"the model's slots {list(model)}",
            fix="pass the --base that this policy was trained from",
        )


def _unlike(action: int, state: int, names: tuple[str, ...] = ()) -> ConfigError:
    return ConfigError(
        f"{action} action and {state} state degrees of freedom: {', '.join(names)}".removesuffix(": "),
        expected="as many of one as of the other, with different names, unless ROBOT.yaml describes them",
        fix=_DESCRIBE,
    )
