"""Chunks on the plan clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wall_edge.array_types import Floats
from wall_edge.runtime.ipc.mailbox_types import ON_ARRIVAL, Chunk, chunk_dtype
from wall_edge.runtime.motion.chunk_track import ChunkTrack, Refusal
from wall_edge.runtime.motion.splice import Splice

MS = 1_000_000
T0 = 1_000_000 * MS
TICK = 10 * MS
LOWER, UPPER = np.array([-1.0, 0.0]), np.array([9.0, 2.0])


def ramp(length: int = 6, begin: float = 0.0) -> Floats:
    """Step k at begin + k, and 1 - 0.1 k: straight lines, on which a B-spline lies exactly."""
    k = np.arange(length, dtype=float)
    return np.stack((begin + k, 1 - 0.1 * k), axis=1)


CHUNK = Chunk(index=1, observation_time_ns=T0, dt_ns=100 * MS, epoch=4, positions=ramp(), plan_start_ns=0)
REST = np.zeros((3, 2))


def track(*chunks: Chunk, blend_ms: float = 20) -> ChunkTrack:
    made = ChunkTrack(LOWER, UPPER, period_ns=TICK, max_age_ns=1000 * MS, blend_ns=round(blend_ms * MS))
    made.start_epoch(4)
    for chunk in chunks:
        assert made.offer(chunk, T0) is None
    return made


def run(made: ChunkTrack, ticks: int, state: Floats = REST) -> list[str]:
    """So many ticks of an arm that does what it is told."""
    said = []
    for _ in range(ticks):
        said.append(made.tick(state))
        state = made.then.copy()
    return said


class TestThePlanClock:
    def test_a_chunk_is_followed_one_period_a_tick_and_ends_with_its_last_step(self) -> None:
        made, state = track(CHUNK), REST
        for k in range(50):
            before = made.then.copy()
            assert made.tick(state) == "following"
            if k:
                np.testing.assert_allclose(made.now, before, rtol=1e-9, atol=1e-9)
            assert made.plan_ns == (k + 1) * TICK
            if k >= 2:  # the blend of 20 ms is over
                np.testing.assert_allclose(made.now, [[k / 10, 1 - k / 100], [10, -1], [0, 0]], atol=1e-9)
                np.testing.assert_allclose(made.then[0], [(k + 1) / 10, 1 - (k + 1) / 100], atol=1e-9)
            state = made.then.copy()
        assert made.then[0].tolist() == pytest.approx([5.0, 0.5])
        for _ in range(3):
            assert made.tick(state) == "ended"
            assert made.plan_ns == 50 * TICK
        assert made.chunk is not None
        assert made.chunk.index == 1

    def test_the_last_tick_ends_no_later_than_the_last_step(self) -> None:
        made = track(replace(CHUNK, positions=ramp(2), dt_ns=25 * MS))
        assert run(made, 3) == ["following", "following", "ended"]
        made = track(replace(CHUNK, positions=ramp(2), dt_ns=20 * MS))
        assert run(made, 3) == ["following", "following", "ended"]

    def test_the_motion_so_far_is_continued(self) -> None:
        state = np.array([[0.5, 0.3], [1.0, -0.2], [3.0, 7.0]])
        made = track(CHUNK)
        made.tick(state)
        np.testing.assert_allclose(made.now, state, rtol=1e-9)
        expected = np.empty((3, 2))
        Splice(CHUNK.positions, 0.1, 0.0, state, 0.02).at(0.01, expected)
        np.testing.assert_allclose(made.then, expected, rtol=1e-9)

    def test_without_a_chunk_it_stands(self) -> None:
        made = track()
        assert made.tick(REST) == "empty"
        assert made.plan_ns == 0
        assert made.chunk is None
        assert made.now.tolist() == made.then.tolist() == [[0, 0]] * 3

    def test_a_late_chunk_is_entered_where_the_executed_time_is(self) -> None:
        """Observed at plan time 70 ms, there after 230 ms more of them: its steps 0, 1 and 2 are over."""
        made = track(CHUNK)
        run(made, 7)
        seen = made.plan_ns
        state = made.then
        run(made, 23, state)
        late = replace(CHUNK, index=2, plan_start_ns=seen, positions=ramp(begin=3.0))
        assert made.offer(late, T0 + 900 * MS) is None
        state = made.then.copy()
        assert made.tick(state) == "following"
        np.testing.assert_allclose(made.now, state, atol=1e-9)
        assert made.chunk is not None
        assert (made.chunk.index, made.chunk.plan_start_ns, made.plan_ns) == (2, 70 * MS, 310 * MS)
        run(made, 2, made.then)
        np.testing.assert_allclose(made.then[0], [3 + 2.6, 1 - 0.26], atol=1e-9)  # at 330 ms

    def test_an_arm_that_waited_starts_at_the_first_step(self) -> None:
        """However long ago the observation was made: nothing was executed meanwhile."""
        made = track(replace(CHUNK, positions=ramp(2)))
        run(made, 10)
        assert made.tick(made.then) == "ended"
        seen = made.plan_ns
        for _ in range(60):
            assert made.tick(REST) == "ended"
        late = replace(CHUNK, index=2, plan_start_ns=seen, positions=ramp(begin=1.0))
        assert made.offer(late, T0 + 700 * MS) is None
        assert run(made, 3, np.array([[1.0, 0.9], [0, 0], [0, 0]])) == ["following"] * 3
        np.testing.assert_allclose(made.then[0], [1.3, 0.97], atol=1e-9)

    def test_all_of_whose_steps_are_over_ends_at_once(self) -> None:
        made = track(CHUNK)
        run(made, 30)
        assert made.offer(replace(CHUNK, index=2, positions=ramp(3)), T0) is None
        assert made.tick(made.then) == "ended"
        assert made.plan_ns == 300 * MS
        assert made.chunk is not None
        assert made.chunk.index == 2

    def test_a_single_step_is_nothing_to_follow(self) -> None:
        assert run(track(replace(CHUNK, positions=ramp(1))), 2) == ["ended", "ended"]

    def test_a_newer_chunk_replaces_the_one_that_waits(self) -> None:
        made = track(CHUNK, replace(CHUNK, index=2), replace(CHUNK, index=7, observation_time_ns=T0))
        assert made.taken == 3
        assert made.last_index == 7
        made.tick(REST)
        assert made.chunk is not None
        assert made.chunk.index == 7


class TestAFutureStart:
    FUTURE = replace(CHUNK, index=2, plan_start_ns=200 * MS, positions=ramp(begin=2.0))

    def test_waits_while_there_is_something_else_to_follow(self) -> None:
        made = track(CHUNK)
        made.tick(REST)
        assert made.offer(self.FUTURE, T0) is None
        state = made.then.copy()
        for k in range(1, 21):
            assert made.chunk is not None
            assert made.chunk.index == 1, k
            made.tick(state)
            state = made.then.copy()
            if k < 20:
                assert made.plan_ns == (k + 1) * TICK
        assert made.chunk.index == 2  # entered at 200 ms, not a tick before
        assert made.plan_ns == 210 * MS
        run(made, 2, state)
        np.testing.assert_allclose(made.then[0], [2.3, 0.97], atol=1e-9)

    def test_is_not_the_chunk_that_is_followed_yet_but_orders_the_next(self) -> None:
        made = track(CHUNK)
        made.tick(REST)
        made.offer(self.FUTURE, T0)
        assert made.last_index == 2
        assert made.offer(replace(self.FUTURE), T0) == "order"

    def test_begins_at_once_when_there_is_nothing_else(self) -> None:
        made = track(self.FUTURE)
        assert made.tick(REST) == "following"
        assert made.plan_ns == 210 * MS
        np.testing.assert_allclose(made.now, REST, atol=1e-12)
        run(made, 2, made.then)
        np.testing.assert_allclose(made.then[0], [2.3, 0.97], atol=1e-9)

    def test_begins_when_what_is_followed_ends_before(self) -> None:
        made = track(replace(CHUNK, positions=ramp(2)))
        run(made, 1)
        assert made.offer(self.FUTURE, T0) is None
        assert run(made, 10, made.then) == ["following"] * 10
        assert made.chunk is not None
        assert made.chunk.index == 2
        assert made.plan_ns == 210 * MS  # 100 ms of the first, then straight to 200


class TestOnArrival:
    def test_begins_with_its_first_step_whenever_it_comes(self) -> None:
        made = track(CHUNK)
        run(made, 13)
        arriving = replace(CHUNK, index=2, plan_start_ns=ON_ARRIVAL, positions=ramp(begin=3.0))
        assert made.offer(arriving, T0 + 1000 * MS) is None
        run(made, 3, made.then)
        assert made.chunk is not None
        assert made.chunk.plan_start_ns == 130 * MS
        np.testing.assert_allclose(made.then[0], [3.3, 0.97], atol=1e-9)

    def test_on_an_idle_arm(self) -> None:
        made = track(replace(CHUNK, plan_start_ns=ON_ARRIVAL))
        assert made.tick(REST) == "following"
        assert made.plan_ns == TICK


class TestEpochs:
    def test_a_new_one_forgets_what_was_followed_and_what_waited(self) -> None:
        made = track(CHUNK)
        made.tick(REST)
        made.offer(replace(TestAFutureStart.FUTURE), T0)
        made.start_epoch(5)
        assert (made.epoch, made.last_index, made.chunk, made.plan_ns) == (5, -1, None, TICK)
        assert made.tick(REST) == "empty"
        assert made.offer(CHUNK, T0) == "epoch"
        assert made.offer(replace(CHUNK, epoch=5, index=0, plan_start_ns=TICK), T0) is None
        assert made.tick(REST) == "following"
        assert made.taken == 3

    def test_before_any(self) -> None:
        made = ChunkTrack(LOWER, UPPER, period_ns=TICK, max_age_ns=1000 * MS, blend_ns=20 * MS)
        assert (made.epoch, made.last_index, made.taken, made.plan_ns, made.chunk) == (0, -1, 0, 0, None)
        assert made.refused == {
            "epoch": 0, "order": 0, "age": 0, "future": 0, "shape": 0, "nan": 0, "range": 0
        }  # fmt: skip
        assert made.offer(replace(CHUNK, epoch=0), T0) is None


def with_step(joint: int, value: float) -> Floats:
    positions = ramp()
    positions[3, joint] = value
    return positions


class TestRefusals:
    @pytest.mark.parametrize("followed", [True, False], ids=["followed", "waiting"])
    @pytest.mark.parametrize(
        ("change", "now", "reason"),
        [
            ({"epoch": 3}, 0, "epoch"),
            ({"epoch": 5}, 0, "epoch"),
            ({"index": 1}, 0, "order"),
            ({"index": 0}, 0, "order"),
            ({"observation_time_ns": T0 - 1}, 0, "order"),
            ({"observation_time_ns": T0 + 1}, 0, "future"),
            ({"observation_time_ns": T0 + 7}, 6, "future"),
            ({}, 1000 * MS + 1, "age"),
            ({"dt_ns": 0}, 0, "shape"),
            ({"dt_ns": -1}, 0, "shape"),
            ({"positions": ramp()[:0]}, 0, "shape"),
            ({"positions": ramp()[:, :1]}, 0, "shape"),
            ({"positions": ramp()[0]}, 0, "shape"),
            ({"positions": ramp()[None]}, 0, "shape"),
            ({"positions": np.zeros((6, 3))}, 0, "shape"),
            ({"positions": with_step(1, np.nan)}, 0, "nan"),
            ({"positions": with_step(0, np.inf)}, 0, "nan"),
            ({"positions": with_step(0, -np.inf)}, 0, "nan"),
            ({"positions": with_step(0, 1e300)}, 0, "range"),
            ({"positions": np.degrees(ramp())}, 0, "range"),
            ({"positions": with_step(0, 19.0 + 1e-9)}, 0, "range"),
            ({"positions": with_step(0, -11.0 - 1e-9)}, 0, "range"),
            ({"positions": with_step(1, 4.0 + 1e-9)}, 0, "range"),
            ({"positions": with_step(1, -2.0 - 1e-9)}, 0, "range"),
        ],
    )
    def test_are_counted_and_change_nothing(
        self, change: dict[str, Any], now: int, reason: Refusal, followed: bool
    ) -> None:
        made = track(CHUNK)
        if followed:
            made.tick(REST)
        assert made.offer(replace(CHUNK, **{"index": 2, **change}), T0 + now) == reason
        assert made.refused[reason] == sum(made.refused.values()) == 1
        assert (made.taken, made.last_index) == (1, 1)
        made.tick(REST)
        assert made.chunk is not None
        assert made.chunk.index == 1

    @pytest.mark.parametrize(
        ("positions", "now"),
        [
            (ramp(), 1000 * MS),  # the oldest that still counts
            (with_step(0, 19.0), 0),  # its range beyond its range, exactly
            (with_step(0, -11.0), 0),
            (with_step(1, 4.0), 0),
            (with_step(1, -2.0), 0),
        ],
    )
    def test_what_is_just_accepted(self, positions: Floats, now: int) -> None:
        made = track(CHUNK)
        assert made.offer(replace(CHUNK, index=2, positions=positions), T0 + now) is None
        assert sum(made.refused.values()) == 0

    def test_an_observation_of_this_very_moment(self) -> None:
        assert track().offer(replace(CHUNK, observation_time_ns=T0 + 5), T0 + 5) is None

    def test_indices_count_from_whatever_comes_first(self) -> None:
        assert track().offer(replace(CHUNK, index=-3), T0) is None

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 6), st.integers(-2, 2), st.integers(4, 5)), max_size=12))
    def test_indices_taken_only_grow(self, offers: list[tuple[int, int, int]]) -> None:
        made, last = track(), -1
        for index, earlier, epoch in offers:
            chunk = replace(CHUNK, index=index, epoch=epoch, observation_time_ns=T0 - earlier)
            if made.offer(chunk, T0 + 10) is None:
                assert index > last
                last = index
            assert made.last_index == last
            run(made, 1)
        assert made.taken + sum(made.refused.values()) == len(offers)


def test_what_is_taken_is_a_copy() -> None:
    steps = ramp()
    made = track(replace(CHUNK, positions=steps))
    steps[:] = 99
    run(made, 3)
    assert made.then[0].tolist() == pytest.approx([0.3, 0.97])


def test_what_is_taken_keeps_its_labels() -> None:
    made = track(replace(CHUNK, published_time_ns=T0 + 3, subgoal_id=8, plan_start_ns=2 * MS))
    made.tick(REST)
    assert made.chunk is not None
    kept = replace(made.chunk, positions=CHUNK.positions)
    assert kept == replace(CHUNK, published_time_ns=T0 + 3, subgoal_id=8, plan_start_ns=2 * MS)
    np.testing.assert_array_equal(made.chunk.positions, CHUNK.positions)
    assert made.chunk.positions.dtype == np.float64


def test_records_there_and_back() -> None:
    record = np.zeros(1, chunk_dtype(horizon=8, dof=2))[0]
    record["positions"] = 77.0
    given_ = replace(CHUNK, published_time_ns=T0 + 3, subgoal_id=8, plan_start_ns=5, index=9)
    given_.fill(record)
    assert record["positions"][6:].tolist() == [[0, 0], [0, 0]]
    assert record["length"] == 6
    back = Chunk.of(record)
    assert replace(back, positions=given_.positions) == given_
    np.testing.assert_array_equal(back.positions, given_.positions)
    assert np.shares_memory(back.positions, record["positions"])
    for length, reason in ((0, "shape"), (-3, "shape"), (6, None), (99, None)):
        record["length"] = length
        assert track(CHUNK).offer(Chunk.of(record), T0) == reason


def test_a_chunk_has_no_labels_unless_told() -> None:
    assert (CHUNK.published_time_ns, CHUNK.subgoal_id, ON_ARRIVAL) == (0, -1, -1)
