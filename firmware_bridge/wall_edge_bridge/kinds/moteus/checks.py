"""Whether the motors of the joints are there, each alone under its id, with registers that we know."""

from __future__ import annotations

from collections.abc import Sequence

from wall_edge.errors import BusTimeout, DriveError
from wall_edge_bridge.kinds.exchange import bus_trouble
from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.kinds.moteus.bus import ATTEMPTS, MoteusBus
from wall_edge_bridge.kinds.moteus.scan import describe, identity_query, values, who_answer
from wall_edge_bridge.kinds.moteus.settings import IDS, MoteusJoint
from wall_edge_bridge.transport import Frame

_LINGER_NS = 2_000_000
"""How long the answer of a second motor with one id may come after the first one's."""


def require_identity(bus: MoteusBus, joints: Sequence[MoteusJoint], timeout_ns: int) -> None:
    """Reads only. Raises BusTimeout naming the silent ones and what was there instead, DriveError."""
    answers: dict[int, Frame] = {}
    for _ in range(ATTEMPTS):
        rest = {i: identity_query(joint.id) for i, joint in enumerate(joints) if i not in answers}
        if not rest:
            break
        for index, frames in bus.ask(rest, timeout_ns, _LINGER_NS).items():
            if len(frames) > 1:
                raise _two(joints[index], frames)
            answers[index] = frames[0]
    if silent := [joint for index, joint in enumerate(joints) if index not in answers]:
        raise _silent(bus, joints, silent)
    for index, frame in answers.items():
        _require_map(joints[index], frame)


def _two(joint: MoteusJoint, frames: Sequence[Frame]) -> DriveError:
    details = " and ".join(describe(values(frame.data))[1] for frame in frames)
    return DriveError(
        f"joint {joint.name}: {len(frames)} motors answer as id {joint.id} ({details})",
        expected="one motor an id",
        fix="give every motor its own id with moteus_tool, one at a time on the bus",
    )


def _require_map(joint: MoteusJoint, frame: Frame) -> None:
    version = values(frame.data).get(reg.REGISTER_MAP)
    if version not in reg.REGISTER_MAPS:
        raise DriveError(
            f"joint {joint} has register map {version}",
            expected=" or ".join(map(str, reg.REGISTER_MAPS)),
            fix="update the controller's firmware with moteus_tool",
        )


def _silent(bus: MoteusBus, joints: Sequence[MoteusJoint], silent: Sequence[MoteusJoint]) -> BusTimeout:
    names = ", ".join(map(str, silent))
    strangers = {f"{frame.id:#x} {'CAN FD' if frame.fd else 'classic CAN'}" for frame in bus.strangers}
    others = [
        each.id
        for each in who_answer(bus.wire, IDS, bus.clock)
        if each.id not in {joint.id for joint in joints}
    ]
    instead = f"; motors with ids {others} answer instead" if others else ""
    if strangers:
        instead += f"; seen: frames {', '.join(sorted(strangers))}, which no moteus sends us"
    return BusTimeout(
        f"no answer from {names} on {bus.wire.description}{bus_trouble(bus.wire)}{instead}",
        fix="check the motor's power, cable, termination and id, and both bit rates",
    )
