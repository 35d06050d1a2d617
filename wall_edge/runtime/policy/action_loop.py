"""An observation's way to an action chunk, and to the next subgoal: without a clock of its own.

The daemon's policy process calls this on the wall clock, ``wall-edge eval`` in virtual time: the decisions
are the same code. An observation is encoded and its prefix computed once; the prompt that asks for actions
goes on from there, and when the planner is free a copy of the keys/values goes to it, for the prompt that
asks for the next subgoal in words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from wall_edge_engines.base import Engine

from wall_edge.array_types import Floats
from wall_edge.bundle import Bundle, Manifest
from wall_edge.config import PolicyConfig
from wall_edge.errors import ConfigError, PolicyError
from wall_edge.policies.encoder import new_session
from wall_edge.policies.fast_policy import action_policy
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompts import Prompts
from wall_edge.policies.subgoals import SubgoalPlanner
from wall_edge.runtime.motion.chunk_track import Chunk
from wall_edge.runtime.policy.chunk_schedulers import ChunkRequest, Scheduler, new_scheduler
from wall_edge.runtime.policy.mission import ActiveInstruction, Mission
from wall_edge.runtime.telemetry.run_log import ChunkRecord, SubgoalRecord


@dataclass(frozen=True)
class PendingChunk:
    """A chunk that was computed and not yet published. ``positions`` [horizon, dof] in rad."""

    orders: ActiveInstruction
    observation: Observation
    ask: ChunkRequest
    positions: Floats


class PlannerHandoff:
    """The planner's side: one subgoal at a time, from a copy of an observation's prefix.

    Whoever holds the prefix calls :meth:`wants` and :meth:`take`; whoever decodes calls :meth:`decode` and
    then :meth:`done`. One thread may do each: ``busy`` is handed from one to the other.
    """

    def __init__(self, planner: SubgoalPlanner, mission: Mission, period_ns: int) -> None:
        self._planner, self._mission, self._period_ns = planner, mission, period_ns
        self._due_ns = 0
        self._taken: tuple[ActiveInstruction, Observation] | None = None
        self.busy = False
        self.handed = 0
        """Prefixes handed over so far. ``busy`` does not tell of one: the last may have ended meanwhile."""

    def wants(self, orders: ActiveInstruction, now_ns: int) -> bool:
        """Whether a new subgoal should be worded now; the first of an instruction at once."""
        return not self.busy and (orders.words is None or now_ns >= self._due_ns)

    def take(self, orders: ActiveInstruction, observation: Observation) -> None:
        """The prefix of ``observation`` is in the planner's session now."""
        self._taken, self.busy = (orders, observation), True
        self.handed += 1

    def decode(self) -> str:
        """The next sub-task in words; raises :class:`PolicyError` when the sentence does not end."""
        assert self._taken is not None
        return self._planner.words(self._taken[0].instruction)

    def done(self, words: str | None, now_ns: int) -> SubgoalRecord | None:
        """Stage the words (None: refused); they take effect with the next chunk that is begun.

        None for words whose instruction has been replaced meanwhile.
        """
        assert self._taken is not None
        orders, observation = self._taken
        self._due_ns = now_ns + self._period_ns
        held, switched = orders, False
        if words is not None:
            taken = self._mission.offer(orders.epoch, words)
            if taken is None:
                self.busy = False
                return None
            held, switched = taken
        self.busy = False
        seen, text = observation.frames_ns, words or ""
        return SubgoalRecord(held.subgoal_id, held.epoch, seen, now_ns, text, switched, observation.index)


