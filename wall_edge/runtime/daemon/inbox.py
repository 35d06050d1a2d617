"""What the processes have said: kept in the run log, and what of it the daemon must act on."""

from __future__ import annotations

from collections.abc import Callable

from wall_edge.errors import plural
from wall_edge.runtime.daemon.process_table import TABLE, Death, Plant
from wall_edge.runtime.ipc.messages import EngineNote, Failure, Places, Ready, Refusal
from wall_edge.runtime.telemetry.run_log import ChunkRecord, RunLog, SubgoalRecord
from wall_edge.runtime.telemetry.writer import LogEnd

_SPARED = {row.name for row in TABLE if row.death is Death.RESTART}


class Inbox:
    """Takes one message after the other. ``log`` is told of each: kind, then fields."""

    def __init__(self, record: RunLog, plant: Plant, log: Callable[..., None]) -> None:
        self._record, self._plant, self._log = record, plant, log
        self.ready: set[str] = set()
        """Processes that have said so."""
        self.engine = ""
        """What runs the bundle's graphs, in one line."""
        self.failure = ""
        """Why the first of them to fail did."""
        self.refusal = ""
        """Why the policy refused what it computed last; empty once a chunk comes."""
        self.refusals = 0
        """How many since the last chunk."""
        self.recording_trouble = ""
        self.log_trouble = ""
        """Why the event log is not whole, or a reader of telemetry failed."""
        self._log_ended = False
        self.closed = False
        """Whether the daemon stops: a task that comes in now must not start the arm again."""

    def take(self, name: str, message: object) -> None:
        """A message of the process ``name``."""
        if isinstance(message, LogEnd):
            self._end_log(message)
            return
        if not isinstance(message, ChunkRecord | SubgoalRecord):  # the policy's own ring has them
            self._log(type(message).__name__.lower(), process=name, **vars(message))
        if self.closed:
            return
        if isinstance(message, Ready):
            self.ready.add(name)
        elif isinstance(message, Places):
            self._plant.places = message.by_drive
        elif isinstance(message, EngineNote):
            self.engine = message.text
        elif isinstance(message, Failure):
            self._fail(name, message.reason)
        elif isinstance(message, Refusal):
            self._refuse(message)
        elif isinstance(message, ChunkRecord):
            self._record.add(message)
            self.forgive()
        elif isinstance(message, SubgoalRecord):
            self._record.add(message)
        elif self._plant.world is not None:
            self._plant.world.on_message(message)

    def forgive(self) -> None:
        """A chunk, or a new instruction, makes good for what was refused."""
        self.refusal, self.refusals = "", 0

    def with_refusal(self, failure: str) -> str:
        """With what the policy said last, when nothing but refusals came of it."""
        return failure if not self.refusal or self.refusal in failure else f"{failure}; {self.refused}"

    @property
    def refused(self) -> str:
        """How often the policy refused since its last chunk or instruction, and why at last; else empty."""
        if not self.refusal:
            return ""
        return f"{plural(self.refusals, 'refusal')} by the policy, the last: {self.refusal}"

    def _fail(self, name: str, reason: str) -> None:
        if name in _SPARED and name in self.ready:  # a log or a reader ends, not the robot
            self.log_trouble = reason if name == "writer" else f"{name}: {reason}"
        else:
            self.failure = self.failure or reason

    def require_log_end(self, *, logged: bool) -> None:
        """A writer that was killed, or hung, says nothing of what is missing."""
        if logged and not self._log_ended:
            self.log_trouble = self.log_trouble or "the event log's end is missing: its writer died or hung"

    def _end_log(self, message: LogEnd) -> None:
        self._log_ended = True
        if message.lost:
            why = f": {message.trouble}" if message.trouble else ""
            self.log_trouble = f"{plural(message.lost, 'event')} missing from the log{why}"

    def _refuse(self, message: Refusal) -> None:
        self._record.refused.update([message.what])
        if message.what == "recording":
            self.recording_trouble = message.reason
        else:
            self.refusal, self.refusals = message.reason, self.refusals + 1
