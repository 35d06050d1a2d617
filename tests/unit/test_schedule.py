"""Chunks on the plan clock."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wall_edge.runtime.records import chunk_dtype
from wall_edge.runtime.schedule import ON_ARRIVAL, Chunk, ChunkTrack, Refusal
from wall_edge.runtime.splice import Splice

Floats = npt.NDArray[np.float64]

MS = 1_000_000
T0 = 1_000_000 * MS
PERIOD, DT, BLEND = 4 * MS, 20 * MS, 40 * MS
AGE = 500 * MS
LOWER, UPPER = np.array([-1.0, 0.0]), np.array([1.0, 5.0])
# A straight line: where the curve is says when it is, in steps.
LINE = np.stack((np.arange(9) * 0.1, np.arange(9) * 0.5), axis=1)
CHUNK = Chunk(index=1, observation_time_ns=T0, dt_ns=DT, epoch=4, positions=LINE, plan_start_ns=0)
ON_LINE = np.array([[0.0, 0.0], [5.0, 25.0], [0.0, 0.0]])
"""The state of someone who is at the line's first step, moving along it."""
REST = np.zeros((3, 2))


def track(*chunks: Chunk) -> ChunkTrack:
    made = ChunkTrack(LOWER, UPPER, period_ns=PERIOD, max_age_ns=AGE, blend_ns=BLEND)
    made.start_epoch(4)
    for chunk in chunks:
        assert made.offer(chunk, T0) is None
    return made


def along(steps: float) -> Floats:
    """The state ``steps`` along the line."""
    return ON_LINE + np.array([[0.1], [0.0], [0.0]]) * steps * np.array([[1, 5], [0, 0], [0, 0]])


def follow(made: ChunkTrack, ticks: int) -> None:
    """As an arm that follows exactly."""
    for _ in range(ticks):
        assert made.tick(made.then.copy()) == "following"


class TestThePlanClock:
    def test_it_advances_by_one_period_a_followed_tick(self) -> None:
        made = track(CHUNK)
        for tick in range(40):  # 8 steps of 20 ms
            assert made.plan_ns == tick * PERIOD
            assert made.tick(along(tick / 5)) == "following"
            np.testing.assert_allclose(made.now, along(tick / 5), atol=1e-9)
            np.testing.assert_allclose(made.then, along((tick + 1) / 5), atol=1e-9)
        assert made.plan_ns == 160 * MS
        for _ in range(3):
            assert made.tick(along(8)) == "ended"
        assert made.plan_ns == 160 * MS

    def test_it_stands_without_a_chunk(self) -> None:
        made = track()
        for _ in range(3):
            assert made.tick(REST) == "empty"
        assert made.plan_ns == 0
        assert made.chunk is None
        assert made.last_index == -1
        assert made.taken == 0

    def test_a_tick_that_no_longer_fits_is_not_begun(self) -> None:
        made = track(replace(CHUNK, positions=LINE[:2], dt_ns=3 * PERIOD + 1))
        follow(made, 3)
        assert made.tick(made.then) == "ended"
        made = track(replace(CHUNK, positions=LINE[:2], dt_ns=3 * PERIOD))
        follow(made, 3)
        assert made.tick(made.then) == "ended"
        made = track(replace(CHUNK, positions=LINE[:2], dt_ns=3 * PERIOD - 1))
        follow(made, 2)
        assert made.tick(made.then) == "ended"
        assert made.plan_ns == 2 * PERIOD

    def test_a_single_step_is_nothing_to_follow(self) -> None:
        made = track(replace(CHUNK, positions=LINE[:1]))
        assert made.tick(REST) == "ended"
        assert made.chunk is not None

    def test_the_given_motion_is_the_splices(self) -> None:
        state = np.array([[0.3, 1.0], [1.0, -2.0], [5.0, 7.0]])
        made, out = track(CHUNK), np.empty((3, 2))
        expected = Splice(LINE, 0.02, 0.0, state, 0.04)
        for tick in range(40):
            made.tick(state if tick == 0 else REST)  # the state counts when a chunk is taken over only
            for rows, seconds in ((made.now, 0.004 * tick), (made.then, 0.004 * (tick + 1))):
                expected.at(seconds, out)
                np.testing.assert_allclose(rows, out, atol=1e-9)


