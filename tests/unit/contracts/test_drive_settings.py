"""``drives`` and ``joints`` of ROBOT.yaml: any kinds, each with its own keys; every mistake is one line."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from wall_edge_bridge.drives.joints import ImpedanceJoint
from wall_edge_bridge.drives.settings import CanSettings
from wall_edge_bridge.drives.values import Capabilities
from wall_edge_bridge.kinds import Kind, registry

from tests.unit.contracts.test_config import CAMERA, ROBOT
from wall_edge.config import RobotConfig, load_robot, robot_from_mapping
from wall_edge.errors import ConfigError

JOINTS: list[dict[str, Any]] = [
    {"name": "pan", "drive": "arm", "id": 1, "lower": -1, "upper": 1, "max_velocity": 2, "zero_ticks": 2000},
    {"name": "grip", "drive": "hand", "id": 1, "lower": 0, "upper": 1, "max_velocity": 2},
    {"name": "lift", "drive": "arm", "id": 2, "lower": -1, "upper": 1, "max_velocity": 2},
]
TWO: dict[str, Any] = {
    **ROBOT,
    "control": {"rest": [0, 0, 0]},
    "drives": {"arm": {"kind": "feetech"}, "hand": {"kind": "feetech", "timeout_ms": 5}},
    "joints": JOINTS,
}
CAMERA_0 = {**CAMERA, "kind": "opencv", "device": 0}
REAL: dict[str, Any] = {
    key: value for key, value in TWO.items() if key not in ("simulated", "simulation", "cameras")
} | {
    "drives": {
        "arm": {"kind": "feetech", "port": "/dev/ttyACM0"},
        "hand": {"kind": "feetech", "port": "/dev/ttyACM1"},
    },
    "cameras": {"face_view": CAMERA_0},
}


@dataclass(frozen=True)
class PlainCan(CanSettings):
    """A CAN kind's settings, whatever the kind."""

    host_id: int = 0


@dataclass(frozen=True)
class PlainCanJoint(ImpedanceJoint):
    model: str = "M1"


