"""Cameras and joints → observations, from what other processes left in shared memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from wall_edge.config import CameraConfig
from wall_edge.errors import CameraError
from wall_edge.policy import Observation
from wall_edge.runtime.shared import SharedReader, SharedRecord
from wall_edge.vision import Frame

__all__ = ["Observer"]

_POLL_S = 0.001
_MAX_AGE_PERIODS = 3


class Observer:
    """Pairs each new set of frames with the joints measured at that moment. One a thread."""

    def __init__(
        self,
        cameras: Mapping[str, CameraConfig],
        frames: Mapping[str, SharedRecord],
        feedback: SharedRecord,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._cameras, self._clock = cameras, clock
        self._frames = {name: record.reader() for name, record in frames.items()}
        self._max_age_ns = {
            name: round(_MAX_AGE_PERIODS * 1e9 / camera.rate_hz) for name, camera in cameras.items()
        }
        self._feedback = feedback.reader()

    def next(self, since_ns: int = 0) -> Observation:
        """Wait for a frame from every camera that was not returned before, taken at ``since_ns`` or later.

        A policy learns from pictures and joints of the same moment: frames older than three periods are
        passed over, and the joints are read right after the frames arrived. Raises :class:`CameraError` for
        a camera that delivers nothing for its ``timeout_ms``.
        """
        started = self._clock()
        newest: dict[str, tuple[int, Frame]] = {}
        while True:
            for name, reader in self._frames.items():
                if (record := reader.newer()) is not None and int(record["time_ns"]) >= since_ns:
                    newest[name] = int(record["time_ns"]), record["pixels"].copy()
            now = self._clock()
            fresh = {name: f for name, f in newest.items() if f[0] >= now - self._max_age_ns[name]}
            if len(fresh) == len(self._frames):
                return self._observation(fresh)
            self._refuse_silence(started, fresh)
            time.sleep(_POLL_S)

    def _observation(self, fresh: Mapping[str, tuple[int, Frame]]) -> Observation:
        joints = self._joints(self._feedback)
        return Observation(
            time_ns=int(joints["measured_ns"]),
            frames={name: pixels for name, (_, pixels) in fresh.items()},
            state=np.array(joints["position"]),
            frames_ns=min(taken for taken, _ in fresh.values()),
        )

    def _joints(self, reader: SharedReader) -> np.void:
        record = reader.latest()
        while record is None or record["measured_ns"] == 0:  # the servo process has not read the bus yet
            time.sleep(_POLL_S)
            record = reader.latest()
        return record

    def _refuse_silence(self, started: int, fresh: Mapping[str, object]) -> None:
        waited_ms = (self._clock() - started) / 1e6
        for name, camera in self._cameras.items():
            if name not in fresh and waited_ms > camera.timeout_ms:
                raise CameraError(
                    f"camera {name} delivered no frame for {waited_ms:.0f} ms",
                    expected=f"one every {1000 / camera.rate_hz:.0f} ms",
                    fix="check its cable and cameras." + name + " in ROBOT.yaml",
                )
