"""Torque that holds the links' weight: how much, for which motors, and from when until when."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.drives import DriveSettings, Setpoints
from wall_edge_bridge.kinds import kind_named
from wall_edge_bridge.kinds.damiao import DamiaoJoint, DamiaoSettings
from wall_edge_bridge.sim import VirtualClock, wire_to

from tests.servo_rig import CONFIG, Rig
from tests.unit.body.two_arms import robot
from wall_edge.body.model import RobotModel
from wall_edge.config import KinematicsConfig, RobotConfig, UrdfJoint
from wall_edge.errors import DriveError
from wall_edge.kinematics.frames import joints_between, standing
from wall_edge.runtime.ipc.mailbox_types import ServoCommand, ServoState
from wall_edge.runtime.motion.weight import HoldingTorque, effortless

URDF = """<robot name="crane">
  <link name="table"/><link name="post"><inertial><mass value="5"/></inertial></link>
  <link name="boom"><inertial><origin xyz="0.2 0 0"/><mass value="2"/></inertial></link>
  <joint name="pan" type="revolute"><parent link="table"/><child link="post"/>
    <axis xyz="0 0 1"/><limit lower="-1" upper="1" velocity="2" effort="9"/></joint>
  <joint name="raise" type="revolute"><parent link="post"/><child link="boom"/>
    <axis xyz="0 -1 0"/><limit lower="-2" upper="2" velocity="4" effort="9"/></joint>
</robot>"""
"""A boom of 2 kg, 0.2 m out: 3.924 Nm when it is level."""
LEVEL = 2 * 9.81 * 0.2


def crane(
    folder: Path, *, effort: float | None = None, lift: UrdfJoint | None = None, **kinematics: Any
) -> RobotConfig:
    (folder / "crane.urdf").write_text(URDF)
    joints = tuple(
        DamiaoJoint(j.name, j.id, j.lower, j.upper, j.max_velocity, drive="arm", max_effort=effort)
        for j in CONFIG.joints
    )
    section = {"gravity": True, "joints": {"lift": lift or UrdfJoint("raise")}, **kinematics}
    return replace(
        CONFIG,
        drives={"arm": DamiaoSettings(channel="can0", timeout_ms=5)},
        joints=joints,
        kinematics=KinematicsConfig(folder / "crane.urdf", **section),
    )


def torques(config: RobotConfig, *position: float) -> list[float]:
    weight = HoldingTorque.of(config)
    assert weight is not None
    result: list[float] = weight.at(position).tolist()
    return result


class TestHowMuch:
    def test_what_hangs_times_its_lever(self, tmp_path: Path) -> None:
        config = crane(tmp_path)
        assert torques(config, 0.3, 0.0) == pytest.approx([0.0, LEVEL])
        assert torques(config, 0.3, np.pi / 3) == pytest.approx([0.0, LEVEL / 2])

    @pytest.mark.parametrize(
        ("scale", "offset", "at", "expected"), [(-1, 0, 0, -1), (0.5, 0, 0, 0.5), (1, np.pi, 0, -1)]
    )
    def test_a_joint_that_counts_otherwise(
        self, tmp_path: Path, scale: float, offset: float, at: float, expected: float
    ) -> None:
        """Work is the same by either count: torque here times angle here."""
        config = crane(tmp_path, lift=UrdfJoint("raise", scale, offset))
        # Limits of the URDF do not matter here.
        (tmp_path / "crane.urdf").write_text(URDF.replace('lower="-2" upper="2"', 'lower="-9" upper="9"'))
        assert torques(config, 0.0, at)[1] == pytest.approx(LEVEL * expected)

    def test_a_share_of_it(self, tmp_path: Path) -> None:
        assert torques(crane(tmp_path, gravity_share=0.6), 0.0, 0.0)[1] == pytest.approx(0.6 * LEVEL)

    def test_no_more_than_the_joint_may(self, tmp_path: Path) -> None:
        assert torques(crane(tmp_path, effort=1.5), 0.0, 0.0)[1] == 1.5
        lift = UrdfJoint("raise", -1)
        assert torques(crane(tmp_path, effort=1.5, lift=lift), 0.0, 0.0)[1] == -1.5

    @pytest.mark.parametrize(
        ("written", "scale", "most"), [("9", 1.0, 9.0), ("9", -0.5, 4.5), ("0", 1.0, 3924.0)]
    )
    def test_grams_for_kilograms_are_held_to_the_urdf_s_effort(
        self, tmp_path: Path, written: str, scale: float, most: float
    ) -> None:
        """Without a limit there (exporters write 0) to what the motors can do."""
        config = crane(tmp_path, lift=UrdfJoint("raise", scale))
        text = URDF.replace('<mass value="2"/>', '<mass value="2000"/>').replace(
            'effort="9"', f'effort="{written}"'
        )
        (tmp_path / "crane.urdf").write_text(text)
        assert torques(config, 0.0, 0.0)[1] == pytest.approx(math.copysign(most, scale))

    def test_two_arms_and_their_fingers(self) -> None:
        """Against the sum of all links' weights, moved a little: torque is the slope of their energy."""
        config = _damiao(robot(), gravity=True)
        weight = HoldingTorque.of(config)
        assert weight is not None
        position = np.array(config.control.rest) + 0.1
        position[[6, 13]] = 0.01
        found = weight.at(position.tolist()).copy()
        for joint in range(config.dof):
            ahead, behind = position.copy(), position.copy()
            ahead[joint] += 1e-5
            behind[joint] -= 1e-5
            slope = (_energy(config, ahead) - _energy(config, behind)) / 2e-5
            assert found[joint] == pytest.approx(slope, abs=1e-6), config.joints[joint].name


