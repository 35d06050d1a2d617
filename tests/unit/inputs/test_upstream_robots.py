"""Upstream's checkpoints of 20 and 26 slots, with several robots' statistics, for a described robot."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
import yaml
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.settings import resolve_settings
from wall_edge_export.quantize.model_input import training_actions
from wall_edge_export.reference.random_shapes import DOF_26_GROUPS, DOF_GROUPS, STATE_26_GROUPS

from tests.unit.inputs.upstream import (
    AGIBOT,
    DOBBE,
    ROBOTS,
    X2_NORMAL,
    arm_entries,
    edit_statistics,
    entries_20,
    filled,
    rest_entries,
    two_handed,
    write_upstream,
)
from wall_edge.bundle import Embodiment, Manifest
from wall_edge.config import RobotConfig
from wall_edge.config.workspace import Box, PoseBounds, WorkspaceConfig
from wall_edge.errors import WallEdgeError
from wall_edge.policies.observation import Observation
from wall_edge.policies.transforms import model_state
from wall_edge.session_format import Sample

HELD_LEFT = {group: {"kind": "padding"} for group in DOF_GROUPS if "_left_" in group}
HELD_REST = {group: {"kind": "padding"} for group in ("head_actions", "height", "car_pose")}


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty slots and three robots' statistics; read-only."""
    return write_upstream(tmp_path_factory.mktemp("upstream") / "checkpoint")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """One to change."""
    return write_upstream(tmp_path / "checkpoint")


def exported(folder: Path, robot: RobotConfig | None) -> Embodiment:
    return resolve_settings(Checkpoint(folder), robot).embodiment


def refusal(folder: Path, robot: RobotConfig | None) -> str:
    with pytest.raises(WallEdgeError) as error:
        exported(folder, robot)
    assert "\n" not in str(error.value)
    assert "expected" in str(error.value)
    return str(error.value)


def test_twenty_slots_of_a_described_robot(upstream: Path, robot: RobotConfig) -> None:
    made = exported(upstream, two_handed(robot))
    assert made.action.slots == made.state.slots == tuple(range(20))
    assert made.action.names[2:4] == ("follow_left_ee_cartesian_pos_2", "follow_left_ee_rotation_0")
    parts = [(d.part, d.of, d.index, d.unit) for d in made.action.degrees]
    assert parts[6] == ("joint", "left_gripper", 0, "own")
    assert parts[7:10] == [("position", "right", i, "m") for i in range(3)]
    assert parts[14:17] == [("joint", "head_pan", 0, "rad"), ("joint", "head_tilt", 0, "rad"), parts[16]]
    assert parts[16][:3] == ("sink", "lift", 0)
    assert {part for part, *_ in parts[17:]} == {"held"}
    assert made.action.rotations == made.state.rotations == {"left": "rpy", "right": "rpy"}
    assert set(made.poses) == {"left", "right"}


@pytest.mark.parametrize("whose", ["x2_normal", "agibotworld_alpha"])
def test_the_statistics_are_upstreams_own_rule(upstream: Path, robot: RobotConfig, whose: str) -> None:
    """``normalize_data`` and ``unnormalize_data`` of ``wall_x/model/action_head.py``, written down again."""
    wide = {"unit": "own", "values": [34.0, 121.0], "range": [-0.1, 1.7]}
    action = entries_20()
    if whose != "x2_normal":
        action["follow_left_gripper"] |= wide
        action["follow_right_gripper"] |= wide
    made = exported(upstream, two_handed(robot, action, statistics=whose))
    low, delta = (values.double().numpy() for values in filled(DOF_GROUPS, ROBOTS[whose]))
    rng = np.random.default_rng(0)
    values = low + delta * rng.uniform(-0.5, 1.5, (50, 20))
    np.testing.assert_allclose(
        made.state.normalize(values), np.clip((values - low) / delta * 2 - 1, -1, 1), atol=1e-12
    )
    normalised = rng.uniform(-1.2, 1.2, (50, 20))
    np.testing.assert_allclose(
        made.action.restore(normalised), (normalised + 1) / 2 * delta + low, atol=1e-12
    )


