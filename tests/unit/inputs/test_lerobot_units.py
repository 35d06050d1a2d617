"""LeRobot's policies whose degrees of freedom have units of their own: degrees, per cent, -100 to 100."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wall_edge_export.reference.random_checkpoint import write_random_checkpoint

from tests.unit.checkpoint.test_lerobot_policy import Saved, give_gripper, save_policy, statistics
from wall_edge.config import EmbodimentConfig, JointEntry, ModelConfig, RobotConfig
from wall_edge.config_loader import from_mapping
from wall_edge.errors import WallEdgeError

ARM = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
PERCENT = {"kind": "joint", "joint": "gripper", "unit": "percent", "range": [-0.17, 1.75]}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base") / "tiny"
    write_random_checkpoint("tiny", out, dtype="fp32")
    return out


@pytest.fixture
def saved(tmp_path: Path, base: Path) -> Saved:
    """An arm in degrees whose gripper went from 0 to 100; nothing in the folder says a unit."""
    made = save_policy(tmp_path / "policy", base, "MIN_MAX")
    made.edit("config.json", lambda c: c["wall_edge"].pop("unit"))
    give_gripper(made, 0.0, 100.0)
    return made


def described(robot: RobotConfig, change: Callable[[dict[str, Any]], object] = len) -> RobotConfig:
    action: dict[str, Any] = {
        "arm": {"kind": "joint", "joint": list(ARM), "unit": "deg"},
        "gripper": dict(PERCENT),
    }
    change(action)
    section = from_mapping(EmbodimentConfig, {"action": action}, "ROBOT.yaml")
    return replace(robot, embodiment=section, model=ModelConfig())


def refusal(saved: Saved, robot: RobotConfig) -> str:
    with pytest.raises(WallEdgeError) as error:
        saved.settings(robot)
    assert "\n" not in str(error.value)
    assert "expected" in str(error.value)
    return str(error.value)


def test_entries_fill_the_slots_in_order(saved: Saved, robot: RobotConfig) -> None:
    made = saved.settings(described(robot)).embodiment
    for layout in (made.state, made.action):
        assert [(d.of, d.slot, d.unit) for d in layout.degrees] == [
            *((name, slot, "deg") for slot, name in enumerate(ARM)),
            ("gripper", 5, "percent"),
        ]
    assert made.action.names == (*(f"arm_{i}" for i in range(5)), "gripper")


def test_statistics_stay_in_the_policys_units(saved: Saved, robot: RobotConfig) -> None:
    made = saved.settings(described(robot)).embodiment
    for layout, seed in ((made.state, 1), (made.action, 2)):
        low, high = (statistics(seed)[key].double().numpy() for key in ("min", "max"))
        low[5], high[5] = 0.0, 100.0
        moved = high > low
        np.testing.assert_allclose(np.array(layout.offset)[moved], ((low + high) / 2)[moved], rtol=1e-6)
        np.testing.assert_allclose(np.array(layout.scale)[moved], ((high - low) / 2)[moved], rtol=1e-6)


def test_a_slot_may_be_said(saved: Saved, robot: RobotConfig) -> None:
    """The data set's order need not be that of the file."""

    def shuffled(action: dict[str, Any]) -> None:
        arm = action.pop("arm")
        action["gripper"]["slot"] = 5
        action["arm"] = {**arm, "slot": 0}

    made = saved.settings(described(robot, shuffled)).embodiment
    assert {d.of: d.slot for d in made.action.degrees} == {
        name: i for i, name in enumerate((*ARM, "gripper"))
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda a: a["gripper"].update(slot=4), "gripper: slot 4 is that of arm already; expected one name"),
        (lambda a: a["gripper"].update(slot=6), "gripper: slot 6; expected 0 to 5"),
        (lambda a: a.pop("gripper"), "embodiment.action: nothing for slots 5"),
        (lambda a: a["arm"].update(joint=list(ARM[:4])), "nothing for slots 5"),
        (lambda a: a.update(base={"kind": "held"}), "base.size is missing"),
        (lambda a: a.update(more={"kind": "held", "size": 1}), "more: slot 6"),
        (
            lambda a: a.update(gripper={"kind": "padding", "size": 1}),
            "gripper.kind is padding; expected held",
        ),
    ],
)
def test_slots_that_do_not_fit(saved: Saved, robot: RobotConfig, change: Any, named: str) -> None:
    assert named in refusal(saved, described(robot, change))


