"""What the arm is to do now: the mission that the action loop follows and the planner words."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ActiveInstruction:
    """The instruction in force since ``since_ns`` and the words to act on (None at first)."""

    epoch: int
    since_ns: int
    instruction: str
    subgoal_id: int
    words: str | None


class Mission:
    """Shared by the action loop and the planner thread: who holds the lock only swaps references.

    A subgoal decoded for an earlier instruction is dropped, so that words never outlive their epoch.
    """

    def __init__(self, *, subgoals: bool) -> None:
        self._subgoals = subgoals
        self._lock = threading.Lock()
        self._active: ActiveInstruction | None = None
        self._count = 0

    @property
    def active(self) -> ActiveInstruction | None:
        """What holds now; None before the first instruction."""
        return self._active

    def instruct(self, epoch: int, since_ns: int, instruction: str) -> None:
        """Begin an epoch. Without subgoals the instruction itself is what chunks act on."""
        with self._lock:
            words = None if self._subgoals else instruction
            self._active = ActiveInstruction(epoch, since_ns, instruction, self._count, words)

    def offer(self, epoch: int, words: str) -> tuple[ActiveInstruction, bool] | None:
        """Take the planner's words: what is active now, and whether that changed; None for an old epoch."""
        with self._lock:
            active = self._active
            if active is None or active.epoch != epoch:
                return None
            if words == active.words:
                return active, False
            self._count += 1
            self._active = replace(active, subgoal_id=self._count, words=words)
            return self._active, True
