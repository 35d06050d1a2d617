"""When each scheduler looks, what it asks of the policy, and what it publishes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wall_edge.config import SCHEDULERS, PolicyConfig
from wall_edge.policies.observation import Observation
from wall_edge.runtime.ipc.mailbox_types import ON_ARRIVAL, ServoState, feedback_dtype
from wall_edge.runtime.policy.chunk_plan import ChunkRequest, Plan
from wall_edge.runtime.policy.chunk_scheduler import Scheduler
from wall_edge.runtime.policy.chunk_schedulers import new_scheduler, soft_mask

MS = 1_000_000
DT = 100 * MS
HORIZON = 5
RAMP = np.arange(HORIZON, dtype=np.float64)[:, None] * [1.0, -2.0]


def scheduler(name: str, **settings: Any) -> Scheduler:
    policy = PolicyConfig(scheduler=SCHEDULERS[name](**settings), chunk_period_ms=100)
    return new_scheduler(policy, HORIZON, DT)


def observed(plan_ms: float = 0, state: tuple[float, float] = (0.1, 0.2)) -> Observation:
    return Observation(0, {}, np.array(state), plan_ns=round(plan_ms * MS))


def servo(state: ServoState, last_index: int) -> np.void:
    record: np.void = np.zeros(1, feedback_dtype(2))[0]
    record["state"], record["last_index"] = state, last_index
    return record


def follow(
    subject: Scheduler, plan_ms: float, positions: np.ndarray, delay_ms: float = 0, index: int = 1
) -> Plan:
    return subject.publish(index, subject.request(observed(plan_ms), "go."), positions, round(delay_ms * MS))


class TestPlan:
    @pytest.mark.parametrize(
        ("ms", "expected"), [(-5, 0.0), (700, 0.0), (750, 0.5), (800, 1.0), (1100, 4.0), (9999, 4.0)]
    )
    def test_positions_at_a_time(self, ms: float, expected: float) -> None:
        plan = Plan(700 * MS, DT, RAMP)
        assert plan.end_ns == 1100 * MS
        np.testing.assert_allclose(plan.at(round(ms * MS)), [expected, -2 * expected], atol=1e-12)

    def test_many_times_at_once(self) -> None:
        times = np.array([0, 50, 400]) * MS
        np.testing.assert_allclose(Plan(0, DT, RAMP).at(times)[:, 0], [0, 0.5, 4])

    def test_a_single_step(self) -> None:
        assert Plan(0, DT, RAMP[:1]).at([0, 5 * DT]).tolist() == [[0, 0], [0, 0]]

    def test_beyond_its_end_it_may_go_on_as_it_moved(self) -> None:
        plan = Plan(0, DT, RAMP)
        last, before = RAMP[-1], RAMP[-2]
        times = plan.end_ns + np.array([-DT // 2, 0, DT, 5 * DT // 2])
        expected = [last - (last - before) / 2, last, 2 * last - before, last + 2.5 * (last - before)]
        np.testing.assert_allclose(plan.continued(times), expected)
        np.testing.assert_allclose(Plan(0, DT, RAMP[:1]).continued(times), np.repeat(RAMP[:1], 4, axis=0))


class TestAsync:
    def test_a_chunk_begins_where_its_observation_was_on_the_plan_clock(self) -> None:
        plan = follow(scheduler("async"), 730, RAMP, delay_ms=300)
        assert plan.start_ns == 730 * MS
        np.testing.assert_array_equal(plan.positions, RAMP)

    def test_looks_once_a_period_and_never_twice_to_catch_up(self) -> None:
        subject = scheduler("async")
        assert subject.ready(10_000 * MS, None)
        subject.begin_period(10_000 * MS)
        assert not subject.ready(10_099 * MS, None)
        assert subject.ready(10_100 * MS, None)
        subject.begin_period(10_110 * MS)  # 10 ms late: the grid stays
        assert subject.due_ns == 10_200 * MS
        subject.begin_period(10_950 * MS)  # an answer took long: one look at once, not seven
        assert subject.due_ns == 11_050 * MS

    def test_expects_the_longest_of_the_last_delays(self) -> None:
        subject = scheduler("async")
        assert subject.expected_delay_ns() == 0
        for delay in (50, 400, *[100] * 7):
            follow(subject, 0, RAMP, delay)
        assert subject.expected_delay_ns() == 400 * MS
        follow(subject, 0, RAMP, 100)
        assert subject.expected_delay_ns() == 100 * MS


class TestSync:
    def test_looks_at_a_standstill_after_its_chunk_was_executed(self) -> None:
        subject = scheduler("sync")
        assert subject.ready(0, servo(ServoState.HOLDING, -1))
        follow(subject, 0, RAMP, index=7)
        assert not subject.ready(0, servo(ServoState.HOLDING, -1))  # not taken yet
        assert not subject.ready(0, servo(ServoState.FOLLOWING, 7))
        assert not subject.ready(0, servo(ServoState.SLOWING, 7))
        assert subject.ready(0, servo(ServoState.HOLDING, 7))
        assert not subject.ready(0, None)

    @pytest.mark.parametrize(("steps", "expected"), [(None, 2), (2, 2), (4, 4), (99, 5)])
    def test_executes_a_part(self, steps: int | None, expected: int) -> None:
        plan = follow(scheduler("sync", execute_steps=steps), 0, RAMP)
        np.testing.assert_array_equal(plan.positions, RAMP[:expected])


def test_naive_begins_on_arrival() -> None:
    assert follow(scheduler("naive"), 730, RAMP).start_ns == ON_ARRIVAL


class TestEnsemble:
    def test_the_first_chunk_is_itself(self) -> None:
        np.testing.assert_allclose(follow(scheduler("ensemble"), 0, RAMP).positions, RAMP, atol=1e-15)

    def test_weights_are_acts(self) -> None:
        """w_i = exp(-m·i), i = 0 the oldest (arXiv 2304.13705, section 4)."""
        subject = scheduler("ensemble", decay=0.5)
        follow(subject, 0, RAMP)
        follow(subject, 100, np.full((5, 2), 10.0))
        plan = follow(subject, 200, np.full((5, 2), 20.0))
        w = np.exp(-0.5 * np.arange(3))
        at_200 = (w @ [2.0, 10.0, 20.0]) / w.sum()  # three predictions: RAMP's is 2 there
        at_500 = (w[1:] @ [10.0, 20.0]) / w[1:].sum()  # the first one ended at 400
        np.testing.assert_allclose(plan.positions[[0, 3, 4], 0], [at_200, at_500, 20.0])
        assert plan.start_ns == 200 * MS

    def test_another_subgoal_forgets(self) -> None:
        subject = scheduler("ensemble")
        follow(subject, 0, RAMP)
        plan = subject.publish(2, subject.request(observed(100), "another."), np.full((5, 2), 10.0), 0)
        np.testing.assert_array_equal(plan.positions, np.full((5, 2), 10.0))


class TestRollforward:
    def test_the_first_chunk_is_for_the_present(self) -> None:
        request = scheduler("rollforward").request(observed(700), "go.")
        assert (request.plan_start_ns, request.state.tolist()) == (700 * MS, [0.1, 0.2])

    def test_the_state_is_rolled_on_by_what_is_queued(self) -> None:
        subject = scheduler("rollforward")
        follow(subject, 0, RAMP, delay_ms=250)
        request = subject.request(observed(100, (1.2, 0.0)), "go.")
        assert request.plan_start_ns == 350 * MS
        # From step 1 to step 3.5; the 0.2 by which the joints trail the plan stay.
        np.testing.assert_allclose(request.state, [1.2 + 2.5, 0.0 - 5.0])
        assert subject.publish(2, request, RAMP, 0).start_ns == 350 * MS

    def test_not_beyond_the_plans_end(self) -> None:
        subject = scheduler("rollforward")
        follow(subject, 0, RAMP, delay_ms=900)
        assert subject.request(observed(100), "go.").plan_start_ns == 400 * MS
        assert subject.request(observed(400), "go.").plan_start_ns == 400 * MS  # nothing queued: the present
        assert subject.request(observed(650), "go.").plan_start_ns == 650 * MS


class TestRealTimeChunking:
    def test_the_first_chunk_is_free(self) -> None:
        subject = scheduler("rtc")
        assert subject.request(observed(0), "go.").guidance is None
        follow(subject, 0, RAMP)
        assert subject.request(observed(400), "go.").guidance is None  # the plan is over

    def test_guided_by_what_is_left_of_the_plan(self) -> None:
        subject = scheduler("rtc", max_guidance=3.0, form="jacobian")
        follow(subject, 0, RAMP, delay_ms=150)
        request = subject.request(observed(150), "go.")
        guidance = request.guidance
        assert guidance is not None
        assert (request.plan_start_ns, request.state.tolist()) == (150 * MS, [0.1, 0.2])
        np.testing.assert_allclose(guidance.target[:, 0], [1.5, 2.5, 3.5, 4, 4])  # on the plan, then its end
        np.testing.assert_allclose(guidance.weights, soft_mask(HORIZON, 2, 3))  # 150 ms are two steps
        assert (guidance.max_weight, guidance.jacobian) == (3.0, True)

    def test_after_a_change_of_subgoal_only_what_is_over(self) -> None:
        subject = scheduler("rtc")
        follow(subject, 0, RAMP, delay_ms=150)
        guidance = subject.request(observed(100), "another.").guidance
        assert guidance is not None
        assert guidance.weights.tolist() == [1, 1, 0, 0, 0]

    def test_a_delay_longer_than_what_is_left(self) -> None:
        subject = scheduler("rtc")
        follow(subject, 0, RAMP, delay_ms=2000)
        guidance = subject.request(observed(250), "go.").guidance
        assert guidance is not None
        assert guidance.weights.tolist() == [1, 1, 0, 0, 0]


@given(st.integers(1, 60), st.data())
def test_the_soft_mask_is_equation_5(horizon: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, horizon))
    frozen = data.draw(st.integers(0, overlap))
    weights = soft_mask(horizon, frozen, overlap)
    for i, weight in enumerate(weights.tolist()):
        if i < frozen:
            assert weight == 1.0
        elif i >= overlap:
            assert weight == 0.0
        else:
            c = (overlap - i) / (overlap - frozen + 1)
            assert weight == pytest.approx(c * (math.exp(c) - 1) / (math.e - 1))
            assert 0 < weight < 1
    assert (np.diff(weights) <= 1e-12).all()


@pytest.mark.parametrize("name", ["sync", "async", "ensemble", "rollforward", "rtc"])
def test_what_is_published_is_remembered(name: str) -> None:
    subject = scheduler(name)
    assert subject.plan is None
    assert follow(subject, 0, RAMP) is subject.plan


def test_a_request_keeps_the_observed_state() -> None:
    """The policy's state token is the robot's, whatever the scheduler adds to the request."""
    for name in ("sync", "async", "ensemble", "rtc", "naive"):
        request = scheduler(name).request(observed(), "go.")
        assert replace(request, guidance=None) == ChunkRequest(request.state, 0)
        np.testing.assert_array_equal(request.state, observed().state)
