"""Forward kinematics against vectors from pinocchio, against differences, and what a chain may be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.arms import ENDS, arm, arm_chain
from wall_edge.errors import KinematicsError
from wall_edge.kinematics.chain import chain_between
from wall_edge.kinematics.rotations import distance, log, to_matrix
from wall_edge.kinematics.scalar import ScalarChain
from wall_edge.kinematics.urdf import parse_urdf

VECTORS = [  # joint positions, position, quaternion (xyzw): pinocchio's
    (
        "so101",
        [0.0] * 5,
        [0.391361470, -0.000009212, 0.226469710],
        [0.017206475, 0.706894164, 0.017213607, 0.706900467],
    ),
    (
        "so101",
        [0.5, -0.6, 0.8, 0.4, -1.2],
        [0.264407256, -0.114970833, 0.111472701],
        [0.678506793, 0.567403968, 0.170605431, 0.434252296],
    ),
    ("ur5", [0.0] * 6, [0.817250, 0.191450, -0.005491], [0.707106781, 0.707106781, 0, 0]),
    (
        "ur5",
        [0.3, -1.2, 1.5, -0.7, 0.9, -2],
        [0.549682254, 0.337839826, 0.307284333],
        [0.437548978, 0.082749262, 0.490273354, 0.749223258],
    ),
    (
        "panda",
        [0, 0, 0, -1.5708, 0, 1.5708, 0.785398],
        [0.554500303, 0, 0.624498589],
        [0.923879564, -0.382683357, 0, 0],
    ),
]


@pytest.mark.parametrize(("name", "q", "position", "quaternion"), VECTORS)
def test_vectors(
    name: str, q: list[float], position: tuple[float, ...], quaternion: tuple[float, ...]
) -> None:
    positions, rotations = arm_chain(name).forward(np.array([q]))
    assert positions[0] == pytest.approx(position, abs=1e-9)
    assert float(distance(rotations[0], to_matrix("quaternion", np.array(quaternion)))) < 4e-9


def postures(name: str, count: int = 50) -> np.ndarray:
    chain = arm_chain(name)
    return np.random.default_rng(5).uniform(chain.lower, chain.upper, (count, len(chain.joints)))


@pytest.mark.parametrize("name", ENDS)
def test_against_pinocchio(name: str) -> None:
    pin = pytest.importorskip("pinocchio", reason="pin is not installed")
    from tests.arms import URDF

    model = pin.buildModelFromUrdf(str(URDF / f"{name}.urdf"))
    data, chain = model.createData(), arm_chain(name)
    base, tip = (model.getFrameId(link) for link in ENDS[name])
    slots = [model.joints[model.getJointId(joint)].idx_q for joint in chain.joints]
    q = postures(name, 500)
    positions, rotations = chain.forward(q)
    jacobians = chain.jacobian(q)
    for i, posture in enumerate(q):
        full = pin.neutral(model)
        full[slots] = posture
        pin.framesForwardKinematics(model, data, full)
        pose = data.oMf[base].inverse() * data.oMf[tip]
        assert np.abs(pose.translation - positions[i]).max() < 1e-9
        assert float(distance(pose.rotation, rotations[i])) < 1e-9
        jacobian = pin.computeFrameJacobian(model, data, full, tip, pin.LOCAL_WORLD_ALIGNED)[:, slots]
        turned = np.kron(np.eye(2), data.oMf[base].rotation.T) @ jacobian
        assert np.abs(turned - jacobians[i]).max() < 1e-9


@pytest.mark.parametrize("name", ENDS)
def test_the_jacobian_is_what_differences_say(name: str) -> None:
    chain, q, h = arm_chain(name), postures(name), 1e-6
    jacobian = chain.jacobian(q)
    for j in range(len(chain.joints)):
        low, high = q.copy(), q.copy()
        low[:, j] -= h
        high[:, j] += h
        (p0, r0), (p1, r1) = chain.forward(low), chain.forward(high)
        assert np.abs((p1 - p0) / (2 * h) - jacobian[:, :3, j]).max() < 1e-8
        assert np.abs(log(r1 @ r0.swapaxes(-1, -2)) / (2 * h) - jacobian[:, 3:, j]).max() < 1e-8


@pytest.mark.parametrize("name", ENDS)
def test_one_posture_in_plain_numbers_is_the_same(name: str) -> None:
    chain, q = arm_chain(name), postures(name, 200)
    scalar = ScalarChain(chain)
    plain = np.array([scalar.origins(posture.tolist()) for posture in q])
    assert np.abs(chain.origins(q) - plain).max() < 1e-14
    assert np.abs(chain.origins(q)[:, -1] - chain.forward(q)[0]).max() == 0


SLIDER = """<robot name="slider">
  <link name="base"/><link name="car"/><link name="hand"/><link name="tip"/>
  <joint name="rail" type="prismatic"><origin xyz="0 0 1" rpy="0 0.5 0.2"/>
    <parent link="base"/><child link="car"/><axis xyz="1 2 -0.5"/>
    <limit lower="-1" upper="1" velocity="0.5" effort="1"/></joint>
  <joint name="wrist" type="continuous"><origin xyz="0.1 0 0" rpy="1 0 0"/>
    <parent link="car"/><child link="hand"/><axis xyz="-1 0.3 0"/><limit velocity="2" effort="1"/></joint>
  <joint name="end" type="fixed"><origin xyz="0 0.2 0.1" rpy="0 0 3"/>
    <parent link="hand"/><child link="tip"/></joint>
