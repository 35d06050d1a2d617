"""``wall-edge motors``: on simulated motors of two kinds, as on real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner
from wall_edge_bridge.kinds import MotorIdentity, kind_named

from wall_edge.cli import app
from wall_edge.cli.motors.watch import watch
from wall_edge.config import load_robot
from wall_edge.errors import BusError, BusTimeout, ConfigError, DriveError, RuntimeFault, WallEdgeError
from wall_edge.motors.access import open_motors
from wall_edge.motors.roll_call import at_every_baudrate, compared
from wall_edge.runtime.servo import realtime
from wall_edge.runtime.servo.joints import Joints

TABLETOP = Path(__file__).parents[3] / "examples" / "tabletop"
MIXED = TABLETOP / "mixed.yaml"
WATCHDOG_S = 4.0
"""Of robots that are really asked: 1000 periods, as a busy machine may stall for two seconds."""


def run(*arguments: object, typed: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(app, ["motors", *map(str, arguments)], input=typed)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture(autouse=True)
def _no_realtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests stays an ordinary one."""
    monkeypatch.setattr(realtime, "apply", lambda *_, **__: None)
    monkeypatch.setitem(watch.__globals__, "_LOOK_NS", 30 * 10**9)  # a busy machine may stall


def written(folder: Path, base: Path = MIXED, **keys: object) -> Path:
    """A robot that extends the mixed one, or another."""
    path = folder / f"{base.stem} extended.yaml"
    path.write_text(yaml.safe_dump({"extends": str(base), **keys}))
    return path


def patient(*drives: str) -> dict[str, object]:
    """Of a robot whose motors are a process of their own, on a machine that may be busy."""
    control = {"feedback_timeout_ms": 3000, "watchdog_periods": 1000}
    return {"drives": {name: {"timeout_ms": 1000} for name in drives}, "control": control}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    return written(tmp_path, **patient("arm", "hand"))


@pytest.fixture
def damiao(tmp_path: Path) -> Path:
    return written(tmp_path, TABLETOP / "damiao.yaml", **patient("arm"))


def test_scan_finds_every_motor_and_the_joint_it_is(damiao: Path) -> None:
    code, output = run("scan", damiao, "--json")
    lines = json.loads(output)
    assert code == 0
    assert [(line["drive"], line["id"], line["verdict"]) for line in lines] == [
        ("arm", number, "here") for number in range(1, 7)
    ]
    assert [line["joint"] for line in lines] == [joint.name for joint in load_robot(MIXED).joints]
    assert {line["motor"]["kind"] for line in lines} == {"damiao"}


def test_motors_that_no_joint_has_and_joints_without_a_motor_are_told_apart() -> None:
    lines = compared(load_robot(MIXED), "hand", [MotorIdentity(5, "damiao"), MotorIdentity(9, "damiao")])
    assert [(line.id, line.verdict) for line in lines] == [
        (4, "missing"),
        (5, "here"),
        (6, "missing"),
        (9, "unknown"),
    ]


def test_every_baudrate_begins_with_what_robot_yaml_says() -> None:
    config = load_robot(MIXED)
    rates = [settings.baudrate for settings in at_every_baudrate(config.drives["arm"])]  # type: ignore[attr-defined]
    assert rates[0] == 1_000_000
    assert len(set(rates)) == len(rates) > 4
    assert list(at_every_baudrate(config.drives["hand"])) == [config.drives["hand"]]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "neither ROBOT.yaml nor --kind; expected a robot's file"),
        (("--kind", "stepper"), "stepper"),
        (("--kind", "damiao"), "--kind damiao without --channel"),
        (("--kind", "feetech"), "--kind feetech without --port"),
        (("--kind", "feetech", "--port", "/dev/none"), "/dev/none does not exist"),
        (("--kind", "damiao", "--channel", "can7"), "can7 does not exist"),
        (("--kind", "feetech", "--port", "/dev/none", "--bitrate", "5"), "bitrate"),
        (("--kind", "feetech", "--port", "/dev/none", "--baudrate", "5"), "baudrate is 5"),
    ],
)
def test_a_bus_that_cannot_be_is_one_line(arguments: tuple[str, ...], named: str) -> None:
    with pytest.raises(WallEdgeError, match=named) as caught:
        run("scan", *arguments)
    assert "\n" not in str(caught.value)


def test_set_id_renumbers_one_motor_and_says_so(mixed: Path) -> None:
    code, output = run("set-id", 6, 9, "--robot", mixed, "--drive", "hand", "--yes")
    assert (code, output) == (0, "motor 6 is 9 now\n")


