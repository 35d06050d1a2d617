"""A layout whose parts do not agree cannot be made; a manifest is read back as it was written."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from tests.embodiments import layout, one_arm, pose_degrees
from wall_edge.bundle import Degree, Embodiment, Layout, Pose, joint_layout, unreferred
from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import ConfigError

JOINTS = joint_layout(("pan", "grip"), (0.0, 1.0), (2.0, 0.5), (3, 1), clip=1.0)
ARM = {"arm": Pose("base", "tip", "base")}


def test_joints_have_names_slots_and_statistics() -> None:
    assert (JOINTS.names, JOINTS.slots, len(JOINTS)) == (("pan", "grip"), (3, 1), 2)
    np.testing.assert_array_equal(JOINTS.normalize(np.array([1.0, 1.25])), [0.5, 0.5])
    np.testing.assert_array_equal(JOINTS.normalize(np.array([9.0, -9.0])), [1.0, -1.0])
    np.testing.assert_array_equal(JOINTS.restore(np.array([0.5, 2.0])), [1.0, 2.0])


def test_columns_are_in_the_order_of_components() -> None:
    mixed = layout(pose_degrees("arm", "quaternion")[::-1], arm="quaternion")
    assert mixed.columns("position", "arm") == [6, 5, 4]
    assert mixed.columns("rotation", "arm") == [3, 2, 1, 0]
    assert mixed.columns("rotation", "other") == []


POSE = pose_degrees("arm", "rpy")


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda: joint_layout((), (), ()), "degrees is"),
        (lambda: joint_layout([f"j{i}" for i in range(65)], (0,) * 65, (1,) * 65), "1 to 64 entries"),
        (lambda: joint_layout(("a", "a"), (0, 0), (1, 1)), "degrees[1] is 'a'"),
        (lambda: joint_layout(("a", "b"), (0, 0), (1, 1), (2, 2)), "degrees[1].slot is 2"),
        (lambda: joint_layout(("a",), (0, 0), (1,)), "offset is [0, 0]"),
        (lambda: joint_layout(("a",), (0,), ()), "scale is []"),
        (lambda: joint_layout(("a",), (float("nan"),), (1,)), "offset[0] is nan"),
        (lambda: joint_layout(("a",), (0,), (0,)), "scale[0] is 0"),
        (lambda: joint_layout(("a",), (0,), (float("nan"),)), "scale[0] is nan"),
        (lambda: joint_layout(("a",), (0,), (5e-321,)), "scale[0] is 5e-321; expected at least 1e-30"),
        (lambda: joint_layout(("a",), (0,), (1,), clip=-1.0), "clip is -1.0"),
        (lambda: joint_layout(("a",), (0,), (1,), (-1,)), "slot is -1"),
        (lambda: joint_layout(("<|a|>",), (0,), (1,)), "name is '<|a|>'"),
        (lambda: layout([Degree("a", 0, of="x"), Degree("b", 1, of="x")]), "degrees[1].target is"),
        (lambda: layout([Degree("a", 0, of="x", index=1)]), "all 1 components of x's joint"),
        (lambda: layout(POSE[:2]), "all 3 components of arm's position"),
        (lambda: layout(POSE[:5], arm="rpy"), "all 3 components of arm's rotation"),
        (lambda: layout(POSE, arm="quaternion"), "all 4 components of arm's rotation"),
        (lambda: layout(POSE), "how the rotations of arm are written"),
        (lambda: layout(POSE[:3], arm="rpy"), "how the rotations of no pose are written"),
        (
            lambda: layout([*POSE[:3], *pose_degrees("arm", "rpy", 0, "state")[3:]], arm="rpy"),
            "one reference",
        ),
        (lambda: Degree("a", 0), "of is ''"),
        (lambda: Degree("a", 0, "held", "a"), "of is 'a'"),
        (lambda: Degree("a", 0, "position", "arm", 0, "rad"), "unit is 'rad'; expected m"),
        (lambda: Degree("a", 0, "rotation", "arm", 0, "deg"), "expected rad or own, of a rotation"),
    ],
)
def test_a_layout_that_cannot_be_meant(made: Any, named: str) -> None:
    with pytest.raises(Invalid) as refused:
        made()
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("state", "action", "poses", "named"),
    [
        (layout(POSE, arm="rpy"), JOINTS, {}, "state.degrees is 'arm'; expected one of poses: there is none"),
        (joint_layout(("a",), (0,), (1,), reference="state"), JOINTS, {}, "expected absolute for a"),
        (
            JOINTS,
            joint_layout(("lift",), (0,), (1,), reference="state"),
            {},
            "the state that lift is an offset from, in rad",
        ),
        (
            JOINTS,
            joint_layout(("pan",), (0,), (1,), reference="state", unit="deg"),
            {},
            "the state that pan is an offset from, in deg",
        ),
        (
            JOINTS,
            layout(pose_degrees("arm", "rpy", 0, "state"), arm="rpy"),
            ARM,
            "the state that arm_pos_0 is an offset from, a position of arm",
        ),
        (
            layout(POSE[:3]),
            layout(pose_degrees("arm", "rpy", 0, "state"), arm="rpy"),
            ARM,
            "the state that arm_rot_0 is an offset from, a rotation of arm",
        ),
        (
            layout(POSE[:3]),
            layout(pose_degrees("arm", "rpy", 0, "first")[:3]),
            {"arm": Pose("base", "tip", "base", "tip")},
            "the rotation of arm: its offsets are in the axes of its tip",
        ),
    ],
)
def test_an_embodiment_that_cannot_be_meant(
    state: Layout, action: Layout, poses: dict[str, Pose], named: str
) -> None:
    with pytest.raises(Invalid) as refused:
        Embodiment("arm", state, action, poses)
    assert named in str(refused.value)


def test_what_is_held_lacks_nothing() -> None:
    held = Degree("spare", 3, "held", unit="own", reference="state")
    assert unreferred(held, (held,), (), {}) == ""


def test_the_same_layout_whatever_the_statistics() -> None:
    one = one_arm("rpy", "6d", "state")
    other = replace(one, name="other", action=replace(one.action, scale=(2.0,) * len(one.action)))
    assert one.same_layout(other)
    assert not one.same_layout(replace(one, poses={"arm": Pose("base", "hand", "base")}))
    assert not one.same_layout(one_arm("rpy", "6d", "first"))
    assert not one.same_layout(one_arm("rotvec", "6d", "state"))


def test_an_embodiment_is_plain_data() -> None:
    made = one_arm("quaternion", "6d", "first", "tip")
    data = json.loads(json.dumps(asdict(made)))
    assert from_mapping(Embodiment, data, "manifest.yaml") == made
    data["action"]["degrees"][0]["unit"] = "inch"
    with pytest.raises(ConfigError, match=r"action\.degrees\[0\]\.unit is 'inch'; expected 'rad' or"):
        from_mapping(Embodiment, data, "manifest.yaml")


def test_sixty_four_degrees_of_freedom_in_any_slots() -> None:
    names = [f"joint_{i}" for i in range(64)]
    many = joint_layout(names, (0.0,) * 64, (1.0,) * 64, range(100, 164))
    assert many.slots[-1] == 163
