"""Faults of Damiao motors, each with the reaction that it needs; the watchdog; changing ids."""

from __future__ import annotations

import numpy as np
import pytest
from wall_edge_bridge.drives import Reaction
from wall_edge_bridge.kinds.damiao import KIND
from wall_edge_bridge.kinds.damiao.registers import (
    ESC_ID,
    FAULTS,
    LOST_COMMUNICATION,
    MST_ID,
    OT_VALUE,
    OV_VALUE,
    TIMEOUT,
    UV_VALUE,
    VBUS,
)

from tests.unit.bridge.damiao.damiao_rig import DamiaoRig
from wall_edge.errors import BusTimeout, DriveError


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_every_fault_is_told_by_name_in_the_next_cycle(fault: object) -> None:
    rig = DamiaoRig()
    rig.enabled()
    rig.twin.set_fault(1, fault.name)  # type: ignore[attr-defined]
    feedback = rig.cycle(0.0)
    assert feedback.faults == ((), (fault,), ())
    assert feedback.limp == ("knee",)


def test_which_faults_clear_by_what() -> None:
    by_reaction = {
        reaction: {state for state, fault in FAULTS.items() if fault.reaction is reaction}
        for reaction in Reaction
    }
    assert by_reaction == {
        Reaction.ONCE: {0xD},
        Reaction.CHECK: {0x8, 0x9, 0xB, 0xC},
        Reaction.PERSON: {0x2, 0x3, 0x4, 0xA, 0xE},
    }


@pytest.mark.parametrize("name", ["over-current", "overload", "sensor fault 3"])
def test_a_person_must_clear_what_may_mean_damage(name: str) -> None:
    rig = DamiaoRig()
    rig.connected()
    rig.twin.set_fault(2, name)
    with pytest.raises(DriveError, match=f"ankle.*{name}.*power-cycle"):
        rig.drive.enable()
    assert rig.twin.motors[2].state != 0
    assert not any(rig.twin.powered(rig.clock()))


@pytest.mark.parametrize(
    ("name", "volts", "said"),
    [
        ("under-voltage", 12.0, "its supply is at 12.0 V, it needs more than 15 V"),
        ("over-voltage", 33.0, "its supply is at 33.0 V, it bears less than 32 V"),
    ],
)
def test_a_voltage_fault_clears_when_the_supply_is_well_again(name: str, volts: float, said: str) -> None:
    rig = DamiaoRig()
    rig.connected()
    rig.twin.set_fault(0, name)
    rig.twin.motors[0].registers[VBUS] = volts
    with pytest.raises(DriveError, match=f"hip.*{said}"):
        rig.drive.enable()
    rig.twin.motors[0].registers[VBUS] = 24.0
    rig.drive.enable()
    assert all(rig.twin.powered(rig.clock()))


def test_a_voltage_that_is_not_told_clears_nothing() -> None:
    rig = DamiaoRig()
    rig.twin.motors[0].mute = {VBUS}
    rig.connected()
    rig.twin.set_fault(0, "under-voltage")
    with pytest.raises(DriveError, match="does not tell its voltage"):
        rig.drive.enable()


@pytest.mark.parametrize(("name", "mute"), [("under-voltage", UV_VALUE), ("over-voltage", OV_VALUE)])
def test_a_voltage_whose_limit_is_not_told_clears_nothing(name: str, mute: int) -> None:
    """Lost once: without a limit any voltage passed."""
    rig = DamiaoRig()
    rig.twin.motors[0].mute = {mute}
    rig.connected()
    rig.twin.set_fault(0, name)
    with pytest.raises(DriveError, match="does not tell at what voltage it gives up"):
        rig.drive.enable()


@pytest.mark.parametrize(
    ("name", "part"), [("MOS over-temperature", "mos"), ("rotor over-temperature", "rotor_temperature")]
)
def test_a_hot_motor_is_enabled_when_it_has_cooled(name: str, part: str) -> None:
    rig = DamiaoRig()
    rig.connected()
    setattr(rig.twin.motors[0], part, 90.0)
    rig.twin.set_fault(0, name)
    with pytest.raises(DriveError, match=r"hip.*it is at 90 °C, wait until it is below 85 °C"):
        rig.drive.enable()
    rig.clock.sleep(rig.clock() + 60 * 10**9)
    rig.drive.enable()
    assert all(rig.twin.powered(rig.clock()))


def test_a_motor_under_load_warms_and_protects_itself() -> None:
    rig = DamiaoRig()
    rig.enabled(1000.0)
    rig.twin.motors[0].rotor.load = -8.0
    before = rig.cycle(0.0).temperature
    rig.clock.sleep(rig.clock() + 5 * 10**9)
    warm = rig.cycle(0.0).temperature
    assert warm[0] > before[0] + 2
    assert warm[1] == before[1]
    rig.twin.motors[0].registers[OT_VALUE] = warm[0]
    rig.clock.sleep(rig.clock() + 5 * 10**9)
    assert rig.cycle(0.0).faults[0][0].name == "rotor over-temperature"


def test_a_motor_that_refuses_its_torque_leaves_all_as_they_were() -> None:
    rig = DamiaoRig()
    rig.connected()
    rig.twin.motors[1].registers[VBUS] = 10.0
    with pytest.raises(DriveError, match=r"knee \(id 2\) reports under-voltage after it was enabled"):
        rig.drive.enable()
    assert not any(rig.twin.powered(rig.clock()))


