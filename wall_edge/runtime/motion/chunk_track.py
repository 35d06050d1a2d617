"""Action chunks on the plan clock: which motion is due now."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.runtime.ipc.mailbox_types import ON_ARRIVAL, Chunk
from wall_edge.runtime.motion.splice import Splice

Status = Literal["empty", "following", "ended"]
"""empty: no chunk of this epoch; ended: nothing left to follow."""
Refusal = Literal["epoch", "order", "age", "future", "shape", "nan", "range"]


class ChunkTrack:
    """Follows the newest chunk of one epoch along the plan clock.

    The plan clock advances by one period with every tick that follows a chunk, and stands otherwise. A chunk
    says at which plan time its observation was made, so it is entered at the step that corresponds to what
    was really executed since then: neither a late chunk nor an arm that had to wait makes the motion jump.
    A chunk that begins at a later plan time waits for it while there is something else to follow.

    ``lower``, ``upper`` [dof] in rad: a chunk that leaves them by more than their distance is in other units.
    """

    def __init__(
        self, lower: Floats, upper: Floats, *, period_ns: int, max_age_ns: int, blend_ns: int
    ) -> None:
        span = upper - lower
        self._lowest, self._highest = lower - span, upper + span
        self._period_ns, self._max_age_ns, self._blend_s = period_ns, max_age_ns, blend_ns / 1e9
        self.now: Floats = np.zeros((3, len(lower)))
        """Rows: position [rad], velocity [rad/s], acceleration [rad/s²] due before the tick."""
        self.then: Floats = np.zeros_like(self.now)
        """The same, due after the tick."""
        self.plan_ns = 0
        self.epoch = 0
        self.chunk: Chunk | None = None
        """The chunk that is followed."""
        self.last_index = -1
        """Of the last chunk taken in this epoch."""
        self.taken = 0
        self.refused: dict[Refusal, int] = dict.fromkeys(get_args(Refusal), 0)
        self._waiting: Chunk | None = None
        self._splice: Splice | None = None

    def start_epoch(self, epoch: int) -> None:
        """Drops what was and takes only chunks of ``epoch`` from now on."""
        self.epoch, self.last_index = epoch, -1
        self.chunk = self._waiting = self._splice = None

    def offer(self, chunk: Chunk, now_ns: int) -> Refusal | None:
        """Takes the chunk (a copy of it), or says why not and counts it."""
        reason = self._refusal(chunk, now_ns)
        if reason is not None:
            self.refused[reason] += 1
            return reason
        self.taken += 1
        self.last_index = chunk.index
        self._waiting = replace(
            chunk,
            positions=np.array(chunk.positions, np.float64),  # the mailbox reader reuses its buffer
            plan_start_ns=self.plan_ns if chunk.plan_start_ns == ON_ARRIVAL else chunk.plan_start_ns,
        )
        return None

    def _refusal(self, chunk: Chunk, now_ns: int) -> Refusal | None:
        if chunk.epoch != self.epoch:
            return "epoch"
        newest = self._waiting or self.chunk
        if newest is not None and (
            chunk.index <= newest.index or chunk.observation_time_ns < newest.observation_time_ns
        ):
            return "order"
        if chunk.observation_time_ns > now_ns:  # nobody sees the future: another clock wrote this
            return "future"
        if now_ns - chunk.observation_time_ns > self._max_age_ns:
            return "age"
        shape = np.shape(chunk.positions)
        if len(shape) != 2 or shape[0] < 1 or shape[1] != len(self._lowest) or chunk.dt_ns <= 0:
            return "shape"
        if not np.isfinite(chunk.positions).all():
            return "nan"
        inside = (chunk.positions >= self._lowest) & (chunk.positions <= self._highest)
        return None if inside.all() else "range"

    def tick(self, state: Floats) -> Status:
        """One tick of the plan, from the setpoint's ``state`` [3, dof]: fills ``now`` and ``then``."""
        status = self._status()
        if self._waiting is not None and (
            status != "following" or self._waiting.plan_start_ns <= self.plan_ns
        ):
            self._take_over(self._waiting, state)
            status = self._status()
        if status != "following":
            return status
        assert self._splice is not None
        since = self._elapsed_ns() / 1e9
        self._splice.at(since, self.now)
        self._splice.at(since + self._period_ns / 1e9, self.then)
        self.plan_ns += self._period_ns
        return status

    def _take_over(self, chunk: Chunk, state: Floats) -> None:
        self.chunk, self._waiting = chunk, None
        self.plan_ns = max(self.plan_ns, chunk.plan_start_ns)  # with nothing else to follow it begins now
        since = self._elapsed_ns() / 1e9
        self._splice = Splice(chunk.positions, chunk.dt_ns / 1e9, since, state, self._blend_s)

    def _elapsed_ns(self) -> int:
        assert self.chunk is not None
        return self.plan_ns - self.chunk.plan_start_ns

    def _status(self) -> Status:
        if self.chunk is None:
            return "empty"
        lasts = (len(self.chunk.positions) - 1) * self.chunk.dt_ns
        return "following" if self._elapsed_ns() + self._period_ns <= lasts else "ended"
