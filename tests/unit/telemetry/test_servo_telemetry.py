"""What the servo process tells comes out as it went in, and adds up to what the loop itself counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reference_trace import Trace
from wall_edge.runtime.ipc.mailbox import Mailbox
from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.servo.timing import Ticker
from wall_edge.runtime.telemetry.servo.latency import LatencyRecorder
from wall_edge.runtime.telemetry.servo.latency_batch import record_many
from wall_edge.runtime.telemetry.servo.rings import LIMITS, REFUSALS, ServoRings
from wall_edge.runtime.telemetry.servo.summary import ServoSummary, checkpoint_dtype
from wall_edge.runtime.telemetry.servo.telemetry import ServoTelemetry
from wall_edge.runtime.telemetry.servo.types import (
    INTEGERS,
    TEXT_BYTES,
    EventKind,
    ServoStatus,
    decoded,
    encoded,
)

DOF, PERIOD_NS = 3, 4_000_000
BUS = (
    *("cycles", "timeouts", "checksum_errors", "resyncs", "skipped_bytes", "stale_bytes", "late", "foreign"),
    *("full", "error_passive", "bus_off", "reopened"),
)
KINDS = {"left": "feetech", "right": "damiao"}


def counters(base: int) -> dict[str, Any]:
    """Every counter, each with a value of its own."""
    return {
        "refused": range(base, base + len(REFUSALS)),
        "bus": range(base + 20, base + 20 + len(BUS)),
        "limits": [[base + 40 + 3 * k + j for j in range(DOF)] for k in range(len(LIMITS))],
    }


def test_every_field_arrives_where_it_belongs() -> None:
    rings = ServoRings.of(DOF, 250.0, kinds=KINDS)
    telemetry = ServoTelemetry(rings, PERIOD_NS, clock=lambda: 1_000_500)
    computed = ("work_ns", "period_ns", "life")
    plain: dict[str, Any] = {name: 100 + k for k, name in enumerate(INTEGERS) if name not in computed}
    plain["time_ns"] = 1_000_000
    setpoint, position = np.array([0.1, 0.2, 0.3]), np.array([1.1, 1.2, 1.3])
    telemetry.status(**plain, setpoint=setpoint, position=position)
    drives = [{name: base + k for k, name in enumerate(BUS)} for base in (5000, 6000)]
    telemetry.counters(time_ns=5, limiter_refused=6, limited_cycles=7, drives=drives, **counters(1000))
    (status,) = rings.reader().statuses()
    count = rings.reader().counters()
    assert count is not None
    assert {name: getattr(status, name) for name in plain} == plain
    assert (status.work_ns, status.period_ns, status.life) == (500, PERIOD_NS, 1)
    assert count.refused == dict(zip(REFUSALS, range(1000, 1000 + len(REFUSALS)), strict=True))
    assert count.bus == dict(zip(BUS, range(1020, 1020 + len(BUS)), strict=True))
    limits = dict(zip(LIMITS, counters(1000)["limits"], strict=True))
    assert count.limits == limits
    assert (count.time_ns, count.life, count.limiter_refused, count.limited_cycles) == (5, 1, 6, 7)
    assert count.drives == dict(zip(KINDS, drives, strict=True))
    assert status.setpoint.tolist() == setpoint.tolist()
    assert status.position.tolist() == position.tolist()
    assert {field.name for field in fields(ServoStatus)} >= set(INTEGERS)


def test_events_arrive_typed() -> None:
    rings = ServoRings.of(DOF, 250.0)
    telemetry = ServoTelemetry(rings, PERIOD_NS, clock=lambda: 7)
    telemetry.event(EventKind.STATE, before=ServoState.STARTING, after=ServoState.HOLDING, text="ready")
    telemetry.event(EventKind.CHUNK_REFUSED, time_ns=9, epoch=2, chunk_index=5, name="age", values=(1, 2))
    telemetry.end()
    started, state, refused, ended = rings.reader().events()
    assert [event.kind for event in (started, ended)] == [EventKind.STARTED, EventKind.ENDED]
    assert (state.time_ns, state.before, state.after, state.text) == (
        7,
        ServoState.STARTING,
        ServoState.HOLDING,
        "ready",
    )
    assert (refused.time_ns, refused.epoch, refused.chunk_index, refused.name) == (9, 2, 5, "age")
    assert refused.values == (1, 2, 0, 0)
    assert rings.events.over
    assert rings.status.over


@given(st.text(max_size=40), st.integers(3, 30))
def test_text_is_cut_between_characters(text: str, size: int) -> None:
    raw = encoded(text, size)
    assert len(raw) <= size
    back = decoded(raw)
    whole = text.encode("utf-8", "backslashreplace").decode()
    assert back == whole if len(whole.encode()) <= size else (back[-1] == "…" and whole.startswith(back[:-1]))


def test_a_long_fault_is_told_with_an_ellipsis() -> None:
    rings = ServoRings.of(DOF, 250.0)
    ServoTelemetry(rings, PERIOD_NS).event(EventKind.FAULT, text="ä" * 2000)
    text = list(rings.reader().events())[-1].text
    assert text.endswith("ä…")
    assert TEXT_BYTES - 4 <= len(text.encode()) <= TEXT_BYTES


def test_many_at_once_fall_into_the_very_same_bins() -> None:
    """Also the whole numbers beside every edge."""
    one, many = LatencyRecorder(), LatencyRecorder()
    edges = np.unique(one.edges_ns.astype(np.int64)[:, None] + np.arange(-2, 3))
    values = np.concatenate([edges, [0, 1, 10**12], np.random.default_rng(0).integers(0, 10**8, 5000)])
    for value in values.tolist():
        one.record(value)
    for part in np.array_split(values, 7):
        record_many(many, part)
    assert (one.counts == many.counts).all()
    assert (one.count, one.max_ns) == (many.count, many.max_ns)
    assert one.summary_us() == many.summary_us()


class Loop:
    """A servo loop's bookkeeping beside its telemetry, on a clock of its own with stalls."""

    def __init__(self, seed: int, take: Callable[[], object]) -> None:
        self.now, self.random = 1_000_000_000, np.random.default_rng(seed)
        self.rings = ServoRings.of(DOF, 250.0)
        self.telemetry = ServoTelemetry(self.rings, PERIOD_NS, clock=lambda: self.now)
        self.ticker = Ticker(PERIOD_NS, clock=lambda: self.now, sleep=self._sleep)
        self.trace = Trace(DOF, 250.0)
        self.pickup = LatencyRecorder()
        self._take = take

    def _sleep(self, until: int) -> None:
        self.now = max(self.now, until) + int(self.random.exponential(80_000))

    def tick(self) -> None:
        due = self.ticker.deadline_ns + PERIOD_NS if self.ticker.ticks else self.now + PERIOD_NS
        over = self.now - due if self.now > due else -1
        began = self.ticker.wait()
        late = began - self.ticker.deadline_ns
        pickup = -1
        if self.random.random() < 0.05:
            pickup = int(self.random.integers(1, 10**7))
            self.pickup.record(pickup)
        setpoint, position = self.random.normal(size=(2, DOF))
        self.now += int(self.random.choice([300_000, 30_000_000], p=[0.98, 0.02]))
        tick = self.ticker.ticks
        if tick % self.trace.every == 0:
            self.trace.add(began, ServoState.HOLDING, 2, (-1, 0), setpoint, position)
        self.telemetry.status(
            time_ns=began,
            deadline_ns=self.ticker.deadline_ns,
            lateness_ns=max(0, late),
            overrun_ns=over,
            tick=tick,
            state=ServoState.HOLDING,
            epoch=2,
            setpoint=setpoint,
            position=position,
            served_ticks=tick,
            first_tick_ns=1,
            last_tick_ns=began,
            overruns=self.ticker.overruns,
            skipped=self.ticker.skipped,
            pickup_ns=pickup,
        )
        if self.random.random() < 0.01:
            self._take()


