"""Who is on a bus. Asks for registers only: nothing is written, and nobody enabled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from wall_edge_bridge.kinds.damiao import DamiaoSettings
from wall_edge_bridge.kinds.damiao.bus import AT_ONCE, Answer, DamiaoBus
from wall_edge_bridge.kinds.damiao.registers import (
    CTRL_MODE,
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
from wall_edge_bridge.kinds.registry import Found
from wall_edge_bridge.transport.base import FrameTransport

_LISTEN_NS = 5_000_000


def scan(
    settings: DamiaoSettings, wire: FrameTransport, ids: Iterable[int], clock: Callable[[], int]
) -> Iterator[Found]:
    """Damiao motors first, then motors of other kinds that were heard meanwhile. Raises BusError."""
    bus = DamiaoBus(wire, clock, fd=settings.data_bitrate is not None)
    left, silent = list(ids), []
    while left:
        some, left = left[:AT_ONCE], left[AT_ONCE:]
        answers = who_answers(bus, some)
        silent += [motor for motor in some if motor not in answers]
        for motor, each in answers.items():
            yield _describe(bus, motor, each)
    bus.find_robstride(silent)
    for other in sorted(bus.others):
        yield Found(other.id, other.kind, "", other.sign)


def who_answers(bus: DamiaoBus, ids: Sequence[int]) -> dict[int, list[Answer]]:
    """Their master ids, by id; only of those that answer."""
    answers = bus.read(MST_ID, ids, attempts=1, listen_ns=_LISTEN_NS)
    return {motor: each for motor, each in answers.items() if each}


def _describe(bus: DamiaoBus, motor: int, answers: Sequence[Answer]) -> Found:
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
    return Found(motor, "damiao", model, ", ".join(detail))