def test_what_a_single_arm_was_trained_without_is_masked(upstream: Path, robot: RobotConfig) -> None:
    """Twelve of upstream's sets have the right hand's slots alone."""
    one = {"unit": "own", "values": [0.0, 1.0], "range": [-0.1, 1.7]}
    action = {**HELD_LEFT, **arm_entries("right"), **HELD_REST}
    action["follow_right_gripper"] |= one
    made = exported(upstream, two_handed(robot, action, statistics="DobbE"))
    assert made.action.slots == made.state.slots == tuple(range(7, 14))
    assert set(made.poses) == {"right"}
    low, delta = (values.double().numpy()[7:14] for values in filled(DOF_GROUPS, DOBBE))
    np.testing.assert_array_equal(made.action.offset, low + delta / 2)
    manifest = cast(Manifest, SimpleNamespace(embodiment=made, state_slots=20, action_slots=20, horizon=3))
    token, state_mask = model_state(manifest, low + delta)
    sample = Sample(Observation(0, {}, low, frames_ns=0), "", np.tile(low + delta, (3, 1)))
    actions, action_mask = training_actions(sample, manifest)
    live = np.zeros(20)
    live[7:14] = 1.0
    np.testing.assert_array_equal(state_mask, live)
    np.testing.assert_array_equal(action_mask, np.tile(live, (3, 1)))
    np.testing.assert_allclose(token, 2 * live - 1, atol=1e-6)  # upstream normalises the 0 of what is missing
    np.testing.assert_allclose(actions, np.tile(live, (3, 1)), atol=1e-6)
    manifest.action_slots = 7  # type: ignore[misc]  # FAST: no graph says how many slots there are
    np.testing.assert_allclose(training_actions(sample, manifest)[0], np.tile(live[:14], (3, 1)), atol=1e-6)


def test_a_masked_slot_of_the_state_is_a_normalised_nothing(upstream: Path, robot: RobotConfig) -> None:
    """Upstream fills in 0 for what a robot has not, and normalises it: -1 by min 0 and delta 1."""
    one = {"unit": "own", "values": [0.0, 1.0], "range": [-0.1, 1.7]}
    action = {**HELD_LEFT, **arm_entries("right"), **HELD_REST}
    action["follow_right_gripper"] |= one
    made = exported(upstream, two_handed(robot, action, statistics="DobbE"))
    assert made.state.masked == (-1.0,) * 7 + (0.0,) * 7 + (-1.0,) * 6
    assert made.action.masked == ()
    everything = exported(upstream, two_handed(robot))
    assert everything.state.masked == ()
    seen = {**entries_20(), "height": {"kind": "padding"}}
    low, delta = X2_NORMAL["height"][0][0], X2_NORMAL["height"][1][0]
    made = exported(upstream, two_handed(robot, seen))
    assert made.state.masked[16] == pytest.approx(np.clip(-2 * low / delta - 1, -1, 1))


def test_a_hand_that_the_statistics_do_not_have(upstream: Path, robot: RobotConfig) -> None:
    """Upstream stores min 0 and delta 1 for it: a cube of a metre that no arm was ever in."""
    message = refusal(upstream, two_handed(robot, statistics="DobbE"))
    assert "robot DobbE had no left: min 0, delta 1" in message
    assert "padding" in message


def test_a_pose_whose_parts_are_relative_to_different_things(upstream: Path, robot: RobotConfig) -> None:
    action = entries_20()
    action["follow_left_ee_rotation"] |= {"reference": "state"}
    message = refusal(upstream, two_handed(robot, action))
    assert "reference of pose left is 'position absolute, rotation state'" in message


def test_whose_statistics_nobody_says(upstream: Path, robot: RobotConfig) -> None:
    message = refusal(upstream, two_handed(robot, statistics=None))
    assert "normalisation for robot None; expected one of DobbE, agibotworld_alpha, x2_normal" in message
    message = refusal(upstream, two_handed(robot, statistics="x3"))
    assert "normalisation for robot 'x3'; expected one of DobbE, agibotworld_alpha, x2_normal" in message
    assert "model.robot" in message


def test_the_training_files_own_robot_is_taken(tmp_path: Path, robot: RobotConfig) -> None:
    """Upstream adds a fine-tune's statistics to those of its base, under the name in ``config.yml``."""
    mine = {**ROBOTS, "me/my-arm": {**X2_NORMAL, "height": ([0.1], [0.3])}}
    folder = write_upstream(tmp_path / "checkpoint", robots=mine, name="me/my-arm")
    assert exported(folder, two_handed(robot, statistics=None)).action.offset[16] == pytest.approx(0.25)
    assert exported(folder, two_handed(robot)).action.offset[16] == pytest.approx(0.25245)


