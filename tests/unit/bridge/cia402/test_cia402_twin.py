"""The simulated CiA 402 drive is as strict as real ones: each test names what a careless master does."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from wall_edge_bridge.kinds.cia402 import Cia402Joint, Cia402Settings, codec
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.objects import State
from wall_edge_bridge.kinds.cia402.twin import Cia402Twin
from wall_edge_bridge.transport.base import Frame

MS = 1_000_000
JOINT = Cia402Joint(name="j1", id=3, lower=-3.0, upper=3.0, max_velocity=1.0)
ABORTED = 0x80


class Box:
    """One drive, and who talks to it by hand."""

    def __init__(self, position: float = 1.0) -> None:
        self.twin = Cia402Twin(Cia402Settings(), [JOINT], [position])
        self.node = self.twin.nodes[0]
        self.machine = self.node.machine
        self.now = 0

    def send(self, identifier: int, data: bytes = b"") -> list[Frame]:
        return self.twin.handle(Frame(identifier, data), self.now)

    def wait(self, ms: float) -> list[Frame]:
        self.now += round(ms * MS)
        return self.twin.collect(self.now)

    def read(self, index: int, sub: int = 0) -> int:
        [frame] = self.send(0x603, struct.pack("<BHB4x", 0x40, index, sub))
        assert frame.id == 0x583
        assert frame.data[0] & 0xE0 == 0x40, frame.data.hex()
        return int.from_bytes(frame.data[4:], "little")

    def write(self, index: int, sub: int, form: str, value: int) -> int:
        """0, or the abort code."""
        data = struct.pack("<" + form, value)
        first = 0x23 | (4 - len(data)) << 2
        [frame] = self.send(0x603, struct.pack("<BHB", first, index, sub) + data.ljust(4, b"\0"))
        return int.from_bytes(frame.data[4:], "little") if frame.data[0] == ABORTED else 0

    def map(self, kind: int = 1) -> None:
        for parameters, mapping, cob, entries in (
            (obj.RPDO, obj.RPDO_MAP, 0x203, (0x60400010, 0x607A0020)),
            (obj.TPDO, obj.TPDO_MAP, 0x183, (0x60410010, 0x60640020)),
        ):
            assert self.write(parameters, 1, "I", obj.NO_PDO | cob) == 0
            assert self.write(mapping, 0, "B", 0) == 0
            for sub, entry in enumerate(entries, 1):
                assert self.write(mapping, sub, "I", entry) == 0
            assert self.write(mapping, 0, "B", len(entries)) == 0
            assert self.write(parameters, 2, "B", kind if parameters == obj.RPDO else 1) == 0
            assert self.write(parameters, 1, "I", cob) == 0
        assert self.write(obj.MODE, 0, "b", obj.CSP) == 0
        self.send(0, bytes([obj.NMT_START, 3]))

    def command(self, word: int, target: int, sync: bool = True) -> State:
        self.send(0x203, struct.pack("<Hi", word, target))
        if sync:
            self.send(codec.SYNC_ID)
        return self.machine.state

    def enable(self, target: int | None = None) -> None:
        self.map()
        goal = self.machine.position if target is None else target
        for word in (obj.SHUTDOWN, obj.SWITCH_ON, obj.ENABLE_OPERATION):
            self.command(word, goal)


def test_the_published_way_up_and_down() -> None:
    box = Box()
    box.map()
    here = box.machine.position
    for word, status in ((0x06, 0x31), (0x07, 0x33), (0x0F, 0x37), (0x02, 0x17)):
        box.command(word, here)
        assert box.read(obj.STATUS) & 0xFF == status
    box.node.fail(0x8611)
    box.wait(30)
    assert box.read(obj.STATUS) & 0x4F == 0x08
    box.command(0x80, here)
    assert box.read(obj.STATUS) & 0x4F == 0x40


def test_a_reset_needs_its_edge_and_its_cause_gone() -> None:
    box = Box()
    box.map()
    box.command(obj.FAULT_RESET, 0)
    box.node.fail(0x3220)
    assert box.command(obj.FAULT_RESET, 0) is State.FAULT
    box.machine.cause_remains = True
    box.command(0, 0)
    assert box.command(obj.FAULT_RESET, 0) is State.FAULT
    box.machine.cause_remains = False
    assert box.command(0, 0) is State.FAULT
    assert box.command(obj.FAULT_RESET, 0) is State.DISABLED


def test_a_drive_that_is_enabled_without_a_target_goes_to_count_zero() -> None:
    """As canopen's BaseNode402 does it."""
    box = Box(1.0)
    box.enable(target=0)
    box.wait(500)
    assert box.machine.rotor.position == pytest.approx(0.0, abs=0.01)


