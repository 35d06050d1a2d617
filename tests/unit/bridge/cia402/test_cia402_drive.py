"""What is CiA 402's own about its drive; the rest is in the contract suite."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

import pytest
from wall_edge_bridge.drives.values import Reaction
from wall_edge_bridge.kinds import kind_named
from wall_edge_bridge.kinds.cia402 import Cia402Joint, Cia402Settings, codec
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.objects import State
from wall_edge_bridge.kinds.cia402.twin.machine import Machine
from wall_edge_bridge.kinds.cia402.twin.node import Node
from wall_edge_bridge.transport.base import BusHealth, Frame

from tests.drive_cases.rig import START, Rig, load_case
from wall_edge.config_loader import Invalid
from wall_edge.errors import BusTimeout, ConfigError, DriveError


@pytest.fixture
def rig() -> Any:
    kind, case = load_case("cia402")
    return Rig(kind, case)


def enabled(rig: Any) -> Any:
    rig.drive.connect()
    rig.drive.enable()
    rig.cycle(START)
    return rig


@pytest.mark.parametrize("library", ["canopen", "can"])
def test_without_its_library_the_kind_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else find(name))
    with pytest.raises(ConfigError, match=rf"cia402 needs {library}; .*pip install 'wall-edge\[cia402\]'"):
        kind_named("cia402")


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": 0},
        {"id": 128},
        {"counts_per_turn": 1},
        {"gear_ratio": 0.0},
        {"counts_per_turn": 1 << 30, "upper": 20.0},
    ],
)
def test_a_joint_that_no_drive_can_be_is_refused(wrong: dict[str, Any]) -> None:
    common = {"name": "j", "id": 1, "lower": -1.0, "upper": 1.0, "max_velocity": 1.0}
    with pytest.raises(Invalid, match=next(iter(wrong))):
        Cia402Joint(**(common | wrong))


@pytest.mark.parametrize(
    "wrong", [{"data_bitrate": 5_000_000}, {"host_node": 0}, {"sync_ms": 0}, {"sdo_timeout_ms": 0.0}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=next(iter(wrong))):
        Cia402Settings(**wrong)


def test_our_own_id_is_no_joints() -> None:
    kind, case = load_case("cia402")
    settings = dataclasses.replace(case.settings, host_node=3)
    with pytest.raises(ConfigError, match="host_node 3"):
        kind.open_drive(settings, case.joints, None)


def another(node_id: int, rig: Any) -> Node:
    node = Node(node_id, Machine(0.0, 1000.0), rig.twin.replies.put)
    rig.twin.extras.append(node)
    return node


def test_two_drives_with_one_id_are_told_before_anything_is_powered(rig: Any) -> None:
    another(2, rig)
    with pytest.raises(DriveError, match="axis_2: 2 nodes answer as id 2"):
        rig.drive.connect()


def test_a_device_of_another_profile_is_refused_and_found_as_such(rig: Any) -> None:
    rig.twin.nodes[1].dictionary[obj.DEVICE_TYPE, 0].value = 401
    with pytest.raises(DriveError, match=r"axis_2 .*profile 401; expected 402"):
        rig.drive.connect()
    found = list(rig.kind.scan(rig.case.settings, rig.wire, [1, 2]))
    assert [each.kind for each in found] == ["cia402", "canopen profile 401"]
    assert found[0].model == "0x57454447:0x402"
    assert "serial 0x5e0001" in found[0].detail


def test_what_is_on_the_bus_instead_is_told(rig: Any) -> None:
    rig.twin.silence(1)
    rig.twin.replies.put(Frame(0x145, b"\x01"), 0)
    with pytest.raises(BusTimeout, match=r"no answer from axis_2 \(id 2\).*seen: frames 0x145"):
        rig.drive.connect()


def test_drives_without_the_mode_and_limits_beyond_theirs_are_refused(rig: Any) -> None:
    rig.drive.connect()
    rig.drive.check()
    objects = rig.twin.nodes[2].dictionary
    objects[obj.SUPPORTED_MODES, 0].value = 0x25
    with pytest.raises(DriveError, match=r"axis_3 .*modes 0x25; expected cyclic synchronous position"):
        rig.drive.check()
    objects[obj.SUPPORTED_MODES, 0].value = obj.CSP_BIT
    objects[obj.POSITION_LIMITS, 1].value, objects[obj.POSITION_LIMITS, 2].value = -1000, 1000
    with pytest.raises(DriveError, match=r"axis_3 .*counts; expected within the drive's own, -1000 to 1000"):
        rig.drive.check()


def test_the_watchdog_is_the_heartbeats_and_is_read_back(rig: Any) -> None:
    rig.drive.connect()
    assert rig.drive.arm_watchdog(0.25) == 0.25
    for node in rig.twin.nodes:
        objects = node.dictionary
        assert objects[obj.CONSUMER_HEARTBEAT, 1].value == 127 << 16 | 250
        assert objects[obj.ABORT_OPTION, 0].value == obj.RAISE_FAULT
        assert objects[obj.FAULT_REACTION_OPTION, 0].value == obj.QUICK_STOP_RAMP


@pytest.mark.parametrize("missing", [obj.CONSUMER_HEARTBEAT, obj.ABORT_OPTION])
def test_a_drive_that_cannot_watch_is_no_watchdog(rig: Any, missing: int) -> None:
    rig.drive.connect()
    rig.twin.nodes[4].missing.add(missing)
    assert rig.drive.arm_watchdog(0.1) is None
    rig.drive.enable()
    assert rig.cycle(START).limp == ()


def test_a_watchdog_that_reads_back_otherwise_is_refused(rig: Any) -> None:
    rig.drive.connect()
    entry = rig.twin.nodes[0].dictionary[obj.CONSUMER_HEARTBEAT, 1]
    entry.read = lambda: 0
    with pytest.raises(DriveError, match=r"axis_1 .*object 1016:1 is 0x0; expected 0x7f0064, as written"):
        rig.drive.arm_watchdog(0.1)


def test_the_heartbeat_goes_with_commands_only_and_three_times_in_its_time(rig: Any) -> None:
    rig.drive.connect()
    rig.drive.arm_watchdog(0.1)
    enabled(rig)
    rig.sent.clear()
    for _ in range(30):
        rig.cycle(START)
    beats = [frame for frames in rig.sent for frame in frames if frame.id == 0x77F]
    assert beats == [codec.heartbeat(127, 5)] * len(beats)
    assert 7 <= len(beats) <= 10
    rig.sent.clear()
    for _ in range(8):
        rig.cycle()
    assert not [frame for frames in rig.sent for frame in frames if frame.id == 0x77F]


def test_a_lost_heartbeat_is_cleared_by_itself_once(rig: Any) -> None:
    rig.drive.connect()
    rig.drive.arm_watchdog(0.1)
    enabled(rig)
    rig.wait(0.2)
    told = rig.cycle()
    assert {faults[0] for faults in told.faults} == {obj.fault_of(0x8130)}
    assert told.faults[0][0].reaction is Reaction.ONCE
    rig.drive.enable()
    rig.cycle(START)
    rig.wait(0.2)
    rig.cycle()
    with pytest.raises(DriveError, match="heartbeat_lost again"):
        rig.drive.enable()


@pytest.mark.parametrize("emergencies", [True, False])
def test_a_fault_has_its_name_with_and_without_emergency_messages(rig: Any, emergencies: bool) -> None:
    enabled(rig)
    rig.twin.nodes[2].emergencies = emergencies
    rig.twin.set_fault(2, "encoder_error")
    told = rig.cycle(START)
    assert told.faults[2] == (obj.fault_of(0x7305),)
    assert told.limp == ("axis_3",)


def test_a_fault_without_a_code_is_a_fault(rig: Any) -> None:
    enabled(rig)
    rig.twin.nodes[2].emergencies = False
    rig.twin.nodes[2].missing.add(obj.ERROR_CODE)
    rig.twin.set_fault(2, "encoder_error")
    rig.cycle(START)
    assert rig.cycle(START).faults[2][0].name == "fault"


def test_an_emergency_that_was_only_a_warning_passes(rig: Any) -> None:
    enabled(rig)
    rig.twin.replies.put(codec.emergency(2, 0x4210), rig.clock())
    for _ in range(2):
        feedback = rig.cycle(START)
    assert feedback.faults == ((),) * 6
    assert feedback.limp == ()


def test_a_fault_whose_cause_remains_keeps_the_torque_off(rig: Any) -> None:
    rig.drive.connect()
    rig.twin.set_fault(1, "under_voltage")
    rig.twin.nodes[1].machine.cause_remains = True
    with pytest.raises(DriveError, match=r"axis_2 .*keeps under_voltage"):
        rig.drive.enable()
    assert not any(rig.powered())
    rig.twin.nodes[1].machine.cause_remains = False
    rig.drive.enable()
    assert all(rig.powered())


def test_a_drive_that_lost_its_power_is_not_powered_by_a_setpoint(rig: Any) -> None:
    enabled(rig)
    rig.twin.lose_torque(2)
    for _ in range(5):
        assert rig.cycle(START).limp == ("axis_3",)
    rig.twin.nodes[2].machine.state = State.READY  # as somebody else might do
    for _ in range(5):
        rig.cycle(START)
    assert not rig.powered()[2]
    rig.drive.enable()
    assert rig.cycle(START).limp == ()


def test_letting_go_commands_no_drive_to_count_zero(rig: Any) -> None:
    """Drives that read the controlword later than the target would jerk there first."""
    enabled(rig)
    rig.sent.clear()
    rig.drive.disable()
    sent = {frame.id: frame.data for frames in rig.sent for frame in frames}
    commands = [codec.COMMAND.unpack(sent[codec.RPDO1 + joint.id]) for joint in rig.joints]
    assert {control for control, _ in commands} == {obj.DISABLE_VOLTAGE}
    there = [node.machine.position for node in rig.twin.nodes]
    assert [target for _, target in commands] == pytest.approx(there, abs=50)
    assert any(there)


@pytest.mark.parametrize(
    ("said", "rate_hz", "written"), [(None, 250.0, (4, -3)), (None, 400.0, (25, -4)), (2, 250.0, (2, -3))]
)
def test_drives_interpolate_over_the_loops_period(
    said: float | None, rate_hz: float, written: tuple[int, int]
) -> None:
    """2 ms at 250 Hz made each move and stand in turns."""
    kind, case = load_case("cia402")
    settings = Cia402Settings(kind="cia402", sync_ms=said).paced(1 / rate_hz)
    rig = enabled(Rig(kind, dataclasses.replace(case, settings=settings)))
    objects = rig.twin.nodes[0].dictionary
    assert tuple(objects[obj.INTERPOLATION, sub].value for sub in (1, 2)) == written


def test_a_drive_that_stops_quickly_by_itself_is_not_let_go_in_the_middle(rig: Any) -> None:
    """It brakes, or holds: "disable voltage" would drop what it holds."""
    enabled(rig)
    rig.twin.nodes[2].machine._go(State.QUICK_STOP)
    for _ in range(4):
        feedback = rig.cycle(START)
    assert feedback.limp == (rig.joints[2].name,)  # it follows no more
    assert rig.twin.nodes[2].machine.state is State.QUICK_STOP
    rig.drive.disable()
    assert not any(rig.powered())


def test_a_drive_that_holds_already_is_not_let_go_by_enabling_again(rig: Any) -> None:
    enabled(rig)
    other = rig.another_drive()
    other.connect()
    states = []
    for node in rig.twin.nodes:
        go = node.machine._go
        node.machine._go = lambda state, go=go: (states.append(state), go(state))
    other.enable()
    assert set(states) == {State.ENABLED}


def test_other_pdos_of_a_drive_are_switched_off_and_its_memory_left_alone(rig: Any) -> None:
    objects = rig.twin.nodes[0].dictionary
    second = objects[obj.TPDO, 1]
    objects[obj.TPDO + 1, 1] = dataclasses.replace(second, value=0x281)
    enabled(rig)
    assert objects[obj.TPDO + 1, 1].value & obj.NO_PDO
    written = [
        frame.data[1:3] for frames in rig.sent for frame in frames if frame.data[:1] in (b"\x23", b"\x2f")
    ]
    assert b"\x10\x10" not in written  # object 1010 stores


def test_a_stranger_on_the_bus_is_counted_and_a_nodes_heartbeat_is_not(rig: Any) -> None:
    enabled(rig)
    rig.twin.replies.put(Frame(0x701, b"\x05"), rig.clock())
    rig.cycle(START)
    assert rig.drive.counters.foreign == 0
    rig.twin.replies.put(Frame(0x07A, b"\x05"), rig.clock())
    rig.cycle(START)
    assert rig.drive.counters.foreign == 1


def test_ticks_are_counts(rig: Any) -> None:
    joint = rig.joints[0]
    expected = round((joint.direction * START[0] + joint.zero_rad) * 500_000 / 6.283185307179586)
    assert rig.drive.ticks(START)[0] == expected


def test_error_frames_speak_of_a_wrong_bit_rate(rig: Any) -> None:
    rig.wire.trouble = BusHealth(error_frames=12, bus_off=1)
    rig.twin.silence(1)
    with pytest.raises(BusTimeout, match=r"axis_2 .*12 error frames.*bit rate"):
        rig.drive.connect()
    assert (rig.drive.counters.checksum_errors, rig.drive.counters.bus_off) == (12, 1)


@pytest.mark.parametrize("length", range(8))
def test_an_sdo_reply_that_is_cut_off_is_no_answer(rig: Any, length: int) -> None:
    """canopen reads on where such a frame ends: struct.error came out of what configures a drive."""
    rig.drive.connect()
    for nth in range(1, 4):
        rig.twin.replies.change(lambda said: said._replace(data=said.data[:length]), nth)
    with pytest.raises(BusTimeout, match="no answer from"):
        rig.drive.arm_watchdog(0.1)
    assert rig.drive.arm_watchdog(0.1) == 0.1