class TestEntering:
    @pytest.mark.parametrize("late", [0, 1, 5, 12, 39])
    def test_a_late_chunk_is_entered_where_execution_is(self, late: int) -> None:
        """Its observation was made at plan time 0; ``late`` ticks were executed since."""
        made = track(CHUNK)
        follow(made, late)
        second = replace(CHUNK, index=2, positions=LINE + 0.01, observation_time_ns=T0 + 1)
        state = made.then.copy() if late else REST
        assert made.offer(second, T0 + 1 + late * PERIOD) is None
        assert made.tick(state) == "following"
        assert made.chunk is not None
        assert (made.chunk.index, made.plan_ns) == (2, (late + 1) * PERIOD)
        np.testing.assert_allclose(made.now, state, atol=1e-9)
        follow(made, min(10, 39 - late))
        if late <= 20:  # the blend is over: exactly on the new line, at the step of the plan clock
            moved = np.array([[0.01], [0.0], [0.0]])
            np.testing.assert_allclose(made.then - moved, along(made.plan_ns / DT), atol=1e-9)

    def test_an_arm_that_waited_begins_at_the_first_step(self) -> None:
        """The chunk is 400 ms old, more than it lasts, but nothing was executed since its observation."""
        made = track()
        for _ in range(100):
            assert made.tick(REST) == "empty"
        assert made.offer(CHUNK, T0 + 400 * MS) is None
        assert made.tick(along(0)) == "following"
        np.testing.assert_allclose(made.now, along(0), atol=1e-9)
        np.testing.assert_allclose(made.then, along(0.2), atol=1e-9)

    def test_after_a_pause_it_goes_on_where_execution_stopped(self) -> None:
        made = track(CHUNK)
        follow(made, 10)  # 40 ms: two steps
        held = replace(CHUNK, index=2)
        assert made.offer(held, T0 + 300 * MS) is None  # the arm was held meanwhile: no ticks
        assert made.tick(along(2)) == "following"
        np.testing.assert_allclose(made.now, along(2), atol=1e-9)

    def test_a_chunk_that_is_over_before_it_is_entered(self) -> None:
        made = track(CHUNK)
        follow(made, 20)
        assert made.offer(replace(CHUNK, index=2, positions=LINE[:3]), T0 + 80 * MS) is None
        assert made.tick(along(4)) == "ended"
        assert made.chunk is not None
        assert (made.chunk.index, made.plan_ns) == (2, 80 * MS)

    def test_a_chunk_of_the_future_waits_while_there_is_something_to_follow(self) -> None:
        made = track(CHUNK)
        follow(made, 5)
        assert made.offer(replace(CHUNK, index=2, plan_start_ns=10 * PERIOD), T0 + 20 * MS) is None
        assert (made.last_index, made.taken) == (2, 2)
        for tick in range(5, 12):
            assert made.tick(along(tick / 5)) == "following"
            assert made.chunk is not None
            assert made.chunk.index == (1 if tick < 10 else 2)
        assert made.plan_ns == 12 * PERIOD

    def test_it_begins_at_once_when_there_is_nothing_else(self) -> None:
        made = track(replace(CHUNK, plan_start_ns=1000 * MS))
        assert made.tick(along(0)) == "following"
        assert made.plan_ns == 1000 * MS + PERIOD  # the plan clock jumps to its begin
        np.testing.assert_allclose(made.now, along(0), atol=1e-9)

    def test_it_begins_when_the_chunk_before_it_has_run_out(self) -> None:
        made = track(replace(CHUNK, positions=LINE[:3]))
        follow(made, 4)
        assert made.offer(replace(CHUNK, index=2, plan_start_ns=500 * MS), T0 + 20 * MS) is None
        for tick in range(4, 10):
            assert made.tick(along(tick / 5)) == "following"
            assert made.chunk is not None
            assert made.chunk.index == 1
        assert made.tick(along(0)) == "following"  # without a gap
        assert made.chunk is not None
        assert (made.chunk.index, made.plan_ns) == (2, 500 * MS + PERIOD)

    def test_a_newer_chunk_replaces_one_that_waits(self) -> None:
        made = track(CHUNK)
        follow(made, 1)
        assert made.offer(replace(CHUNK, index=2, plan_start_ns=80 * MS), T0) is None
        assert made.offer(replace(CHUNK, index=2, plan_start_ns=0), T0) == "order"
        assert made.offer(replace(CHUNK, index=3, plan_start_ns=0), T0) is None
        follow(made, 1)
        assert made.chunk is not None
        assert made.chunk.index == 3

    @pytest.mark.parametrize("executed", [0, 7])
    def test_on_arrival_begins_at_the_first_step(self, executed: int) -> None:
        made = track(CHUNK)
        follow(made, executed)
        arriving = replace(CHUNK, index=2, plan_start_ns=ON_ARRIVAL)
        assert made.offer(arriving, T0 + 300 * MS) is None
        assert made.tick(along(0)) == "following"
        np.testing.assert_allclose(made.now, along(0), atol=1e-9)
        np.testing.assert_allclose(made.then, along(0.2), atol=1e-9)
        assert made.chunk is not None
        assert made.chunk.plan_start_ns == executed * PERIOD

    def test_plan_time_0_is_a_time_like_any_other(self) -> None:
        made = track(CHUNK)
        follow(made, 7)
        assert made.offer(replace(CHUNK, index=2), T0 + 28 * MS) is None
        assert made.tick(along(1.4)) == "following"
        assert made.chunk is not None
        assert made.chunk.plan_start_ns == 0

    @settings(max_examples=60, deadline=None)
    @given(st.integers(0, 2**32))
    def test_whatever_arrives_whenever_motion_continues(self, seed: int) -> None:
        """Random chunks at random times: each take-over continues the state to 1e-9 of its size."""
        rng = np.random.default_rng(seed)
        made, state, index = track(), REST.copy(), 0
        for tick in range(120):
            if rng.random() < 0.15:
                index += 1
                rows = rng.uniform(LOWER, UPPER, (rng.integers(2, 20), 2))
                start = int(rng.choice([ON_ARRIVAL, max(0, made.plan_ns + rng.integers(-80, 80) * MS)]))
                chunk = Chunk(index, T0 + tick, int(rng.integers(5, 60)) * MS, 4, rows, start)
                assert made.offer(chunk, T0 + tick) is None
            before, plan = made.chunk, made.plan_ns
            if made.tick(state) != "following":
                state[1:] = 0
                assert made.plan_ns >= plan
                continue
            assert made.chunk is not None
            if made.chunk is not before:
                dt = made.chunk.dt_ns / 1e9
                size = np.array([[6.0], [6.0 / dt], [12.0 / dt**2]]) + np.abs(state)
                assert (np.abs(made.now - state) <= 1e-9 * size).all()
            else:
                assert made.plan_ns == plan + PERIOD
            state = made.then.copy()


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "now", "reason"),
        [
            ({"epoch": 3}, 0, "epoch"),
            ({"epoch": 5}, 0, "epoch"),
            ({"index": 1}, 0, "order"),
            ({"index": 0}, 0, "order"),
            ({"observation_time_ns": T0 - 1}, 0, "order"),
            ({"observation_time_ns": T0 + 1}, 0, "future"),
            ({}, AGE + 1, "age"),
            ({"dt_ns": 0}, 0, "shape"),
            ({"dt_ns": -DT}, 0, "shape"),
            ({"positions": LINE[:0]}, 0, "shape"),
            ({"positions": LINE[:, :1]}, 0, "shape"),
            ({"positions": np.zeros((9, 3))}, 0, "shape"),
            ({"positions": LINE[0]}, 0, "shape"),
            ({"positions": LINE[None]}, 0, "shape"),
            ({"positions": np.array(0.0)}, 0, "shape"),
            ({"positions": LINE * np.nan}, 0, "nan"),
            ({"positions": LINE + np.inf}, 0, "nan"),
            ({"positions": LINE - np.inf}, 0, "nan"),
            ({"positions": np.degrees(LINE)}, 0, "range"),
            ({"positions": LINE + 1e300}, 0, "range"),
            ({"positions": LINE * [1, 0] + [0, 10.000001]}, 0, "range"),
            ({"positions": LINE * [1, 0] - [0, 5.000001]}, 0, "range"),
            ({"positions": LINE * [0, 1] + [3.000001, 0]}, 0, "range"),
            ({"positions": LINE * [0, 1] - [3.000001, 0]}, 0, "range"),
        ],
    )
    def test_they_are_counted_and_change_nothing(
        self, change: dict[str, object], now: int, reason: Refusal
    ) -> None:
        made = track(CHUNK)
        assert made.tick(along(0)) == "following"
        offered: Chunk = replace(CHUNK, **{"index": 2, **change})  # type: ignore[arg-type]
        assert made.offer(offered, T0 + now) == reason
        assert made.refused == {**dict.fromkeys(get_args(Refusal), 0), reason: 1}
        assert made.offer(offered, T0 + now) == reason
        assert made.refused[reason] == 2
        assert made.chunk is not None
        assert (made.chunk.index, made.last_index, made.taken) == (1, 1, 1)
        assert made.tick(along(0.2)) == "following"
        np.testing.assert_allclose(made.now, along(0.2), atol=1e-9)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, 11.0])
    @pytest.mark.parametrize("where", [0, 8, 17])
    def test_one_wrong_number_is_enough(self, bad: float, where: int) -> None:
        rows = LINE.copy()
        rows.flat[where] = bad
        assert track().offer(replace(CHUNK, positions=rows), T0) == ("range" if bad == 11.0 else "nan")

    def test_a_chunk_may_leave_the_limits_by_their_distance(self) -> None:
        """That much is the limiter's to refuse; degrees for radians are not."""
        rows = np.array([[-3.0, -5.0], [3.0, 10.0]])
        assert track().offer(replace(CHUNK, positions=rows), T0) is None

    def test_the_oldest_chunk_that_still_counts(self) -> None:
        assert track().offer(CHUNK, T0 + AGE) is None

    def test_order_is_by_chunk_whether_it_waits_runs_or_is_over(self) -> None:
        made = track(CHUNK, replace(CHUNK, index=7, plan_start_ns=100 * MS))
        assert made.offer(replace(CHUNK, index=7), T0) == "order"
        follow(made, 40)
        assert made.offer(replace(CHUNK, index=7), T0) == "order"
        assert made.offer(replace(CHUNK, index=8), T0) is None

    def test_the_same_observation_may_have_a_newer_chunk(self) -> None:
        made = track(CHUNK)
        assert made.offer(replace(CHUNK, index=2, observation_time_ns=T0), T0) is None


