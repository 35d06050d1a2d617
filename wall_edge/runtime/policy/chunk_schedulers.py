"""How chunks that take time to compute are joined into one motion: the policy process's side.

A scheduler says when to look again, on which state the policy answers (and towards what it is guided), and
what of the answer is published. The servo process's side is the same for all: it follows the newest chunk
along the plan clock and splices it in with continuous acceleration (``motion.chunk_track``).
Nothing here reads a clock, so that virtual time makes the same decisions. An instruction begins with a new
scheduler.

===========  ===========================================================================================
sync         observe at a standstill, execute a part of the chunk, stop, observe again (LeRobot's loop)
async        observe every period while the last chunk is executed; the new one is entered at the step
             that corresponds to what was executed meanwhile
ensemble     as async; every step is the weighted mean of all predictions made for it
rollforward  as async, but the policy answers for the state at the time when its chunk will take over
rtc          as async, and the flow is guided to agree with what is about to be executed
naive        a chunk begins at its first step whenever it arrives: the baseline that the others must beat
===========  ===========================================================================================
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.config import PolicyConfig
from wall_edge.policies.observation import Guidance, Observation
from wall_edge.runtime.motion.chunk_track import ON_ARRIVAL
from wall_edge.runtime.servo.states import ServoState

_REMEMBERED_DELAYS = 8
_REMEMBERED_CHUNKS = 16


@dataclass(frozen=True)
class Plan:
    """A published motion: ``positions`` [n, dof] in rad, step k due at plan time ``start_ns + k · dt_ns``."""

    start_ns: int
    dt_ns: int
    positions: Floats

    @property
    def end_ns(self) -> int:
        """When the last step is due."""
        return self.start_ns + (len(self.positions) - 1) * self.dt_ns

    def at(self, plan_ns: npt.ArrayLike) -> Floats:
        """Positions [..., dof] at these plan times, linear between steps and constant beyond both ends."""
        steps = np.clip((np.asarray(plan_ns) - self.start_ns) / self.dt_ns, 0, len(self.positions) - 1)
        low = np.minimum(steps.astype(np.int64), max(0, len(self.positions) - 2))
        high = np.minimum(low + 1, len(self.positions) - 1)
        part = (steps - low)[..., None]
        between: Floats = self.positions[low] * (1 - part) + self.positions[high] * part
        return between


@dataclass(frozen=True)
class ChunkRequest:
    """What the policy is to answer: from ``state`` [dof, rad], a chunk that begins at ``plan_start_ns``."""

    state: Floats
    plan_start_ns: int
    guidance: Guidance | None = None


class Scheduler:
    """``async``, and what all have in common; see the table above. Times are ns.

    Similar to the asynchronous inference of SmolVLA (Shukor et al., arXiv 2506.01844), which aligns by wall
    time or by what the client says it consumed and aggregates overlapping steps. Here alignment is by
    executed plan time, so nothing is skipped that was not executed, and the splice is C2.
    """

    def __init__(self, settings: PolicyConfig, horizon: int, dt_ns: int) -> None:
        self.settings, self.horizon, self.dt_ns = settings, horizon, dt_ns
        self._period_ns = round(settings.chunk_period_ms * 1e6)
        self._delays: deque[int] = deque(maxlen=_REMEMBERED_DELAYS)
        self._due_ns = 0
        self._published = -1
        self._words = ""
        self.plan: Plan | None = None
        """What was published last."""

    def ready(self, now_ns: int, servo: np.void | None) -> bool:  # noqa: ARG002 - for those that stop
        """Whether to look now. ``servo``: the newest feedback record."""
        return now_ns >= self.due_ns

    @property
    def due_ns(self) -> int:
        """No look before this time."""
        return self._due_ns

    def looked(self, now_ns: int) -> None:
        """An observation was made to act on."""
        following = self._due_ns + self._period_ns
        # Never two in a row to catch up: what was missed is missed.
        self._due_ns = following if following > now_ns else now_ns + self._period_ns

    def ask(self, observation: Observation, words: str) -> ChunkRequest:
        """What the policy is to answer."""
        self._words, changed = words, words != self._words
        return self._ask(observation, changed)

    def publish(self, index: int, ask: ChunkRequest, positions: Floats, delay_ns: int) -> Plan:
        """What is published of the answer, ``delay_ns`` after its observation."""
        self._delays.append(delay_ns)
        self._published = index
        self.plan = self._plan(ask, positions)
        return self.plan

    def expected_delay_ns(self) -> int:
        """The longest of the last delays; as the RTC paper, what is late now may be late again."""
        return max(self._delays, default=0)

    def _ask(self, observation: Observation, words_changed: bool) -> ChunkRequest:  # noqa: ARG002 - see rtc
        return ChunkRequest(observation.state, observation.plan_ns)

    def _plan(self, ask: ChunkRequest, positions: Floats) -> Plan:
        return Plan(ask.plan_start_ns, self.dt_ns, positions)


class Sync(Scheduler):
    """Stop-and-go: what LeRobot's ``select_action`` does, with a proper stop where it freezes.

    Zhao et al., "Learning Fine-Grained Bimanual Manipulation", arXiv 2304.13705 (open-loop chunk execution).
    """

    def ready(self, now_ns: int, servo: np.void | None) -> bool:
        if now_ns < self.due_ns or servo is None or servo["state"] != ServoState.HOLDING:
            return False
        return int(servo["last_index"]) >= self._published

    def _plan(self, ask: ChunkRequest, positions: Floats) -> Plan:
        steps = self.settings.execute_steps or self.horizon // 2
        return Plan(ask.plan_start_ns, self.dt_ns, positions[:steps])


class Naive(Scheduler):
    """No alignment: LeRobot #4223 and the baseline of arXiv 2605.08168. Not for a real arm."""

    def _plan(self, ask: ChunkRequest, positions: Floats) -> Plan:  # noqa: ARG002 - that is the point
        return Plan(ON_ARRIVAL, self.dt_ns, positions)


