"""What all chunk schedulers have in common, which is all that ``async`` does."""

from __future__ import annotations

from collections import deque

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.config import SchedulerConfig
from wall_edge.policies.observation import Observation
from wall_edge.runtime.policy.chunk_plan import ChunkRequest, Plan

_REMEMBERED_DELAYS = 8


class Scheduler:
    """``async``, and the contract of all kinds (``chunk_schedulers``). Times are ns.

    Similar to the asynchronous inference of SmolVLA (Shukor et al., arXiv 2506.01844), which aligns by wall
    time or by what the client says it consumed and aggregates overlapping steps. Here alignment is by
    executed plan time, so nothing is skipped that was not executed, and the splice is C2.

    ``period_ns``: from one observation to the next; chunks have ``horizon`` steps of ``dt_ns``.
    """

    def __init__(self, config: SchedulerConfig, period_ns: int, horizon: int, dt_ns: int) -> None:
        self.config, self.horizon, self.dt_ns = config, horizon, dt_ns
        self._period_ns = period_ns
        self._delays: deque[int] = deque(maxlen=_REMEMBERED_DELAYS)
        self._due_ns = 0
        self._published = -1
        self._words = ""
        self.plan: Plan | None = None
        """What was published last."""

    def ready(self, now_ns: int, servo: np.void | None) -> bool:  # noqa: ARG002 - for those that stop
        """Whether to observe now. ``servo``: the newest feedback record."""
        return now_ns >= self.due_ns

    @property
    def due_ns(self) -> int:
        """No observation before this time."""
        return self._due_ns

    def begin_period(self, now_ns: int) -> None:
        """An observation was made to act on."""
        following = self._due_ns + self._period_ns
        # Never two in a row to catch up: what was missed is missed.
        self._due_ns = following if following > now_ns else now_ns + self._period_ns

    def request(self, observation: Observation, words: str) -> ChunkRequest:
        """What the policy is to answer."""
        self._words, changed = words, words != self._words
        return self._request(observation, changed)

    def publish(self, index: int, request: ChunkRequest, positions: Floats, delay_ns: int) -> Plan:
        """What is published of the answer, ``delay_ns`` after its observation."""
        self._delays.append(delay_ns)
        self._published = index
        self.plan = self._plan(request, positions)
        return self.plan

    def expected_delay_ns(self) -> int:
        """The longest of the last delays; as the RTC paper, what is late now may be late again."""
        return max(self._delays, default=0)

    def _request(self, observation: Observation, words_changed: bool) -> ChunkRequest:  # noqa: ARG002 - see rtc
        return ChunkRequest(observation.state, observation.plan_ns)

    def _plan(self, request: ChunkRequest, positions: Floats) -> Plan:
        return Plan(request.plan_start_ns, self.dt_ns, positions)
