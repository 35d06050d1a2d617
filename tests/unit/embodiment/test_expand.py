"""Entries of ROBOT.yaml over the names of a checkpoint: each is described, once, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from wall_edge.bundle import Degree
from wall_edge.config import (
    Entry,
    HeldEntry,
    JointEntry,
    PaddingEntry,
    PositionEntry,
    RotationEntry,
    SinkEntry,
    expand,
)
from wall_edge.errors import ConfigError

UPSTREAM: dict[str, int] = {
    "follow_left_ee_cartesian_pos": 3,
    "follow_left_ee_rotation": 3,
    "follow_left_gripper": 1,
    "follow_right_ee_cartesian_pos": 3,
    "follow_right_ee_rotation": 3,
    "follow_right_gripper": 1,
    "head_actions": 2,
    "height": 1,
    "car_pose": 3,
}
ENTRIES: dict[str, Entry] = {
    "follow_left_ee_cartesian_pos": PositionEntry("position", "left"),
    "follow_left_ee_rotation": RotationEntry("rotation", "left", "rpy"),
    "follow_left_gripper": JointEntry("joint", "left_jaw", "own", (-0.12, 4.4), (0.0, 1.2)),
    "follow_right_ee_cartesian_pos": PositionEntry("position", "right"),
    "follow_right_ee_rotation": RotationEntry("rotation", "right", "rpy"),
    "follow_right_gripper": JointEntry("joint", "right_jaw", "percent", None, (0.0, 1.2)),
    "head_actions": HeldEntry("held", (0.0, -0.5)),
    "height": SinkEntry("sink", "column"),
    "car_pose": SinkEntry("sink", "base"),
}


def named(groups: Mapping[str, int], first: int = 0) -> list[tuple[str, int]]:
    """As a checkpoint's ``dof_config`` names its slots."""
    names = [
        name if size == 1 else f"{name}_{number}" for name, size in groups.items() for number in range(size)
    ]
    return [(name, first + slot) for slot, name in enumerate(names)]


def refusal(entries: Mapping[str, Entry], layout: list[tuple[str, int]]) -> str:
    with pytest.raises(ConfigError) as refused:
        expand(entries, layout)
    text = str(refused.value)
    assert "\n" not in text
    assert "; expected" in text
    return text


def test_upstreams_twenty_degrees_of_freedom() -> None:
    degrees, rotations = expand(ENTRIES, named(UPSTREAM))
    assert [degree.slot for degree in degrees] == list(range(20))
    assert degrees[1] == Degree("follow_left_ee_cartesian_pos_1", 1, "position", "left", 1, "m")
    assert degrees[12] == Degree("follow_right_ee_rotation_2", 12, "rotation", "right", 2, "rad")
    assert degrees[6] == Degree("follow_left_gripper", 6, "joint", "left_jaw", 0, "own")
    assert degrees[13] == Degree("follow_right_gripper", 13, "joint", "right_jaw", 0, "percent")
    assert degrees[15] == Degree("head_actions_1", 15, "held", "", 1, "own")
    assert degrees[16] == Degree("height", 16, "sink", "column", 0, "own")
    assert degrees[19] == Degree("car_pose_2", 19, "sink", "base", 2, "own")
    assert rotations == {"left": "rpy", "right": "rpy"}


def test_the_order_is_the_checkpoints() -> None:
    layout = named(UPSTREAM)[::-1]
    degrees, _ = expand(dict(reversed(ENTRIES.items())), layout)
    assert [(degree.name, degree.slot) for degree in degrees] == layout
    assert next(d for d in degrees if d.name == "car_pose_2").index == 2


def test_padding_takes_no_part() -> None:
    """Of more than 20 slots; a padding that the layout no longer has (a manifest's) is none's business."""
    entries: dict[str, Entry] = {
        **ENTRIES,
        "height": PaddingEntry("padding"),
        "more": PaddingEntry("padding"),
    }
    degrees, _ = expand(entries, named({**UPSTREAM, "more": 6}))
    assert [degree.slot for degree in degrees] == [*range(16), 17, 18, 19]
    again, _ = expand(entries, [(degree.name, degree.slot) for degree in degrees])
    assert again == degrees


def test_sixty_four_joints_of_one_group() -> None:
    joints = tuple(f"j{number}" for number in range(64))
    degrees, _ = expand({"hands": JointEntry("joint", joints, "rad")}, named({"hands": 64}, first=26))
    assert [(d.of, d.slot) for d in degrees] == [(f"j{number}", 26 + number) for number in range(64)]


def test_joints_whose_own_names_end_in_numbers() -> None:
    """UR's wrist_1 to wrist_3 are no group."""
    names = ("wrist_1", "wrist_2", "wrist_3")
    degrees, _ = expand(
        {name: JointEntry("joint", name, "rad") for name in names}, [(n, i) for i, n in enumerate(names)]
    )
    assert [degree.of for degree in degrees] == list(names)


