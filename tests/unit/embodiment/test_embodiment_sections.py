"""The sections embodiment, kinematics, workspace and sinks of ROBOT.yaml, and whether they agree."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.contracts.test_config import ROBOT, message
from wall_edge.bundle import Pose
from wall_edge.config import JointEntry, PositionEntry, load_robot

SECTIONS: dict[str, Any] = {
    "kinematics": {
        "urdf": "arm.urdf",
        "poses": {"arm": {"base": "base_link", "tip": "tip", "frame": "base_link"}},
        "joints": {"lift": {"joint": "shoulder", "scale": -1}},
    },
    "embodiment": {
        "action": {
            "ee_pos": {"kind": "position", "pose": "arm", "reference": "first"},
            "ee_rot": {"kind": "rotation", "pose": "arm", "form": "rpy", "reference": "first"},
            "jaw": {"kind": "joint", "joint": "pan", "unit": "percent", "range": [1.0, -0.5]},
            "wheels": {"kind": "sink", "sink": "base"},
            "head": {"kind": "held", "value": [0.5]},
        }
    },
    "workspace": {"poses": {"arm": {"frame": "base_link", "table_z": 0.0}}},
    "sinks": {"base": {"path": "base.socket"}},
}


def write(folder: Path, change: Any = None) -> Path:
    data = copy.deepcopy({**ROBOT, **SECTIONS})
    if change is not None:
        change(data)
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def test_sections_that_agree(tmp_path: Path) -> None:
    config = load_robot(write(tmp_path))
    assert config.embodiment is not None
    assert config.kinematics is not None
    assert config.embodiment.observed is config.embodiment.action
    assert config.embodiment.action["ee_pos"] == PositionEntry("position", "arm", "first")
    jaw = config.embodiment.action["jaw"]
    assert isinstance(jaw, JointEntry)
    assert jaw.ends == ((0.0, 100.0), (1.0, -0.5))
    assert config.kinematics.urdf == tmp_path / "arm.urdf"
    assert config.kinematics.poses == {"arm": Pose("base_link", "tip", "base_link")}
    assert config.sinks["base"].path == str(tmp_path / "base.socket")


def test_paths_of_a_file_that_is_extended_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    write(tmp_path / "base")
    child = tmp_path / "child.yaml"
    child.write_text("extends: base/robot.yaml\nkinematics: {gravity: true}\n")
    config = load_robot(child)
    assert config.kinematics is not None
    assert config.kinematics.gravity
    assert config.kinematics.urdf == tmp_path / "base" / "arm.urdf"
    assert config.sinks["base"].path == str(tmp_path / "base" / "base.socket")


def entry(name: str, **changes: Any) -> Any:
    return lambda data: data["embodiment"]["action"][name].update(changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            entry("jaw", joint="pam"),
            "action.jaw.joint is 'pam'; expected one of joints: pan, lift; did you mean 'pan'",
        ),
        (entry("jaw", joint=["pan", "lift"]), "one joint, as percent has a range"),
        (entry("jaw", range=None), "the joint's positions at both ends of percent"),
        (entry("jaw", unit="rad"), "range is (1.0, -0.5); expected none, of rad"),
        (entry("jaw", unit="own"), "two values of the policy for unit own"),
        (entry("jaw", range=[0.5, 0.5]), "two different values"),
        (entry("jaw", values=[3, 3]), "two different values"),
        (entry("jaw", range=[50, 100]), "within the limits of pan (-1.9 to 1.9 rad)"),
        (entry("jaw", unit="inch"), "unit is 'inch'"),
        (entry("jaw", slot=-1), "action.jaw.slot is -1"),
        (
            entry("ee_pos", pose="hand"),
            "ee_pos.pose is 'hand'; expected one of kinematics.poses: arm; say under",
        ),
        (entry("ee_rot", pose="arms"), "did you mean 'arm'"),
        (entry("ee_rot", form="euler"), "form is 'euler'; expected 'rpy' or"),
        (entry("ee_rot", reference="last"), "reference is 'last'"),
        (entry("head", kind="help"), "kind is 'help'"),
        (entry("wheels", sink="bse"), "sink is 'bse'; expected one of sinks: base; did you mean 'base'?"),
        (lambda d: d.pop("sinks"), "one of sinks: there are none; add 'sinks: {base: {}}' to ROBOT.yaml"),
        (lambda d: (d.pop("kinematics"), d.pop("workspace")), "one of kinematics.poses: there are none"),
        (
            entry("head", kind="sink", sink="base", value=...),
            "action.head.sink is 'base'; expected another sink than that of action.wheels",
        ),
        (
            lambda d: d["embodiment"]["action"].update(
                other={"kind": "joint", "joint": "pan", "unit": "rad"}
            ),
            "action.other.joint is 'pan'; expected another joint than that of action.jaw",
        ),
        (
            lambda d: d["embodiment"]["action"].update(other={"kind": "joint", "joint": "pan"}),
            "embodiment.action.other.unit is missing",
        ),
        (
            lambda d: d["embodiment"]["action"].update(other={"kind": "position", "pose": "arm"}),
            "action.other.pose is 'arm'; expected another position than that of action.ee_pos",
        ),
        (
            lambda d: d["embodiment"].update(state={"w": {"kind": "joint", "joint": "wrist", "unit": "rad"}}),
            "embodiment.state.w.joint is 'wrist'",
        ),
        (lambda d: d["embodiment"].update(action={}), "embodiment.action is []"),
        (
            lambda d: d["embodiment"].update(action={"arm": {"kind": "held"}, "rest": {"kind": "padding"}}),
            "embodiment.action is {'arm': 'held', 'rest': 'padding'}; expected a degree of freedom that the "
            "policy moves; say of one at least which joint",
        ),
        (lambda d: d.update(model={"unit": "deg"}), "model.unit is 'deg'; expected none beside embodiment"),
        (
            lambda d: d["kinematics"]["joints"].update(lft={"joint": "x"}),
            "kinematics.joints.lft is 'lft'; expected one of joints: pan, lift; did you mean 'lift'",
        ),
        (
            lambda d: d["kinematics"]["joints"].update(pan={"joint": "shoulder"}),
            "kinematics.joints.pan.joint is 'shoulder'; expected another than that of lift",
        ),
        (lambda d: d["kinematics"]["joints"]["lift"].update(scale=0), "scale is 0"),
        (lambda d: d["kinematics"]["joints"]["lift"].update(scale=-5e-321), "scale is -5e-321"),
        (lambda d: d["kinematics"]["poses"]["arm"].pop("frame"), "kinematics.poses.arm.frame is missing"),
        (
            lambda d: d["workspace"]["poses"].update(leg={"frame": "base_link"}),
            "workspace.poses.leg is 'leg'; expected one of kinematics.poses: arm",
        ),
        (
            lambda d: d["workspace"].update(tip_distance_m=0.1),
            "or two poses in kinematics.poses to keep apart",
        ),
    ],
)
def test_sections_that_contradict(tmp_path: Path, change: Any, words: str) -> None:
    def without_dots(data: dict[str, Any]) -> None:
        change(data)
        for made in data["embodiment"]["action"].values():
            for key in [key for key, value in made.items() if value is ...]:
                del made[key]

    assert words in message(write(tmp_path, without_dots))


def test_a_robot_without_them_is_as_before(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(ROBOT))
    config = load_robot(path)
    assert (config.embodiment, config.kinematics, config.workspace, config.sinks) == (None, None, None, {})
