"""The action loop of a robot whose policy commands poses: what the policy is given, and what is published."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tests.unit.body.bodies import HORIZON, RATE_HZ, START, manifest_of, two_poses, wave
from tests.unit.body.two_arms import robot
from wall_edge.array_types import Floats
from wall_edge.bundle import Bundle
from wall_edge.config import RobotConfig
from wall_edge.errors import PolicyError
from wall_edge.policies.observation import Guidance, Observation
from wall_edge.runtime.ipc.mailbox_types import Chunk
from wall_edge.runtime.policy import action_loop as module
from wall_edge.runtime.policy.action_loop import ActionLoop
from wall_edge.runtime.telemetry.run_log import ChunkRecord

MS = 1_000_000
STEP_NS = round(1e9 / RATE_HZ)


class FakePolicy:
    """Answers with the poses of :func:`wave` from where the observation's plan clock stands."""

    def __init__(self) -> None:
        self.observed: list[Observation] = []
        self.premises: list[Observation] = []
        self.guidance: Guidance | None = None
        self.answer: Any = None
        self.ahead = 0
        self.body: Any = None

    def observe(self, observation: Observation) -> None:
        self.observed.append(observation)

    def act(self, premise: Observation, _: str, guidance: Guidance | None = None) -> Floats:
        self.premises.append(premise)
        self.guidance = guidance
        values = self.body.values(wave(first=round(premise.plan_ns / STEP_NS) + self.ahead))
        return cast(Floats, values if self.answer is None else self.answer(values))


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> FakePolicy:
    fake, nothing = FakePolicy(), SimpleNamespace()
    for name in ("Prompts", "Encoder"):
        monkeypatch.setattr(module, name, SimpleNamespace(of=lambda *_: nothing, on=lambda *_, **__: nothing))
    monkeypatch.setattr(module, "SubgoalPlanner", lambda _: nothing)
    monkeypatch.setattr(module, "action_policy", lambda *_, **__: fake)
    return fake


def loop(policy: FakePolicy, config: RobotConfig) -> ActionLoop:
    config = replace(config, policy=replace(config.policy, subgoals=False))
    bundle = cast(Bundle, SimpleNamespace(manifest=manifest_of(config)))
    actions = ActionLoop(bundle, cast(Any, None), config)
    policy.body = actions.body
    actions.mission.instruct(1, 0, "touch it.")
    return actions


def follow(actions: ActionLoop, observed: Floats, plan_step: int, index: int) -> tuple[Chunk, ChunkRecord]:
    """One chunk, of an observation at a step of the plan; it is published two steps later."""
    now = index * 100 * MS
    actions.ready(now, None)
    pending = actions.begin(Observation(now, {}, observed, now, plan_step * STEP_NS, index), now)
    assert pending is not None
    published = actions.finish(pending, now + 2 * STEP_NS)
    assert published is not None
    return published


def with_poses(scheduler: str = "async", **changes: Any) -> RobotConfig:
    entries = two_poses("rpy", base={"kind": "sink", "sink": "base", "size": 2})
    policy = {"scheduler": {"kind": scheduler}}
    return robot(embodiment={"action": entries}, sinks={"base": {}}, policy=policy, **changes)


def test_the_policy_is_given_poses_and_joints_are_published(policy: FakePolicy) -> None:
    actions = loop(policy, with_poses())
    chunk, record = follow(actions, START, 0, 1)
    np.testing.assert_allclose(policy.premises[0].state, actions.body.state(START))
    assert chunk.positions.shape == (HORIZON, 14)
    assert len(policy.premises[0].state) == 16
    np.testing.assert_allclose(chunk.positions[4:], wave()[4:], atol=5e-3)  # the wave begins beside START
    assert (record.solved + record.nearest, record.held) == (2 * HORIZON, 0)
    assert record.kinematics_ms > 0


def test_what_is_observed_has_the_policy_s_values_too(policy: FakePolicy) -> None:
    """It had the joints: a robot of 14 joints and 16 values of a state was refused each of its chunks."""
    actions = loop(policy, with_poses())
    follow(actions, START, 0, 1)
    np.testing.assert_array_equal(policy.observed[0].state, actions.body.state(START))
    with pytest.raises(PolicyError, match="the state holds values that are not finite"):
        actions.begin(Observation(1, {}, np.full(14, np.nan), 1, 1, 2), 1)
    assert len(policy.observed) == 1


