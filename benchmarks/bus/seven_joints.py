"""Seven joints of every kind, on every line that a kind knows: what the benchmarks of buses measure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from wall_edge_bridge.drives import DriveSettings, Joint
from wall_edge_bridge.drives.values import Floats
from wall_edge_bridge.kinds import Kind, kind_named

JOINTS = 7


class Bus(NamedTuple):
    """One line with motors."""

    kind: Kind
    settings: DriveSettings
    joints: tuple[Joint, ...]
    published_hz: float | None = None
    """The ceiling of seven joints by ``protocols.md``, where it has one."""

    @property
    def rest(self) -> Floats:
        """[dof] rad"""
        return np.zeros(len(self.joints))


def bus(name: str, joints: int = JOINTS, published_hz: float | None = None, **keys: Any) -> Bus:
    """Motors ``name`` with ids from 1 on; ``keys`` of the drive's settings. Raises ConfigError."""
    kind = kind_named(name)
    settings = kind.settings(**{"kind": name, "timeout_ms": 20.0, **keys})
    return Bus(kind, settings, joints_of(kind, range(1, joints + 1)), published_hz)


def joints_of(kind: Kind, ids: range, prefix: str = "joint") -> tuple[Joint, ...]:
    """Of the kind's defaults."""
    return tuple(
        kind.joint(f"{prefix}{number}", id=number, lower=-1.5, upper=1.5, max_velocity=3.0) for number in ids
    )


def buses() -> dict[str, Bus]:
    """By what tells them apart."""
    return {
        "feetech, 1 Mbaud": bus("feetech"),
        "dynamixel, 1 Mbaud": bus("dynamixel", published_hz=571),
        "dynamixel, 1 Mbaud, fast": bus("dynamixel", published_hz=746, fast=True),
        "dynamixel, 2 Mbaud": bus("dynamixel", published_hz=1143, baudrate=2_000_000),
        "dynamixel, 3 Mbaud": bus("dynamixel", published_hz=1714, baudrate=3_000_000),
        "dynamixel, 3 Mbaud, fast": bus("dynamixel", baudrate=3_000_000, fast=True),
        "damiao, CAN": bus("damiao", published_hz=529),
        "damiao, CAN FD": bus("damiao", published_hz=1258, data_bitrate=5_000_000),
        "damiao, USB bridge": bus("damiao", published_hz=439, interface="damiao-usb"),
        "robstride, CAN": bus("robstride", published_hz=446),
        "odrive, CAN": bus("odrive", published_hz=529),
        "odrive, CAN, asked": bus("odrive", published_hz=None, estimates_ms=None),
        "moteus, CAN FD": bus("moteus", published_hz=None),
        "cia402, CAN": bus("cia402", published_hz=601),
    }
