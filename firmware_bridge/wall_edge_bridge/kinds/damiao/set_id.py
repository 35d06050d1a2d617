"""Another id for a motor, kept in its flash."""

from __future__ import annotations

from collections.abc import Callable

from wall_edge.errors import BusTimeout, DriveError
from wall_edge_bridge.kinds.damiao import IDS, JOINT_IDS, DamiaoJoint, DamiaoSettings
from wall_edge_bridge.kinds.damiao.bus import AT_ONCE, WINDOW_NS, DamiaoBus
from wall_edge_bridge.kinds.damiao.codec import is_echo
from wall_edge_bridge.kinds.damiao.registers import ENABLED, ESC_ID, MST_ID
from wall_edge_bridge.kinds.damiao.scan import who_answers
from wall_edge_bridge.transport.base import FrameTransport


def set_id(
    settings: DamiaoSettings, wire: FrameTransport, old: int, new: int, clock: Callable[[], int]
) -> None:
    """The motor answers on ``new`` + 16 from then on; with ``new`` = ``old`` only that is mended.

    Raises DriveError where an id is taken, or no id, or the motor has torque; BusTimeout, BusError.
    """
    for motor, ids in ((old, IDS), (new, JOINT_IDS)):
        if motor not in ids:
            raise DriveError(f"id {motor}", expected=f"{ids[0]} to {ids[-1]}")
    bus = DamiaoBus(wire, clock, fd=settings.data_bitrate is not None)
    reply_id = DamiaoJoint("motor", new, lower=-1.0, upper=1.0, max_velocity=1.0).reply_id
    _require_limp(bus, wire, old, clock)  # before the search, which outlasts a watchdog
    _require_free(bus, old, new, reply_id)
    # The master id first: afterwards the motor may listen to its new id already.
    _write(bus, MST_ID, old, reply_id, old)
    if new != old:
        _write(bus, ESC_ID, old, new, new)
    if not bus.save(new):
        raise DriveError(f"motor {new} did not confirm that it saved its id", fix="power-cycle it and look")
    kept = {register: bus.read_one(register, new) for register in (MST_ID, ESC_ID)}
    if kept != {MST_ID: reply_id, ESC_ID: new}:
        raise DriveError(f"motor {new} reads back {kept}", expected=f"id {new}, master id {reply_id}")


def _require_free(bus: DamiaoBus, old: int, new: int, reply_id: int) -> None:
    found = {}
    for start in range(IDS[0], IDS[-1] + 1, AT_ONCE):
        found.update(who_answers(bus, [*range(start, min(start + AT_ONCE, IDS[-1] + 1))]))
    if len(answers := found.pop(old, ())) != 1:
        raise DriveError(
            f"{len(answers)} motors have id {old}", expected="one", fix="connect one of them alone"
        )
    for taken, why in ((new, "would be this motor's"), (reply_id, "would hear what this motor answers")):
        if taken in found:
            raise DriveError(f"a motor has id {taken} already, which {why}", expected="a free id")
    for other, answers in found.items():
        if any(answer.reply_id == new for answer in answers):
            raise DriveError(
                f"motor {other} answers on 0x{new:x}: to this motor a command", expected="a free id"
            )


def _require_limp(bus: DamiaoBus, wire: FrameTransport, motor: int, clock: Callable[[], int]) -> None:
    deadline_ns = clock() + WINDOW_NS
    wire.receive(0)
    wire.send([bus.refresh_frame(motor)], deadline_ns)
    while frames := wire.receive(deadline_ns):
        for frame in frames:
            data = frame.data
            if frame.extended or len(data) != 8 or data[0] & 0xF != motor & 0xF or is_echo(data, motor):
                continue
            if data[0] >> 4 == ENABLED:
                raise DriveError(
                    f"motor {motor} has torque", expected="none", fix="run `wall-edge robot release` first"
                )
            return
    raise BusTimeout(f"no motor answers as id {motor}", fix="run `wall-edge motors scan`")


def _write(bus: DamiaoBus, register: int, motor: int, value: int, then: int) -> None:
    """``then`` is the id that the motor has afterwards."""
    bus.write(register, {motor: value})
    if (read := bus.read_one(register, then)) != value:
        raise DriveError(
            f"register {register} of motor {motor} reads back {read}",
            expected=f"{value}",
            fix="nothing was saved: power-cycle the motor",
        )