def test_a_stop_signal_does_not_break_off_what_set_id_writes(
    mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half-way a motor is unlocked, or answers under an id that nobody has seen."""
    kind = kind_named("feetech")
    write = kind.set_id
    assert write is not None

    def interrupted(settings: Any, wire: Any, old: int, new: int) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        write(settings, wire, old, new)

    monkeypatch.setattr(type(kind), "set_id", property(lambda _: interrupted))
    code, output = run("set-id", 1, 9, "--robot", mixed, "--drive", "arm", "--yes")
    assert (code, output) == (0, "motor 1 is 9 now\n")


def test_scan_looks_at_the_other_buses_when_one_is_not_there(tmp_path: Path) -> None:
    """The first one's absence was all that it said."""
    places = {"arm": {"channel": "nocan0"}, "hand": {"channel": "nocan1"}}
    drives = {name: {"kind": "damiao", **place} for name, place in places.items()}
    cameras = {name: {"kind": "opencv", "device": i} for i, name in enumerate(("face_view", "wrist_view"))}
    robot = tmp_path / "robot.yaml"
    document = yaml.safe_load((TABLETOP / "robot.yaml").read_text())
    del document["simulation"]
    for name, camera in cameras.items():
        document["cameras"][name].update(camera)
    for index, joint in enumerate(document["joints"]):
        joint["drive"] = "arm" if index < 3 else "hand"
    robot.write_text(yaml.safe_dump({**document, "simulated": False, "drives": drives}))
    done = CliRunner().invoke(app, ["motors", "scan", str(robot), "--json"])
    assert isinstance(done.exception, BusError)
    assert all(f"{name} does not exist" in str(done.exception) for name in ("nocan0", "nocan1"))
    assert [line["verdict"] for line in json.loads(done.stdout)] == ["missing"] * 6


@pytest.mark.parametrize(
    "command", [("scan", MIXED), ("set-id", 6, 9, "--drive", "hand", "--yes", "--robot", MIXED)]
)
def test_a_bus_named_beside_robot_yaml_is_not_passed_over(command: tuple[object, ...]) -> None:
    """set-id wrote to ROBOT.yaml's bus, whatever --port said."""
    with pytest.raises(ConfigError, match=r"--port beside .*mixed\.yaml; expected ROBOT\.yaml or a bus"):
        run(*command, "--port", "/dev/ttyUSB9")


def test_set_id_asks_first_and_a_no_writes_nothing(mixed: Path) -> None:
    code, output = run("set-id", 1, 9, "--robot", mixed, "--drive", "arm", typed="n\n")
    assert code == 1
    assert "feetech motor 1" in output
    assert "is 9 now" not in output


@pytest.mark.parametrize(
    ("old", "new", "error", "named"),
    [
        (1, 2, DriveError, "a motor has id 2 already"),
        (1, 1, ConfigError, "OLD and NEW are both 1"),
        (1, 300, ConfigError, "NEW 300; expected 0 to 253"),
    ],
)
def test_set_id_refuses_before_it_asks(
    mixed: Path, old: int, new: int, error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        run("set-id", old, new, "--robot", mixed, "--drive", "arm")


def test_set_id_refuses_a_motor_that_does_not_answer() -> None:
    with pytest.raises(DriveError, match="no feetech motor answers as id 7"):
        run("set-id", 7, 8, "--robot", MIXED, "--drive", "arm")


def test_set_id_to_the_same_id_mends_what_a_damiao_answers_on(mixed: Path) -> None:
    """As the refusal of a motor that answers elsewhere says; it was refused itself."""
    code, output = run("set-id", 6, 6, "--robot", mixed, "--drive", "hand", "--yes")
    assert (code, output) == (0, "motor 6 is 6 now\n")


def test_set_id_needs_to_know_which_of_several_drives() -> None:
    with pytest.raises(ConfigError, match="no --drive; expected one of arm, hand"):
        run("set-id", 1, 9, "--robot", MIXED)


def test_watch_has_a_row_a_joint_and_powers_nothing(mixed: Path) -> None:
    code, output = run("watch", mixed, "--seconds", "0", "--json")
    rows = json.loads(output.splitlines()[0])
    rest = load_robot(MIXED).control.rest
    assert code == 0
    np.testing.assert_allclose([row["position"] for row in rows], rest, atol=2e-3)
    assert {(row["voltage"], row["faults"]) for row in rows[:3]} == {(12.1, "")}
    assert all(0 <= row["age"] < 1e4 and row["temperature"] > 0 for row in rows)


def test_help_says_units() -> None:
    """Rich took ``[rad]`` for markup and left it out."""
    for command, unit in (("jog", "[rad/s]"), ("scan", "[bit/s]")):
        assert unit in run(command, "--help")[1]


def test_watch_tells_joints_apart_on_80_columns(mixed: Path) -> None:
    """Both shoulder joints were should…, both of the wrist wrist_…"""
    output = run("watch", mixed, "--seconds", "0")[1]
    assert {joint.name for joint in load_robot(MIXED).joints} <= set(output.split())
    assert max(map(len, output.splitlines())) <= 80


def test_watch_prints_every_look_into_a_pipe(damiao: Path) -> None:
    """``watch | head`` printed nothing and never ended."""
    output = run("watch", damiao, "--seconds", "5", "--rate", "10")[1]
    assert output.count("temp.") >= 2


def test_watch_draws_a_table(mixed: Path) -> None:
    code, output = run("watch", mixed, "--seconds", "0")
    assert code == 0
    assert "bus errors" in output or "timeouts" in output  # a busy machine may answer late


def test_jog_moves_one_joint_shows_its_limits_and_lets_go(mixed: Path) -> None:
    """As a process of its own: it takes the servo process's priority."""
    command = [sys.executable, "-m", "wall_edge", "motors", "jog", mixed, "gripper", "--by", "0.1"]
    done = subprocess.run([*command, "--velocity", "1", "--yes"], capture_output=True, text=True, timeout=300)
    text = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stderr
    assert "its limits: -0.17 to 1.75 rad, 4 rad/s" in text
    assert "watchdog of arm: none" in text
    assert f"watchdog of hand: {WATCHDOG_S * 1e3:.0f} ms" in text
    assert "to +0.1" in text
    assert text.endswith("the arm is limp")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("elbow", "--by", "0.1"), "joint 'elbow'; expected one of shoulder_pan"),
        (("gripper", "--by", "3"), r"would go to \+3.000 rad; expected -0.17 to 1.75"),
        (("gripper", "--by", "0.1", "--velocity", "9"), "--velocity 9; expected more than 0, at most 4"),
        (("gripper", "--by", "0.1", "--velocity", "0"), "--velocity 0"),
        (("gripper", "--by", "nan"), "nan"),
    ],
)
def test_jog_refuses_what_is_beyond_a_limit(mixed: Path, arguments: tuple[str, ...], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        run("jog", mixed, *arguments, "--yes")


def test_jog_powers_nothing_on_a_no(mixed: Path) -> None:
    code, output = run("jog", mixed, "gripper", "--by", "0.1", typed="n\n")
    assert code == 1
    assert "watchdog" not in output


def test_jog_powers_nothing_that_moved_while_it_asked(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost once: the arm was powered where it was, then sent to where it had been when its way was shown."""
    looks: list[Joints] = []

    def moved(joints: Joints, _: int) -> None:
        looks.append(joints)
        joints.position[0] += 0.1

    monkeypatch.setattr(Joints, "look", moved)
    monkeypatch.setattr(Joints, "enable", lambda _: pytest.fail("it was powered"))
    with pytest.raises(RuntimeFault, match=r"joint shoulder_pan moved from .* since its way was shown"):
        run("jog", mixed, "gripper", "--by", "0.1", typed="y\n")
    assert len(looks) == 1


def test_calibrate_finds_zeros_directions_and_limits_again(mixed: Path, tmp_path: Path) -> None:
    """Of a file that has them wrong: the hand moves the motors by what they truly are."""
    out = tmp_path / "calibrated.yaml"
    code, output = run("calibrate", mixed, "--out", out)
    assert code == 0
    assert "6 joints" in output
    before, after = load_robot(MIXED), load_robot(out)
    for old, new in zip(before.joints, after.joints, strict=True):
        assert (new.name, new.id, new.drive, new.direction) == (old.name, old.id, old.drive, old.direction)
        assert new.lower == pytest.approx(old.lower + 0.02, abs=2e-3)
        assert new.upper == pytest.approx(old.upper - 0.02, abs=2e-3)
        assert vars(new).get("zero_ticks", 2048) == 2048
        assert vars(new).get("zero_rad", 0.0) == pytest.approx(0.0, abs=1e-3)
        assert vars(new).get("range_ticks", (0, 4095)) == (0, 4095)
        assert vars(new).get("homing_offset", 0) == 0


def test_calibrate_keeps_to_what_a_servos_memory_holds_and_a_start_accepts_it(tmp_path: Path) -> None:
    """Of an arm that LeRobot calibrated: its offset and range go along, and bound the limits."""
    memory = {"name": "elbow_flex", "homing_offset": -700, "range_ticks": [1500, 2600]}
    narrow = {"lower": -0.8, "upper": 0.8}
    robot = written(tmp_path, joints=[memory | narrow], **patient("arm", "hand"))
    out = tmp_path / "calibrated.yaml"
    run("calibrate", robot, "--out", out)
    joint = next(joint for joint in load_robot(out).joints if joint.name == "elbow_flex")
    assert vars(joint)["homing_offset"] == -700
    assert vars(joint)["range_ticks"] == (1500, 2600)
    config = load_robot(out)
    with open_motors(config) as motors:
        motors.drives.connect()
        motors.drives.check()


def test_calibrate_overwrites_nothing_unless_told(tmp_path: Path) -> None:
    out = tmp_path / "calibrated.yaml"
    out.write_text("mine")
    with pytest.raises(ConfigError, match="exists; expected a new file; add --force"):
        run("calibrate", MIXED, "--out", out)
    assert out.read_text() == "mine"


def test_a_silent_motor_ends_a_command_with_its_name(tmp_path: Path) -> None:
    robot = written(tmp_path, simulated=False, simulation=None, cameras={})
    with pytest.raises((BusTimeout, ConfigError, WallEdgeError)) as caught:
        run("watch", robot, "--seconds", "0")
    assert "\n" not in str(caught.value)
