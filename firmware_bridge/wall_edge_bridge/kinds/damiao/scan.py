"""Who is on a bus, by reading registers alone; and another id for a motor, kept in its flash."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from wall_edge.errors import BusTimeout, DriveError
from wall_edge_bridge.kinds.damiao.bus import AT_ONCE, WINDOW_NS, Answer, DamiaoBus
from wall_edge_bridge.kinds.damiao.codec import is_echo
from wall_edge_bridge.kinds.damiao.registers import (
    CTRL_MODE,
    ENABLED,
    ESC_ID,
    MODELS,
    MODES,
    MST_ID,
    PMAX,
    SW_VER,
    TMAX,
    VBUS,
    VMAX,
    Ranges,
    matches,
)
from wall_edge_bridge.kinds.damiao.settings import IDS, JOINT_IDS, DamiaoJoint, DamiaoSettings
from wall_edge_bridge.kinds.damiao.usb_bridge import frames_over
from wall_edge_bridge.kinds.registry import MotorIdentity
from wall_edge_bridge.transport import FrameTransport, Wire

_LISTEN_NS = 5_000_000


def scan(
    settings: DamiaoSettings,
    wire: Wire,
    ids: Iterable[int],
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Iterator[MotorIdentity]:
    """Damiao motors first, then motors of other kinds that were heard meanwhile. Raises BusError."""
    bus = DamiaoBus(frames_over(settings, wire, clock), clock, fd=settings.data_bitrate is not None)
    left, silent = list(ids), []
    while left:
        some, left = left[:AT_ONCE], left[AT_ONCE:]
        answers = who_answers(bus, some)
        silent += [motor for motor in some if motor not in answers]
        for motor, each in answers.items():
            yield _describe(bus, motor, each)
    bus.find_robstride(silent)
    for other in sorted(bus.others):
        yield MotorIdentity(other.id, other.kind, "", other.sign)


def who_answers(bus: DamiaoBus, ids: Sequence[int]) -> dict[int, list[Answer]]:
    """Their master ids, by id; only of those that answer."""
    answers = bus.read(MST_ID, ids, attempts=1, listen_ns=_LISTEN_NS)
    return {motor: each for motor, each in answers.items() if each}


def _describe(bus: DamiaoBus, motor: int, answers: Sequence[Answer]) -> MotorIdentity:
    values = {each: bus.read_one(each, motor) for each in (PMAX, VMAX, TMAX, SW_VER, CTRL_MODE, VBUS)}
    spans = [values[each] for each in (PMAX, VMAX, TMAX)]
    detail = [f"answers on 0x{answers[0].reply_id:x}"]
    model = ""
    if None not in spans:
        ranges = Ranges(*(span or 0.0 for span in spans))
        model = " or ".join(name for name in MODELS if matches(ranges, name))
        detail.append(str(ranges))
    if len(answers) > 1:
        detail.insert(0, f"{len(answers)} motors with this id")
    for name, register in (("firmware", SW_VER), ("mode", CTRL_MODE), ("V", VBUS)):
        value = values[register]
        if value is None:
            continue
        if register == CTRL_MODE:
            detail.append(f"mode {MODES.get(int(value), int(value))}")
        else:
            detail.append(f"{value:.1f} V" if register == VBUS else f"{name} {int(value)}")
    return MotorIdentity(motor, "damiao", model, ", ".join(detail))


def set_id(
    settings: DamiaoSettings,
    wire: Wire,
    old: int,
    new: int,
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> None:
    """The motor answers on ``new`` + 16 from then on; with ``new`` = ``old`` only that is mended.

    Raises DriveError where an id is taken, or no id, or the motor has torque; BusTimeout, BusError.
    """
    for motor, ids in ((old, IDS), (new, JOINT_IDS)):
        if motor not in ids:
            raise DriveError(f"id {motor}", expected=f"{ids[0]} to {ids[-1]}")
    frames = frames_over(settings, wire, clock)
    bus = DamiaoBus(frames, clock, fd=settings.data_bitrate is not None)
    reply_id = DamiaoJoint("motor", new, lower=-1.0, upper=1.0, max_velocity=1.0).reply_id
    _require_limp(bus, frames, old, clock)  # before the search, which outlasts a watchdog
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
    motors = {}
    for start in range(IDS[0], IDS[-1] + 1, AT_ONCE):
        motors.update(who_answers(bus, [*range(start, min(start + AT_ONCE, IDS[-1] + 1))]))
    if len(answers := motors.pop(old, ())) != 1:
        raise DriveError(
            f"{len(answers)} motors have id {old}", expected="one", fix="connect one of them alone"
        )
    for taken, why in ((new, "would be this motor's"), (reply_id, "would hear what this motor answers")):
        if taken in motors:
            raise DriveError(f"a motor has id {taken} already, which {why}", expected="a free id")
    for other, answers in motors.items():
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
        if clock() >= deadline_ns:
            break
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
