"""CANopen's frames: published vectors byte for byte, and noise."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.drives.values import BusCounters, Reaction
from wall_edge_bridge.kinds.cia402 import Cia402Joint, Cia402Settings, codec
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.bus import CycleBus
from wall_edge_bridge.kinds.cia402.objects import State
from wall_edge_bridge.kinds.cia402.readings import DriveReadings
from wall_edge_bridge.kinds.cia402.timing import cycle_ns
from wall_edge_bridge.kinds.cia402.twin.dictionary import Dictionary, Entry, SdoServer
from wall_edge_bridge.sim import VirtualClock, wire_to
from wall_edge_bridge.transport.base import Frame

from tests.drive_cases.rig import START, Rig, load_case


def test_a_node_is_mapped_started_and_commanded_with_the_published_bytes() -> None:
    kind, case = load_case("cia402")
    rig = Rig(kind, case)
    rig.drive.connect()
    rig.sent.clear()
    rig.drive.enable()
    sent = [(frame.id, frame.data.hex()) for frames in rig.sent for frame in frames]
    of_three = [data for identifier, data in sent if identifier == 0x603]
    assert "2300140103020080" in of_three  # RPDO1 off while it is mapped
    assert "2f60600008000000" in of_three  # CSP
    assert of_three.index("2300140103020080") < of_three.index("2f00160000000000")
    assert of_three.index("2300160110004060") < of_three.index("2300160220007a60")
    assert (0, "0103") in sent
    words = [int.from_bytes(bytes.fromhex(data)[:2], "little") for at, data in sent if at == 0x203]
    assert words == sorted(words)
    assert set(words) == {0x06, 0x07, 0x0F}
    target = round(
        (case.joints[2].direction * START[2] + case.joints[2].zero_rad) * case.joints[2].counts_per_rad
    )
    commands = [struct.unpack("<Hi", bytes.fromhex(data))[1] for at, data in sent if at == 0x203]
    assert set(commands) == {target}  # never 0
    preload = "237a6000" + struct.pack("<i", target).hex()
    assert preload in of_three
    assert sent.index((0x603, preload)) < next(i for i, each in enumerate(sent) if each[0] == 0x203)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (0x0000, State.NOT_READY),
        (0x0250, State.DISABLED),
        (0x0231, State.READY),
        (0x0233, State.SWITCHED_ON),
        (0x1237, State.ENABLED),
        (0x0217, State.QUICK_STOP),
        (0x021F, State.FAULT_REACTION),
        (0x0208, State.FAULT),
        (0x0218, State.FAULT),
        (0x0240, State.DISABLED),
        (0x0041, None),
    ],
)
def test_states_by_their_statuswords(status: int, state: State | None) -> None:
    assert obj.state_of(status) is obj.quick_state_of(status) is state


@pytest.mark.parametrize(
    ("code", "name", "reaction"),
    [
        (0x2320, "short_circuit", Reaction.PERSON),
        (0x2345, "current_error_2345", Reaction.PERSON),
        (0x3220, "under_voltage", Reaction.CHECK),
        (0x4310, "motor_over_temperature", Reaction.CHECK),
        (0x8130, "heartbeat_lost", Reaction.ONCE),
        (0x8611, "following_error", Reaction.PERSON),
        (0xFF01, "additional_error_ff01", Reaction.PERSON),
        (0x1000, "generic_error", Reaction.PERSON),
        (0, "fault", Reaction.PERSON),
    ],
)
def test_error_codes_have_names_and_reactions(code: int, name: str, reaction: Reaction) -> None:
    assert obj.fault_of(code) == (name, reaction)


@given(st.integers(0, 0xFFFF))
def test_every_error_code_has_a_name(code: int) -> None:
    assert obj.fault_of(code).name


@given(st.integers(0, 0xFFFF), st.integers(-(1 << 31), (1 << 31) - 1), st.integers(1, 127))
def test_commands_are_six_bytes(control: int, target: int, node: int) -> None:
    frame = codec.command(node, control, target)
    assert frame.id == 0x200 + node
    assert codec.COMMAND.unpack(frame.data) == (control, target)


def test_the_published_ceiling_is_reproduced() -> None:
    seven = [replace(joints()[0], name=f"j{node}", id=node) for node in range(1, 8)]
    assert round(1e9 / cycle_ns(Cia402Settings(), seven)) == 601


def joints() -> list[Cia402Joint]:
    return [Cia402Joint(name=f"j{i}", id=i, lower=-1.0, upper=1.0, max_velocity=1.0) for i in (1, 2)]


@st.composite
def noise(draw: st.DrawFn) -> Frame:
    node = draw(st.sampled_from([0, 1, 2, 3, 127]))
    function = draw(st.sampled_from([0x000, 0x080, 0x180, 0x280, 0x580, 0x600, 0x700]))
    data = draw(st.binary(max_size=8))
    if draw(st.booleans()):
        data = (
            bytes([0x43])
            + draw(st.sampled_from([b"\x64\x60\x00", b"\x41\x60\x00", b"\x3f\x60\x00"]))
            + data[:4]
        )
    flags = {flag: draw(st.booleans()) for flag in ("extended", "remote")}
    return Frame(function | node, data, **flags)


@given(st.booleans(), st.lists(noise(), max_size=30))
def test_noise_raises_nothing_and_only_whole_answers_are_believed(
    synchronous: bool, frames: list[Frame]
) -> None:
    specs = joints()
    readings = DriveReadings(specs)
    bus = CycleBus(Silent(), specs, readings, BusCounters(), VirtualClock())
    bus.set_synchronous(synchronous)
    bus.begin()
    for frame in frames:
        question = bus.take(frame)
        assert question is None or question.id in (0x601, 0x602)
    bus.end()
    for index in range(2):
        assert index in bus.missing or np.isfinite(readings.values.position[index])


class Silent:
    """A wire on which nobody speaks."""

    description = "nobody"

    def receive(self, _: int) -> list[Frame]:
        return []

    def send(self, *_: Any) -> None: ...

    def health(self) -> Any: ...

    def close(self) -> None: ...


@given(st.lists(st.binary(max_size=9), max_size=20))
def test_a_server_answers_noise_with_aborts(requests: list[bytes]) -> None:
    objects = Dictionary()
    objects[0x1008, 0] = Entry("", b"a name of more than seven bytes")
    objects[0x6040, 0] = Entry("H", writable=True)
    server = SdoServer(objects)
    for request in requests:
        answer = server.answer(request)
        assert answer is None or len(answer) == 8


@given(st.binary(min_size=0, max_size=60))
def test_long_objects_come_in_segments_to_canopen(data: bytes) -> None:
    network = pytest.importorskip("wall_edge_bridge.kinds.cia402.network")
    kind, case = load_case("cia402")
    twin = kind.make_twin(case.settings, case.joints, START, timed=False)
    twin.nodes[0].dictionary[obj.NAME, 0].value = data
    clock = VirtualClock()
    wire = network.WireNetwork(wire_to(twin, clock, clock.sleep), clock, lambda _: None, 0.1)
    nodes = network.Nodes(wire, case.joints)
    assert nodes._clients[0].upload(obj.NAME, 0) == data