@pytest.mark.parametrize("folder_key", ["action", "propri"])
def test_a_padded_slot_may_have_any_statistics(damaged: Path, robot: RobotConfig, folder_key: str) -> None:
    action = {**entries_20(), **HELD_REST}
    for statistic, value in (("delta", 0.0), ("min", float("nan"))):
        edit_statistics(damaged, f"{folder_key}.{statistic}.x2_normal", 17, value)
    made = exported(damaged, two_handed(robot, action))
    assert made.action.slots == tuple(range(14))


def test_what_never_moved_can_be_held_and_not_driven(damaged: Path, robot: RobotConfig) -> None:
    for kind in ("action", "propri"):
        edit_statistics(damaged, f"{kind}.delta.x2_normal", 16, 0.0)
        edit_statistics(damaged, f"{kind}.min.x2_normal", 16, 0.3)
    message = refusal(damaged, two_handed(robot))
    assert "the normaliser of height: middle 0.3, half range 0;" in message
    assert "describe it as held" in message
    held = {**entries_20(), "height": {"kind": "held", "value": [0.3]}}
    state = exported(damaged, two_handed(robot, held)).state
    assert state.normalize(np.array([*state.offset[:16], 0.3, *state.offset[17:]]))[16] == -1.0


def test_a_range_that_is_0_in_all_but_name(damaged: Path, robot: RobotConfig) -> None:
    """Half of 1e-40 passed where 0 is refused: a nudge of the lift became infinite in float32."""
    edit_statistics(damaged, "propri.delta.x2_normal", 16, 1e-40)
    message = refusal(damaged, two_handed(robot))
    assert "the normaliser of height: " in message
    assert re.search(r"half range [\d.]+e-41;", message)
    assert "describe it as held" in message


@pytest.mark.parametrize(("entry", "value"), [("height", "state"), ("car_pose", "value")])
def test_the_policy_is_shown_nothing_that_it_never_saw(
    upstream: Path, robot: RobotConfig, entry: str, value: str
) -> None:
    action = entries_20()
    action[entry][value] = [40.0]
    assert "the policy would see 40 of" in refusal(upstream, two_handed(robot, action))


def test_statistics_that_miss_the_workspace(upstream: Path, robot: RobotConfig) -> None:
    """x2_normal's left hand went from -0.036 to 0.403 m, agibotworld's from 0.495 on."""
    wide = {"unit": "own", "values": [34.0, 121.0], "range": [-0.1, 1.7]}
    action = entries_20()
    for side in ("left", "right"):
        action[f"follow_{side}_gripper"] |= wide
    box = PoseBounds("left_base", Box((0.0, 0.45), (-0.4, 0.6), (-0.2, 0.5)))
    bounded = replace(two_handed(robot), workspace=WorkspaceConfig({"left": box}))
    assert exported(upstream, bounded).name == "tabletop"
    other = replace(two_handed(robot, action, statistics="agibotworld_alpha"), workspace=bounded.workspace)
    message = refusal(upstream, other)
    assert "statistics of robot agibotworld_alpha: x of left went from 0.4954 to 0.829 m" in message
    assert "the workspace, 0 to 0.45 m" in message
    # The axes of another link need the arm's geometry.
    turned = WorkspaceConfig({"left": replace(box, frame="torso")})
    exported(upstream, replace(other, workspace=turned))


def test_statistics_that_miss_a_joints_limits(upstream: Path, robot: RobotConfig) -> None:
    """A gripper of 34 to 121 is not one of -0.12 to 4.4."""
    message = refusal(upstream, two_handed(robot, statistics="agibotworld_alpha"))
    assert "left_gripper went from" in message
    assert "the joint's limits, -1.8 to 1.8 rad" in message
    described = two_handed(robot)
    joints = tuple(
        replace(j, lower=-3.0, upper=-1.8) if j.name == "head_pan" else j for j in described.joints
    )
    control = replace(described.control, rest=(0.0, 0.0, -2.0, 0.0))
    message = refusal(upstream, replace(described, joints=joints, control=control))
    assert "head_pan went from -1.5 to 1 rad; expected some of the joint's limits, -3 to -1.8 rad" in message


