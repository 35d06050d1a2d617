"""LeRobot 0.4.4's own normalisation, unmodified, beside ours: every tick, every mode, both ways."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from wall_edge_bridge.kinds.feetech import FeetechJoint, FeetechSettings
from wall_edge_bridge.kinds.feetech.drive import FeetechDrive
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.sim import serving_port
from wall_edge_bridge.transport.serial import SerialTransport

from tests.lerobot_lines import Floats, Line
from wall_edge.errors import DriveError
from wall_edge.motors.lerobot.calibration import MotorCalibration
from wall_edge.motors.lerobot.units import Units

motors = pytest.importorskip("lerobot.motors", reason="LeRobot is not installed")
feetech = pytest.importorskip("lerobot.motors.feetech")
dynamixel = pytest.importorskip("lerobot.motors.dynamixel")

BUSES = {
    "feetech": (feetech.FeetechMotorsBus, "sts3215"),
    "dynamixel": (dynamixel.DynamixelMotorsBus, "xl330-m288"),
}
MODES = {
    ("elbow_flex", "degrees"): motors.MotorNormMode.DEGREES,
    ("elbow_flex", "m100"): motors.MotorNormMode.RANGE_M100_100,
    ("gripper", "degrees"): motors.MotorNormMode.RANGE_0_100,
}
RANGES = [(812, 3310), (880, 3457), (2046, 3469), (0, 2047), (2048, 4095), (1000, 1021), (96, 4094)]


def theirs(kind: str, name: str, units: Units, motor: MotorCalibration) -> Any:
    """A bus that is never connected: its methods on numbers alone."""
    bus_class, model = BUSES[kind]
    calibration = {name: motors.MotorCalibration(**vars(motor))}
    return bus_class(
        "/dev/none", {name: motors.Motor(motor.id, model, MODES[name, units])}, calibration=calibration
    )


def normalized(bus: Any, motor: MotorCalibration, ticks: Floats) -> Floats:
    return np.array([bus._normalize({motor.id: int(tick)})[motor.id] for tick in ticks])


def unnormalized(bus: Any, motor: MotorCalibration, values: Floats) -> Floats:
    return np.array([bus._unnormalize({motor.id: float(value)})[motor.id] for value in values], float)


@pytest.mark.parametrize("kind", list(BUSES))
@pytest.mark.parametrize(("name", "units"), list(MODES))
@pytest.mark.parametrize("range_", RANGES)
@pytest.mark.parametrize("drive_mode", [0, 1])
def test_every_tick_both_ways(
    kind: str, name: str, units: Units, range_: tuple[int, int], drive_mode: int
) -> None:
    motor = MotorCalibration(3, drive_mode, 12, *range_)
    require_same(kind, name, units, motor)


@pytest.mark.parametrize("kind", list(BUSES))
@pytest.mark.parametrize("units", ["degrees", "m100"])
def test_a_whole_turn_both_ways(kind: str, units: Units) -> None:
    MODES["wrist_roll", units] = MODES["elbow_flex", units]
    require_same(kind, "wrist_roll", units, MotorCalibration(5, 0, -1785, 0, 4095))


def require_same(kind: str, name: str, units: Units, motor: MotorCalibration) -> None:
    """States to far less than a tick, goals to one: LeRobot cuts off what we round."""
    bus, line = theirs(kind, name, units, motor), Line(kind, name, motor, units)
    ticks = np.arange(motor.range_min, motor.range_max + 1, dtype=float)
    values = normalized(bus, motor, ticks)
    a_tick = abs(values[1] - values[0])
    assert np.abs(line.values(ticks) - values).max() <= 1e-3 * a_tick
    shares = np.random.default_rng(5).uniform(size=2000)
    goals = np.concatenate([values, values[0] + shares * (values[-1] - values[0])])
    assert np.abs(line.ticks(goals) - unnormalized(bus, motor, goals)).max() <= 1


def test_an_arm_that_lerobot_calibrated_passes_our_check_and_reads_the_same() -> None:
    """LeRobot writes offset and range into the servos; what init makes of its file is compared with them."""
    names = ("shoulder_pan", "elbow_flex", "gripper")
    twin = FeetechTwin([FeetechJoint(name, i + 1, -1.5, 1.5, 6.0) for i, name in enumerate(names)])
    lines: list[Line] = []
    with serving_port(twin) as port:
        bus = feetech.FeetechMotorsBus(
            port.path, {n: motors.Motor(i + 1, "sts3215", _mode(n)) for i, n in enumerate(names)}
        )
        bus.connect()
        bus.disable_torque()  # which unlocks the EEPROM
        twin.set_positions([0.3, -0.4, 0.2])
        offsets = bus.set_half_turn_homings()
        calibration = {
            name: MotorCalibration(i + 1, 0, offsets[name], 1000 + 10 * i, 3000)
            for i, name in enumerate(names)
        }
        bus.write_calibration({n: motors.MotorCalibration(**vars(c)) for n, c in calibration.items()})
        twin.set_positions([0.7, -0.9, 0.5])
        values = bus.sync_read("Present_Position")
        bus.disconnect()
        lines = [Line("feetech", name, motor, "degrees") for name, motor in calibration.items()]
        settings = FeetechSettings(port=port.path, timeout_ms=500)
        with FeetechDrive(settings, [line.joint for line in lines], SerialTransport(port.path)) as drive:
            drive.check()
            ticks = drive.ticks(drive.cycle(None, time.monotonic_ns() + 10**9).position)
            ours = [
                line.values(np.array([float(tick or 0)]))[0] for line, tick in zip(lines, ticks, strict=True)
            ]
            np.testing.assert_allclose(ours, list(values.values()), atol=1e-3)
            twin.servos[2].set("homing_offset", offsets["elbow_flex"] + 1)
            with pytest.raises(DriveError, match=r"elbow_flex \(id 2\): homing_offset"):
                drive.check()


def _mode(name: str) -> Any:
    return MODES[name if name == "gripper" else "elbow_flex", "degrees"]
