"""Robots for tests that are not about time: a busy machine may stall any process for two seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wall_edge.config import RobotConfig

_PATIENT: Mapping[str, Mapping[str, Any]] = {
    "control": {
        "rate_hz": 25,
        "blend_ms": 80,
        "feedback_timeout_ms": 3000,
        "starved_fault_ms": 20_000,
        "heartbeat_timeout_ms": 5000,
        "first_chunk_ms": 120_000,
        "watchdog_periods": 125,
    },
    "policy": {"max_chunk_age_ms": 5000},
}
_DRIVE = {"timeout_ms": 1000}
"""What is asked outside of cycles is asked three times."""
_CAMERA = {"timeout_ms": 10_000, "frozen_ms": 20_000}


def patient_file(data: dict[str, Any]) -> dict[str, Any]:
    """A ROBOT.yaml's content, changed: its timeouts are seconds, its loop is slow."""
    for section, values in _PATIENT.items():
        data[section].update(values)
    for drive in data["drives"].values():
        drive.update(_DRIVE)
    for camera in data["cameras"].values():
        camera.update(_CAMERA)
    return data


def patient(robot: RobotConfig) -> RobotConfig:
    """As :func:`patient_file`, for a robot that was read."""
    changed: dict[str, Any] = {
        section: replace(getattr(robot, section), **values) for section, values in _PATIENT.items()
    }
    cameras = {name: replace(camera, **_CAMERA) for name, camera in robot.cameras.items()}
    drives = {name: replace(settings, **_DRIVE) for name, settings in robot.drives.items()}
    return replace(robot, **changed, drives=drives, cameras=cameras)
