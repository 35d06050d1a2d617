"""The mailbox: never a torn record, never a wait, nothing left behind."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wall_edge.errors import RuntimeFault
from wall_edge.runtime.ipc.mailbox import Mailbox

DTYPE = np.dtype([("number", np.int64), ("values", np.float64, (16, 6))])


def record(number: int) -> np.void:
    made = np.zeros(1, DTYPE)
    made["number"], made["values"] = number, number
    one: np.void = made[0]
    return one


def whole(read: np.void) -> int:
    """The number of a record all of whose fields belong together."""
    number = int(read["number"])
    assert (read["values"] == number).all()
    return number


def test_nothing_written_is_nothing_read() -> None:
    shared = Mailbox(DTYPE)
    assert shared.read() is None
    assert shared.read_newer(0) is None
    assert shared.reader().newer() is None


def test_the_newest_is_read() -> None:
    shared = Mailbox(DTYPE)
    reader = shared.reader()
    for number in range(1, 20):
        assert shared.write(record(number)) == number
        got = shared.read()
        assert got is not None
        assert whole(got) == number
        newer = reader.newer()
        assert newer is not None
        assert whole(newer) == number
        assert reader.sequence == number
        assert reader.newer() is None
        assert reader.latest() is not None
    found = shared.read_newer(18)
    assert found is not None
    assert (found[0], whole(found[1])) == (19, 19)
    assert shared.read_newer(19) is None


def test_a_copy_stays_what_it_was() -> None:
    shared = Mailbox(DTYPE)
    shared.write(record(1))
    first = shared.read()
    shared.write(record(2))
    shared.read()
    assert first is not None
    assert whole(first) == 1


@pytest.mark.parametrize("slot_part", ["sequence", "crc", "payload"])
def test_a_flipped_bit_is_never_returned(slot_part: str) -> None:
    shared = Mailbox(DTYPE, slots=2)
    width = {"sequence": range(0, 8), "crc": range(8, 16), "payload": range(16, 16 + DTYPE.itemsize, 37)}
    for byte in width[slot_part]:
        for bit in range(8):
            shared.write(record(1))
            newest = shared.write(record(2))
            shared._bytes[newest % 2, byte] ^= 1 << bit
            got = shared.read()
            assert got is not None
            assert whole(got) == 1, (byte, bit)


def test_all_slots_damaged() -> None:
    shared = Mailbox(DTYPE)
    for number in range(10):
        shared.write(record(number))
    shared._bytes[:, 40] ^= 0xFF
    assert shared.read() is None
    shared.write(record(11))
    got = shared.read()
    assert got is not None
    assert whole(got) == 11


def test_a_writer_that_died_in_the_middle() -> None:
    shared = Mailbox(DTYPE)
    for number in range(1, 7):
        shared.write(record(number))
    slot = 7 % shared.slots
    shared._headers[slot]["sequence"] = 0  # what kill -9 leaves of write number 7
    shared._payloads[slot][: DTYPE.itemsize // 2] = 7
    got = shared.read()
    assert got is not None
    assert whole(got) == 6
    successor = Mailbox.__new__(Mailbox)
    successor.__setstate__(shared.__getstate__())
    assert successor.write(record(8)) == 7
    got = shared.read()
    assert got is not None
    assert whole(got) == 8


def test_old_payload_under_a_new_number() -> None:
    """What a reordered store looks like on ARM: the header arrived, the payload did not."""
    shared = Mailbox(DTYPE, slots=2)
    for number in (1, 2, 3):
        shared.write(record(number))
    old = shared._payloads[0].copy()
    shared.write(record(4))
    shared._payloads[0] = old
    got = shared.read()
    assert got is not None
    assert whole(got) == 3


def test_wrong_records_and_mailboxes() -> None:
    with pytest.raises(RuntimeFault, match="a record of"):
        Mailbox(DTYPE).write(np.zeros(1, [("number", np.int64)])[0])
    for dtype, slots in ((DTYPE, 1), (np.dtype([]), 4), (np.dtype([("x", object)]), 4)):
        with pytest.raises(RuntimeFault, match="mailbox"):
            Mailbox(dtype, slots)


def hammer(shared: Mailbox, stop: Event) -> None:
    number = 0
    one = np.zeros(1, DTYPE)
    while not stop.is_set():
        for _ in range(50):
            number += 1
            one["number"], one["values"] = number, number
            shared.write(one[0])


def test_two_processes() -> None:
    """A writer as fast as it can be against a reader that checks every byte; then the writer is killed."""
    context = multiprocessing.get_context("spawn")
    shared, stop = Mailbox(DTYPE), context.Event()
    writer = context.Process(target=hammer, args=(shared, stop), daemon=True)
    writer.start()
    reader, seen, last = shared.reader(), 0, 0
    patience, until = time.monotonic() + 60.0, math.inf  # which the second record shortens
    try:
        while seen < 3000 and time.monotonic() < min(patience, until):
            got: Any = reader.newer()
            if got is None:
                continue
            until = until if seen != 1 else time.monotonic() + 2.0
            number = whole(got)
            assert number > last
            last, seen = number, seen + 1
    finally:
        if writer.pid is not None:
            os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    assert (
        seen > 1
    )  # how many is the scheduler's business: on one core a reader meets one record a time slice
    got = shared.read()
    assert got is not None
    assert whole(got) >= last
    # Of these two: other workers' tests make mailboxes at the same time.
    ours = tuple(f"pym-{pid}-" for pid in (os.getpid(), writer.pid))
    assert not [path for path in Path("/dev/shm").iterdir() if path.name.startswith(ours)]
    assert shared.write(record(5)) > last