class Ensemble(Scheduler):
    """Temporal ensembling of ACT (Zhao et al., arXiv 2304.13705): step = Σ w_i a_i / Σ w_i, w_i = exp(-m·i).

    i = 0 is the oldest prediction, as there. What differs: predictions come once a period instead of once a
    step, and those made for another subgoal are left out.
    """

    def __init__(self, settings: PolicyConfig, horizon: int, dt_ns: int) -> None:
        super().__init__(settings, horizon, dt_ns)
        self._kept: deque[Plan] = deque(maxlen=_REMEMBERED_CHUNKS)

    def _ask(self, observation: Observation, words_changed: bool) -> ChunkRequest:
        if words_changed:
            self._kept.clear()
        return super()._ask(observation, words_changed)

    def _plan(self, ask: ChunkRequest, positions: Floats) -> Plan:
        newest = Plan(ask.plan_start_ns, self.dt_ns, positions)
        self._kept.append(newest)
        times = newest.start_ns + np.arange(len(positions)) * self.dt_ns
        total, weights = np.zeros_like(positions), np.zeros((len(positions), 1))
        for age, plan in enumerate(self._kept):
            known = (times >= plan.start_ns) & (times <= plan.end_ns)
            weight = (math.exp(-self.settings.ensemble_decay * age) * known)[:, None]
            total += weight * plan.at(times)
            weights += weight
        return Plan(newest.start_ns, self.dt_ns, total / weights)


class Rollforward(Scheduler):
    """Future-state awareness of VLASH (Tang et al., arXiv 2512.01031).

    The state token is the state at which the chunk will take over: the measured joints plus what the queued
    actions will move them meanwhile. What differs: VLASH fine-tunes the policy with offset states, here it is
    used as it is; it replaces the state by the queued action, here the servos' lag is kept.
    """

    def _ask(self, observation: Observation, words_changed: bool) -> ChunkRequest:
        now = observation.plan_ns
        if self.plan is None or now >= self.plan.end_ns:
            return super()._ask(observation, words_changed)
        later = min(now + self.expected_delay_ns(), self.plan.end_ns)
        return ChunkRequest(observation.state + self.plan.at(later) - self.plan.at(now), later)


class RealTimeChunking(Scheduler):
    """Real-time chunking (Black, Galliker and Levine, arXiv 2506.07339): the flow is inpainted.

    Steps that will be over before the chunk arrives are pulled fully to what is being executed, later ones
    with a weight that falls to 0 at the end of the old chunk (equation 5). What differs: times are aligned on
    the plan clock, to fractions of a step; after a change of subgoal only the steps that are over are pulled;
    and ``rtc_form: elementwise`` replaces the Jacobian of the estimate by the identity.
    """

    def _ask(self, observation: Observation, words_changed: bool) -> ChunkRequest:
        start, plan = observation.plan_ns, self.plan
        if plan is None or start >= plan.end_ns:
            return super()._ask(observation, words_changed)
        times = start + np.arange(self.horizon) * self.dt_ns
        overlap = int((times <= plan.end_ns).sum())
        frozen = min(math.ceil(self.expected_delay_ns() / self.dt_ns), overlap)
        weights = soft_mask(self.horizon, frozen, frozen if words_changed else overlap)
        settings = self.settings
        guidance = Guidance(
            plan.at(times), weights, settings.rtc_max_guidance, settings.rtc_form == "jacobian"
        )
        return ChunkRequest(observation.state, start, guidance)


def soft_mask(horizon: int, frozen: int, overlap: int) -> Floats:
    """Weights [horizon]: 1 for ``frozen`` steps, falling until ``overlap``, 0 behind (RTC, equation 5)."""
    steps = np.arange(horizon)
    c = (overlap - steps) / (overlap - frozen + 1)
    falling = c * np.expm1(c) / (math.e - 1)
    weights: Floats = np.where(steps < frozen, 1.0, np.where(steps < overlap, falling, 0.0))
    return weights


_SCHEDULERS: dict[str, type[Scheduler]] = {
    "sync": Sync,
    "async": Scheduler,
    "ensemble": Ensemble,
    "rollforward": Rollforward,
    "rtc": RealTimeChunking,
    "naive": Naive,
}


def new_scheduler(settings: PolicyConfig, horizon: int, dt_ns: int) -> Scheduler:
    """The scheduler that ``policy.scheduler`` names, for chunks of ``horizon`` steps of ``dt_ns``."""
    return _SCHEDULERS[settings.scheduler](settings, horizon, dt_ns)
