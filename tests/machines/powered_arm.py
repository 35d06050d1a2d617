"""An arm that outlives the daemon: motors of the test's own on a pseudo-terminal, cameras from videos."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml
from wall_edge_bridge.kinds.feetech.twin import FeetechTwin
from wall_edge_bridge.kinds.registry import kind_named

from tests.patience import patient_file
from wall_edge.config import RobotConfig
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.referee import TabletopWorld

ROBOT = Path(__file__).parents[2] / "examples" / "tabletop" / "robot.yaml"


def servos_of(config: RobotConfig, positions: npt.ArrayLike = arm.REST) -> FeetechTwin:
    """Those of a robot with a single drive of that kind, at ``positions`` [dof] rad."""
    ((name, settings),) = config.drives.items()
    twin = kind_named(settings.kind).make_twin(settings, config.joints_of(name), positions, timed=False)
    assert isinstance(twin, FeetechTwin)
    return twin


def real_file(data: dict[str, Any], port: str) -> dict[str, Any]:
    """The content of the tabletop's ROBOT.yaml, as of a real arm on ``port``."""
    data["simulated"] = False
    data["drives"]["arm"].update(port=port)
    del data["simulation"]
    return data


class PoweredArm:
    """What a person at the arm sees of its servos."""

    def __init__(self, bus: FeetechTwin) -> None:
        self.bus = bus

    def powered(self) -> bool:
        return all(servo.get("torque_enable") for servo in self.bus.servos.values())

    def limp(self) -> bool:
        return not any(servo.get("torque_enable") for servo in self.bus.servos.values())

    def at_rest(self) -> bool:
        return bool(np.abs(self.bus.positions(time.monotonic_ns()) - arm.REST).max() < 0.15)


def robot_file(
    folder: Path,
    bundle: Path,
    port: str,
    video_s: float = 60,
    device: Mapping[str, str] | None = None,
    rest_velocity: float = 0.8,
) -> Path:
    """A patient ROBOT.yaml of the tabletop's arm on ``port``; ``device``: of cameras that are no videos."""
    world = TabletopWorld(0)
    data = patient_file(yaml.safe_load(ROBOT.read_text()))
    data["bundle"] = str(bundle)
    data["instruction"] = world.episode.task.instruction
    real_file(data, port)
    data["control"].update(fifo_priority=None, rest_velocity=rest_velocity)
    for name, frame in world.frames(arm.REST).items():
        video = _video(folder / f"{name}.avi", frame, video_s)
        data["cameras"][name].update(kind="opencv", device=(device or {}).get(name, str(video)))
        # Nothing moves in this video, and one test waits for its end to be noticed.
        data["cameras"][name].update(frozen_ms=1e6, timeout_ms=3000)
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def _video(path: Path, frame: np.ndarray, seconds: float) -> Path:
    """A camera that sees one unchanging scene at 30 Hz, without compression."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (84, 84))
    for _ in range(round(30 * seconds)):
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    writer.release()
    return path