@pytest.mark.parametrize("seed", range(4))
def test_the_stream_adds_up_to_what_the_loop_counted(seed: int) -> None:
    """Lateness with its skipped ticks, pickups, trace; read in batches of any size, some of them twice."""
    loop = Loop(seed, lambda: summary.follow(reader))
    reader, again = loop.rings.reader(), loop.rings.reader()
    summary = ServoSummary(loop.rings)
    for _ in range(1900):
        loop.tick()
    summary.follow(reader)
    summary.follow(again)
    result = summary.as_dict()
    assert loop.ticker.skipped > 50
    assert result["lateness_us"] == loop.ticker.lateness.summary_us()
    assert result["pickup_us"] == loop.pickup.summary_us()
    assert (result["overruns"], result["skipped"]) == (loop.ticker.overruns, loop.ticker.skipped)
    columns = loop.trace.columns()
    assert result["trace"].keys() == columns.keys()
    assert all((result["trace"][name] == columns[name]).all() for name in columns)
    assert summary.lost == 0


def tell(telemetry: ServoTelemetry, state: int, **more: Any) -> None:
    zero = np.zeros(DOF)
    telemetry.status(state=state, epoch=1, setpoint=zero, position=zero, **more)


def test_reasons_faults_and_settings() -> None:
    rings = ServoRings.of(DOF, 250.0)
    telemetry = ServoTelemetry(rings, PERIOD_NS, clock=lambda: 50)
    telemetry.event(EventKind.REALTIME, name="scheduler", values=(0,), text="refused: no")
    telemetry.event(EventKind.STATE, before=0, after=ServoState.HOLDING, text="ready")
    telemetry.event(EventKind.TORQUE_ON)
    tell(telemetry, ServoState.HOLDING, time_ns=40, tick=1, served_ticks=1, first_tick_ns=40, last_tick_ns=40)
    more = {"bus_errors": 7, "bus_cycles": 11, "chunks_taken": 2}
    telemetry.counters(time_ns=60, limiter_refused=3, **counters(5))
    times = {"time_ns": 60, "tick": 2, "served_ticks": 26, "first_tick_ns": 40, "last_tick_ns": 40 + 10**8}
    tell(telemetry, ServoState.HOLDING, **times, **more)
    telemetry.event(EventKind.STATE, time_ns=70, before=1, after=ServoState.STOPPING, text="signal")
    telemetry.event(EventKind.STATE, time_ns=80, before=3, after=ServoState.RELEASED, text="at rest")
    summary = ServoSummary(rings)
    summary.follow(rings.reader())
    assert not summary.ended
    result = summary.as_dict(trace=False)
    assert (result["state"], result["reason"], result["fault"]) == ("RELEASED", "signal", None)
    assert result["touched"] is True
    assert (result["ticks"], result["seconds"], result["rate_hz"]) == (26, 0.1, 250.0)
    assert result["bus"] == {
        "cycles_hz": 100.0,
        "errors": 7,
        "detail": dict(zip(BUS, counters(5)["bus"], strict=True)),
        **{"drives": {}, "limited_cycles": 0, "limited_by": {}},
    }
    assert result["chunks"] == {
        "taken": 2,
        "refused": dict(zip(REFUSALS, counters(5)["refused"], strict=True)),
    }
    limits = dict(zip(LIMITS, counters(5)["limits"], strict=True))
    assert result["limiter"] == {**limits, "refused": 3}
    assert result["realtime"] == {
        "scheduler": {"name": "scheduler", "granted": False, "detail": "refused: no"}
    }
    for text in ("overload", "torque may still be on"):
        telemetry.event(EventKind.FAULT, text=text)
    telemetry.end()
    summary = ServoSummary(rings)
    summary.follow(rings.reader())
    assert summary.fault == "overload; then: torque may still be on"
    assert summary.ended
    assert json.dumps(summary.as_dict(trace=False))


