"""An observation's way to an action chunk, and to the next subgoal: without a clock of its own.

The daemon's policy process calls this on the wall clock, ``wall-edge eval`` in virtual time: the decisions
are the same code. An observation is encoded and its prefix computed once; the prompt that asks for actions
goes on from there, and when the planner is free a copy of the keys/values goes to it, for the prompt that
asks for the next subgoal in words.

The scheduler thinks in joint positions, the policy in values of its own: ``wall_edge.body`` is between them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

import numpy as np
from wall_edge_engines import Engine, EngineSettings

from wall_edge.array_types import Floats
from wall_edge.arrays import require_finite
from wall_edge.body.body import Body, BodyChunk
from wall_edge.bundle import Bundle, Manifest
from wall_edge.config import PolicyConfig, RobotConfig
from wall_edge.errors import ConfigError, PolicyError
from wall_edge.policies.action_policy import action_policy
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompts import Prompts
from wall_edge.policies.rotation_range import middle_of
from wall_edge.policies.subgoals import SubgoalPlanner
from wall_edge.runtime.ipc.mailbox_types import Chunk
from wall_edge.runtime.policy.chunk_plan import ChunkRequest
from wall_edge.runtime.policy.chunk_scheduler import Scheduler
from wall_edge.runtime.policy.chunk_schedulers import new_scheduler
from wall_edge.runtime.policy.handoff import PlannerHandoff
from wall_edge.runtime.policy.mission import ActiveInstruction, Mission
from wall_edge.runtime.policy.plan_history import PlanHistory
from wall_edge.runtime.telemetry.run_log import ChunkRecord


@dataclass(frozen=True)
class PendingChunk:
    """A chunk that was computed and not yet published.

    ``values`` [horizon, degrees] are the policy's, ``body`` the joint positions that were made of them.
    ``premise`` is the observation with the state that the policy answered for, as policy values: offsets are
    from that one, so sessions have it.
    """

    active: ActiveInstruction
    observation: Observation
    premise: Observation
    request: ChunkRequest
    values: Floats
    body: BodyChunk


def engine_settings(policy: PolicyConfig) -> EngineSettings:
    """Which engine a robot wants."""
    return EngineSettings(policy.engine, policy.device, policy.threads)


class ActionLoop:
    """Observations in, chunks out. ``engine`` runs ``bundle``'s graphs. One thread at a time.

    Raises :class:`ConfigError` or :class:`KinematicsError` where ``config`` is not the bundle's robot.
    """

    def __init__(self, bundle: Bundle, engine: Engine, config: RobotConfig, seed: int = 0) -> None:
        manifest, settings = bundle.manifest, config.policy
        settings.scheduler.require(manifest)
        self.body = Body.of(config, manifest)
        self._rest = np.array(config.control.rest)
        self.manifest, self._settings = manifest, settings
        self.mission = Mission(subgoals=settings.subgoals)
        self._encoder = Encoder.on(engine, manifest, Prompts.of(bundle))
        # For a thread of its own.
        self._planner_encoder = Encoder.on(engine, manifest, Prompts.of(bundle), lane="words")
        steps = settings.integration_steps
        self._policy = action_policy(bundle, self._encoder, integration_steps=steps, seed=seed)
        planner, period_ns = SubgoalPlanner(self._planner_encoder), round(settings.subgoal_period_ms * 1e6)
        self.handoff = PlannerHandoff(planner, self.mission, period_ns)
        self._dt_ns = round(1e9 / manifest.action_rate_hz)
        self.scheduler = self._new_scheduler()
        self._history = PlanHistory(self.body, manifest.horizon, self._dt_ns)
        self._epoch = -1
        self._index = 0

    def _new_scheduler(self) -> Scheduler:
        return new_scheduler(self._settings, self.manifest.horizon, self._dt_ns)

    def ready(self, now_ns: int, servo: np.void | None) -> bool:
        """Whether there is a reason to observe now."""
        active = self.mission.active
        if active is None:
            return False
        if active.epoch != self._epoch:
            self._epoch, self.scheduler = active.epoch, self._new_scheduler()
            self._history.begin_epoch()
        if active.words is None:
            return self.handoff.wants(active, now_ns)
        return self.scheduler.ready(now_ns, servo)

    def begin(self, observation: Observation, now_ns: int) -> PendingChunk | None:
        """Compute a chunk from ``observation``; None while there are no words to act on.

        Raises :class:`PolicyError` for a chunk that must not be used. When ``handoff.count`` has grown, the
        planner has work.
        """
        active = self.mission.active
        if active is None:
            return None
        require_finite(observation.state, "the state", PolicyError)
        self._policy.observe(self._with_state(observation, observation.state))
        if self._settings.subgoals and self.handoff.wants(active, now_ns):
            self._encoder.fork(self._planner_encoder)
            self.handoff.take(active, observation)
        if active.words is None:
            return None
        self.scheduler.begin_period(now_ns)
        request = self.scheduler.request(observation, active.words)
        before = self._history.before(request, self.scheduler.plan)
        premise = self._with_state(observation, request.state)
        values = self._policy.act(premise, active.words, self._history.guidance(request))
        return PendingChunk(active, observation, premise, request, values, self.body.joints(values, *before))

    def _with_state(self, observation: Observation, joints: Floats) -> Observation:
        """With joint positions ``[dof]`` as the policy's values of a state."""
        return replace(observation, state=self.body.state(joints))

    def finish(self, pending: PendingChunk, now_ns: int) -> tuple[Chunk, ChunkRecord] | None:
        """Publish a chunk at ``now_ns``; None when its instruction has been replaced."""
        active, observation = self.mission.active, pending.observation
        if active is None or active.epoch != pending.active.epoch:
            return None
        self._index += 1
        delay_ns = now_ns - observation.time_ns
        plan = self.scheduler.publish(self._index, pending.request, pending.body.positions, delay_ns)
        self._history.published(pending.request, pending.values)
        chunk = Chunk(
            index=self._index,
            observation_time_ns=observation.time_ns,
            dt_ns=plan.dt_ns,
            epoch=active.epoch,
            positions=plan.positions,
            plan_start_ns=plan.start_ns,
            published_time_ns=now_ns,
            subgoal_id=pending.active.subgoal_id,
        )
        return chunk, self._record(chunk, pending)

    def _record(self, chunk: Chunk, pending: PendingChunk) -> ChunkRecord:
        return ChunkRecord(
            chunk.index,
            chunk.epoch,
            chunk.observation_time_ns,
            chunk.published_time_ns,
            chunk.subgoal_id,
            pending.active.words or "",
            pending.observation.index,
            scheduler=self._settings.scheduler.kind,
            solved=pending.body.solved,
            nearest=pending.body.nearest,
            held=pending.body.held,
            confined=pending.body.confined,
            kinematics_ms=1e3 * pending.body.elapsed_s,
        )

    def forget(self) -> None:
        """What comes next is a new instruction, even if its epoch is that of the last one."""
        self._epoch = -1
        self._history = PlanHistory(self.body, self.manifest.horizon, self._dt_ns)

    def warm_up(self) -> None:
        """Once through everything with a black picture: the first run of a graph is slower than the rest."""
        cameras = self.manifest.cameras.items()
        frames = {name: np.zeros((c.height, c.width, 3), np.uint8) for name, c in cameras}
        self._policy.observe(black := Observation(0, frames, middle_of(self.manifest.embodiment.state)))
        # FAST tokens of a black picture need not be an action, nor what comes of it a pose.
        with contextlib.suppress(PolicyError):
            self.body.joints(self._policy.act(black, "warm up."), self._rest)


def require_horizon(manifest: Manifest, settings: PolicyConfig, delay_ns: int, what: str) -> None:
    """Raise :class:`ConfigError` when a chunk is over before it arrives, ``delay_ns`` after it is begun."""
    dt_ns = round(1e9 / manifest.action_rate_hz)
    lasts_ns = (manifest.horizon - 1) * dt_ns
    if not settings.scheduler.waits and delay_ns >= lasts_ns:
        raise ConfigError(
            f"{what} of {delay_ns / 1e6:.0f} ms: a chunk's {manifest.horizon} steps of "
            f"{dt_ns / 1e6:.1f} ms last ({manifest.horizon} - 1) · {dt_ns / 1e6:.1f} = "
            f"{lasts_ns / 1e6:.0f} ms, so {lasts_ns / 1e6:.0f} - {delay_ns / 1e6:.0f} = "
            f"{(lasts_ns - delay_ns) / 1e6:.0f} ms of it would be left",
            expected="a delay shorter than a chunk",
            fix="use fewer integration_steps or a faster engine, or policy.scheduler: sync",
        )
