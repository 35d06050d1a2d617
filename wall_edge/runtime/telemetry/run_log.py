"""What a run of the daemon leaves behind: plain records that the summary and the report are made from."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Frame


@dataclass(frozen=True)
class ChunkRecord:
    """One published action chunk; times are CLOCK_MONOTONIC nanoseconds."""

    index: int
    epoch: int
    observation_ns: int
    published_ns: int
    subgoal_id: int
    subgoal: str
    observation: int = 0
    """Which observation it came from, counted over the run."""
    scheduler: str = ""
    solved: int = 0
    """Steps over all poses that the joints bring to their pose; 0 without poses."""
    nearest: int = 0
    """Those that are only as near as limits and speeds allow."""
    held: int = 0
    """Those held where the pose could still be reached."""
    confined: int = 0
    """Those that the workspace changed."""
    kinematics_ms: float = 0.0

    @property
    def latency_ms(self) -> float:
        """From the observation to the mailbox."""
        return (self.published_ns - self.observation_ns) / 1e6


@dataclass(frozen=True)
class SubgoalRecord:
    """One decoded subgoal, from frames taken at ``observation_ns``; ``text`` is empty when it did not end.

    ``switched``: the words differ from those before them in the same epoch.
    """

    subgoal_id: int
    epoch: int
    observation_ns: int
    ready_ns: int
    text: str
    switched: bool
    observation: int = 0
    """Which observation it came from; the chunk of the same number shares its prefix."""

    @property
    def latency_ms(self) -> float:
        """From the observation to the words."""
        return (self.ready_ns - self.observation_ns) / 1e6


@dataclass(frozen=True)
class EpisodeRecord:
    """One task. ``status``: success, wrong_block, wrong_hand or timeout.

    ``truths``: (time, right subgoal) changes.
    """

    number: int
    epoch: int
    instruction: str
    start_ns: int
    end_ns: int
    status: str
    truths: tuple[tuple[int, str], ...]
    least_tip_distance_m: float | None = None
    """How near two tips came (m), of a robot with two hands, once it ended."""

    def truth(self, time_ns: int) -> str | None:
        """The right subgoal for an observation at ``time_ns``; None outside the episode."""
        if not self.start_ns <= time_ns <= self.end_ns:
            return None
        past = [text for since, text in self.truths if since <= time_ns]
        return past[-1] if past else None


@dataclass(frozen=True)
class FrameRecord:
    """A camera frame kept for the report."""

    camera: str
    time_ns: int
    epoch: int
    pixels: Frame


@dataclass
class RunLog:
    """Everything about one run. ``servo`` is the servo process's summary, its ``trace`` included.

    ``kept``: of a run without end, only so many of the newest chunks, subgoals, episodes and frames are kept;
    ``counts`` has them all.
    """

    joint_names: tuple[str, ...] = ()
    chunks: list[ChunkRecord] = field(default_factory=list)
    subgoals: list[SubgoalRecord] = field(default_factory=list)
    episodes: list[EpisodeRecord] = field(default_factory=list)
    frames: list[FrameRecord] = field(default_factory=list)
    servo: dict[str, Any] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    kept: int | None = None
    counts: Counter[str] = field(default_factory=Counter)
    """How many chunks, subgoals and episodes there have been."""

    def add(self, record: ChunkRecord | SubgoalRecord | EpisodeRecord | FrameRecord) -> None:
        """Keep what happened."""
        name, records = self._place(record)
        self.counts[name] += 1
        records.append(record)
        if self.kept is not None and len(records) > self.kept:
            del records[0]

    def _place(self, record: object) -> tuple[str, list[Any]]:
        if isinstance(record, ChunkRecord):
            return "chunks", self.chunks
        if isinstance(record, SubgoalRecord):
            return "subgoals", self.subgoals
        if isinstance(record, EpisodeRecord):
            return "episodes", self.episodes
        return "frames", self.frames

    def judged_subgoals(self) -> list[tuple[SubgoalRecord, str]]:
        """Subgoals from observations inside an episode, each with the right one."""
        by_epoch = {episode.epoch: episode for episode in self.episodes}
        judged = []
        for subgoal in self.subgoals:
            episode = by_epoch.get(subgoal.epoch)
            truth = episode.truth(subgoal.observation_ns) if episode is not None else None
            if truth is not None:
                judged.append((subgoal, truth))
        return judged

    def subgoal_score(self) -> tuple[int, int]:
        """How many of the judged subgoals have the right words, and how many were judged."""
        judged = self.judged_subgoals()
        return sum(subgoal.text == truth for subgoal, truth in judged), len(judged)

    def longest_chunk_interval_ms(self) -> float:
        """Longest time between two chunks of one epoch; 0 with fewer than two."""
        return max(chunk_intervals_ms(self.chunks), default=0.0)


def chunk_intervals_ms(chunks: Sequence[ChunkRecord]) -> list[float]:
    """Times between the publications of neighbouring chunks of one epoch."""
    pairs = itertools.pairwise(chunks)
    return [(b.published_ns - a.published_ns) / 1e6 for a, b in pairs if a.epoch == b.epoch]


def percentiles(values: Sequence[float], *ranks: float) -> dict[str, float]:
    """``{"p50": …}`` of the values; zeros when there are none."""
    array: npt.NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    return {f"p{p:g}".replace(".", ""): float(np.percentile(array, p)) if array.size else 0.0 for p in ranks}
