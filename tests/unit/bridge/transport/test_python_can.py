"""python-can's interfaces at their worst: full, gone, and handing on what is no frame."""

from __future__ import annotations

import errno
import logging
import secrets
import socket
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from wall_edge_bridge.transport.base import Frame
from wall_edge_bridge.transport.python_can import PythonCanTransport, open_python_can

from wall_edge.errors import BusError, BusTimeout

can = pytest.importorskip("can", reason="pip install 'wall-edge[can]'")
FRAME = Frame(0x10, b"\1\2")


def soon(seconds: float = 30.0) -> int:
    return time.monotonic_ns() + round(seconds * 1e9)


class Bus(can.BusABC):  # type: ignore[misc]
    """An interface whose driver says what the test tells it to."""

    def __init__(self) -> None:
        super().__init__("any")
        self.input: deque[Any] = deque()
        self.refusals: list[Exception] = []
        self.sent: list[Any] = []
        self.shut = 0

    def send(self, msg: Any, timeout: float | None = None) -> None:
        assert timeout is not None, "a send without end"
        if self.refusals:
            raise self.refusals.pop()
        self.sent.append(msg)

    def _recv_internal(self, timeout: float | None) -> tuple[Any, bool]:
        if not self.input:
            time.sleep(timeout or 0)
            return None, False
        item = self.input.popleft()
        if isinstance(item, Exception):
            raise item
        return item, False

    def shutdown(self) -> None:
        self.shut += 1
        super().shutdown()
        raise can.CanOperationError("gone")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def wire(bus: Bus) -> Iterator[PythonCanTransport]:
    transport = PythonCanTransport(bus, "test bus")
    yield transport
    transport.close()


def message(**changes: Any) -> Any:
    return can.Message(**{"arbitration_id": 0x11, "data": b"\3", "is_extended_id": False, **changes})


@pytest.mark.parametrize(
    "refusal", [can.CanTimeoutError("no room"), can.CanOperationError("full", errno.ENOBUFS)]
)
def test_a_queue_that_has_room_in_time_takes_the_frame(
    bus: Bus, wire: PythonCanTransport, refusal: Exception
) -> None:
    bus.refusals = [refusal] * 3
    wire.send([FRAME], soon())
    assert [sent.arbitration_id for sent in bus.sent] == [0x10]
    assert wire.health().full == 0


def test_a_queue_that_stays_full_is_a_timeout_and_counted(bus: Bus, wire: PythonCanTransport) -> None:
    bus.refusals = [can.CanTimeoutError("no room")] * 10**6
    with pytest.raises(BusTimeout, match="test bus takes no frames, 2 were left"):
        wire.send([FRAME] * 2, soon(0.01))
    assert wire.health().full == 2


def test_an_adapter_that_is_gone(bus: Bus, wire: PythonCanTransport) -> None:
    bus.refusals = [can.CanOperationError("device vanished", errno.ENODEV)]
    with pytest.raises(BusError, match=r"test bus does not send .*device vanished"):
        wire.send([FRAME], soon())
    for error in (
        can.CanOperationError("closed"),
        caused(can.CanOperationError("wait failed"), OSError(9, "bad")),
    ):
        bus.input.append(error)
        with pytest.raises(BusError, match="test bus does not receive"):
            wire.receive(soon())


@pytest.mark.parametrize(
    "damage",
    [
        ValueError("invalid literal for int() with base 16"),
        caused(can.CanOperationError("could not unpack received message"), TypeError("surplus key")),
        message(dlc=3),
        message(dlc=2, data=b"\1\2\3", is_fd=True),
        message(arbitration_id=0x800),
        message(arbitration_id=-5),
        message(data=bytes(9), dlc=9),
        message(data=bytes(9), dlc=9, is_fd=True),
    ],
)
def test_what_is_no_whole_frame_is_counted_and_costs_nothing_else(
    bus: Bus, wire: PythonCanTransport, damage: Any
) -> None:
    bus.input += [damage, message()]
    assert [frame.data for frame in wire.receive(soon())] == [b"\3"]
    assert wire.health().error_frames == 1


def test_error_frames_tell_the_health(bus: Bus, wire: PythonCanTransport) -> None:
    bus.input += [message(arbitration_id=0x40, is_error_frame=True, data=bytes(8)), message()]
    assert len(wire.receive(soon())) == 1
    assert (wire.health().bus_off, wire.health().state) == (1, "off")


def test_frames_that_the_interface_hands_back_are_not_received(bus: Bus, wire: PythonCanTransport) -> None:
    wire.send([FRAME], soon())
    bus.input += [*bus.sent, message()]
    assert [frame.id for frame in wire.receive(soon())] == [0x11]


def test_a_flood_does_not_keep_it(bus: Bus, wire: PythonCanTransport) -> None:
    bus.input += [message()] * 5000
    assert 0 < len(wire.receive(soon())) < 5000


def test_closing_what_is_gone_is_quiet(bus: Bus, wire: PythonCanTransport) -> None:
    wire.close()
    wire.close()
    assert bus.shut == 1


def test_a_log_level_of_the_root_does_not_make_it_word_each_frame() -> None:
    root = logging.getLogger()
    before = root.level
    root.setLevel(1)
    try:
        wire = open_python_can("virtual", secrets.token_hex(4), 1_000_000)
        assert not logging.getLogger("can.bus").isEnabledFor(can.BusABC.RECV_LOGGING_LEVEL)
        wire.close()
    finally:
        root.setLevel(before)


def test_a_stray_datagram_does_not_end_udp_multicast() -> None:
    pytest.importorskip("msgpack")
    # Not always the same: other machines of the network may run this test at this moment.
    group = f"239.75.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
    try:
        wire = open_python_can("udp_multicast", group, 1_000_000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stray:
            stray.sendto(b"\xc1 no message", (group, 43113))
    except (BusError, OSError) as error:
        pytest.skip(f"this machine has no multicast ({error})")
    deadline_ns = soon()
    while not wire.health().error_frames and time.monotonic_ns() < deadline_ns:
        assert wire.receive(soon(0.1)) == []
    assert wire.health().error_frames == 1
    wire.close()
