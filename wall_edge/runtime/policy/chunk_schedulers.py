"""How chunks that take time to compute are joined into one motion: the policy process's side.

A scheduler says when to observe again, on which state the policy answers (and towards what it is guided), and
what of the answer is published. The servo process's side is the same for all: it follows the newest chunk
along the plan clock and splices it in with continuous acceleration (``motion.chunk_track``).
Nothing here reads a clock, so that virtual time makes the same decisions. An instruction begins with a new
scheduler. Settings and needs are in ``wall_edge.config.scheduler``.

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

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.config import EnsembleScheduler, PolicyConfig, RtcScheduler, SyncScheduler
from wall_edge.policies.observation import Guidance, Observation
from wall_edge.runtime.ipc.mailbox_types import ON_ARRIVAL
from wall_edge.runtime.policy.chunk_plan import ChunkRequest, Plan
from wall_edge.runtime.policy.chunk_scheduler import Scheduler
from wall_edge.runtime.servo.states import ServoState

_REMEMBERED_CHUNKS = 16


class Sync(Scheduler):
    """Stop-and-go: what LeRobot's ``select_action`` does, with a proper stop where it freezes.

    Zhao et al., "Learning Fine-Grained Bimanual Manipulation", arXiv 2304.13705 (open-loop chunk execution).
    """

    config: SyncScheduler

    def ready(self, now_ns: int, servo: np.void | None) -> bool:
        if now_ns < self.due_ns or servo is None or servo["state"] != ServoState.HOLDING:
            return False
        return int(servo["last_index"]) >= self._published

    def _plan(self, request: ChunkRequest, positions: Floats) -> Plan:
        steps = self.config.execute_steps or self.horizon // 2
        return Plan(request.plan_start_ns, self.dt_ns, positions[:steps])


class Naive(Scheduler):
    """No alignment: LeRobot #4223 and the baseline of arXiv 2605.08168. Not for a real arm."""

    def _plan(self, request: ChunkRequest, positions: Floats) -> Plan:  # noqa: ARG002 - that is the point
        return Plan(ON_ARRIVAL, self.dt_ns, positions)


class Ensemble(Scheduler):
    """Temporal ensembling of ACT (Zhao et al., arXiv 2304.13705): step = Σ w_i a_i / Σ w_i, w_i = exp(-m·i).

    i = 0 is the oldest prediction, as there. What differs: predictions come once a period instead of once a
    step, and those made for another subgoal are left out.
    """

    config: EnsembleScheduler

    def __init__(self, config: EnsembleScheduler, period_ns: int, horizon: int, dt_ns: int) -> None:
        super().__init__(config, period_ns, horizon, dt_ns)
        self._predictions: deque[Plan] = deque(maxlen=_REMEMBERED_CHUNKS)

    def _request(self, observation: Observation, words_changed: bool) -> ChunkRequest:
        if words_changed:
            self._predictions.clear()
        return super()._request(observation, words_changed)

    def _plan(self, request: ChunkRequest, positions: Floats) -> Plan:
        newest = Plan(request.plan_start_ns, self.dt_ns, positions)
        self._predictions.append(newest)
        times = newest.start_ns + np.arange(len(positions)) * self.dt_ns
        total, weights = np.zeros_like(positions), np.zeros((len(positions), 1))
        for age, plan in enumerate(self._predictions):
            within = (times >= plan.start_ns) & (times <= plan.end_ns)
            weight = (math.exp(-self.config.decay * age) * within)[:, None]
            total += weight * plan.at(times)
            weights += weight
        return Plan(newest.start_ns, self.dt_ns, total / weights)


class Rollforward(Scheduler):
    """Future-state awareness of VLASH (Tang et al., arXiv 2512.01031).

    The state token is the state at which the chunk will take over: the measured joints plus what the queued
    actions will move them meanwhile. What differs: VLASH fine-tunes the policy with offset states, here it is
    used as it is; it replaces the state by the queued action, here the servos' lag is kept.
    """

    def _request(self, observation: Observation, words_changed: bool) -> ChunkRequest:
        now = observation.plan_ns
        if self.plan is None or now >= self.plan.end_ns:
            return super()._request(observation, words_changed)
        later = min(now + self.expected_delay_ns(), self.plan.end_ns)
        return ChunkRequest(observation.state + self.plan.at(later) - self.plan.at(now), later)


class RealTimeChunking(Scheduler):
    """Real-time chunking (Black, Galliker and Levine, arXiv 2506.07339): the flow is inpainted.

    Steps that will be over before the chunk arrives are pulled fully to what is being executed, later ones
    with a weight that falls to 0 at the end of the old chunk (equation 5). What differs: times are aligned on
    the plan clock, to fractions of a step; after a change of subgoal only the steps that are over are pulled;
    and ``form: elementwise`` replaces the Jacobian of the estimate by the identity.
    """

    config: RtcScheduler

    def _request(self, observation: Observation, words_changed: bool) -> ChunkRequest:
        start, plan = observation.plan_ns, self.plan
        if plan is None or start >= plan.end_ns:
            return super()._request(observation, words_changed)
        times = start + np.arange(self.horizon) * self.dt_ns
        overlap = int((times <= plan.end_ns).sum())
        frozen = min(math.ceil(self.expected_delay_ns() / self.dt_ns), overlap)
        weights = soft_mask(self.horizon, frozen, frozen if words_changed else overlap)
        config = self.config
        guidance = Guidance(plan.at(times), weights, config.max_guidance, config.form == "jacobian")
        return ChunkRequest(observation.state, start, guidance)


def soft_mask(horizon: int, frozen: int, overlap: int) -> Floats:
    """Weights [horizon]: 1 for ``frozen`` steps, falling until ``overlap``, 0 behind (RTC, equation 5)."""
    steps = np.arange(horizon)
    c = (overlap - steps) / (overlap - frozen + 1)
    falling = c * np.expm1(c) / (math.e - 1)
    weights: Floats = np.where(steps < frozen, 1.0, np.where(steps < overlap, falling, 0.0))
    return weights


_CLASSES: dict[str, type[Scheduler]] = {
    "sync": Sync,
    "async": Scheduler,
    "ensemble": Ensemble,
    "rollforward": Rollforward,
    "rtc": RealTimeChunking,
    "naive": Naive,
}
"""What runs, by the kind in ROBOT.yaml."""


def new_scheduler(settings: PolicyConfig, horizon: int, dt_ns: int) -> Scheduler:
    """The scheduler of ``policy.scheduler``, for chunks of ``horizon`` steps of ``dt_ns``."""
    config, period_ns = settings.scheduler, round(settings.chunk_period_ms * 1e6)
    return _CLASSES[config.kind](config, period_ns, horizon, dt_ns)
