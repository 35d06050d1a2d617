"""A servo process, its supervisor's heartbeat in a thread, and what it tells."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.config import RobotConfig
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import (
    Chunk,
    ServoCommand,
    ServoState,
    chunk_dtype,
    command_dtype,
    feedback_dtype,
)
from wall_edge.runtime.servo.process import run_servo
from wall_edge.runtime.telemetry.servo.rings import ServoRings
from wall_edge.runtime.telemetry.servo.summary import ServoSummary

_PATIENCE_S = 120.0
_STEPS = 8


class ServoProcess:
    """It runs once this is made; ``places`` of its simulated motors, by the drive's name."""

    def __init__(self, config: RobotConfig, places: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._dof = config.dof
        self.chunks = Mailbox(chunk_dtype(_STEPS, config.dof))
        self.command = Mailbox(command_dtype())
        self.feedback = Mailbox(feedback_dtype(config.dof))
        self.wanted, self.alive = ServoCommand.FOLLOW, True
        kinds = {name: settings.kind for name, settings in config.drives.items()}
        self.rings = ServoRings.of(config.dof, config.control.rate_hz, kinds=kinds)
        _, child_end = context.Pipe()
        arguments = (child_end, config, places, self.chunks, self.command, self.feedback, self.rings)
        self.process = context.Process(target=run_servo, args=arguments, daemon=True)
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._heart.start()
        self.process.start()
        child_end.close()

    def _beat(self) -> None:
        record = np.zeros(1, command_dtype())[0]
        while self.alive:
            record["command"], record["epoch"], record["heartbeat_ns"] = self.wanted, 1, time.monotonic_ns()
            self.command.write(record)
            time.sleep(0.02)

    def state(self) -> ServoState:
        record = self.feedback.read()
        return ServoState.STARTING if record is None else ServoState(int(record["state"]))

    def until(self, *states: ServoState) -> None:
        """Waits for one of the states; fails when the process ends before."""
        deadline = time.monotonic() + _PATIENCE_S
        while self.state() not in states:
            assert time.monotonic() < deadline
            assert self.process.is_alive(), self.told()
            time.sleep(0.01)

    def follow(self, steps: npt.ArrayLike = 0.4) -> None:
        """A chunk of seconds, so that following does not depend on how busy the machine is.

        It is sent to a loop that is ready: a start on a busy machine may take longer than a chunk may be old.
        """
        self.until(ServoState.HOLDING)
        record = np.zeros(1, self.chunks.dtype)[0]
        positions = np.broadcast_to(np.asarray(steps, np.float64), (_STEPS, self._dof))
        Chunk(1, time.monotonic_ns(), 2_000_000_000, 1, positions, 0).fill(record)
        self.chunks.write(record)
        self.until(ServoState.FOLLOWING)

    def result(self) -> dict[str, Any]:
        self.process.join(60)
        assert self.process.exitcode == 0
        assert self.told()["ended"]
        return self.told()

    def told(self) -> dict[str, Any]:
        """The servo process's summary as of now, by a reader."""
        summary = ServoSummary(self.rings)
        summary.follow(self.rings.reader())
        return {**summary.as_dict(), "ended": summary.ended}

    def end(self) -> None:
        self.alive = False
        self._heart.join()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
