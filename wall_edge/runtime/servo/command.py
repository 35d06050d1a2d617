"""What the supervisor, and signals, ask of the servo loop."""

from __future__ import annotations

from collections.abc import Callable

from wall_edge.config import ControlConfig
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import ServoCommand


class Command:
    """The newest command record, as of the last :meth:`take`, and the two signals, asked at every tick."""

    def __init__(
        self,
        mailbox: Mailbox,
        control: ControlConfig,
        clock: Callable[[], int],
        stop_requested: Callable[[], bool],
        emergency_requested: Callable[[], bool],
    ) -> None:
        self._reader = mailbox.reader()
        self._stop_requested, self._emergency_requested = stop_requested, emergency_requested
        self._timeout_ns = control.heartbeat_timeout_ms * 1e6
        self._heartbeat_ns = clock()
        self.code, self.epoch = int(ServoCommand.HOLD), -1

    def take(self) -> bool:
        """Read what is new; whether another epoch has begun."""
        record = self._reader.newer()
        if record is None:
            return False
        before = self.epoch
        self.code, self._heartbeat_ns = int(record["command"]), int(record["heartbeat_ns"])
        self.epoch = int(record["epoch"])
        return self.epoch != before

    @property
    def follow(self) -> bool:
        """Whether chunks are to be followed."""
        return self.code == ServoCommand.FOLLOW

    @property
    def stop_signalled(self) -> bool:
        """Whether a signal asked this very process to stop."""
        return self._stop_requested()

    @property
    def emergency(self) -> bool:
        """Whether the arm is to stop where it is."""
        return self.code == ServoCommand.EMERGENCY_STOP or self._emergency_requested()

    def reason_to_stop(self, now: int) -> str:
        """Why the arm should go to rest, at ``now`` [ns]; empty while it should not."""
        if self._stop_requested():
            return "signal"
        if self.code == ServoCommand.STOP:
            return "command"
        return "supervisor silent" if now - self._heartbeat_ns > self._timeout_ns else ""
