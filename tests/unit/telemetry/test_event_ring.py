"""Events of any size through a ring of slots of one size."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wall_edge.runtime.telemetry.ring.events import EventReader, EventRing


def loaded(reader: EventReader) -> list[dict[str, Any]]:
    return [{"kind": event.kind, **json.loads(event.fields)} for event in reader.take()]


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=12), st.integers(1, 5))
def test_events_of_any_length(lengths: list[int], every: int) -> None:
    ring = EventRing(128)
    reader = ring.reader()
    events = []
    for number, length in enumerate(lengths):
        ring.write("words", number=number, words="x" * length)
        if number % every == 0:
            events += loaded(reader)
    events += loaded(reader)
    assert events == [{"kind": "words", "number": n, "words": "x" * size} for n, size in enumerate(lengths)]
    assert reader.lost == 0


def test_numpy_values_and_reserved_names() -> None:
    ring = EventRing(64)
    ring.write("chunk", time_ns=5, values=np.arange(3), one=np.int64(7), source="me", seq=1)
    (event,) = ring.reader().take()
    assert (event.time_ns, event.kind, event.sequence) == (5, "chunk", 1)
    assert json.loads(event.fields) == {"values": [0, 1, 2], "one": 7, "source_": "me", "seq_": 1}


def test_what_does_not_fit_is_said_and_ends_nothing() -> None:
    """H1: no exception of bookkeeping."""
    ring = EventRing(64)
    ring.write("odd", table={(1, 2): 3})
    ring.write("long", words="x" * 10_000)
    ring.write("fine", words="\ud800")
    odd, long, fine = loaded(ring.reader())
    assert odd == {"kind": "lost", "count": 1, "what": "odd", "why": "no JSON"}
    assert long == {"kind": "lost", "count": 1, "what": "long", "why": "too long"}
    assert fine == {"kind": "fine", "words": "\ud800"}


@given(st.lists(st.integers(0, 650), min_size=1, max_size=60), st.integers(1, 30))
def test_an_overflow_costs_whole_events_and_is_counted(lengths: list[int], every: int) -> None:
    ring = EventRing(16)
    reader = ring.reader()
    numbers, parts = [], 0
    for number, length in enumerate(lengths):
        ring.write("words", number=number, words="x" * length)
        if number % every == 0:
            for event in reader.take():
                numbers.append(json.loads(event.fields)["number"])
                parts += -(-len(event.fields) // 376)
    for event in reader.take():
        parts += -(-len(event.fields) // 376)
    assert numbers == sorted(set(numbers))
    assert parts + reader.lost == reader.sequence


def test_a_writer_that_died_amid_an_event() -> None:
    ring = EventRing(64)
    ring.write("whole", words="x" * 1000)
    ring.write("torn", words="y" * 1000)
    ring.ring.slots.bytes[6] = 0  # the last of its three parts
    reader = ring.reader()
    assert [event["kind"] for event in loaded(reader)] == ["whole"]
    ring.ring.attach_writer()  # as the successor does
    ring.write("next")
    assert [event["kind"] for event in loaded(reader)] == ["next"]
    assert reader.lost == 2


def test_threads_of_one_process() -> None:
    ring = EventRing(4096)

    def write(name: int) -> None:
        for number in range(200):
            ring.write("words", name=name, number=number, words="x" * 600)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader, events = ring.reader(), []
    while batch := loaded(reader):
        events += batch
    for name in range(4):
        assert [event["number"] for event in events if event["name"] == name] == list(range(200))
    assert reader.lost == 0