def test_a_session_has_the_state_that_the_policy_answered_for(policy: FakePolicy) -> None:
    """Rolled forward: offsets recorded with the measured state would not be those that the policy gave."""
    actions = loop(policy, with_poses("rollforward"))
    follow(actions, START, 0, 1)
    actions.ready(200 * MS, None)
    pending = actions.begin(Observation(200 * MS, {}, START, 200 * MS, 3 * STEP_NS, 2), 200 * MS)
    assert pending is not None
    np.testing.assert_array_equal(pending.premise.state, policy.premises[1].state)
    assert np.abs(pending.premise.state - actions.body.state(START)).max() > 1e-3


@pytest.mark.parametrize("scheduler", ["async", "ensemble", "rollforward", "rtc"])
def test_chunks_go_on_in_the_branch_of_the_plan(policy: FakePolicy, scheduler: str) -> None:
    actions = loop(policy, with_poses(scheduler))
    for index in range(1, 8):
        step = 3 * (index - 1)
        policy.ahead = 2 if scheduler == "rollforward" and index > 1 else 0  # the delay of those before
        chunk, record = follow(actions, wave(1, step)[0], step, index)
        begin = round(chunk.plan_start_ns / STEP_NS)
        if index > 1:
            np.testing.assert_allclose(chunk.positions, wave(first=begin), atol=5e-3)
            assert record.solved == 2 * HORIZON


def test_rtc_pulls_towards_the_plan_as_the_policy_would_write_it(policy: FakePolicy) -> None:
    actions = loop(policy, with_poses("rtc"))
    policy.answer = lambda values: np.hstack([values[:, :-2], np.arange(2 * HORIZON).reshape(HORIZON, 2)])
    follow(actions, wave(1)[0], 0, 1)
    plan = actions.scheduler.plan
    assert policy.guidance is None
    assert plan is not None
    follow(actions, wave(1, 3)[0], 3, 2)
    assert policy.guidance is not None
    target = policy.guidance.target
    times = (3 + np.arange(HORIZON)) * STEP_NS
    np.testing.assert_allclose(target[:, :-2], actions.body.values(plan.at(times))[:, :-2], atol=1e-12)
    np.testing.assert_allclose(target[:-3, -2:], np.arange(6, 2 * HORIZON).reshape(-1, 2), atol=1e-6)
    executed = actions.body.joints(target, plan.at(2 * STEP_NS), plan.at(times))
    np.testing.assert_allclose(executed.positions, plan.at(times), atol=1e-3)


def test_joints_that_nothing_moves_do_not_creep(policy: FakePolicy) -> None:
    """An arm that sags by a little: its other joints are not commanded to where it sagged."""
    left = {name: entry for name, entry in two_poses().items() if name.startswith("left")}
    actions = loop(policy, robot(embodiment={"action": left}, policy={"scheduler": {"kind": "sync"}}))
    sagged = START.copy()
    for index in range(1, 5):
        chunk, _ = follow(actions, sagged, 100 * index, index)
        np.testing.assert_array_equal(chunk.positions[:, 7:], np.tile(START[7:], (len(chunk.positions), 1)))
        sagged = sagged + 0.01
    actions.forget()
    actions.mission.instruct(1, 0, "touch it.")
    chunk, _ = follow(actions, sagged, 0, 9)
    np.testing.assert_array_equal(chunk.positions[0, 7:], sagged[7:])


def test_the_chunk_before_does_not_count_once_the_arm_has_stopped(policy: FakePolicy) -> None:
    actions = loop(policy, with_poses())
    follow(actions, START, 0, 1)
    elsewhere = START + 0.05 * (np.arange(14) % 7 != 6)
    policy.answer = lambda _: np.array([actions.body.values(elsewhere[None])[0]] * HORIZON)
    chunk, record = follow(actions, elsewhere, 400, 2)
    np.testing.assert_allclose(chunk.positions, np.tile(elsewhere, (HORIZON, 1)), atol=1e-5)
    assert record.solved == 2 * HORIZON


@pytest.mark.parametrize("broken", [np.nan, np.inf, 1000.0])
def test_what_no_arm_should_try_changes_nothing(policy: FakePolicy, broken: float) -> None:
    actions = loop(policy, with_poses())
    follow(actions, START, 0, 1)
    plan = actions.scheduler.plan
    policy.answer = lambda values: np.full_like(values, broken)
    actions.ready(100 * MS, None)
    with pytest.raises(PolicyError, match="the action chunk"):
        actions.begin(Observation(100 * MS, {}, START, 100 * MS, 3 * STEP_NS, 2), 100 * MS)
    assert actions.scheduler.plan is plan
    policy.answer = None
    _, record = follow(actions, wave(1, 6)[0], 6, 3)
    assert (record.index, record.solved) == (2, 2 * HORIZON)
