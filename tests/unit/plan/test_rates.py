"""Whether a robot holds its rates, at the boundaries of what the daemon does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_engines.plan.rates import RatesVerdict, RobotRates, judge_rates

from wall_edge.config import AsyncScheduler, ControlConfig, PolicyConfig, SyncScheduler

# A chunk lasts (24 - 1) / 30 Hz = 766.7 ms, as on the tabletop.
TABLETOP = RobotRates(horizon=24, action_rate_hz=30.0)


def need(verdict: RatesVerdict, words: str) -> str:
    return next(entry.holds for entry in verdict.needs if words in entry.what)


def test_defaults_are_those_of_robot_yaml() -> None:
    assert TABLETOP.chunk_period_ms == PolicyConfig().chunk_period_ms
    assert TABLETOP.max_chunk_age_ms == PolicyConfig().max_chunk_age_ms
    assert TABLETOP.starved_fault_ms == ControlConfig.starved_fault_ms
    assert (TABLETOP.scheduler, TABLETOP.waits) == (AsyncScheduler.kind, AsyncScheduler.waits)
    assert SyncScheduler.waits


def test_what_was_measured_at_400_ms_is_what_is_judged() -> None:
    """docs/realtime.md: at 400 ms and the next picture a chunk comes 66 ms after the last one's end."""
    verdict = judge_rates(replace(TABLETOP, frame_ms=1000 / 30), (400.0, 400.0))
    assert verdict.standing_ms == pytest.approx((66.7, 66.7), abs=0.1)
    assert verdict.holds == "no"
    assert need(verdict, "before it is over") == "yes"
    assert "the arm stands 67 ms before each" in verdict.words
    assert judge_rates(replace(TABLETOP, frame_ms=1000 / 30), (300.0, 300.0)).holds == "yes"


@pytest.mark.parametrize(
    ("chunk_ms", "verdict"),
    [((100.0, 766.0), "yes"), ((100.0, 767.0), "perhaps"), ((767.0, 800.0), "no")],
)
def test_a_chunk_must_arrive_before_it_is_over(chunk_ms: tuple[float, float], verdict: str) -> None:
    assert need(judge_rates(TABLETOP, chunk_ms), "before it is over") == verdict


def test_a_chunk_that_arrives_as_it_ends_is_over() -> None:
    """As the daemon's own check: a delay shorter than a chunk."""
    lasts = replace(TABLETOP, horizon=31)
    assert lasts.chunk_lasts_ms == 1000
    assert need(judge_rates(lasts, (1000.0, 1000.0)), "before it is over") == "no"
    assert need(judge_rates(lasts, (999.0, 999.0)), "before it is over") == "yes"


def test_short_inferences_wait_for_the_period() -> None:
    verdict = judge_rates(TABLETOP, (10.0, 20.0))
    assert verdict.chunk_period_ms == (100.0, 100.0)
    assert ": 10 chunks/s" in verdict.words


def test_an_old_chunk_is_refused() -> None:
    strict = replace(TABLETOP, max_chunk_age_ms=200.0)
    assert need(judge_rates(strict, (200.0, 200.0)), "too old") == "yes"
    assert need(judge_rates(strict, (100.0, 201.0)), "too old") == "perhaps"


def test_stop_and_go_holds_with_a_chunk_that_is_longer_than_its_horizon() -> None:
    sync = replace(TABLETOP, scheduler="sync", waits=True, max_chunk_age_ms=5000.0)
    verdict = judge_rates(sync, (900.0, 1000.0))
    assert verdict.holds == "yes"
    assert verdict.standing_ms == (900.0, 1000.0)
    # Half of 24 steps at 30 Hz, then it stands.
    assert verdict.chunk_period_ms == pytest.approx((1300.0, 1400.0))
    assert judge_rates(replace(sync, execute_steps=3), (900.0, 900.0)).chunk_period_ms[0] == pytest.approx(
        1000.0
    )


def test_a_standstill_that_is_a_fault() -> None:
    sync = replace(TABLETOP, scheduler="sync", waits=True, max_chunk_age_ms=5000.0)
    assert need(judge_rates(sync, (1000.0, 2000.0)), "no fault") == "yes"
    assert need(judge_rates(sync, (1000.0, 2001.0)), "no fault") == "perhaps"
    assert judge_rates(sync, (2001.0, 2002.0)).holds == "no"


@given(st.floats(1, 5000), st.floats(1, 5000), st.integers(2, 100))
def test_a_shorter_chunk_time_never_does_worse(one: float, other: float, horizon: int) -> None:
    order = ("no", "perhaps", "yes")
    rates = replace(TABLETOP, horizon=horizon, frame_ms=33.0)
    short, long = sorted((one, other))
    assert order.index(judge_rates(rates, (short, short)).holds) >= order.index(
        judge_rates(rates, (long, long)).holds
    )
    both = judge_rates(rates, (short, long)).holds
    ends = {judge_rates(rates, (end, end)).holds for end in (short, long)}
    assert (both in ends) or both == "perhaps"