def test_references_are_the_entrys_or_the_policys() -> None:
    entries: dict[str, Entry] = {
        "a": JointEntry("joint", "a", "rad"),
        "b": JointEntry("joint", "b", "rad", reference="absolute"),
        "p": PositionEntry("position", "arm", reference="first"),
        "s": SinkEntry("sink", "s"),
        "h": HeldEntry("held"),
    }
    degrees, _ = expand(entries, named({"a": 1, "b": 1, "p": 3, "s": 1, "h": 1}), "state")
    assert [d.reference for d in degrees] == ["state", "absolute", *["first"] * 3, "absolute", "absolute"]


@pytest.mark.parametrize(
    ("form", "size", "unit"), [("quaternion", 4, "own"), ("6d", 6, "own"), ("rotvec", 3, "rad")]
)
def test_rotations_of_every_size(form: Any, size: int, unit: str) -> None:
    degrees, rotations = expand({"r": RotationEntry("rotation", "arm", form)}, named({"r": size}))
    assert [degree.index for degree in degrees] == list(range(size))
    assert {degree.unit for degree in degrees} == {unit}
    assert rotations == {"arm": form}


@pytest.mark.parametrize(
    ("change", "groups", "words"),
    [
        (
            {
                "follow_left_ee_rotatoin": RotationEntry("rotation", "left", "rpy"),
                "follow_left_ee_rotation": None,
            },
            {},
            "follow_left_ee_rotatoin is no degree of freedom of the checkpoint; expected one of follow_left",
        ),
        ({"car_pose": None}, {}, "nothing describes car_pose_0, car_pose_1, car_pose_2"),
        ({"wings": HeldEntry("held")}, {}, "wings is no degree of freedom of the checkpoint"),
        ({}, {"car_pose": 0, "cars_pose": 3}, "did you mean 'cars_pose'?"),
        (
            {"height": JointEntry("joint", ("a", "b"), "rad")},
            {},
            "height is 2 degrees of freedom (joint); expected 1, as the checkpoint has height",
        ),
        (
            {"follow_left_ee_rotation": RotationEntry("rotation", "left", "6d")},
            {},
            "is 6 degrees of freedom (rotation); expected 3",
        ),
        (
            {"car_pose": PositionEntry("position", "left")},
            {"car_pose": 2},
            "is 3 degrees of freedom (position)",
        ),
        ({"car_pose": SinkEntry("sink", "base", 2)}, {}, "is 2 degrees of freedom (sink); expected 3"),
        ({"car_pose": PaddingEntry("padding", 2)}, {}, "is 2 degrees of freedom (padding); expected 3"),
        (
            {"head_actions": HeldEntry("held", (0.0, 0.0, 0.0))},
            {},
            "head_actions.value has 3 numbers; expected 1, or 2",
        ),
        ({"car_pose": SinkEntry("sink", "b", None, (0.0, 1.0))}, {}, "car_pose.state has 2 numbers"),
        ({"height": SinkEntry("sink", "column", slot=3)}, {}, "height.slot is 3; expected 16"),
        ({"car_pose_1": HeldEntry("held")}, {}, "car_pose_1 is described as itself and as one of car_pose"),
    ],
)
def test_entries_that_do_not_fit_the_checkpoint(
    change: dict[str, Entry | None], groups: dict[str, int], words: str
) -> None:
    entries = {name: entry for name, entry in {**ENTRIES, **change}.items() if entry is not None}
    layout = named({name: size for name, size in {**UPSTREAM, **groups}.items() if size})
    assert words in refusal(entries, layout)


def test_what_was_meant_is_guessed() -> None:
    entries = {**ENTRIES, "follow_left_ee_rotatoin": ENTRIES["follow_left_ee_rotation"]}
    del entries["follow_left_ee_rotation"]
    assert refusal(entries, named(UPSTREAM)).endswith("did you mean 'follow_left_ee_rotation'?")


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ([("a", 0), ("b", 0)], "slot 0 of the checkpoint is a and b; expected one name for a slot"),
        ([("a", 0), ("a", 1)], "two degrees of freedom named a"),
        ([("a_0", 0), ("a_2", 1), ("b", 2)], "a has a_0, a_2; expected a_0 to a_1"),
        ([("a_3", 0), ("b", 2)], "a has a_3; expected a_0 to a_0"),
        ([("a", 0), ("a_0", 1), ("b", 2)], "nothing describes a_0"),
    ],
)
def test_names_of_a_checkpoint_that_cannot_be_meant(layout: list[tuple[str, int]], words: str) -> None:
    assert words in refusal({"a": HeldEntry("held"), "b": HeldEntry("held")}, layout)


def test_nothing_but_padding_is_no_robot() -> None:
    assert "nothing but padding" in refusal({"a": PaddingEntry("padding")}, [("a", 0)])