def test_a_pose_checkpoint_without_a_description(upstream: Path, robot: RobotConfig) -> None:
    message = refusal(upstream, replace(two_handed(robot), embodiment=None))
    assert "joints left_gripper, right_gripper, head_pan, head_tilt: the checkpoint has none" in message
    assert "follow_left_ee_cartesian_pos_0" in message
    assert "embodiment in ROBOT.yaml" in message


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda a: a.pop("height"), "height"),
        (lambda a: a.update(waist={"kind": "held"}), "waist"),
        (lambda a: a["head_actions"].update(joint=["head_pan"]), "head_actions"),
        (lambda a: a["follow_left_ee_rotation"].update(form="6d"), "follow_left_ee_rotation"),
    ],
)
def test_descriptions_that_do_not_fit(
    upstream: Path, robot: RobotConfig, change: Callable[[dict[str, Any]], object], named: str
) -> None:
    action = entries_20()
    change(action)
    assert named in refusal(upstream, two_handed(robot, action))


@pytest.mark.parametrize("names", [{"arm": 2, "arm_0": 1, "rest": 17}, {"arm_1": 1, "arm": 2, "rest": 17}])
def test_two_slots_of_one_name(damaged: Path, robot: RobotConfig, names: dict[str, int]) -> None:
    training = yaml.safe_load((damaged / "config.yml").read_text())
    training |= {"dof_config": names, "agent_pos_config": names}
    (damaged / "config.yml").write_text(yaml.safe_dump(training, sort_keys=False))
    held: dict[str, Any] = {group: {"kind": "held"} for group in names}
    described = two_handed(robot, {**held, "rest": {"kind": "sink", "sink": "lift"}})
    assert "arm_" in refusal(damaged, described)


def test_twenty_six_slots_with_other_names_of_the_state(tmp_path: Path, robot: RobotConfig) -> None:
    """Rotations as two rows of a matrix; actions are relative to the state, and named so."""
    folder = write_upstream(tmp_path / "c", "tiny-26", {"me": {}})
    parts = {"velocity_decomposed": {"kind": "held"}, "height": {"kind": "held"}}
    head = {"head_actions": {"kind": "padding"}}
    state = {
        **arm_entries("left", "6d_rows", "ee_rotation_6D"),
        **arm_entries("right", "6d_rows", "ee_rotation_6D"),
    }
    action = {
        **arm_entries("left", "6d_rows", "ee_rotation_6D", "_relative"),
        **arm_entries("right", "6d_rows", "ee_rotation_6D", "_relative"),
    }
    for entry in action.values():
        entry["reference"] = "absolute" if entry["kind"] == "joint" else "state"
    # Positions of 0 to 1 m are what upstream fills in; these are somebody's.
    for kind in ("action", "propri"):
        for slot in (0, 10):
            edit_statistics(folder, f"{kind}.min.me", slot, -0.3)
    described = two_handed(robot, {**action, **parts, **head}, {**state, **parts, **head}, statistics=None)
    made = exported(folder, described)
    assert sum(DOF_26_GROUPS.values()) == sum(STATE_26_GROUPS.values()) == 26
    assert made.action.slots == made.state.slots == tuple(range(24))
    assert made.action.names[3] == "follow_left_ee_rotation_6D_relative_0"
    assert made.state.names[3] == "follow_left_ee_rotation_6D_0"
    assert made.action.rotations == made.state.rotations == {"left": "6d_rows", "right": "6d_rows"}
    assert [d.reference for d in made.action.degrees[:10]] == ["state"] * 9 + ["absolute"]
    assert {d.reference for d in made.state.degrees} == {"absolute"}
    assert Checkpoint(folder).shape.action_dof == 26
    tensor = Checkpoint(folder).tensor("action_preprocessor.w1.weight")
    assert tensor.shape == torch.Size([64, 52])
    state["follow_left_ee_rotation_6D"] = {**state["follow_left_ee_rotation_6D"], "form": "6d"}
    columns = two_handed(robot, {**action, **parts, **head}, {**state, **parts, **head}, statistics=None)
    assert "as two columns (6d), which turns it the other way; expected form: 6d_rows" in refusal(
        folder, columns
    )


def test_the_rest_is_what_it_says(upstream: Path, robot: RobotConfig) -> None:
    """Agibot's height and head stand in for this robot's; a car is held at 0."""
    assert set(rest_entries()) == {"head_actions", "height", "car_pose"}
    assert set(AGIBOT) < set(DOF_GROUPS)
    made = exported(upstream, two_handed(robot))
    assert made.state.offset[17:] == (0.5,) * 3
