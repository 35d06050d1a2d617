"""Our drive operates a CANopen node of others: durand, unmodified, over python-can in real time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

can = pytest.importorskip("can")
durand = pytest.importorskip("durand")
pytest.importorskip("canopen")

from durand.datatypes import DatatypeEnum as DT  # noqa: E402
from durand.network import CANBusNetwork  # noqa: E402
from durand.node import MinimalNodeCapabilities  # noqa: E402
from durand.object_dictionary import Record, Variable  # noqa: E402
from wall_edge_bridge.drives.values import Setpoints  # noqa: E402
from wall_edge_bridge.kinds.cia402 import KIND, Cia402Joint, Cia402Settings  # noqa: E402
from wall_edge_bridge.transport.python_can import open_python_can  # noqa: E402

from tests.peers.cia402_motor import IdealMotor  # noqa: E402
from wall_edge.errors import DriveError  # noqa: E402

CHANNEL = "durand-judge"
SETTINGS = Cia402Settings(timeout_ms=300.0, sdo_timeout_ms=500.0)
JOINTS = [
    Cia402Joint(name=f"axis_{node}", id=node, lower=-3.0, upper=3.0, max_velocity=1.0, counts_per_turn=4096)
    for node in (3, 5)
]
START = (1000, -500)


class Servo:
    """A durand node with the objects of a drive."""

    def __init__(self, network: Any, node_id: int, position: int) -> None:
        self.motor = IdealMotor(position)
        self.node = durand.Node(network, node_id, capabilities=MinimalNodeCapabilities)
        self.objects = self.node.object_dictionary
        self.objects[0x1000] = Variable(DT.UNSIGNED32, "ro", 0x0002_0192)
        watch = Record(name="Consumer Heartbeat Time")
        watch[1] = Variable(DT.UNSIGNED32, "rw", 0)
        self.objects[0x1016] = watch
        for index, datatype, access in (
            (0x6007, DT.INTEGER16, "rw"),
            (0x603F, DT.UNSIGNED16, "ro"),
            (0x6040, DT.UNSIGNED16, "rw"),
            (0x6041, DT.UNSIGNED16, "ro"),
            (0x605E, DT.INTEGER16, "rw"),
            (0x6060, DT.INTEGER8, "rw"),
            (0x6061, DT.INTEGER8, "ro"),
            (0x6064, DT.INTEGER32, "ro"),
            (0x607A, DT.INTEGER32, "rw"),
        ):
            self.objects[index] = Variable(datatype, access)
        self.objects.download_callbacks[0x6040, 0].add(self._control)
        self.objects.download_callbacks[0x607A, 0].add(self._move)
        self.objects.download_callbacks[0x6060, 0].add(lambda mode: self.objects.write(0x6061, 0, mode))
        self.tell()

    def _control(self, word: int) -> None:
        self.motor.control(word)
        self.tell()

    def _move(self, target: int) -> None:
        self.motor.move(target)
        self.tell()

    def tell(self) -> None:
        self.objects.write(0x6041, 0, self.motor.status)
        self.objects.write(0x6064, 0, self.motor.position)


@pytest.fixture
def servos() -> Iterator[list[Servo]]:
    networks = [CANBusNetwork(can.Bus(interface="virtual", channel=CHANNEL)) for _ in JOINTS]
    yield [
        Servo(network, joint.id, position)
        for network, joint, position in zip(networks, JOINTS, START, strict=True)
    ]
    for network in networks:
        network.stop()
        network._bus.shutdown()


@pytest.fixture
def drive(servos: list[Servo]) -> Iterator[Any]:  # noqa: ARG001 - they answer it
    drive = KIND.open_drive(SETTINGS, JOINTS, open_python_can("virtual", CHANNEL, 1_000_000))
    yield drive
    drive.close()


def cycle(drive: Any, position: Any = None) -> Any:
    setpoints = None if position is None else Setpoints.hold(position)
    return drive.cycle(setpoints, time.monotonic_ns() + 300_000_000)


def test_its_nodes_are_connected_to_checked_and_found(drive: Any) -> None:
    drive.connect()
    drive.check()
    np.testing.assert_allclose(cycle(drive).position, np.array(START) / 4096 * 2 * np.pi, atol=1e-9)
    found = list(KIND.scan(SETTINGS, drive._bus.wire, [3, 4, 5]))
    assert [(each.id, each.kind) for each in found] == [(3, "cia402"), (5, "cia402")]


def test_its_pdos_are_mapped_and_move_its_motors_from_where_they_stand(
    drive: Any, servos: list[Servo]
) -> None:
    drive.connect()
    drive.enable()
    assert [servo.motor.state for servo in servos] == ["enabled", "enabled"]
    assert [servo.motor.position for servo in servos] == list(START)
    for step in range(20):
        goal = np.array([0.05 * step, -0.04 * step])
        cycle(drive, goal)
    feedback = cycle(drive, goal)
    np.testing.assert_allclose(feedback.position, goal, atol=2e-3)
    assert feedback.limp == ()
    words = servos[0].motor.words
    assert words == sorted(words)
    assert set(words) == {0x06, 0x07, 0x0F}
    drive.disable()
    assert [servo.motor.state for servo in servos] == ["disabled", "disabled"]


def test_its_watchdog_objects_are_written_and_read_back(drive: Any, servos: list[Servo]) -> None:
    drive.connect()
    assert drive.arm_watchdog(0.25) == 0.25
    assert servos[1].objects.read(0x1016, 1) == 127 << 16 | 250
    assert servos[1].objects.read(0x6007, 0) == 1


def test_its_emergency_names_the_fault_and_a_person_must_clear_it(drive: Any, servos: list[Servo]) -> None:
    drive.connect()
    drive.enable()
    servo = servos[1]
    servo.motor.state = "fault"
    servo.objects.write(0x603F, 0, 0x2310)
    servo.tell()
    servo.node.emcy.set(0x2310, 2)
    feedback = cycle(drive, np.array([1.0, -0.5]))
    assert [[fault.name for fault in faults] for faults in feedback.faults] == [[], ["over_current"]]
    assert feedback.limp == ("axis_5",)
    drive.disable()
    with pytest.raises(DriveError, match=r"axis_5 .*over_current"):
        drive.enable()


def test_a_communication_fault_is_reset_by_its_edge(drive: Any, servos: list[Servo]) -> None:
    drive.connect()
    servos[0].motor.state = "fault"
    servos[0].objects.write(0x603F, 0, 0x8130)
    servos[0].tell()
    assert cycle(drive).faults[0][0].name == "heartbeat_lost"
    drive.enable()
    assert 0x80 in servos[0].motor.words
    assert servos[0].motor.state == "enabled"
    drive.disable()
