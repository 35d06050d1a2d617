"""What must be known to be good before an arm is powered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from wall_edge.body.body import Body
from wall_edge.bundle import Manifest
from wall_edge.config import CameraConfig, RobotConfig
from wall_edge.errors import CameraError, ConfigError
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.motion.weight import HoldingTorque
from wall_edge.runtime.motion.workspace import WorkspaceWatch
from wall_edge.runtime.policy.observer import slow_camera
from wall_edge.runtime.policy.sinks import require_paths
from wall_edge.runtime.servo.drives import open_drives

_WINDOW_NS, _WINDOWS = 500_000_000, 4
_SLOWEST = 0.48
"""Of the rate asked: a picture is used for three periods, and half the rate leaves room to pair two."""


def check_buses(config: RobotConfig) -> tuple[str, ...]:
    """Every motor of a real robot answers, and is set as ROBOT.yaml says; torque stays as it is.

    The joints that are powered already. Raises BusError, DriveError.
    """
    drive = open_drives(config, {})
    try:
        drive.connect()
        drive.check()
        return tuple(j.name for j, on in zip(drive.joints, drive.torque(), strict=True) if on)
    finally:
        drive.close()


class CameraRates:
    """Counts the frames of cameras. ``wait`` passes a little time and raises what goes wrong meanwhile."""

    def __init__(
        self,
        cameras: Mapping[str, CameraConfig],
        frames: Mapping[str, Mailbox],
        wait: Callable[[], None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._cameras, self._frames, self._wait, self._clock = cameras, frames, wait, clock

    def await_frames(self) -> None:
        """Every camera must see. Raises CameraError."""
        start_ns = self._clock()
        for name, camera in self._cameras.items():
            while self._frames[name].read() is None:
                self._wait()
                if self._clock() - start_ns > 1e6 * max(1000.0, camera.timeout_ms):
                    raise _silent(name, camera)

    def require(self) -> None:
        """Every camera must deliver about as often as ROBOT.yaml says. Raises CameraError, naming it.

        A busy machine is given a few tries; a slow camera is slow in all of them.
        """
        for name, camera in self._cameras.items():
            rates: list[float] = []
            while not rates or (rates[-1] < _SLOWEST * camera.rate_hz and len(rates) < _WINDOWS):
                rates.append(self._measured(name, camera))
            if rates[-1] < _SLOWEST * camera.rate_hz:
                raise slow_camera(name, camera, f"{max(rates):.1f}")

    def _measured(self, name: str, camera: CameraConfig) -> float:
        """Frames a second, over half a second at least."""
        first, start_ns = self._newest(name), self._clock()
        while True:
            self._wait()
            index, frame_ns = self._newest(name)
            if index > first[0] and frame_ns - first[1] >= _WINDOW_NS:
                return (index - first[0]) * 1e9 / (frame_ns - first[1])
            if self._clock() - max(start_ns, frame_ns) > 1e6 * max(1000.0, camera.timeout_ms):
                raise _silent(name, camera)

    def _newest(self, name: str) -> tuple[int, int]:
        record = self._frames[name].read()
        return (0, 0) if record is None else (int(record["index"]), int(record["time_ns"]))


def _silent(name: str, camera: CameraConfig) -> CameraError:
    return CameraError(
        f"camera {name} delivered no frame",
        expected=f"one every {1000 / camera.rate_hz:.0f} ms",
        fix=f"check its cable and cameras.{name} in ROBOT.yaml",
    )


def check_match(manifest: Manifest, config: RobotConfig) -> None:
    """Raise :class:`ConfigError` where ROBOT.yaml describes another robot than the bundle was made for.

    Or :class:`KinematicsError`, where its URDF does.
    """
    fix = "export the bundle for this robot with --robot"
    Body.of(config, manifest)
    WorkspaceWatch.of(config)
    HoldingTorque.of(config)
    require_paths(config.sinks)
    of_bundle = {name: (camera.width, camera.height) for name, camera in manifest.cameras.items()}
    of_robot = {name: (camera.width, camera.height) for name, camera in config.cameras.items()}
    if of_bundle != of_robot:
        raise ConfigError(f"ROBOT.yaml's cameras {of_robot}", expected=f"the bundle's {of_bundle}", fix=fix)
    chunk_ms = 1000 * manifest.horizon / manifest.action_rate_hz
    if config.policy.chunk_period_ms >= chunk_ms:
        raise ConfigError(
            f"policy.chunk_period_ms is {config.policy.chunk_period_ms:g}",
            expected=f"less than a chunk lasts ({manifest.horizon} steps at {manifest.action_rate_hz:g} Hz, "
            f"{chunk_ms:.0f} ms)",
            fix="ask for chunks more often",
        )