@pytest.fixture
def can_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind that wall_edge has never heard of: a line in the registry is all that it takes."""
    kind = Kind("other", PlainCan, PlainCanJoint, Capabilities(watchdog=True), range(1, 128), "other_kind")
    monkeypatch.setitem(registry.KINDS, "other", "other_kind")
    monkeypatch.setitem(sys.modules, "other_kind", SimpleNamespace(KIND=kind))
    timing = SimpleNamespace(cycle_ns=lambda _, joints: 270_000 * len(joints))
    monkeypatch.setitem(sys.modules, "other_kind.timing", timing)


def with_changes(base: dict[str, Any], changes: dict[str, object]) -> dict[str, Any]:
    """Dotted keys replaced, or removed with ``...``."""
    data = copy.deepcopy(base)
    for dotted, value in changes.items():
        *parents, key = dotted.split(".")
        section: Any = data
        for parent in parents:
            section = section[int(parent) if parent.isdigit() else parent]
        if value is ...:
            del section[key]
        else:
            section[key] = value
    return data


def message(data: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        robot_from_mapping(data, "robot.yaml")
    text = str(caught.value)
    assert text.startswith("robot.yaml: ")
    assert "\n" not in text
    return text.removeprefix("robot.yaml: ")


def names(joints: Sequence[Any]) -> list[str]:
    return [joint.name for joint in joints]


def test_joints_of_two_drives_in_the_order_of_every_vector() -> None:
    config = robot_from_mapping(TWO, "robot.yaml")
    assert names(config.joints) == ["pan", "grip", "lift"]
    assert names(config.joints_of("arm")) == ["pan", "lift"]
    assert [joint.drive for joint in config.joints] == ["arm", "hand", "arm"]
    assert config.drives["hand"].timeout_ms == 5
    assert config.per_joint(lambda joint: joint.lower) == (-1.0, 0.0, -1.0)


def test_one_id_on_two_buses_is_two_motors() -> None:
    assert [joint.id for joint in robot_from_mapping(TWO, "robot.yaml").joints] == [1, 1, 2]


@pytest.mark.usefixtures("can_kind")
def test_a_kind_owns_its_keys() -> None:
    data = with_changes(
        TWO,
        {"drives.hand": {"kind": "other", "host_id": 7}, "joints.1.model": "M2", "joints.1.kp": 5},
    )
    config = robot_from_mapping(data, "robot.yaml")
    assert config.drives["hand"] == PlainCan("other", host_id=7)
    joint = config.joints[1]
    assert isinstance(joint, PlainCanJoint)
    assert (joint.model, joint.kp, joint.drive) == ("M2", 5.0, "hand")


@pytest.mark.parametrize(
    ("base", "changes", "told"),
    [
        (TWO, {"joints.2.id": 1}, "joints[2].id is 1; expected a value other than that of joints[0]"),
        (TWO, {"joints.2.id": 254}, "joints[2].id is 254; expected 0 to 253"),
        (TWO, {"joints.1.id": -1}, "joints[1].id is -1"),
        (
            TWO,
            {"joints.2.name": "pan"},
            "joints[2].name is 'pan'; expected a value other than that of joints[0]",
        ),
        (TWO, {"joints.1.drive": ...}, "joints[1].drive is missing; expected 'arm' or 'hand'"),
        (
            TWO,
            {"joints.1.drive": "hnad"},
            "joints[1].drive is 'hnad'; expected 'arm' or 'hand'; did you mean 'hand'?",
        ),
        (TWO, {"joints.1.drive": None}, "joints[1].drive is null; expected 'arm' or 'hand'"),
        (TWO, {"joints.1.drive": 3}, "joints[1].drive is 3; expected 'arm' or 'hand'"),
        (
            TWO,
            {"joints.1.drive": "arm", "joints.1.id": 3},
            "drives.hand moves no joint; expected a joint with drive: hand",
        ),
        (TWO, {"joints": ...}, "joints is missing; expected a list"),
        (TWO, {"joints": []}, "joints is []; expected at least one joint"),
        (TWO, {"joints": {"pan": 1}}, "joints is {'pan': 1}; expected a list"),
        (TWO, {"joints": [1]}, "joints[0] is 1; expected a mapping"),
        (TWO, {"drives": ...}, "drives is missing; expected a mapping"),
        (TWO, {"drives": {}}, "drives is empty; expected at least one"),
        (TWO, {"drives": []}, "drives is []; expected a mapping"),
        (TWO, {"drives.arm": None}, "drives.arm is null; expected a mapping"),
        (TWO, {"drives.arm.kind": ...}, "drives.arm.kind is missing; expected '"),
        (TWO, {"drives.arm.kind": "feetec"}, "drives.arm.kind is 'feetec'; expected '"),
        (TWO, {"drives.arm.kind": ["feetech"]}, "drives.arm.kind is ['feetech']; expected '"),
        (
            TWO,
            {"drives.arm.chanel": 1},
            "drives.arm.chanel is not a known key; expected one of kind, timeout_ms",
        ),
        (
            TWO,
            {"drives.arm.timeout_ms": 100},
            "drives.arm.timeout_ms is 100.0; expected less than control.feedback",
        ),
        (TWO, {"joints.0.kp": 1}, "joints[0].kp is not a known key; expected one of name, id"),
        (TWO, {"joints.0.zero_ticks": 4096}, "joints[0].zero_ticks is 4096; expected 0 to 4095 ticks"),
        (
            REAL,
            {"drives.arm.port": ...},
            "drives.arm.port is missing; expected where its motors are (or simulated: true)",
        ),
        (
            REAL,
            {"drives.hand.port": "/dev/../dev/ttyACM0"},
            "drives.hand.port is '/dev/../dev/ttyACM0'; expected another device than that of drives.arm",
        ),
        (REAL, {"simulated": True}, "cameras.face_view.kind is 'opencv'; expected sim, as simulated is true"),
        (
            TWO,
            {"simulated": False, "drives.arm.port": "a", "drives.hand.port": "b"},
            "cameras.face_view.kind is 'sim'; expected a real camera, as simulated is false",
        ),
    ],
)
def test_a_mistake_is_named(base: dict[str, Any], changes: dict[str, object], told: str) -> None:
    assert message(with_changes(base, changes)).startswith(told)


def test_an_unknown_kind_is_guessed_at() -> None:
    assert "did you mean 'feetech'?" in message(with_changes(TWO, {"drives.arm.kind": "feetec"}))


def test_a_kind_whose_library_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.KINDS, "other", "no_such_library")
    told = message(with_changes(TWO, {"drives.arm.kind": "other"}))
    assert "drives.arm.kind: drive kind other needs no_such_library; run `pip install" in told


@pytest.mark.usefixtures("can_kind")
class TestChannels:
    def robot(self, *channels: Mapping[str, object], **control: object) -> dict[str, Any]:
        data = copy.deepcopy(REAL)
        data["control"] |= control
        data["drives"] = {
            name: {"kind": "other", **channel}
            for name, channel in zip(("arm", "hand"), channels, strict=True)
        }
        del data["joints"][0]["zero_ticks"]
        return data

    def test_two_of_them(self) -> None:
        robot_from_mapping(self.robot({"channel": "can0"}, {"channel": "can1"}), "robot.yaml")
        both = {"channel": "can0", "interface": "virtual"}
        robot_from_mapping(self.robot({"channel": "can0"}, both), "robot.yaml")  # another can0

    @pytest.mark.parametrize(
        ("arm", "hand", "told"),
        [
            ({}, {"channel": "can0"}, "drives.arm.channel is missing; expected where its motors are"),
            (
                {"channel": "can0"},
                {"channel": "can0"},
                "drives.hand.channel is 'can0'; expected another device than that of drives.arm",
            ),
            (
                {"channel": "a", "interface": "slcan"},
                {"channel": "./a", "interface": "slcan"},
                "drives.hand.channel is './a'; expected another device",
            ),
            ({"channel": 0}, {"channel": "can0"}, "drives.arm.channel is 0; expected text"),
            ({"channel": "can0", "bitrate": 9}, {}, "drives.arm.bitrate is 9; expected 10000 to 1000000"),
        ],
    )
    def test_mistakes(self, arm: dict[str, object], hand: dict[str, object], told: str) -> None:
        assert message(self.robot(arm, hand)).startswith(told)

    def test_a_late_reply_trips_no_watchdog(self) -> None:
        """Only where there is one: a robot of Feetech servos alone may wait as long as ever."""
        channels = {"channel": "can0", "timeout_ms": 50}, {"channel": "can1"}
        robot_from_mapping(self.robot(*channels, watchdog_periods=20), "robot.yaml")  # 80 ms at 250 Hz
        told = message(self.robot(*channels, watchdog_periods=12.5))
        assert told.startswith(
            "drives.arm.timeout_ms is 50.0; expected less than the watchdogs' time (control.watchdog"
        )
        assert "50 ms)" in told
        # Lost once: of the two only the bus without a watchdog was slow, and nobody looked at it.
        mixed = self.robot({"channel": "can0"}, {"channel": "can1"}, watchdog_periods=12.5)
        mixed["drives"]["hand"] = {"kind": "feetech", "port": "/dev/ttyACM9", "timeout_ms": 50}
        assert message(mixed).startswith("drives.hand.timeout_ms is 50.0; expected less than the watchdogs'")
        plain = with_changes(TWO, {"drives.arm.timeout_ms": 50, "control.watchdog_periods": 4})
        assert robot_from_mapping(plain, "robot.yaml").control.watchdog_s == pytest.approx(0.016)

    def test_a_cycle_must_fit_into_the_time_for_its_replies(self) -> None:
        """Lost once: five milliseconds for motors whose return delays alone take longer."""
        robot = self.robot({"channel": "can0"}, {"channel": "can1", "timeout_ms": 0.2})
        assert message(robot).startswith(
            "drives.hand.timeout_ms is 0.2; expected more than a cycle takes on the line (0."
        )

    def test_what_is_a_file_is_relative_to_robot_yaml(self, tmp_path: Path) -> None:
        def loaded(path: Path, data: dict[str, Any]) -> RobotConfig:
            path.parent.mkdir(exist_ok=True)
            path.write_text(yaml.safe_dump(data))
            return load_robot(path)

        data = self.robot({"channel": "can0"}, {"channel": "dev/adapter", "interface": "slcan"})
        assert loaded(tmp_path / "robot.yaml", data).drives["hand"].place == str(tmp_path / "dev" / "adapter")
        data["drives"]["hand"]["channel"] = "adapter"
        child = {"extends": "../robot.yaml", "name": "other"}
        loaded(tmp_path / "robot.yaml", data)
        for config in (load_robot(tmp_path / "robot.yaml"), loaded(tmp_path / "a" / "b.yaml", child)):
            assert config.drives["arm"].place == "can0"
            assert Path(config.drives["hand"].place).resolve() == (tmp_path / "adapter").resolve()


@pytest.mark.parametrize(
    ("periods", "told"), [(3, "4 to 1000"), (1001, "4 to 1000"), ("x", "a finite number")]
)
def test_watchdog_periods(periods: object, told: str) -> None:
    text = message(with_changes(TWO, {"control.watchdog_periods": periods}))
    assert text.startswith("control.watchdog_periods is ")
    assert told in text


def test_a_watchdogs_time_follows_the_loop() -> None:
    assert robot_from_mapping(TWO, "robot.yaml").control.watchdog_s == pytest.approx(0.1)


class TestExtends:
    def load(self, folder: Path, base: dict[str, Any], **changes: Any) -> RobotConfig:
        (folder / "base.yaml").write_text(yaml.safe_dump(base))
        (folder / "robot.yaml").write_text(yaml.safe_dump({"extends": "base.yaml", **changes}))
        return load_robot(folder / "robot.yaml")

    def test_one_limit_of_one_joint(self, tmp_path: Path) -> None:
        config = self.load(tmp_path, TWO, joints=[{"name": "grip", "upper": 0.5}])
        assert names(config.joints) == ["pan", "grip", "lift"]
        assert (config.joints[1].upper, config.joints[1].id) == (0.5, 1)
        assert config.joints[0] == robot_from_mapping(TWO, "robot.yaml").joints[0]

    def test_one_joint_moves_to_another_drive(self, tmp_path: Path) -> None:
        config = self.load(tmp_path, TWO, joints=[{"name": "lift", "drive": "hand"}])
        assert names(config.joints_of("hand")) == ["grip", "lift"]

    def test_a_joint_more(self, tmp_path: Path) -> None:
        more = {**JOINTS[1], "name": "thumb", "id": 9}
        config = self.load(tmp_path, TWO, joints=[more], control={"rest": [0, 0, 0, 0]})
        assert names(config.joints) == ["pan", "grip", "lift", "thumb"]

    @pytest.mark.usefixtures("can_kind")
    def test_another_kind_by_one_line(self, tmp_path: Path) -> None:
        """``drives: {hand: {kind: other}}``: its other keys were the other kind's, and go with it."""
        config = self.load(tmp_path, TWO, drives={"hand": {"kind": "other"}})
        assert config.drives["hand"] == PlainCan("other")
        assert isinstance(config.joints[1], PlainCanJoint)
        assert config.drives["arm"] == robot_from_mapping(TWO, "robot.yaml").drives["arm"]

    def test_a_joint_without_a_name(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"joints\[3\].drive is missing"):
            self.load(tmp_path, TWO, joints=[{"upper": 0.5}])
        with pytest.raises(ConfigError, match=r"joints is null"):
            self.load(tmp_path, TWO, joints=None)