def _damiao(config: RobotConfig, **kinematics: Any) -> RobotConfig:
    assert config.kinematics is not None
    joints = tuple(
        DamiaoJoint(j.name, i, j.lower, j.upper, j.max_velocity, drive="bus")
        for i, j in enumerate(config.joints, start=1)
    )
    section = replace(config.kinematics, **kinematics)
    drives: dict[str, DriveSettings] = {"bus": DamiaoSettings(channel="can0", timeout_ms=5)}
    return replace(config, drives=drives, joints=joints, kinematics=section)


def _energy(config: RobotConfig, position: np.ndarray[Any, Any]) -> float:
    """Of all links [J], by the heights of their centres."""
    model = RobotModel.of(config)
    there = {name: float(value) for name, value in model.urdf_positions(position).items()}
    energy = 0.0
    for link in model.urdf.links.values():
        frame = np.eye(4)
        for joint in joints_between(model.urdf, model.urdf.root, link.name):
            frame = frame @ standing(joint, there.get(joint.name, 0.0))
        energy += link.mass * 9.81 * float((frame @ [*link.center, 1.0])[2])
    return energy


class TestForWhom:
    def test_not_unless_asked_for(self, tmp_path: Path) -> None:
        assert HoldingTorque.of(crane(tmp_path, gravity=False)) is None
        assert HoldingTorque.of(CONFIG) is None
        assert effortless(crane(tmp_path, gravity=False)) == effortless(CONFIG) == ""

    def test_a_kind_that_takes_no_effort_is_told_of_and_no_error(self, tmp_path: Path) -> None:
        config = crane(tmp_path)
        assert effortless(config) == ""
        config = replace(config, drives=CONFIG.drives, joints=CONFIG.joints)
        assert HoldingTorque.of(config) is None
        assert (
            effortless(config)
            == "kinematics.gravity means nothing to arm (feetech): such motors take no effort"
        )
        assert Rig(config).run().machine.fault is None

    def test_of_two_drives_the_one_that_takes_it(self, tmp_path: Path) -> None:
        config = crane(tmp_path)
        pan = replace(CONFIG.joints[0], drive="base")
        config = replace(
            config, drives={**config.drives, "base": CONFIG.drives["arm"]}, joints=(pan, config.joints[1])
        )
        assert torques(config, 0.0, 0.0) == pytest.approx([0.0, LEVEL])
        assert effortless(config).startswith("kinematics.gravity means nothing to base (feetech)")


class TestWhen:
    def test_with_every_setpoint_while_following_stopping_and_braking(self, tmp_path: Path) -> None:
        rig = Rig(crane(tmp_path))
        rig.run(t30=lambda: rig.tell(ServoCommand.STOP))
        assert rig.order()[-1] is ServoState.RELEASED
        for setpoints in rig.drive.sent:
            assert setpoints.effort == pytest.approx([0.0, LEVEL * np.cos(setpoints.position[1])])

        rig = Rig(crane(tmp_path))
        rig.tell(ServoCommand.FOLLOW)
        rig.run(
            t5=lambda: rig.send([[0.2, 0.2 - 0.02 * k] for k in range(8)]),
            t10=lambda: rig.drive.broken.__setitem__("read", DriveError("gone")),
        )
        assert rig.order()[-1] is ServoState.FAULT
        assert len(rig.drive.sent) > 30
        for setpoints in rig.drive.sent:
            assert setpoints.effort == pytest.approx([0.0, LEVEL * np.cos(setpoints.position[1])])

    def test_none_without(self) -> None:
        rig = Rig()
        rig.run(t30=lambda: rig.tell(ServoCommand.STOP))
        assert not any(setpoints.effort.any() for setpoints in rig.drive.sent)


def test_a_damiao_arm_with_weight_sags_less(tmp_path: Path) -> None:
    """A twin that is pulled down as the boom's weight pulls."""
    config = crane(tmp_path)
    weight = HoldingTorque.of(config)
    assert weight is not None

    def sag(effort: np.ndarray[Any, Any]) -> float:
        kind, settings, clock = kind_named("damiao"), DamiaoSettings(), VirtualClock()
        twin = kind.make_twin(settings, config.joints, [0.2, 0.2], timed=False)
        drive = kind.open_drive(
            settings, config.joints, wire_to(twin, clock, clock.sleep), clock=clock, start_slack_rad=0.0
        )
        drive.connect()
        drive.enable()
        lift: Any = twin.motors[1]  # type: ignore[union-attr]
        goal, none = np.array([0.2, 0.2]), np.zeros(2)
        for _ in range(300):
            clock.sleep(clock() + 4_000_000)
            lift.rotor.load = -LEVEL * np.cos(twin.positions(clock())[1])
            drive.cycle(Setpoints(goal, none, none, effort), clock() + 5_000_000)
        return float(goal[1] - twin.positions(clock())[1])

    assert sag(np.zeros(2)) > 0.1
    assert abs(sag(weight.at([0.2, 0.2]).copy())) < 0.005