@pytest.mark.parametrize("unit", ["deg", "rad"])
def test_a_unit_that_the_statistics_contradict(saved: Saved, robot: RobotConfig, unit: str) -> None:
    """C5: per cent of its range taken for an angle."""

    def change(action: dict[str, Any]) -> None:
        action["gripper"] = {"kind": "joint", "joint": "gripper", "unit": unit}

    message = refusal(saved, described(robot, change))
    assert f"gripper went from 0 to 100, per cent of its range, and not {unit}" in message
    assert "unit: percent" in message


@pytest.mark.parametrize(
    ("low", "high", "fits"), [(0.0, 100.0, True), (2.0, 100.9, True), (-60.0, 80.0, False)]
)
def test_per_cent_beyond_its_ends(
    saved: Saved, robot: RobotConfig, low: float, high: float, fits: bool
) -> None:
    """Values from -100 to 100 taken for 0 to 100 move a gripper twice as far."""
    give_gripper(saved, low, high)
    if fits:
        assert saved.settings(described(robot)).embodiment.action.degrees[5].unit == "percent"
        return
    assert "gripper went from -60 to 80, and its per cent from 0 to 100" in refusal(saved, described(robot))
    both = described(robot, lambda a: a["gripper"].update(values=[-100.0, 100.0]))
    assert saved.settings(both).embodiment.action.degrees[5].unit == "percent"


def test_a_state_in_another_unit_than_its_action(saved: Saved, robot: RobotConfig) -> None:
    """Each side is compared in its own unit: a gripper that is seen in degrees and commanded in per cent."""
    give_gripper(saved, -5.0, 90.0)
    made = described(robot, lambda a: a["gripper"].update(values=[-100.0, 100.0]))
    assert made.embodiment is not None
    seen = {**made.embodiment.action, "gripper": JointEntry("joint", "gripper", "deg")}
    section = replace(made.embodiment, state=seen)
    settings = saved.settings(replace(made, embodiment=section))
    units = [side.degrees[5].unit for side in (settings.embodiment.state, settings.embodiment.action)]
    assert units == ["deg", "percent"]


def test_an_arm_in_per_cent_of_both_signs(saved: Saved, robot: RobotConfig) -> None:
    """LeRobot's older data sets: the whole arm from -100 to 100."""

    def change(action: dict[str, Any]) -> None:
        limits = {joint.name: [joint.lower, joint.upper] for joint in robot.joints}
        ends = {"kind": "joint", "unit": "percent", "values": [-100, 100]}
        gripper = action.pop("gripper")
        del action["arm"]
        action |= {name: {**ends, "joint": name, "range": limits[name]} for name in ARM}
        action["gripper"] = gripper

    made = saved.settings(described(robot, change)).embodiment
    assert {d.unit for d in made.action.degrees} == {"percent"}
    assert made.action.names == (*ARM, "gripper")


def test_what_is_held_counts_as_one(saved: Saved, robot: RobotConfig) -> None:
    made = saved.settings(
        described(robot, lambda a: a.update(gripper={"kind": "held", "size": 1, "value": [50]}))
    )
    assert made.embodiment.action.degrees[5].part == "held"
    far = described(robot, lambda a: a.update(gripper={"kind": "held", "size": 1, "value": [500.0]}))
    assert "the policy would see 500 of gripper" in refusal(saved, far)


def test_one_unit_for_all_beside_units_of_each(saved: Saved, robot: RobotConfig) -> None:
    saved.edit("config.json", lambda c: c["wall_edge"].update(unit="rad"))
    assert "arm in deg; expected rad, as the wall_edge block" in refusal(saved, described(robot))


def test_without_a_description_one_unit_is_asked_for(saved: Saved, robot: RobotConfig) -> None:
    message = refusal(saved, replace(robot, embodiment=None))
    assert "does not say its unit (rad or deg; where joints differ, embodiment says it of each)" in message
