"""URDF: what is read of it, and every way in which it is refused in one line."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.arms import ENDS, URDF, arm
from wall_edge.errors import KinematicsError
from wall_edge.kinematics.robot import Limits, Mimic
from wall_edge.kinematics.urdf import parse_urdf, read_urdf

ARM = """<?xml version="1.0"?>
<robot name="arm">
  <link name="base"/>
  <link name="upper"><inertial><origin xyz="0.1 0 0"/><mass value="2"/></inertial></link>
  <link name="tip"/>
  <joint name="turn" type="revolute">
    <origin xyz="0 0 0.5" rpy="0 0 1"/>
    <parent link="base"/><child link="upper"/>
    <axis xyz="0 0 2"/>
    <limit lower="-1" upper="2" velocity="3" effort="4"/>
  </joint>
  <joint name="end" type="fixed"><parent link="upper"/><child link="tip"/><axis xyz="0 0 0"/></joint>
</robot>
"""


def test_what_is_read() -> None:
    robot = parse_urdf(ARM, "arm.urdf")
    turn = robot.joints["turn"]
    assert (robot.name, robot.root, list(robot.links)) == ("arm", "base", ["base", "upper", "tip"])
    assert (turn.xyz, turn.rpy, turn.axis) == ((0, 0, 0.5), (0, 0, 1), (0, 0, 1))
    assert turn.limits == Limits(-1, 2, 3, 4)
    assert (robot.links["upper"].mass, robot.links["upper"].center) == (2, (0.1, 0, 0))
    assert robot.links["tip"].mass == 0
    assert robot.parents["tip"] is robot.joints["end"]


@pytest.mark.parametrize("name", ENDS)
def test_public_arms_are_read(name: str) -> None:
    robot = arm(name)
    assert set(ENDS[name]) <= set(robot.links)
    assert sum(link.mass for link in robot.links.values()) > 0.5


def test_a_joint_that_follows_another() -> None:
    finger = arm("panda").joints["panda_finger_joint2"]
    assert finger.mimic == Mimic("panda_finger_joint1", 1, 0)


def test_defaults_of_the_format() -> None:
    """The axis is x; a limit's ends are 0; a continuous joint needs no limit."""
    text = ARM.replace('<axis xyz="0 0 2"/>', "").replace('lower="-1" ', "")
    turn = parse_urdf(text, "arm.urdf").joints["turn"]
    assert turn.axis == (1, 0, 0)
    assert turn.limits.lower == 0
    text = ARM.replace('type="revolute"', 'type="continuous"')
    assert parse_urdf(text, "x").joints["turn"].limits == Limits(velocity=3, effort=4)
    text = text.replace('<limit lower="-1" upper="2" velocity="3" effort="4"/>', "")
    assert parse_urdf(text, "x").joints["turn"].limits.velocity == math.inf


BAD = {
    "malformed XML": ("</robot>", ""),
    "document type": ("<robot", '<!DOCTYPE r [<!ENTITY a "aaaa">]><robot'),
    "<gazebo>": ("robot", "gazebo"),
    "expand xacro": ('<robot name="arm">', '<robot name="arm" xmlns:xacro="x"><xacro:macro/>'),
    "turn is planar": ("revolute", "planar"),
    "turn is floating": ("revolute", "floating"),
    "of no type": ('type="revolute"', ""),
    "has no parent": ('<parent link="base"/>', ""),
    "has no child": ('<child link="upper"/>', "<child/>"),
    "a link of the robot": ('<parent link="base"/>', '<parent link="bse"/>'),
    "without <limit>": ('<limit lower="-1" upper="2" velocity="3" effort="4"/>', ""),
    "lower -1 above upper -2": ('upper="2"', 'upper="-2"'),
    "negative": ('velocity="3"', 'velocity="-3"'),
    "velocity is nan": ('velocity="3"', 'velocity="nan"'),
    "velocity is fast": ('velocity="3"', 'velocity="fast"'),
    "xyz is 0 inf 0.5": ('xyz="0 0 0.5"', 'xyz="0 inf 0.5"'),
    "three numbers": ('xyz="0 0 0.5"', 'xyz="0 0.5"'),
    "axis 0 0 0": ('<axis xyz="0 0 2"/>', '<axis xyz="0 0 0"/>'),
    "within ±1e": ('rpy="0 0 1"', 'rpy="0 0 1e99"'),
    "mass -2 kg": ('<mass value="2"/>', '<mass value="-2"/>'),
    "mass is missing": ('<mass value="2"/>', ""),
    "two links are called base": ('<link name="tip"/>', '<link name="tip"/><link name="base"/>'),
    "two joints are called turn": ('name="end"', 'name="turn"'),
    "a link without a name": ('<link name="tip"/>', '<link name="tip"/><link/>'),
    "one root": ('<link name="tip"/>', '<link name="tip"/><link name="alone"/>'),
    "lead to the link upper": ('<child link="tip"/>', '<child link="upper"/>'),
    "circle": ('<parent link="base"/>', '<parent link="tip"/>'),
    "mimics ghost": ('<axis xyz="0 0 2"/>', '<axis xyz="0 0 2"/><mimic joint="ghost"/>'),
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_refused_in_one_line(message: str) -> None:
    text = ARM.replace(*BAD[message])
    assert text != ARM
    with pytest.raises(KinematicsError) as caught:
        parse_urdf(text, "arm.urdf")
    assert message in str(caught.value)
    assert str(caught.value).startswith("arm.urdf: ")
    assert "\n" not in str(caught.value)


def test_no_link_at_all() -> None:
    with pytest.raises(KinematicsError, match="no link"):
        parse_urdf("<robot/>", "x")


def test_depth_and_number_are_bounded() -> None:
    deep = "<robot>" + "<a>" * 50_000 + "</a>" * 50_000 + "</robot>"
    with pytest.raises(KinematicsError, match="no link"):
        parse_urdf(deep, "x")
    many = "<robot>" + "".join(f'<link name="l{i}"/>' for i in range(2000)) + "</robot>"
    with pytest.raises(KinematicsError, match="more than 1000"):
        parse_urdf(many, "x")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(KinematicsError, match=r"none\.urdf"):
        read_urdf(tmp_path / "none.urdf")
    with pytest.raises(KinematicsError, match="directory"):
        read_urdf(tmp_path)
    (tmp_path / "wide.urdf").write_bytes(ARM.encode("utf-16"))
    with pytest.raises(KinematicsError, match="UTF-8"):
        read_urdf(tmp_path / "wide.urdf")


TEXT = (URDF / "so101.urdf").read_text()


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 40), st.text(max_size=6))
def test_a_damaged_file_is_read_or_refused(place: int, length: int, patch: str) -> None:
    with contextlib.suppress(KinematicsError):
        parse_urdf(TEXT[:place] + patch + TEXT[place + length :], "x")
