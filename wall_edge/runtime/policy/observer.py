"""Cameras and joints → observations, from what other processes left in shared memory."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping

import numpy as np

from wall_edge.array_types import Floats, Frame
from wall_edge.config import CameraConfig
from wall_edge.errors import CameraError
from wall_edge.policies.observation import Observation
from wall_edge.runtime.ipc.mailbox import Mailbox

_POLL_S = 0.001
_MAX_AGE_PERIODS = 3


class Observer:
    """Pairs each new set of frames with the joints measured at that moment. One a thread."""

    def __init__(
        self,
        cameras: Mapping[str, CameraConfig],
        frames: Mapping[str, Mailbox],
        feedback: Mailbox,
        clock: Callable[[], int] = time.monotonic_ns,
        first_index: int = 1,
    ) -> None:
        self._cameras, self._clock = cameras, clock
        self._frames = {name: record.reader() for name, record in frames.items()}
        self._max_age_ns = {
            name: round(_MAX_AGE_PERIODS * 1e9 / camera.rate_hz) for name, camera in cameras.items()
        }
        self._feedback = feedback.reader()
        self._newest: dict[str, tuple[int, Frame]] = {}
        self._frame_ns = dict.fromkeys(cameras, 0)
        self._spacing_ns = dict.fromkeys(cameras, 0)
        """Between the last two frames of each camera; 0 before there are two."""
        self._index = first_index - 1
        self._watch = {name: _FrozenWatch(name, camera) for name, camera in cameras.items()}

    def poll(self, since_ns: int = 0) -> Observation | None:
        """The observation that :meth:`next` would return if it is there now, else None."""
        for name, reader in self._frames.items():
            if (record := reader.newer()) is None:
                continue
            frame_ns, before_ns = int(record["time_ns"]), self._frame_ns[name]
            self._frame_ns[name] = frame_ns
            self._spacing_ns[name] = frame_ns - before_ns if before_ns else 0
            if frame_ns >= since_ns:
                self._newest[name] = frame_ns, record["pixels"].copy()
        oldest = {name: self._clock() - age for name, age in self._max_age_ns.items()}
        fresh = {n: f for n, f in self._newest.items() if f[0] >= max(oldest[n], since_ns)}
        if len(fresh) < len(self._frames) or (joints := self._feedback.latest()) is None:
            return None
        if joints["measured_ns"] == 0:  # the servo process has not read the bus yet
            return None
        self._newest = {}
        return self._observation(fresh, joints)

    def next(self, since_ns: int = 0) -> Observation:
        """Wait for a frame from every camera that was not returned before, taken at ``since_ns`` or later.

        A policy learns from pictures and joints of the same moment: frames older than three periods are
        passed over, and the joints are read right after the frames arrived. Raises :class:`CameraError` for
        a camera that delivers nothing for its ``timeout_ms``, and for the slowest one when all deliver and
        yet no set of fresh frames comes about in half as long again.
        """
        started = self._clock()
        while (observation := self.poll(since_ns)) is None:
            self._refuse_silence(started)
            self._refuse_slowness(started)
            time.sleep(_POLL_S)
        return observation

    def _observation(self, fresh: Mapping[str, tuple[int, Frame]], joints: np.void) -> Observation:
        self._index += 1
        position = np.array(joints["position"])
        for name, (frame_ns, pixels) in fresh.items():
            self._watch[name].check(frame_ns, pixels, position)
        return Observation(
            time_ns=int(joints["measured_ns"]),
            frames={name: pixels for name, (_, pixels) in fresh.items()},
            state=position,
            frames_ns=min(frame_ns for frame_ns, _ in fresh.values()),
            plan_ns=int(joints["plan_ns"]),
            index=self._index,
        )

    def _refuse_silence(self, started: int) -> None:
        for name, camera in self._cameras.items():
            # A frame that is kept counts from when it was taken: it may have grown too old to be used.
            newest_ns, _ = self._newest.get(name, (started, None))
            waited_ms = (self._clock() - max(started, newest_ns)) / 1e6
            if waited_ms > camera.timeout_ms:
                raise CameraError(
                    f"camera {name} delivered no frame for {waited_ms:.0f} ms",
                    expected=f"one every {1000 / camera.rate_hz:.0f} ms",
                    fix="check its cable and cameras." + name + " in ROBOT.yaml",
                )

    def _refuse_slowness(self, started: int) -> None:
        """Each camera delivers, but one so slowly that its frame is too old when the others' arrive."""
        patience_ms = max((camera.timeout_ms for camera in self._cameras.values()), default=0.0)
        waited_ms = (self._clock() - started) / 1e6
        joints = self._feedback.latest()
        if waited_ms <= 1.5 * patience_ms or joints is None or joints["measured_ns"] == 0:
            return
        late = {n: ns * self._cameras[n].rate_hz if ns else np.inf for n, ns in self._spacing_ns.items()}
        name = max(late, key=late.__getitem__)
        rate = f"{1e9 / self._spacing_ns[name]:.1f}" if self._spacing_ns[name] else "too few"
        raise slow_camera(name, self._cameras[name], rate)


def slow_camera(name: str, camera: CameraConfig, rate: str) -> CameraError:
    """A camera's real rate is not what ROBOT.yaml says; ``rate`` [frames/s] in words."""
    return CameraError(
        f"camera {name} delivers {rate} frames a second",
        expected=f"{camera.rate_hz:g} (cameras.{name}.rate_hz)",
        fix="give it more light, a smaller picture or a bus of its own, or set rate_hz to what it delivers",
    )


class _FrozenWatch:
    """Notices a camera that delivers the same picture over and over while the arm moves.

    A camera's noise makes no two pictures equal, and a simulated one shows the arm.
    """

    def __init__(self, name: str, camera: CameraConfig) -> None:
        self._name, self._camera = name, camera
        self._sum = -1
        self._since_ns = 0
        self._position = np.zeros(0)
        self._travel = 0.0

    def check(self, frame_ns: int, pixels: Frame, position: Floats) -> None:
        """One frame, with the joints [dof, rad] at that time. Raises :class:`CameraError`."""
        checksum = zlib.crc32(np.ascontiguousarray(pixels).data)
        if checksum != self._sum:
            self._sum, self._since_ns, self._position, self._travel = checksum, frame_ns, position, 0.0
            return
        frozen_ms = (frame_ns - self._since_ns) / 1e6
        self._travel = max(self._travel, float(np.abs(position - self._position).max(initial=0.0)))
        if frozen_ms > self._camera.frozen_ms and self._travel > self._camera.frozen_rad:
            raise CameraError(
                f"camera {self._name} has shown the same picture for {frozen_ms:.0f} ms while a joint moved "
                f"{self._travel:.2f} rad",
                expected=f"another picture within {self._camera.frozen_ms:g} ms "
                f"(cameras.{self._name}.frozen_ms)",
                fix="restart the camera or its driver",
            )