class TestEpochs:
    def test_a_new_epoch_forgets_what_it_follows_and_what_waits(self) -> None:
        made = track(CHUNK)
        follow(made, 3)
        assert made.offer(replace(CHUNK, index=2, plan_start_ns=100 * MS), T0) is None
        made.start_epoch(5)
        assert (made.epoch, made.last_index, made.chunk) == (5, -1, None)
        assert made.tick(REST) == "empty"
        assert made.offer(replace(CHUNK, index=3), T0) == "epoch"
        # Indices and observation times begin anew; the plan clock goes on.
        anew = replace(CHUNK, epoch=5, index=0, observation_time_ns=T0 - 1, plan_start_ns=made.plan_ns)
        assert made.offer(anew, T0) is None
        assert made.last_index == 0
        assert made.plan_ns == 3 * PERIOD

    def test_before_the_first_epoch_it_is_0(self) -> None:
        made = ChunkTrack(LOWER, UPPER, period_ns=PERIOD, max_age_ns=AGE, blend_ns=BLEND)
        assert (made.epoch, made.taken, made.last_index, made.plan_ns) == (0, 0, -1, 0)
        assert made.offer(replace(CHUNK, epoch=0), T0) is None


class TestChunks:
    def test_what_is_taken_is_a_copy_in_float64(self) -> None:
        steps = LINE.astype(np.float32)
        made = track(replace(CHUNK, positions=steps))
        steps[:] = 0.9
        follow(made, 1)
        assert made.chunk is not None
        assert made.chunk.positions.dtype == np.float64
        np.testing.assert_allclose(made.chunk.positions, LINE, atol=1e-6)

    def test_what_is_taken_keeps_every_field(self) -> None:
        given_ = Chunk(3, T0 - 5, DT, 4, LINE, 0, published_time_ns=T0 - 2, subgoal_id=6)
        made = track(given_)
        follow(made, 1)
        assert made.chunk is not None
        assert replace(made.chunk, positions=LINE) == given_

    def test_records_there_and_back(self) -> None:
        record = np.zeros(1, chunk_dtype(horizon=12, dof=2))[0]
        record["positions"][:] = 9.0
        full = replace(CHUNK, plan_start_ns=17, published_time_ns=18, subgoal_id=19)
        full.fill(record)
        assert (record["positions"][9:] == 0.0).all()
        back = Chunk.of(record)
        assert replace(back, positions=LINE) == replace(full, positions=LINE)
        np.testing.assert_array_equal(back.positions, LINE)
        assert back.positions.base is not None  # a view, until a track copies it
        assert {type(value) for name, value in vars(back).items() if name != "positions"} == {int}
        for length in (0, -3):
            record["length"], record["index"] = length, 9
            assert track(CHUNK).offer(Chunk.of(record), T0) == "shape"

    def test_who_publishes_and_for_which_subgoal_may_be_unknown(self) -> None:
        assert (CHUNK.published_time_ns, CHUNK.subgoal_id) == (0, -1)
