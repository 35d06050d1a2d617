"""The ring: nothing is lost that is not counted, nothing torn is returned, the writer never waits."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wall_edge.errors import RuntimeFault
from wall_edge.runtime.telemetry.ring import reader as ring_reader
from wall_edge.runtime.telemetry.ring.reader import RingReader
from wall_edge.runtime.telemetry.ring.ring import Ring

DTYPE = np.dtype([("number", np.int64), ("values", np.float64, (5,))])


def record(number: int) -> np.void:
    rows = np.zeros(1, DTYPE)
    rows["number"], rows["values"] = number, number
    row: np.void = rows[0]
    return row


def numbers(rows: npt.NDArray[Any]) -> list[int]:
    """Of records all of whose fields belong together."""
    assert (rows["values"] == rows["number"][:, None]).all()
    return [int(number) for number in rows["number"]]


def filled(count: int, capacity: int = 4) -> Ring:
    ring = Ring(DTYPE, capacity)
    for number in range(1, count + 1):
        assert ring.write(record(number)) == number
    return ring


def successor(ring: Ring) -> Ring:
    """The same memory, as another process has it."""
    other = Ring.__new__(Ring)
    slots = type(ring.slots).__new__(type(ring.slots))
    slots.__setstate__(ring.slots.__getstate__())
    other.__setstate__(slots)
    return other


def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "waited a minute"
        time.sleep(0.005)


@given(
    capacity=st.integers(2, 9),
    steps=st.lists(st.one_of(st.integers(1, 12), st.tuples(st.integers(1, 12))), max_size=40),
)
def test_any_interleaving_loses_nothing_or_counts_it(capacity: int, steps: list[int | tuple[int]]) -> None:
    """A number writes so many, a tuple takes up to so many."""
    ring, count, taken = Ring(DTYPE, capacity), 0, 0
    reader = ring.reader()
    for step in steps:
        if isinstance(step, int):
            for _ in range(step):
                count += 1
                ring.write(record(count))
            continue
        before = reader.lost
        rows = numbers(reader.take(step[0]))
        lost = max(0, count - capacity - taken - before)
        assert reader.lost == before + lost
        first = taken + reader.lost + 1
        assert rows == list(range(first, first + min(step[0], count - first + 1)))
        taken += len(rows)
        assert reader.sequence == taken + reader.lost


def test_nothing_is_nothing() -> None:
    ring = Ring(DTYPE, 4)
    reader = ring.reader()
    assert len(reader.take()) == 0
    assert (reader.sequence, reader.lost, ring.newest()) == (0, 0, 0)
    assert not ring.writer_alive()
    assert ring.idle
    assert not ring.over


def test_readers_do_not_disturb_each_other() -> None:
    ring = filled(3)
    slow, fast = ring.reader(), ring.reader(2)
    assert numbers(fast.take()) == [3]
    assert numbers(slow.take(2)) == [1, 2]
    assert numbers(slow.take()) == [3]
    assert len(ring.reader(ring.newest()).take()) == 0


def test_copies_stay_what_they_were() -> None:
    ring = filled(2, capacity=2)
    rows = ring.reader().take()
    for number in (3, 4):
        ring.write(record(number))
    assert numbers(rows) == [1, 2]


@pytest.mark.parametrize("part", [range(0, 8), range(8, 16), range(16, 16 + DTYPE.itemsize, 5)])
def test_a_flipped_bit_is_never_returned(part: range) -> None:
    for byte in part:
        for bit in range(8):
            ring = filled(3)
            ring.slots.bytes[2, byte] ^= 1 << bit
            assert numbers(ring.reader().take()) == [1]


def test_a_slot_that_stays_broken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = filled(4, capacity=8)
    ring.slots.bytes[2, 20] ^= 1
    reader = ring.reader()
    assert numbers(reader.take()) == [1]
    assert len(reader.take()) == 0  # it may be whole in a moment
    assert reader.lost == 0
    monkeypatch.setattr(ring_reader, "_PATIENCE_NS", 0)
    assert numbers(reader.take()) == [3, 4]
    assert reader.lost == 1


def test_a_slot_that_becomes_whole_is_returned() -> None:
    """What stores out of order look like on ARM: a later slot is whole before an earlier one."""
    ring = filled(4, capacity=8)
    ring.slots.bytes[2, 20] ^= 1
    reader = ring.reader()
    assert numbers(reader.take()) == [1]
    ring.slots.bytes[2, 20] ^= 1
    assert numbers(reader.take()) == [2, 3, 4]
    assert reader.lost == 0


def test_a_writer_that_died_in_the_middle() -> None:
    ring = filled(6)
    reader = ring.reader(5)
    slot = ring.slots.bytes[7 % 4]
    slot[16:40] = 7  # what kill -9 leaves of write number 7
    assert numbers(reader.take()) == [6]
    assert len(reader.take()) == 0
    other = successor(ring)
    assert other.attach_writer() == 2
    assert other.write(record(7)) == 7
    assert numbers(reader.take()) == [7]
    assert reader.lost == 0


def test_old_payload_under_a_new_number() -> None:
    ring = filled(3)
    payload = ring.slots.bytes[3, 16:].copy()
    for number in range(4, 8):
        ring.write(record(number))
    ring.slots.bytes[3, 16:] = payload
    assert numbers(ring.reader(5).take()) == [6]


def test_a_damaged_number_does_not_send_readers_away() -> None:
    ring = filled(3, capacity=8)
    ring.slots.sequences[6] = 1 << 60
    reader = ring.reader()
    assert numbers(reader.take()) == [1, 2, 3]
    assert len(reader.take()) == 0
    assert (reader.lost, ring.newest()) == (0, 3)


def test_wrong_records_and_rings() -> None:
    with pytest.raises(RuntimeFault, match="a record of"):
        Ring(DTYPE, 4).write(np.zeros(1, [("number", np.int64)])[0])
    for dtype, capacity in ((DTYPE, 1), (np.dtype([]), 4), (np.dtype([("x", object)]), 4)):
        with pytest.raises(RuntimeFault, match="ring"):
            Ring(dtype, capacity)


def test_who_writes() -> None:
    ring = filled(1)
    assert ring.writer_alive()
    assert not ring.over
    ring.close()
    assert ring.over
    assert ring.attach_writer() == 2
    assert not ring.closed
    ring._writer["start"] += 1  # another process with this number
    assert not ring.writer_alive()


def hammer(ring: Ring, count: Any) -> None:
    """Says after each record how many there are; ends when it is killed."""
    number = 0
    while True:
        number += 1
        ring.write(record(number))
        count[0] = number


def test_kill_9_leaves_everything_up_to_the_last_record() -> None:
    """A reader beside a writer as fast as it can be; then the writer is killed, and one takes over."""
    context = multiprocessing.get_context("spawn")
    ring, count = Ring(DTYPE, 4096), context.RawArray("q", 1)
    writer = context.Process(target=hammer, args=(ring, count), daemon=True)
    writer.start()
    assert writer.pid is not None
    ring.assign_writer(writer.pid)
    assert not ring.over  # it may not have begun
    reader = ring.reader()
    taken = follow(reader, lambda: reader.sequence > 5000)
    os.kill(writer.pid, signal.SIGKILL)
    until(lambda: not ring.writer_alive())  # a zombie is dead
    last = count[0]
    taken += follow(reader, lambda: reader.sequence >= last)
    assert reader.sequence in (last, last + 1)  # killed between the record and its word about it
    assert taken + reader.lost == reader.sequence
    writer.join()
    assert ring.write(record(0)) == reader.sequence + 1


def follow(reader: RingReader, done: Callable[[], bool]) -> int:
    taken, deadline = 0, time.monotonic() + 60.0
    while not done():
        assert time.monotonic() < deadline, "waited a minute"
        rows = numbers(reader.take())
        taken += len(rows)
        assert rows == list(range(reader.sequence - len(rows) + 1, reader.sequence + 1))
    rows = numbers(reader.take())
    return taken + len(rows)


def test_a_payload_reaches_no_other_slot() -> None:
    """Shorter is filled with zeros; longer is refused before a byte is written."""
    ring = Ring(np.int64, 4)
    reader = ring.reader()
    ring.append(b"\x07")
    with pytest.raises(RuntimeFault, match="a record of 9 bytes; expected at most 8"):
        ring.append(bytes(9))
    assert ring.append(b"\x08") == 2
    assert reader.take().tolist() == [7, 8]