class ActionLoop:
    """Observations in, chunks out. ``engine`` runs ``bundle``'s graphs. One thread at a time."""

    def __init__(self, bundle: Bundle, engine: Engine, settings: PolicyConfig, seed: int = 0) -> None:
        manifest = bundle.manifest
        require_graphs(manifest, settings)
        self.manifest, self._settings = manifest, settings
        self.mission = Mission(subgoals=settings.subgoals)
        prompts, planner_prompts = Prompts.of(bundle), Prompts.of(bundle)
        self._session, self._planner_session = new_session(manifest, engine), new_session(manifest, engine)
        steps = settings.integration_steps
        self._policy = action_policy(bundle, prompts, self._session, integration_steps=steps, seed=seed)
        planner = SubgoalPlanner(manifest, planner_prompts, self._planner_session)
        self.prefetch = PlannerHandoff(planner, self.mission, round(settings.subgoal_period_ms * 1e6))
        self._dt_ns = round(1e9 / manifest.action_rate_hz)
        self.scheduler = self._new_scheduler()
        self._epoch = -1
        self._index = 0

    def _new_scheduler(self) -> Scheduler:
        return new_scheduler(self._settings, self.manifest.horizon, self._dt_ns)

    def ready(self, now_ns: int, servo: np.void | None) -> bool:
        """Whether there is a reason to look now."""
        orders = self.mission.orders
        if orders is None:
            return False
        if orders.epoch != self._epoch:
            self._epoch, self.scheduler = orders.epoch, self._new_scheduler()
        if orders.words is None:
            return self.prefetch.wants(orders, now_ns)
        return self.scheduler.ready(now_ns, servo)

    def begin(self, observation: Observation, now_ns: int) -> PendingChunk | None:
        """Compute a chunk from ``observation``; None while there are no words to act on.

        Raises :class:`PolicyError` for a chunk that must not be used. When ``prefetch.handed`` has grown, the
        planner has work.
        """
        orders = self.mission.orders
        if orders is None:
            return None
        self._policy.observe(observation)
        if self._settings.subgoals and self.prefetch.wants(orders, now_ns):
            self._session.fork(self._planner_session)
            self.prefetch.take(orders, observation)
        if orders.words is None:
            return None
        self.scheduler.looked(now_ns)
        ask = self.scheduler.ask(observation, orders.words)
        seen = replace(observation, state=ask.state)
        return PendingChunk(orders, observation, ask, self._policy.act(seen, orders.words, ask.guidance))

    def finish(self, thought: PendingChunk, now_ns: int) -> tuple[Chunk, ChunkRecord] | None:
        """Publish a chunk at ``now_ns``; None when its instruction has been replaced."""
        orders, seen = self.mission.orders, thought.observation
        if orders is None or orders.epoch != thought.orders.epoch:
            return None
        self._index += 1
        plan = self.scheduler.publish(self._index, thought.ask, thought.positions, now_ns - seen.time_ns)
        chunk = Chunk(
            index=self._index,
            observation_time_ns=seen.time_ns,
            dt_ns=plan.dt_ns,
            epoch=orders.epoch,
            positions=plan.positions,
            plan_start_ns=plan.start_ns,
            published_time_ns=now_ns,
            subgoal_id=thought.orders.subgoal_id,
        )
        words, name = thought.orders.words or "", self._settings.scheduler
        at = (seen.time_ns, now_ns)
        return chunk, ChunkRecord(
            chunk.index, chunk.epoch, *at, chunk.subgoal_id, words, seen.index, scheduler=name
        )

    def forget(self) -> None:
        """What comes next is a new instruction, even if its epoch is that of the last one."""
        self._epoch = -1

    def warm_up(self) -> None:
        """Once through everything with a black picture: the first run of a graph is slower than the rest."""
        cameras = self.manifest.cameras.items()
        frames = {name: np.zeros((c.height, c.width, 3), np.uint8) for name, c in cameras}
        self._policy.observe(seen := Observation(0, frames, np.zeros(self.manifest.dof)))
        try:
            self._policy.act(seen, "warm up.")
        except PolicyError:  # FAST tokens of a black picture need not be an action
            return


def require_graphs(manifest: Manifest, settings: PolicyConfig) -> None:
    """Raise :class:`ConfigError` when the bundle lacks what ``policy.scheduler`` needs."""
    if settings.scheduler != "rtc":
        return
    if manifest.fast is not None:
        raise ConfigError(
            "policy.scheduler rtc with FAST actions", expected="a flow policy, or another scheduler"
        )
    if settings.rtc_form == "jacobian" and "guided" not in manifest.graphs:
        raise ConfigError(
            "policy.rtc_form jacobian with a bundle that has no guided graph",
            expected="rtc_form: elementwise, or a bundle with that graph",
            fix="export it again with --guidance",
        )


def require_horizon(manifest: Manifest, settings: PolicyConfig, delay_ns: int, what: str) -> None:
    """Raise :class:`ConfigError` when a chunk is over before it arrives, ``delay_ns`` after its look."""
    dt_ns = round(1e9 / manifest.action_rate_hz)
    lasts_ns = (manifest.horizon - 1) * dt_ns
    if settings.scheduler != "sync" and delay_ns >= lasts_ns:
        raise ConfigError(
            f"{what} of {delay_ns / 1e6:.0f} ms: a chunk's {manifest.horizon} steps of "
            f"{dt_ns / 1e6:.1f} ms last ({manifest.horizon} - 1) · {dt_ns / 1e6:.1f} = "
            f"{lasts_ns / 1e6:.0f} ms, so {lasts_ns / 1e6:.0f} - {delay_ns / 1e6:.0f} = "
            f"{(lasts_ns - delay_ns) / 1e6:.0f} ms of it would be left",
            expected="a delay shorter than a chunk",
            fix="use fewer integration_steps or a faster engine, or policy.scheduler: sync",
        )