def test_counters_are_due_once_a_second() -> None:
    telemetry = ServoTelemetry(ServoRings.of(DOF, 250.0), PERIOD_NS)
    assert telemetry.counters_due_ns <= 0
    telemetry.counters(time_ns=0, **counters(0))
    assert telemetry.counters_due_ns == 10**9


def test_nothing_told_is_a_summary_too() -> None:
    summary = ServoSummary(ServoRings.of(DOF, 250.0))
    result = summary.as_dict(trace=False)
    assert (result["state"], result["ticks"], result["touched"]) == ("STARTING", 0, False)
    nothing = {"detail": {}, "drives": {}, "limited_cycles": 0, "limited_by": {}}
    assert result["bus"] == {"cycles_hz": 0.0, "errors": 0, **nothing}
    assert result["limiter"]["jerk"] == [0] * DOF


def test_what_was_overwritten_is_counted_and_the_counters_are_right() -> None:
    rings = ServoRings.of(DOF, 250.0, seconds=0.1)
    telemetry = ServoTelemetry(rings, PERIOD_NS)
    for tick in range(1, 1001):
        tell(telemetry, ServoState.HOLDING, time_ns=tick, tick=tick, served_ticks=tick, lateness_ns=5)
    summary = ServoSummary(rings)
    summary.follow(rings.reader())
    assert summary.lost == 1000 - rings.status.slots.capacity
    assert summary.as_dict()["ticks"] == 1000


def test_a_summary_goes_on_from_a_checkpoint() -> None:
    """As a log's writer does that takes over from a dead one; what was added before is not added again."""
    loop = Loop(9, lambda: None)
    straight, broken = (ServoSummary(loop.rings) for _ in range(2))
    mailbox = Mailbox(checkpoint_dtype(loop.rings))
    for _ in range(20):
        for _ in range(50):
            loop.tick()
        loop.telemetry.event(EventKind.FAULT, text="fault ä")
        broken.follow(loop.rings.reader())
        mailbox.write(broken.checkpoint())
        broken = ServoSummary(loop.rings)
        record = mailbox.read()
        assert record is not None
        broken.restore(record)
    straight.follow(loop.rings.reader())
    assert broken.as_dict(trace=False) == straight.as_dict(trace=False)
    assert broken.fault is not None
    assert broken.fault.count("fault ä") == 20


def test_a_second_process_is_summed_up_by_itself() -> None:
    rings = ServoRings.of(DOF, 250.0)
    first = ServoTelemetry(rings, PERIOD_NS)
    tell(first, ServoState.HOLDING, time_ns=1, tick=1, lateness_ns=5, starved_ticks=3)
    summary = ServoSummary(rings)
    reader = rings.reader()
    summary.follow(reader)
    second = ServoTelemetry(rings, PERIOD_NS)
    tell(second, ServoState.FOLLOWING, time_ns=2, tick=1, lateness_ns=6, starved_ticks=1)
    summary.follow(reader)
    assert summary.as_dict()["starved_ticks"] == 3
    after = ServoSummary(rings).successor(2)
    after.follow(rings.reader())
    result = after.as_dict()
    assert (result["state"], result["starved_ticks"], result["lateness_us"]["count"]) == ("FOLLOWING", 1, 1)
