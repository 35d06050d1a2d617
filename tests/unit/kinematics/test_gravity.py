"""Gravity torques against pinocchio's, against potential energy, and what may be locked."""

from __future__ import annotations

import numpy as np
import pytest

from tests.arms import ENDS, URDF, arm, arm_chain
from wall_edge.errors import KinematicsError
from wall_edge.kinematics.chain import chain_between
from wall_edge.kinematics.gravity import Gravity
from wall_edge.kinematics.urdf import parse_urdf

FINGER = {"so101": "gripper", "piper": "joint7", "panda": "panda_finger_joint1"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("so101", [0, -0.5386, -0.4527, -0.1171, 0]), ("ur5", [0, -59.1708, -15.6838, 0, 0, 0])],
)
def test_vectors_at_zero(name: str, expected: list[float]) -> None:
    torques = Gravity(arm(name), arm_chain(name)).torques([0.0] * len(expected))
    assert torques == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize("name", ENDS)
def test_torques_against_pinocchio(name: str) -> None:
    pin = pytest.importorskip("pinocchio", reason="pin is not installed")
    model = pin.buildModelFromUrdf(str(URDF / f"{name}.urdf"))
    data, chain = model.createData(), arm_chain(name)
    locked = {FINGER[name]: 0.02} if name in FINGER else {}
    gravity = Gravity(arm(name), chain, locked)
    ids = [model.getJointId(joint) for joint in (*chain.joints, *locked)]
    slots = [model.joints[i].idx_q for i in ids]
    for q in np.random.default_rng(2).uniform(chain.lower, chain.upper, (200, len(chain.joints))):
        full = pin.neutral(model)
        full[slots] = [*q, *locked.values()]
        expected = pin.computeGeneralizedGravity(model, data, full)[slots[: len(q)]]
        assert np.abs(np.array(gravity.torques(q.tolist())) - expected).max() < 1e-12


WAGON = """<robot name="wagon">
  <link name="world"/><link name="base"/>
  <link name="car"><inertial><origin xyz="0.1 0.2 0"/><mass value="3"/></inertial></link>
  <link name="arm"><inertial><origin xyz="0.3 0 0.1"/><mass value="2"/></inertial></link>
  <link name="hand"><inertial><origin xyz="0 0 0.2"/><mass value="0.5"/></inertial></link>
  <link name="tip"/>
  <joint name="stand" type="fixed"><origin rpy="0.4 -0.3 1"/>
    <parent link="world"/><child link="base"/></joint>
  <joint name="rail" type="prismatic"><origin xyz="0 0 1"/><parent link="base"/><child link="car"/>
    <axis xyz="1 0 2"/><limit lower="-1" upper="1" velocity="1" effort="1"/></joint>
  <joint name="turn" type="revolute"><origin xyz="0.1 0 0" rpy="1 0 0.3"/>
    <parent link="car"/><child link="arm"/>
    <axis xyz="0 -1 0.5"/><limit lower="-1" upper="1" velocity="1" effort="1"/></joint>
  <joint name="grip" type="revolute"><origin xyz="0.4 0 0"/><parent link="arm"/><child link="hand"/>
    <axis xyz="0 1 0"/><limit lower="-1" upper="1" velocity="1" effort="1"/></joint>
  <joint name="end" type="fixed"><origin xyz="0.5 0 0"/><parent link="arm"/><child link="tip"/></joint>
</robot>"""


def test_torques_are_the_slope_of_the_potential_energy() -> None:
    """Of a slider and a turning joint on a tilted base, with a hand beside the chain."""
    robot = parse_urdf(WAGON, "x")
    grip, q, h = 0.7, np.array([0.2, -0.4]), 1e-5
    torques = Gravity(robot, chain_between(robot, "base", "tip"), {"grip": grip}).torques(q.tolist())

    def energy(rail: float, turn: float) -> float:
        total = 0.0
        for name, link in robot.links.items():
            if not link.mass:
                continue
            hold = {"rail": rail, "turn": turn, "grip": grip}
            x, y, z = link.center
            centre = f"""<link name="c"/><joint name="j" type="continuous"><origin xyz="{x} {y} {z}"/>
                <parent link="{name}"/><child link="c"/></joint></robot>"""
            whole = parse_urdf(WAGON.replace("</robot>", centre), "x")
            position, _ = chain_between(whole, "world", "c", hold).forward(np.zeros((1, 1)))
            total += 9.81 * link.mass * float(position[0, 2])
        return total

    slopes = [
        (energy(*(q + step)) - energy(*(q - step))) / (2 * h) for step in (np.array([h, 0]), np.array([0, h]))
    ]
    assert torques == pytest.approx(slopes, abs=1e-7)


def test_an_arm_on_a_wall_or_without_gravity() -> None:
    robot, chain = arm("so101"), arm_chain("so101")
    q = [0.3, -0.5, 0.4, 0.2, 1.0]
    assert Gravity(robot, chain, fall=(0, 0, 0)).torques(q) == [0.0] * 5
    wall = np.array(Gravity(robot, chain, fall=(9.81, 0, 0)).torques(q))
    assert abs(wall[0]) > 0.01  # the first axis is upright: on a table it carries nothing
    assert abs(Gravity(robot, chain).torques(q)[0]) < 1e-4


@pytest.mark.parametrize("name", ["wrist_roll", "ghost"])
def test_what_cannot_be_locked(name: str) -> None:
    with pytest.raises(KinematicsError, match=f"joint {name} is locked"):
        Gravity(arm("so101"), arm_chain("so101"), {name: 0.0})
