"""Another robot's bundle, another URDF, a sink that cannot be: refused before anything starts."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.body.bodies import manifest_of, two_poses
from tests.unit.body.two_arms import kinematics, robot
from wall_edge.bundle import (
    Embodiment,
    FastActions,
    FastSettings,
    FlowActions,
    Manifest,
    StateText,
    TimeSchedule,
    joint_layout,
)
from wall_edge.config import ModelConfig, RobotConfig, SinkConfig
from wall_edge.errors import WallEdgeError
from wall_edge.runtime.daemon.readiness import check_match


def manifest(config: RobotConfig, **changes: Any) -> Manifest:
    poses = manifest_of(config)
    numbers = {"embodiment": poses.embodiment, "cameras": {}, "horizon": 32, "action_rate_hz": 30.0}
    return cast(Manifest, SimpleNamespace(**{**numbers, **changes}))


def joints_alone(names: list[str]) -> Embodiment:
    layout = joint_layout(names, [0.0] * len(names), [1.0] * len(names))
    return Embodiment("two arms", layout, layout)


POSES = robot(embodiment={"action": two_poses()})
PLAIN = replace(POSES, embodiment=None, kinematics=None)
NAMES = [joint.name for joint in PLAIN.joints]


def test_the_robot_that_the_bundle_was_made_for() -> None:
    check_match(manifest(POSES), POSES)
    check_match(manifest(POSES, embodiment=joints_alone(NAMES)), PLAIN)
    check_match(manifest(POSES, embodiment=joints_alone(NAMES)), replace(PLAIN, kinematics=POSES.kinematics))


def test_joints_by_their_names_in_their_order() -> None:
    theirs = manifest(POSES, embodiment=joints_alone(NAMES[::-1]))
    told = "ROBOT.yaml's joints left_pan, .* expected the bundle's right_slide, .*, in this order; export the"
    with pytest.raises(WallEdgeError, match=told):
        check_match(theirs, PLAIN)


def test_poses_need_their_section() -> None:
    told = r"no embodiment, and the bundle's slot 0 \(left_xyz_0\) is position of left \[0\] in m"
    with pytest.raises(WallEdgeError, match=told):
        check_match(manifest(POSES), PLAIN)


def test_the_first_slot_that_differs() -> None:
    entries = two_poses()
    entries["right_grip"]["joint"] = "right_turn"
    other = robot(embodiment={"action": {k: v for k, v in entries.items() if not k.startswith("right_t")}})
    theirs = manifest(robot(embodiment={"action": two_poses()}))
    with pytest.raises(WallEdgeError, match="nothing describes right_turn_0"):
        check_match(theirs, other)
    swapped = {**two_poses(), "left_xyz": {"kind": "position", "pose": "right"}}
    with pytest.raises(WallEdgeError, match=r"state slot 0 \(left_xyz_0\) is position of right"):
        check_match(theirs, robot(embodiment={"action": {**swapped, "right_xyz": {"kind": "held"}}}))


EXPORTED: dict[str, tuple[Any, Any]] = {
    "horizon": (32, 10),
    "action_rate_hz": (30.0, 20.0),
    "integration_steps": (10, 4),
    "state_bins": (256, 512),
    "prompt_action_space": ("Abs EEF", "Rel EEF"),
    "unit": ("rad", "deg"),
    "action_reference": ("absolute", "state"),
}
"""By key of ROBOT.yaml's section model: what the bundle has, and another value."""


@pytest.mark.parametrize("key", EXPORTED)
def test_what_was_corrected_in_the_section_model_needs_an_export(key: str) -> None:
    """The arm moved by the bundle's, and nothing told."""
    stored = {
        "embodiment": joints_alone(NAMES),
        "actions": FlowActions(TimeSchedule(0.999).grid(10)),
        "state_text": StateText(256),
        "prompt_action_space": "Abs EEF",
    }
    theirs, (same, other) = manifest(POSES, **stored), EXPORTED[key]
    check_match(theirs, replace(PLAIN, model=ModelConfig(**{key: same})))
    told = f"model.{key} is {other}; expected {same}, as in the bundle; export the bundle again, or leave"
    with pytest.raises(WallEdgeError, match=re.escape(told)):
        check_match(theirs, replace(PLAIN, model=ModelConfig(**{key: other})))


def test_what_a_bundle_does_not_have_is_left_open() -> None:
    """A token carries its state, and words are its actions."""
    actions = FastActions(FastSettings(scale=10.0, vocab_size=2048, min_token=-354))
    stored = {"embodiment": joints_alone(NAMES), "state_text": None, "prompt_action_space": None}
    theirs = manifest(POSES, actions=actions, **stored)
    check_match(theirs, replace(PLAIN, model=ModelConfig(integration_steps=4)))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"urdf": "/nowhere.urdf"}, "nowhere.urdf"),
        ({"joints": {"left_pan": {"joint": "left_mount"}}}, "left_mount, which does not move"),
    ],
)
def test_a_urdf_of_another_robot(changes: dict[str, Any], told: str) -> None:
    """Also where no pose needs it: the servo loop would."""
    config = robot(kinematics=kinematics(**changes))
    with pytest.raises(WallEdgeError, match=told):
        check_match(manifest(POSES, embodiment=joints_alone(NAMES)), config)


def test_a_socket_that_cannot_be() -> None:
    config = replace(POSES, sinks={"base": SinkConfig("/" + 200 * "a")})
    with pytest.raises(WallEdgeError, match="107 bytes"):
        check_match(manifest(POSES), config)
