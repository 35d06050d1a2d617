"""Action chunks on a time axis: which setpoint is due now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Chunk", "ChunkTrack", "Refusal", "Status"]

Floats = npt.NDArray[np.float64]
Status = Literal["empty", "early", "following", "ended"]
"""empty: no chunk of this epoch; early: before its first step; ended: past its last step."""
Refusal = Literal["epoch", "order", "age", "future", "shape", "nan"]


@dataclass(frozen=True)
class Chunk:
    """``positions`` [length, dof] in rad; step k is due at ``observation_time_ns + k · dt_ns``.

    Times are CLOCK_MONOTONIC nanoseconds.
    """

    index: int
    observation_time_ns: int
    dt_ns: int
    epoch: int
    positions: Floats
    published_time_ns: int = 0
    subgoal_id: int = -1

    @classmethod
    def of(cls, record: np.void) -> Chunk:
        """Of a :func:`~wall_edge.runtime.records.chunk_dtype` record; ``positions`` stays a view of it."""
        return cls(
            index=int(record["index"]),
            observation_time_ns=int(record["observation_time_ns"]),
            dt_ns=int(record["dt_ns"]),
            epoch=int(record["epoch"]),
            positions=record["positions"][: max(0, int(record["length"]))],
            published_time_ns=int(record["published_time_ns"]),
            subgoal_id=int(record["subgoal_id"]),
        )

    def fill(self, record: np.void) -> None:
        """Writes this chunk into a record whose horizon is at least as long."""
        length = len(self.positions)
        record["index"], record["epoch"], record["length"] = self.index, self.epoch, length
        record["observation_time_ns"], record["dt_ns"] = self.observation_time_ns, self.dt_ns
        record["published_time_ns"], record["subgoal_id"] = self.published_time_ns, self.subgoal_id
        record["positions"][:length] = self.positions
        record["positions"][length:] = 0.0


class ChunkTrack:
    """Follows the newest chunk of one epoch, by its observation time, linearly between its steps.

    The contract of every schedule: ``start_epoch`` forgets what was, ``offer`` takes or refuses a chunk (and
    copies what it takes), ``setpoint`` answers without side effects. This one cuts from chunk to chunk; the
    limiter behind it bounds the jump.
    """

    def __init__(self, dof: int, max_age_ns: int) -> None:
        self._dof, self._max_age_ns = dof, max_age_ns
        self._out: Floats = np.zeros(dof)
        self.epoch = 0
        self.chunk: Chunk | None = None
        """The chunk that is followed."""
        self.taken = 0
        self.refused: dict[Refusal, int] = dict.fromkeys(
            ("epoch", "order", "age", "future", "shape", "nan"), 0
        )

    def start_epoch(self, epoch: int) -> None:
        """Drops the chunk and takes only chunks of ``epoch`` from now on."""
        self.epoch, self.chunk = epoch, None

    def offer(self, chunk: Chunk, now_ns: int) -> Refusal | None:
        """Takes the chunk, or says why not (and counts it)."""
        reason = self._refusal(chunk, now_ns)
        if reason is not None:
            self.refused[reason] += 1
            return reason
        self.taken += 1
        self.chunk = Chunk(
            chunk.index,
            chunk.observation_time_ns,
            chunk.dt_ns,
            chunk.epoch,
            np.array(chunk.positions, np.float64),  # a copy: the mailbox reader reuses its buffer
            chunk.published_time_ns,
            chunk.subgoal_id,
        )
        return None

    def _refusal(self, chunk: Chunk, now_ns: int) -> Refusal | None:
        if chunk.epoch != self.epoch:
            return "epoch"
        followed = self.chunk
        if followed is not None and (
            chunk.index <= followed.index or chunk.observation_time_ns < followed.observation_time_ns
        ):
            return "order"
        if chunk.observation_time_ns > now_ns:  # nobody has seen the future: another clock wrote this
            return "future"
        if now_ns - chunk.observation_time_ns > self._max_age_ns:
            return "age"
        shape = np.shape(chunk.positions)
        if len(shape) != 2 or shape[0] < 1 or shape[1] != self._dof or chunk.dt_ns <= 0:
            return "shape"
        return None if np.isfinite(chunk.positions).all() else "nan"

    def setpoint(self, t_ns: int) -> tuple[Floats, Status]:
        """Positions [dof, rad] due at ``t_ns``, valid until the next call; zeros when "empty"."""
        if self.chunk is None:
            self._out[:] = 0.0
            return self._out, "empty"
        steps = self.chunk.positions
        elapsed = t_ns - self.chunk.observation_time_ns
        k, rest = divmod(elapsed, self.chunk.dt_ns)
        if elapsed < 0:
            self._out[:] = steps[0]
            return self._out, "early"
        if k >= len(steps) - 1:
            self._out[:] = steps[-1]
            return self._out, "ended" if k > len(steps) - 1 or rest else "following"
        np.subtract(steps[k + 1], steps[k], out=self._out)
        self._out *= rest / self.chunk.dt_ns
        self._out += steps[k]
        return self._out, "following"