</robot>"""


def test_a_slider_with_an_axis_of_its_own() -> None:
    chain = chain_between(parse_urdf(SLIDER, "x"), "base", "tip")
    assert (chain.joints, chain.sliding) == (("rail", "wrist"), (True, False))
    assert chain.upper.tolist() == [1, math.inf]
    (one, two), _ = chain.forward(np.array([[0.0, 0.3], [0.7, 0.3]]))
    axis = to_matrix("rpy", np.array([0, 0.5, 0.2])) @ np.array([1, 2, -0.5]) / math.sqrt(5.25)
    assert two - one == pytest.approx(0.7 * axis, abs=1e-15)
    q = np.array([[0.3, -2.0], [-0.9, 1.0]])
    assert np.abs(chain.origins(q) - [ScalarChain(chain).origins(p.tolist()) for p in q]).max() < 1e-15
    jacobian = chain.jacobian(q)
    assert np.abs(jacobian[:, :3, 0] - axis).max() < 1e-15
    assert np.abs(jacobian[:, 3:, 0]).max() == 0


def test_a_locked_joint_stands_where_it_is_told() -> None:
    robot = arm("piper")
    whole = chain_between(robot, "base_link", "gripper_base")
    part = chain_between(robot, "base_link", "gripper_base", {"joint3": -1.2, "joint5": 0.4})
    assert part.joints == ("joint1", "joint2", "joint4", "joint6")
    q = postures("piper")
    q[:, 2], q[:, 4] = -1.2, 0.4
    for a, b in zip(whole.forward(q), part.forward(q[:, [0, 1, 3, 5]]), strict=True):
        assert np.abs(a - b).max() < 1e-14
    with pytest.raises(KinematicsError, match="no joint joint9 to lock"):
        chain_between(robot, "base_link", "gripper_base", {"joint9": 0.0})
    rail = chain_between(parse_urdf(SLIDER, "x"), "base", "tip", {"rail": 0.7})
    full = chain_between(parse_urdf(SLIDER, "x"), "base", "tip")
    assert np.allclose(
        rail.forward(np.array([[0.3]]))[0], full.forward(np.array([[0.7, 0.3]]))[0], atol=1e-15
    )


def test_limits_of_the_robot_narrow_those_of_the_urdf() -> None:
    chain = arm_chain("so101")
    narrow = chain.limited(np.full(5, -1.0), np.full(5, 9.0), np.full(5, 2.0))
    assert narrow.lower.tolist() == [-1.0] * 5
    assert narrow.upper.tolist() == chain.upper.tolist()
    assert narrow.velocity.tolist() == [2.0] * 5
    with pytest.raises(KinematicsError, match="shoulder_pan may move from 3"):
        chain.limited(np.full(5, 3.0), np.full(5, 4.0), np.full(5, 2.0))
    with pytest.raises(KinematicsError, match="shoulder_pan may move at 0"):
        chain.limited(np.full(5, -9.0), np.full(5, 9.0), np.zeros(5))


@pytest.mark.parametrize(
    ("base", "tip", "message"),
    [
        ("base_lnik", "ee_link", "no link base_lnik"),
        ("base_link", "hand", "no link hand"),
        ("ee_link", "base_link", "ee_link is not above base_link"),
        ("tool0", "ee_link", "tool0 is not above ee_link; expected one of wrist_3_link"),
        ("world", "base_link", "no joint moves"),
        ("ee_link", "ee_link", "no joint moves"),
        ("ee_link", "world", "a tip below the root"),
    ],
)
def test_what_is_no_chain(base: str, tip: str, message: str) -> None:
    with pytest.raises(KinematicsError, match=message):
        chain_between(arm("ur5"), base, tip)


def test_a_joint_that_follows_another_is_no_part_of_a_chain() -> None:
    robot = arm("panda")
    with pytest.raises(KinematicsError, match=r"panda_finger_joint2 .*follows panda_finger_joint1"):
        chain_between(robot, "panda_link0", "panda_rightfinger")
    chain = chain_between(robot, "panda_link0", "panda_rightfinger", {"panda_finger_joint2": 0.04})
    assert len(chain.joints) == 7