def test_the_watchdog_counts_in_50_microseconds_and_is_read_back() -> None:
    rig = DamiaoRig()
    drive = rig.connected()
    assert drive.arm_watchdog(0.1) == 0.1
    assert [motor.registers[TIMEOUT] for motor in rig.twin.motors] == [2000] * 3
    assert [motor.memory.flash[TIMEOUT] for motor in rig.twin.motors] == [0] * 3
    assert drive.arm_watchdog(0.00012) == pytest.approx(0.00015)
    rig.twin.motors[1].mute = {TIMEOUT}
    with pytest.raises(DriveError, match=r"knee.*watchdog reads back None"):
        drive.arm_watchdog(0.1)


def test_when_the_host_is_gone_every_motor_lets_go_in_its_time_and_is_cleared_once() -> None:
    rig = DamiaoRig()
    drive = rig.enabled(0.1)
    for _ in range(10):
        rig.cycle(0.0)
    rig.clock.sleep(rig.clock() + 95_000_000)
    assert all(rig.twin.powered(rig.clock()))
    rig.clock.sleep(rig.clock() + 10_000_000)
    assert not any(rig.twin.powered(rig.clock()))
    assert [motor.state for motor in rig.twin.motors] == [LOST_COMMUNICATION] * 3
    feedback = rig.cycle(0.5)
    assert feedback.limp == ("hip", "knee", "ankle")
    assert {fault.name for faults in feedback.faults for fault in faults} == {"lost communication"}
    np.testing.assert_allclose(rig.twin.positions(rig.clock()), 0.0, atol=0.01)
    drive.enable()
    assert all(rig.twin.powered(rig.clock()))
    rig.clock.sleep(rig.clock() + 200_000_000)
    with pytest.raises(DriveError, match="lost communication again"):
        drive.enable()


def test_refreshes_alone_do_not_feed_the_watchdog() -> None:
    rig = DamiaoRig()
    rig.enabled(0.1)
    for _ in range(15):
        rig.cycle()
    assert not any(rig.twin.powered(rig.clock()))


def test_an_id_is_set_with_its_feedback_id_saved_and_read_back() -> None:
    rig = DamiaoRig()
    KIND.set_id(rig.settings, rig.wire, 2, 7, clock=rig.clock)  # type: ignore[misc]
    motor = rig.twin.motors[1]
    assert (motor.memory.flash[ESC_ID], motor.memory.flash[MST_ID], motor.saves) == (7, 0x17, 1)
    rig.twin.motors[2].registers[MST_ID] = 0
    KIND.set_id(rig.settings, rig.wire, 3, 3, clock=rig.clock)  # type: ignore[misc]
    assert rig.twin.motors[2].memory.flash[MST_ID] == 0x13


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (1, 2, "a motor has id 2 already"),
        (1, 0, "id 0"),
        (1, 16, "id 16"),
        (200, 4, "id 200"),
        (9, 5, "answers as id 9"),
    ],
)
def test_an_id_that_cannot_be_is_refused(old: int, new: int, said: str) -> None:
    rig = DamiaoRig()
    before = [motor.writable() for motor in rig.twin.motors]
    with pytest.raises((DriveError, BusTimeout), match=said):
        KIND.set_id(rig.settings, rig.wire, old, new, clock=rig.clock)  # type: ignore[misc]
    assert [motor.writable() for motor in rig.twin.motors] == before


def test_an_id_on_which_another_motor_answers_or_whose_answers_another_hears_is_refused() -> None:
    rig = DamiaoRig()
    rig.twin.motors[1].registers[MST_ID] = 9
    with pytest.raises(DriveError, match="motor 2 answers on 0x9"):
        KIND.set_id(rig.settings, rig.wire, 1, 9, clock=rig.clock)  # type: ignore[misc]
    rig.twin.motors[2].registers[ESC_ID] = 0x15
    with pytest.raises(DriveError, match="a motor has id 21 already, which would hear"):
        KIND.set_id(rig.settings, rig.wire, 1, 5, clock=rig.clock)  # type: ignore[misc]


def test_the_id_of_a_motor_under_torque_is_left_alone() -> None:
    rig = DamiaoRig()
    rig.enabled()
    with pytest.raises(DriveError, match="motor 2 has torque"):
        KIND.set_id(rig.settings, rig.wire, 2, 7, clock=rig.clock)  # type: ignore[misc]


def test_the_flash_of_a_motor_under_torque_is_not_written() -> None:
    rig = DamiaoRig()
    rig.enabled()
    motor = rig.twin.motors[0]
    assert not rig.drive._bus.save(1)
    assert motor.saves == 0


def test_a_scan_tells_model_mode_voltage_and_where_a_motor_answers() -> None:
    rig = DamiaoRig()
    found = list(KIND.scan(rig.settings, rig.wire, KIND.ids, clock=rig.clock))
    assert [(each.id, each.model) for each in found] == [(i, "DM3507 or DM4310") for i in (1, 2, 3)]
    assert "answers on 0x11" in found[0].detail
    assert "mode MIT" in found[0].detail
    assert "24.0 V" in found[0].detail
    assert not any(rig.twin.powered(rig.clock()))
    rig.twin.motors[1].robstride = True
    found = list(KIND.scan(rig.settings, rig.wire, KIND.ids, clock=rig.clock))
    assert [(each.id, each.kind) for each in found] == [(1, "damiao"), (3, "damiao"), (2, "robstride")]
