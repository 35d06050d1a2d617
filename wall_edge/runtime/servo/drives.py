"""The kinds of drive that ROBOT.yaml may name, and how each is opened."""

from __future__ import annotations

from collections.abc import Callable

from wall_edge_bridge.drives import Drive, FeetechDrive
from wall_edge_bridge.transport import SerialTransport

from wall_edge.config import RobotConfig
from wall_edge.runtime.servo.joints import joint_specs


def open_drive(config: RobotConfig, port: str) -> Drive:
    """The drive that ROBOT.yaml describes, on ``port`` (its own, or the simulated arm's). Raises BusError."""
    return DRIVES[config.drive.kind](config, port)


def _feetech(config: RobotConfig, port: str) -> Drive:
    transport = SerialTransport(port, config.drive.baudrate)
    timeout_s, slack_rad = config.drive.timeout_ms / 1e3, config.control.start_slack_rad
    return FeetechDrive(transport, joint_specs(config), timeout_s, start_slack_rad=slack_rad)


DRIVES: dict[str, Callable[[RobotConfig, str], Drive]] = {"feetech": _feetech}
"""By ``drive.kind``."""
