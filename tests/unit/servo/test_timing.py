"""Deadlines with a clock that the test owns, and the histogram of lateness."""

from __future__ import annotations

import gc
import os
import random
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from wall_edge.runtime.servo import realtime
from wall_edge.runtime.servo.timing import Ticker, sleep_until
from wall_edge.runtime.telemetry.servo.latency import LatencyRecorder

P = 4_000_000


class Clock:
    """Time passes only by sleeping (late by ``late``) and by ``work``."""

    def __init__(self) -> None:
        self.now, self.late = 1_000_000_000, 0

    def __call__(self) -> int:
        return self.now

    def sleep(self, deadline: int) -> None:
        self.now = max(self.now, deadline) + self.late


def test_ticks_on_a_grid_without_drift() -> None:
    clock = Clock()
    clock.late = 70_000
    ticker = Ticker(P, clock, clock.sleep)
    start = clock.now
    for n in range(1, 101):
        assert ticker.wait() == start + n * P + 70_000
        clock.now += 1_000_000
    assert (ticker.ticks, ticker.overruns, ticker.skipped) == (100, 0, 0)
    assert ticker.lateness.max_ns == 70_000


@pytest.mark.parametrize(
    ("work", "skipped", "overruns"),
    [(P - 1, 0, 0), (P, 0, 0), (P + 1, 1, 1), (2 * P, 1, 1), (2 * P + 1, 2, 1), (10 * P, 9, 1)],
)
def test_missed_ticks_are_skipped_never_burst(work: int, skipped: int, overruns: int) -> None:
    clock = Clock()
    ticker = Ticker(P, clock, clock.sleep)
    first = ticker.wait()
    clock.now += work
    assert ticker.wait() == first + (1 + skipped) * P
    assert ticker.wait() == first + (2 + skipped) * P
    assert (ticker.ticks, ticker.overruns, ticker.skipped) == (3, overruns, skipped)


def test_a_late_wake_up_skips_too() -> None:
    clock = Clock()
    ticker = Ticker(P, clock, clock.sleep)
    first = ticker.wait()
    clock.late = 3 * P + 5
    ticker.wait()
    clock.late = 0
    assert ticker.wait() == first + 5 * P
    assert ticker.skipped == 3
    assert ticker.lateness.max_ns == 3 * P + 5


def test_the_real_sleep_never_wakes_early() -> None:
    for _ in range(20):
        deadline = time.monotonic_ns() + 500_000
        sleep_until(deadline)
        assert time.monotonic_ns() >= deadline
    sleep_until(0)
    ticker = Ticker(2_000_000)
    for _ in range(25):
        ticker.wait()
    assert ticker.ticks == 25
    assert ticker.lateness.count == 25 + ticker.skipped


def test_percentiles_agree_with_numpy() -> None:
    chance = random.Random(0)
    values = [round(chance.lognormvariate(10, 1.5)) for _ in range(5000)]
    recorder = LatencyRecorder()
    for value in values:
        recorder.record(value)
    for percent in (1, 50, 99, 99.9, 100):
        exact = float(np.percentile(values, percent, method="inverted_cdf"))
        assert exact * 0.9999 <= recorder.percentile(percent) <= max(exact * 1.021, 100)
    summary = recorder.summary_us()
    assert summary["count"] == 5000
    assert summary["max"] == max(values) / 1e3


def test_the_histogram_is_bounded() -> None:
    recorder = LatencyRecorder()
    assert recorder.summary_us()["p50"] is None
    assert np.isnan(recorder.percentile(50))
    for value in (0, 99, 100, 101, 10**9, 10**12):
        recorder.record(value)
    assert recorder.counts.sum() == recorder.count == 6
    assert recorder.counts[0] == 3
    assert recorder.percentile(100) == 10**12
    histogram = recorder.summary_us()["histogram"]
    assert isinstance(histogram, dict)
    assert sum(histogram["counts"]) == 6
    assert len(histogram["edges_us"]) == len(histogram["counts"])


def test_realtime_refusals_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65536, 65536))
    monkeypatch.setattr(realtime, "_mlockall", lambda _: None)
    try:
        report = realtime.apply(80, 3, lock_memory=True)
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
    assert [setting.name for setting in report.refused] == ["scheduler", "affinity", "memory"]
    assert "CAP_SYS_NICE" in report.refused[0].detail
    assert report.as_dict()["gc"]["granted"]


def test_realtime_granted_and_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda *a: asked.append(a[1]))
    monkeypatch.setattr(os, "sched_setaffinity", lambda *a: asked.append(a[1]))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.setattr(realtime, "_mlockall", asked.append)
    monkeypatch.setattr(realtime, "_stop_gc", lambda: "off")
    assert realtime.apply(80, 3, lock_memory=True).refused == ()
    assert asked == [os.SCHED_FIFO, {3}, 3]
    assert [s.name for s in realtime.apply(None, None, lock_memory=False).settings] == ["gc"]


def test_idle_is_limited_for_as_long_as_the_process_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime.gc, "freeze", lambda: None)
    monkeypatch.setattr(realtime.gc, "disable", lambda: None)
    monkeypatch.setattr(realtime, "_PM_QOS", tmp_path / "absent")
    (refused,) = realtime.apply(None, None, lock_memory=False, wake_latency_us=7).refused
    assert refused.name == "idle"
    assert "absent" in refused.detail
    (tmp_path / "absent").touch()
    assert not realtime.apply(None, None, lock_memory=False, wake_latency_us=7).refused
    assert (tmp_path / "absent").read_bytes() == (7).to_bytes(4, sys.byteorder)
