"""canopen, unmodified, on both sides: our drive operates its LocalNode, its BaseNode402 our twin."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

can = pytest.importorskip("can")
canopen = pytest.importorskip("canopen")

from canopen import objectdictionary as od  # noqa: E402
from canopen.profiles.p402 import BaseNode402  # noqa: E402
from wall_edge_bridge.drives.values import Setpoints  # noqa: E402
from wall_edge_bridge.kinds.cia402 import KIND, Cia402Joint, Cia402Settings  # noqa: E402
from wall_edge_bridge.kinds.cia402.objects import State  # noqa: E402
from wall_edge_bridge.transport.python_can import open_python_can  # noqa: E402

from tests.peers.can_motors import serving  # noqa: E402
from tests.peers.cia402_motor import IdealMotor  # noqa: E402
from wall_edge.errors import BusTimeout, DriveError  # noqa: E402

CHANNEL = "canopen-judge"
SETTINGS = Cia402Settings(timeout_ms=300.0, sdo_timeout_ms=500.0)
JOINT = Cia402Joint(name="axis", id=7, lower=-3.0, upper=3.0, max_velocity=1.0, counts_per_turn=4096)
START = 1234
_SINGLE = (
    (0x1000, od.UNSIGNED32, 0x0002_0192),
    (0x1005, od.UNSIGNED32, 0x80),
    (0x1017, od.UNSIGNED16, 0),
    (0x6007, od.INTEGER16, 0),
    (0x603F, od.UNSIGNED16, 0),
    (0x6040, od.UNSIGNED16, 0),
    (0x6041, od.UNSIGNED16, 0),
    (0x605E, od.INTEGER16, 2),
    (0x6060, od.INTEGER8, 0),
    (0x6061, od.INTEGER8, 8),
    (0x6064, od.INTEGER32, START),
    (0x607A, od.INTEGER32, 0),
    (0x6502, od.UNSIGNED32, 0x80),
)
_RECORDS = (
    (0x1016, ((od.UNSIGNED32, 0),)),
    (0x1018, ((od.UNSIGNED32, 0x1234), (od.UNSIGNED32, 5), (od.UNSIGNED32, 6), (od.UNSIGNED32, 7))),
    (0x1400, ((od.UNSIGNED32, 0x8000_0207), (od.UNSIGNED8, 1))),
    (0x1600, ((od.UNSIGNED32, 0),) * 8),
    (0x1800, ((od.UNSIGNED32, 0x8000_0187), (od.UNSIGNED8, 1))),
    (0x1A00, ((od.UNSIGNED32, 0),) * 8),
)


def variable(index: int, sub: int, data_type: int, default: int) -> Any:
    made = od.ODVariable(f"x{index:04X}_{sub}", index, sub)
    made.data_type, made.default, made.access_type = data_type, default, "rw"
    return made


def dictionary() -> Any:
    objects = od.ObjectDictionary()
    for index, data_type, default in _SINGLE:
        objects.add_object(variable(index, 0, data_type, default))
    for index, members in _RECORDS:
        record = od.ODRecord(f"x{index:04X}", index)
        record.add_member(variable(index, 0, od.UNSIGNED8, 0 if index in (0x1600, 0x1A00) else len(members)))
        for sub, (data_type, default) in enumerate(members, 1):
            record.add_member(variable(index, sub, data_type, default))
        objects.add_object(record)
    return objects


class Servo:
    """A LocalNode, and what it leaves to its user: SYNC, when to read its PDOs, and the motor."""

    def __init__(self, network: Any) -> None:
        self.motor = IdealMotor(START)
        self.node = network.create_node(JOINT.id, dictionary())
        self.node.add_read_callback(self._read)
        self.node.add_write_callback(self._write)
        self.held: bytes | None = None
        network.subscribe(0x000, self._manage)
        network.subscribe(0x080, self._sync)

    def _read(self, index: int, **_: Any) -> int | None:
        return {0x6041: self.motor.status, 0x6064: self.motor.position}.get(index)

    def _write(self, index: int, data: bytes, **_: Any) -> None:
        if index == 0x6040:
            self.motor.control(int.from_bytes(data, "little"))
        elif index == 0x607A:
            self.motor.move(int.from_bytes(data, "little", signed=True))

    def _manage(self, _: int, data: bytes, __: float) -> None:
        if data[0] == 1:
            self.node.rpdo.read()
            self.node.tpdo.read()
            self.node.rpdo[1].add_callback(lambda pdo: setattr(self, "held", bytes(pdo.data)))

    def _sync(self, *_: Any) -> None:
        if self.held is not None:
            word, target = self.node.rpdo[1].map
            self.held = None
            self.motor.control(word.raw)
            self.motor.move(target.raw)
        if self.node.nmt.state == "OPERATIONAL":
            status, position = self.node.tpdo[1].map
            status.raw, position.raw = self.motor.status, self.motor.position
            self.node.tpdo[1].transmit()


@pytest.fixture
def network() -> Iterator[Any]:
    network = canopen.Network(can.Bus(interface="virtual", channel=CHANNEL))
    network.NOTIFIER_CYCLE = 0.05
    network.connect()
    yield network
    network.disconnect()


def cycle(drive: Any, position: Any = None) -> Any:
    setpoints = None if position is None else Setpoints.hold(position)
    return drive.cycle(setpoints, time.monotonic_ns() + 300_000_000)


def test_our_drive_operates_a_local_node(network: Any) -> None:
    servo = Servo(network)
    drive = KIND.open_drive(SETTINGS, [JOINT], open_python_can("virtual", CHANNEL, 1_000_000))
    drive.connect()
    drive.check()
    assert drive.arm_watchdog(0.2) == 0.2
    np.testing.assert_allclose(cycle(drive).position, START / 4096 * 2 * np.pi, atol=1e-9)
    drive.enable()
    assert servo.node.data_store[0x1016][1] == (127 << 16 | 200).to_bytes(4, "little")
    assert servo.node.data_store[0x1600][2] == bytes.fromhex("20007a60")
    assert (servo.motor.state, servo.motor.position) == ("enabled", START)
    for step in range(30):
        feedback = cycle(drive, [1.9 + 0.01 * step])
    feedback = cycle(drive, [2.19])
    np.testing.assert_allclose(feedback.position, [2.19], atol=2e-3)
    drive.disable()
    assert servo.motor.state == "disabled"
    drive.close()


def test_an_object_that_it_refuses_is_named(network: Any) -> None:
    servo = Servo(network)
    servo.node.object_dictionary[0x6060].access_type = "ro"
    refused = canopen.SdoAbortedError(0x06010002)

    def refuse(index: int, **_: Any) -> None:
        if index == 0x6060:
            raise refused

    servo.node.add_write_callback(refuse)
    drive = KIND.open_drive(SETTINGS, [JOINT], open_python_can("virtual", CHANNEL, 1_000_000))
    drive.connect()
    with pytest.raises(DriveError, match=r"axis .*refuses object 6060:0: .*read only"):
        drive.enable()
    assert servo.motor.state == "disabled"
    drive.close()


def test_nobody_there_is_a_timeout() -> None:
    drive = KIND.open_drive(SETTINGS, [JOINT], open_python_can("virtual", "canopen-nobody", 1_000_000))
    with pytest.raises(BusTimeout, match=r"axis \(id 7\)"):
        drive.connect()
    drive.close()


@pytest.fixture
def twin() -> Iterator[Any]:
    twin = KIND.make_twin(SETTINGS, [JOINT], [0.5])
    with serving(twin, CHANNEL):
        yield twin


def test_canopen_reads_our_simulated_drive_and_finds_it(network: Any, twin: Any) -> None:
    node = network.add_node(JOINT.id, dictionary())
    assert node.sdo[0x1000].raw & 0xFFFF == 402
    assert node.sdo[0x6064].raw == twin.nodes[0].machine.position
    assert node.sdo.upload(0x1008, 0) == b"wall-edge simulated CiA 402 drive"
    with pytest.raises(canopen.SdoAbortedError, match="0x06020000"):
        node.sdo.upload(0x5FFF, 0)
    network.scanner.search()
    time.sleep(0.2)
    assert network.scanner.nodes == [JOINT.id]


def test_its_402_profile_operates_our_simulated_drive(network: Any, twin: Any) -> None:
    """With its PDO configuration as written, its state machine by SYNC, and the target that it forgets."""
    node = BaseNode402(JOINT.id, dictionary())
    network.add_node(node)
    node.nmt.state = "PRE-OPERATIONAL"
    node.rpdo.read()
    node.tpdo.read()
    for pdo, names in ((node.rpdo[1], ("x6040_0", "x607A_0")), (node.tpdo[1], ("x6041_0", "x6064_0"))):
        pdo.clear()
        for name in names:
            pdo.add_variable(name)
        pdo.trans_type, pdo.enabled = 1, True
        pdo.save()
    node.sdo[0x6060].raw = 8
    node.nmt.state = "OPERATIONAL"
    machine = twin.nodes[0].machine
    node.rpdo[1]["x607A_0"].raw = machine.position  # it would send 0
    for word, state in ((0x06, State.READY), (0x07, State.SWITCHED_ON), (0x0F, State.ENABLED)):
        node.rpdo[1]["x6040_0"].raw = word
        node.rpdo[1].transmit()
        network.sync.transmit()
        node.tpdo[1].wait_for_reception(1.0)
        assert machine.state is state
    node.rpdo[1]["x607A_0"].raw = 1000
    node.rpdo[1].transmit()
    network.sync.transmit()
    time.sleep(0.3)
    network.sync.transmit()
    node.tpdo[1].wait_for_reception(1.0)
    assert node.tpdo[1]["x6064_0"].raw == pytest.approx(1000, abs=5)
