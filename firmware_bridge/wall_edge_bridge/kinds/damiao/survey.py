"""What a bus of Damiao motors says of itself before anything is powered, and why somebody is silent."""

from __future__ import annotations

from collections.abc import Sequence

from wall_edge.errors import BusTimeout, DriveError
from wall_edge_bridge.kinds.damiao.bus import Answer, DamiaoBus
from wall_edge_bridge.kinds.damiao.motor import Facts
from wall_edge_bridge.kinds.damiao.registers import (
    MST_ID,
    OT_VALUE,
    OV_VALUE,
    PMAX,
    REGISTERS,
    SN,
    SW_VER,
    TMAX,
    UV_VALUE,
    VBUS,
    VMAX,
    Ranges,
)
from wall_edge_bridge.kinds.damiao.settings import DamiaoJoint
from wall_edge_bridge.kinds.exchange import bus_trouble
from wall_edge_bridge.transport import FrameTransport

_LISTEN_NS = 5_000_000
"""How long a second motor of one id may take after the first."""


def survey(bus: DamiaoBus, wire: FrameTransport, joints: Sequence[DamiaoJoint]) -> list[Facts]:
    """Of each joint's motor. Writes nothing. Raises BusTimeout for those that are silent, DriveError."""
    ids = [joint.id for joint in joints]
    bus.others.clear()
    answers = bus.read(MST_ID, ids, listen_ns=_LISTEN_NS)
    if silent := [joint for joint in joints if not answers[joint.id]]:
        raise _silence(bus, wire, silent)
    for joint in joints:
        _require_one(bus, joint, answers[joint.id], ids)
    needed = {register: bus.read(register, ids) for register in (PMAX, VMAX, TMAX)}
    told = {
        register: bus.read(register, ids, attempts=2)
        for register in (SW_VER, SN, UV_VALUE, OV_VALUE, OT_VALUE, VBUS)
    }

    def value(register: int, motor: int) -> float | None:
        values = told[register][motor]
        return values[0].value if values else None

    return [
        Facts(
            Ranges(*(_needed(needed[register], register, joint) for register in (PMAX, VMAX, TMAX))),
            answers[joint.id][0].reply_id,
            value(SW_VER, joint.id),
            value(SN, joint.id),
            value(UV_VALUE, joint.id),
            value(OV_VALUE, joint.id),
            value(OT_VALUE, joint.id),
            value(VBUS, joint.id),
        )
        for joint in joints
    ]


def _needed(answers: dict[int, list[Answer]], register: int, joint: DamiaoJoint) -> float:
    values = answers[joint.id]
    name = REGISTERS[register].name
    if not values:
        raise BusTimeout(
            f"joint {joint} does not tell its {name} (register {register})",
            fix="check the cable; an old firmware needs Damiao's tool",
        )
    if not 0 < values[0].value < 1e5:
        raise DriveError(
            f"joint {joint} has {name} {values[0].value:g}",
            expected="a positive range",
            fix="set it with Damiao's tool",
        )
    return values[0].value


def _require_one(bus: DamiaoBus, joint: DamiaoJoint, answers: Sequence[Answer], ids: Sequence[int]) -> None:
    """That one motor has the id, and answers where it should."""
    if (
        len(answers) > 1
        and len(bus.read(MST_ID, (joint.id,), attempts=1, listen_ns=_LISTEN_NS)[joint.id]) > 1
    ):
        places = " and ".join(sorted({f"0x{each.reply_id:x}" for each in answers}))
        raise DriveError(
            f"joint {joint.name}: {len(answers)} motors answer as id {joint.id} (on {places})",
            expected="one",
            fix="connect one of them alone and give it another id with `wall-edge motors set-id`",
        )
    on = answers[0].reply_id
    if on != joint.reply_id:
        also = " (as motors leave the factory)" if on == 0 else ""
        fix = f"set feedback_id: {on}, or mend"
        if on in ids:
            also, fix = ", which that motor takes for commands", "mend"
        raise DriveError(
            f"joint {joint.name}: motor {joint.id} answers on 0x{on:x}{also}",
            expected=f"0x{joint.reply_id:x}, its feedback_id",
            fix=f"{fix} the motor: `wall-edge motors set-id {joint.id} {joint.id} --robot ROBOT.yaml`",
        )


def _silence(bus: DamiaoBus, wire: FrameTransport, silent: Sequence[DamiaoJoint]) -> BusTimeout:
    bus.find_robstride([joint.id for joint in silent])
    names = ", ".join(map(str, silent))
    instead = "; ".join(str(other) for other in sorted(bus.others))
    heard = f"; heard instead: {instead}" if instead else ""
    return BusTimeout(
        f"no answer from {names} on {wire.description}{bus_trouble(wire)}{heard}",
        expected="Damiao motors",
        fix="check the supply, the cable, the ids, and that bitrate and data_bitrate are those of the motors",
    )
