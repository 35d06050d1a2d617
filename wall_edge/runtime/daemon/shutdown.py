"""From whatever the arm does to an arm without torque."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from wall_edge.config import RobotConfig
from wall_edge.runtime.daemon.children import EXIT_S
from wall_edge.runtime.daemon.heart import Heart
from wall_edge.runtime.daemon.inbox import Inbox
from wall_edge.runtime.daemon.process_table import TABLE, Plant
from wall_edge.runtime.daemon.release import RELEASE_S, release_arm
from wall_edge.runtime.daemon.supervisor import Supervisor
from wall_edge.runtime.latch import set_latch
from wall_edge.runtime.telemetry.run_log import RunLog

_REST_MARGIN_S = 10.0
_REST_PATIENCE = 3.0
_SILENT_S = 5.0
"""A servo process that publishes nothing for so long hangs, even if it may be waiting for the bus."""
_LAST_WORDS_S = 10.0
"""For what is left to say and to write, and for Python's own end."""
_TORQUE_OFF = "the supervisor took the torque off where the arm stood"


class Shutdown:
    """``receive`` takes the processes' messages for a moment; ``silent_s``: how long the servo process has
    told nothing [s]."""

    def __init__(
        self,
        plant: Plant,
        supervisor: Supervisor,
        inbox: Inbox,
        heart: Heart,
        record: RunLog,
        receive: Callable[[], None],
        silent_s: Callable[[], float],
    ) -> None:
        self._plant, self._supervisor, self._inbox, self._heart = plant, supervisor, inbox, heart
        self._record, self._receive, self._silent_s = record, receive, silent_s

    def run(self) -> str:
        """Bring the arm to rest and release it; what went wrong, or an empty string."""
        try:
            return self._bring_to_rest()
        except BaseException as bug:
            trouble = self.release_without_servo(f"could not be listened to ({bug!r})")
            if isinstance(bug, Exception):
                return trouble
            raise

    def _bring_to_rest(self) -> str:
        if not self._supervisor.runs("servo"):
            return ""
        self._heart.stop()
        trouble = self._await_end()
        self._receive()
        servo = self._record.servo
        if not servo:
            return self.release_without_servo(trouble)
        fault = servo["fault"]
        return self._inbox.with_refusal(str(fault)) if fault or servo["state"] != "RELEASED" else ""

    def _await_end(self) -> str:
        """Until the servo process has told how it ended, or will not; why not, then."""
        patience_s = longest_way_s(self._plant.config)
        deadline = time.monotonic() + patience_s
        while not self._record.servo and self._supervisor.alive("servo"):
            self._receive()
            if time.monotonic() > deadline:
                return f"did not come to rest in {patience_s:.0f} s"
            if self._silent_s() > _SILENT_S:
                return f"was silent for {self._silent_s():.0f} s"
        return "died"

    def release_without_servo(self, trouble: str) -> str:
        """The servo process died or hangs: nobody but the supervisor can take the torque off.

        That comes first: what is told and kept follows, whatever may be wrong with it.
        """
        if not self._supervisor.runs("servo"):
            return ""
        with contextlib.suppress(Exception):
            self._supervisor.kill("servo")
        refusal = release_arm(self._plant.config, self._plant.places)
        end = f"torque may still be on ({refusal}); cut the arm's power" if refusal else _TORQUE_OFF
        return f"the servo process {trouble}; {end}{self._latch(f'the servo process {trouble}')}"

    def emergency_before_servo(self) -> str:
        """The arm may have been powered already: an emergency stop leaves it limp."""
        config = self._plant.config
        trouble = "" if config.simulated else release_arm(config, self._plant.places)
        off = f"torque may still be on ({trouble}); cut the arm's power" if trouble else "its torque is off"
        return f"emergency stop at the start; {off}{self._latch('emergency stop')}"

    def _latch(self, reason: str) -> str:
        """What is to be said when the fault could not be kept."""
        try:
            set_latch(self._plant.config, reason)
        except Exception as error:  # noqa: BLE001 - no bookkeeping may hide what happened to the arm
            return f"; the fault could not be kept ({error}): do not restart the arm unseen"
        return ""


def longest_way_s(config: RobotConfig) -> float:
    """Across the whole range at the speed that limits allow, with room for skipped ticks [s]."""
    speed = config.control.rest_velocity
    ways = config.per_joint(lambda j: (j.upper - j.lower) / min(speed, j.max_velocity))
    return _REST_PATIENCE * max(ways) + _REST_MARGIN_S


def longest_release_s(config: RobotConfig) -> float:
    """Until the torque of an arm that was told to stop is off [s], unless the servo process hangs."""
    held_s = (config.control.fault_hold_ms + config.control.settle_ms) / 1e3
    return longest_way_s(config) + held_s + RELEASE_S


def longest_stop_s(config: RobotConfig) -> float:
    """A whole stop in which all hangs that can [s]: whoever kills us before that may drop the arm."""
    processes = len(TABLE) + len(config.cameras)
    return longest_release_s(config) + RELEASE_S + EXIT_S * (1 + 2 * processes) + _LAST_WORDS_S
