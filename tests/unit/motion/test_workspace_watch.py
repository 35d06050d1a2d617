"""The watch of a workspace on its own: what it lets pass, what it names, and that it is in time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.body.two_arms import URDF, kinematics, robot
from wall_edge.body.frames import fixed_frame
from wall_edge.body.model import RobotModel
from wall_edge.config import Bounds, RobotConfig
from wall_edge.errors import ConfigError, RuntimeFault
from wall_edge.runtime.motion.braking import stop_distance, stop_of
from wall_edge.runtime.motion.limits import Limiter
from wall_edge.runtime.motion.workspace import WorkspaceWatch

WIDE = {"x": [-0.6, 0.6], "y": [-0.8, 0.8], "z": [-0.5, 0.9]}
NEAR = {**WIDE, "x": [0.0, 0.3]}
FAST = {"left": {"frame": "table", "max_speed": 0.3}}
BOTH = {"left": {"frame": "table", "box": WIDE}, "right": {"frame": "table", "box": WIDE}}


def watched(**workspace: Any) -> tuple[RobotConfig, WorkspaceWatch]:
    config = robot(workspace=workspace)
    watch = WorkspaceWatch.of(config)
    assert watch is not None
    return config, watch


def rest(config: RobotConfig, **moved: float) -> list[float]:
    """The pose of rest, with some joints elsewhere."""
    names = [joint.name for joint in config.joints]
    return [moved.get(name, angle) for name, angle in zip(names, config.control.rest, strict=True)]


def still(position: list[float]) -> list[tuple[float, float, float]]:
    return [(p, 0.0, 0.0) for p in position]


@given(
    st.floats(-3, 3),
    st.floats(-1, 1),
    st.floats(0.5, 50),
    st.floats(2, 2000),
)
def test_the_distance_of_a_stop_is_where_it_ends(v: float, part: float, limit: float, jerk: float) -> None:
    bounds = Bounds(-1e4, 1e4, 10.0, limit, jerk)
    a = part * limit
    end = stop_of(v, a, bounds).after((0.0, v, a), math.inf)[0]
    assert stop_distance(v, a, bounds) == pytest.approx(end, rel=1e-9, abs=1e-12)


@given(st.floats(-3, 3), st.floats(-1, 1), st.floats(0.5, 50), st.floats(2, 2000), st.floats(0, 1.2))
def test_the_way_of_a_stop_is_where_it_is_by_then(
    v: float, part: float, limit: float, jerk: float, share: float
) -> None:
    bounds = Bounds(-1e4, 1e4, 10.0, limit, jerk)
    stop = stop_of(v, part * limit, bounds)
    there = stop.after((0.0, v, part * limit), share * stop.seconds)[0]
    assert stop.way(v, part * limit, share * stop.seconds) == pytest.approx(there, rel=1e-9, abs=1e-12)


def test_a_robot_without_a_workspace_has_no_watch() -> None:
    assert WorkspaceWatch.of(robot()) is None


class TestPlace:
    """At rest the tips are at (0.244, ±0.17, 0.196) of the table."""

    CASES = (
        ({"box": NEAR}, {"left_lift": 0.9, "left_elbow": 0.6}, r"pose left .* x 0.3\d+ m; expected 0 to 0.3"),
        ({"box": {**WIDE, "y": [-0.8, 0.2]}}, {"left_pan": 0.5}, r"pose left .* y 0.2\d+ m.*left.box"),
        ({"table_z": 0.1}, {"left_lift": 1.2}, r"the tip of pose left .* z -0.0\d+ m; expected at least 0.1"),
        ({"table_z": 0.1}, {"left_lift": 1.9, "left_elbow": 0.0, "left_flex": -1.9}, r"joint \w+ of pose"),
    )  # fmt: skip

    @pytest.mark.parametrize(("bounds", "moved", "words"), CASES)
    def test_a_setpoint_outside(self, bounds: dict[str, Any], moved: dict[str, float], words: str) -> None:
        config, watch = watched(poses={"left": {"frame": "table", **bounds}})
        watch.require_setpoint(still(rest(config)))
        with pytest.raises(RuntimeFault, match=words):
            watch.require_setpoint(still(rest(config, **moved)))

    @pytest.mark.parametrize(("bounds", "moved", "words"), CASES)
    def test_a_measurement_outside(self, bounds: dict[str, Any], moved: dict[str, float], words: str) -> None:
        config, watch = watched(poses={"left": {"frame": "table", **bounds}})
        watch.require_setpoint(still(rest(config)))
        watch.require_measured(rest(config), 0, 0)
        with pytest.raises(RuntimeFault, match=words):
            watch.require_measured(rest(config, **moved), 0, 0)

    @pytest.mark.parametrize(("bounds", "moved", "words"), CASES)
    def test_a_start_outside(self, bounds: dict[str, Any], moved: dict[str, float], words: str) -> None:
        config, watch = watched(poses={"left": {"frame": "table", **bounds}})
        watch.require_start(rest(config))
        with pytest.raises(RuntimeFault, match=words.replace(" .* ", " starts at ") + ".*by hand"):
            watch.require_start(rest(config, **moved))

    def test_the_other_arm_is_not_bounded_by_it(self) -> None:
        config, watch = watched(poses={"left": {"frame": "table", "box": NEAR}})
        watch.require_setpoint(still(rest(config, right_lift=0.8)))

    def test_tips_too_near(self) -> None:
        config, watch = watched(tip_distance_m=0.1)
        watch.require_setpoint(still(rest(config)))
        with pytest.raises(
            RuntimeFault, match=r"poses left and right .* 0.0\d+ m from tip to tip; .*at least 0.1"
        ):
            watch.require_setpoint(still(rest(config, left_pan=-0.6, right_pan=0.6)))

    def test_tips_in_different_axes(self) -> None:
        """The distance does not depend on the axes that the boxes are in."""
        left = {"left": {"frame": "left_base", "box": WIDE}}
        for poses in ({}, BOTH, left):
            config, watch = watched(poses=poses, tip_distance_m=0.1)
            watch.require_setpoint(still(rest(config, left_pan=-0.4, right_pan=0.4)))
            with pytest.raises(RuntimeFault, match="poses left and right"):
                watch.require_setpoint(still(rest(config, left_pan=-0.6, right_pan=0.6)))

    def test_arms_on_one_waist_keep_apart_too(self, tmp_path: Path) -> None:
        """The right pan here turns both arms."""
        urdf = tmp_path / "waist.urdf"
        urdf.write_text(
            URDF.read_text().replace(
                '<parent link="table"/><child link="left_base"/>',
                '<parent link="right_shoulder"/><child link="left_base"/>',
            )
        )
        poses = {
            side: {"base": "right_base", "tip": f"{side}_tip", "frame": "table"} for side in ("left", "right")
        }
        config = robot(kinematics=kinematics(urdf=str(urdf), poses=poses), workspace={"tip_distance_m": 0.1})
        watch = WorkspaceWatch.of(config)
        assert watch is not None
        watch.require_setpoint(still(rest(config, left_pan=0.5)))
        with pytest.raises(RuntimeFault, match=r"poses left and right .* from tip to tip"):
            watch.require_setpoint(still(rest(config, left_pan=-0.65)))

    def test_not_a_number_is_outside(self) -> None:
        config, watch = watched(poses=BOTH)
        with pytest.raises(RuntimeFault, match="nan"):
            watch.require_setpoint(still(rest(config, left_pan=math.nan)))

    def test_a_rest_outside(self) -> None:
        with pytest.raises(
            ConfigError, match=r"control.rest: .*pose left is at z 0.1200 m there; .*at least 0.2 m"
        ):
            watched(poses={"left": {"frame": "table", "table_z": 0.2}})


class TestStop:
    def test_a_setpoint_from_which_no_stop_is_in_time(self) -> None:
        """It is still inside; it was so fast that it would come to a stop outside."""
        config, watch = watched(poses={"left": {"frame": "table", "table_z": 0.1}})
        joints = still(rest(config))
        lift = [joint.name for joint in config.joints].index("left_lift")
        joints[lift] = (joints[lift][0], 4.0, 0.0)
        with pytest.raises(RuntimeFault, match=r"tip of pose left could no longer stop before z 0.0\d+ m"):
            watch.require_setpoint(joints)
        joints[lift] = (joints[lift][0], 0.5, 0.0)
        watch.require_setpoint(joints)

    def test_braking_from_the_last_that_passed_stays_inside(self) -> None:
        """Down to the table as fast as the joints go."""
        config, watch = watched(poses={"left": {"frame": "table", "table_z": 0.1}})
        model, dt = RobotModel.of(config), 1 / config.control.rate_hz
        limiter = Limiter(config.bounds(), dt)
        limiter.reset(rest(config))
        goal = np.zeros((3, config.dof))
        goal[0] = rest(config, left_lift=1.8)
        path, stopped = [], False
        while not (stopped and limiter.at_rest):
            (limiter.stop if stopped else lambda: limiter.follow(goal, goal))()
            try:
                watch.require_setpoint(limiter.joints)
            except RuntimeFault:
                assert not stopped
                limiter.revoke()
                limiter.stop()
                stopped = True
            path.append(limiter.position.copy())
        heights = fixed_frame(model.urdf, "left_base", "table").move(
            model.chains["left"].forward(np.array(path))[0]
        )
        assert 0.1 <= heights[:, 2].min() < 0.11

    def test_a_stop_that_ends_inside_and_passes_outside(self) -> None:
        """The tip swings from one side of its farthest to the other."""
        config, watch = watched(poses={"left": {"frame": "table", "box": {**WIDE, "x": [0.0, 0.251]}}})
        pan = [joint.name for joint in config.joints].index("left_pan")
        distance = stop_distance(4.0, 0.0, config.bounds()[pan].inside(1 / config.control.rate_hz))
        joints = still(rest(config, left_lift=0.5, left_pan=-distance / 2))
        watch.require_setpoint(joints)
        joints[pan] = (joints[pan][0], -4.0, 0.0)
        watch.require_setpoint(joints)
        joints[pan] = (joints[pan][0], 4.0, 0.0)
        with pytest.raises(RuntimeFault, match=r"pose left could no longer stop before x 0.25\d+ m"):
            watch.require_setpoint(joints)

    def test_what_is_taken_back_was_never_there(self) -> None:
        limiter = Limiter([Bounds(-1, 1, 1, 10, 100)], 0.01)
        limiter.reset([0.0])
        goal = np.array([[0.5], [0.0], [0.0]])
        limiter.follow(goal, goal)
        before = limiter.state.copy()
        limiter.follow(goal, goal)
        limiter.revoke()
        assert (limiter.state == before).all()
        assert [list(joint) for joint in limiter.joints] == before.T.tolist()


class TestSpeed:
    def test_a_setpoint_too_far_from_the_last(self) -> None:
        config, watch = watched(poses=FAST)
        dt = 1 / config.control.rate_hz
        watch.require_setpoint(still(rest(config)))
        # The tip is 0.244 m from the pan's axis.
        assert watch.require_setpoint(still(rest(config, left_pan=0.265 * dt / 0.244)))
        faster = still(rest(config, left_pan=0.54 * dt / 0.244))
        assert not watch.require_setpoint(faster)
        assert not watch.require_setpoint(faster)  # it was not sent: nothing has changed
        assert watch.require_setpoint(faster, slowed=True)

    def test_one_that_does_not_become_slower(self) -> None:
        config, watch = watched(poses=FAST)
        watch.require_setpoint(still(rest(config)))
        faster = still(rest(config, left_pan=0.31 / config.control.rate_hz / 0.244))
        words = r"pose left is about to move, though slowed down, at 0.3\d+ m/s; expected at most 0.3 m/s"
        with pytest.raises(RuntimeFault, match=words):
            watch.require_setpoint(faster, slowed=True)

    def test_joints_that_accelerate_are_fast_before_they_can_brake(self) -> None:
        config, watch = watched(poses=FAST)
        joints = still(rest(config))
        watch.require_setpoint(joints)
        joints[0] = (joints[0][0], 1.0, 5.0)  # becomes 1.03 rad/s: 0.25 m/s
        watch.require_setpoint(joints)
        assert watch.require_setpoint(still(rest(config)))
        joints[0] = (joints[0][0] + 1 / config.control.rate_hz, 1.0, 20.0)  # becomes 1.5 rad/s: 0.37 m/s
        assert not watch.require_setpoint(joints)

    def test_measured_over_a_while(self) -> None:
        """Jumps of an encoder are no speed, and neither is what old readings seem to have done."""
        config, watch = watched(poses=FAST)
        watch.require_setpoint(still(rest(config)))
        for tick in range(60):
            ns = tick * 4_000_000
            watch.require_measured(rest(config, left_pan=0.002 * (tick % 2)), ns, ns)
        watch.require_measured(rest(config, left_pan=0.5), ns + 10**8, ns + 2 * 10**8)
        with pytest.raises(RuntimeFault, match=r"pose left moved at 0.\d+ m/s"):
            watch.require_measured(rest(config, left_pan=0.5), ns + 2 * 10**8, ns + 2 * 10**8)

    def test_the_way_to_rest_is_slow_enough(self) -> None:
        config, watch = watched(poses=FAST)
        far = rest(config, left_pan=1.0)
        speed = watch.rest_velocity(far, config.control.rest, 3.0)
        assert 0.1 < speed < 0.3 / 0.244
        assert watch.rest_velocity(rest(config, right_pan=1.0), config.control.rest, 3.0) == 3.0
        assert watch.rest_velocity(list(config.control.rest), config.control.rest, 3.0) == 3.0


def test_who_left_is_told() -> None:
    config, watch = watched(poses={"left": {"frame": "table", "table_z": 0.1}})
    told: list[tuple[str, str]] = []
    watch.on_leave = lambda who, how: told.append((who, how))
    with pytest.raises(RuntimeFault):
        watch.require_setpoint(still(rest(config, left_lift=1.2)))
    assert told[0][0] == "the tip of pose left"
    assert told[0][1].startswith("is about to be at z -0.0")


def test_where_it_begins_is_no_way_from_rest_or_from_where_it_stood_limp() -> None:
    config, watch = watched(poses=FAST)
    watch.require_start(rest(config, left_pan=0.5))
    assert watch.require_setpoint(still(rest(config, left_pan=0.45)))
    assert not watch.require_setpoint(still(rest(config, left_pan=0.5)))