def test_a_synchronous_command_waits_for_sync_and_another_does_not() -> None:
    """A master that never sends SYNC never moves a drive of transmission type 1."""
    box = Box()
    box.map(kind=1)
    assert box.command(obj.SHUTDOWN, 0, sync=False) is State.DISABLED
    box.send(codec.SYNC_ID)
    assert box.machine.state is State.READY
    box = Box()
    box.map(kind=255)
    assert box.command(obj.SHUTDOWN, 0, sync=False) is State.READY


def test_process_data_flow_in_operation_only_and_carry_what_is_mapped() -> None:
    box = Box()
    box.map()
    box.send(0, bytes([obj.NMT_PREPARE, 3]))
    assert box.send(codec.SYNC_ID) == []
    box.send(0, bytes([obj.NMT_START, 0]))
    [frame] = box.send(codec.SYNC_ID)
    assert (frame.id, len(frame.data)) == (0x183, 6)
    assert struct.unpack("<Hi", frame.data) == (box.machine.status, box.machine.position)
    box.send(0, bytes([obj.NMT_STOP, 3]))
    assert box.send(0x603, bytes.fromhex("4000100000000000")) == []


@pytest.mark.parametrize(
    ("attempt", "code"),
    [
        (lambda box: box.write(obj.RPDO_MAP, 1, "I", 0x60400010), 0x08000022),
        (lambda box: box.write(obj.RPDO_MAP, 0, "B", 0), 0x08000022),
        (lambda box: box.write(obj.STATUS, 0, "H", 0), 0x06010002),
        (lambda box: box.write(obj.CONTROL, 0, "I", 0), 0x06070012),
        (lambda box: box.write(obj.CONTROL, 0, "B", 0), 0x06070013),
        (lambda box: box.write(0x5FFF, 0, "B", 0), 0x06020000),
        (lambda box: box.write(obj.RPDO, 9, "B", 0), 0x06090011),
        (lambda box: box.write(obj.MODE, 0, "b", 1), 0x06090030),
    ],
)
def test_what_is_not_allowed_is_aborted(attempt: Callable[[Box], int], code: int) -> None:
    box = Box()
    box.map()
    assert attempt(box) == code


def test_a_mapping_of_what_cannot_be_mapped_is_aborted() -> None:
    box = Box()
    box.write(obj.RPDO_MAP, 0, "B", 0)
    assert box.write(obj.RPDO_MAP, 1, "I", 0x60410010) == 0x06040041  # a statusword is not written
    assert box.write(obj.RPDO_MAP, 1, "I", 0x60400020) == 0x06040041  # of another size
    assert box.write(obj.RPDO_MAP, 0, "B", 9) == 0x06040042


def test_a_command_that_is_too_short_is_an_emergency() -> None:
    box = Box()
    box.map()
    [frame] = box.send(0x203, b"\x06\x00")
    assert (frame.id, frame.data[:2].hex()) == (0x083, "1082")


def test_the_heartbeat_is_watched_from_the_first_one_on() -> None:
    box = Box()
    box.write(obj.CONSUMER_HEARTBEAT, 1, "I", 127 << 16 | 100)
    box.write(obj.ABORT_OPTION, 0, "h", obj.RAISE_FAULT)
    box.enable()
    assert box.wait(500) == []
    assert box.machine.state is State.ENABLED
    box.send(0x77F, b"\x05")
    box.wait(90)
    box.send(0x77E, b"\x05")  # another's
    box.wait(5)
    assert box.machine.state is State.ENABLED
    [frame] = box.wait(10)
    assert (frame.id, frame.data[:2].hex()) == (0x083, "3081")
    box.wait(30)
    assert box.machine.state is State.FAULT
    assert box.node.state == obj.PRE_OPERATIONAL


def test_a_fault_brakes_first_where_it_is_set_so() -> None:
    box = Box()
    box.write(obj.FAULT_REACTION_OPTION, 0, "h", obj.QUICK_STOP_RAMP)
    box.enable()
    box.node.fail(0x2320)
    assert box.machine.state is State.FAULT_REACTION
    box.wait(30)
    assert box.machine.state is State.FAULT


def test_a_reset_forgets_and_says_so() -> None:
    box = Box()
    box.enable()
    box.send(0, bytes([obj.NMT_RESET, 3]))
    assert box.machine.state is State.DISABLED
    [frame] = box.wait(150)
    assert (frame.id, frame.data) == (0x703, b"\0")
    assert box.send(codec.SYNC_ID) == []
    assert box.read(obj.RPDO, 1) & obj.NO_PDO
