"""Who is on a bus. Asks for registers only: nothing is written, and nobody enabled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from wall_edge_bridge.kinds.damiao import DamiaoSettings
from wall_edge_bridge.kinds.damiao.bus import Answer, DamiaoBus
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

_AT_ONCE = 8
"""Requests: SocketCAN's send queue usually takes 10."""
_LISTEN_NS = 5_000_000


def scan(
    settings: DamiaoSettings, wire: FrameTransport, ids: Iterable[int], clock: Callable[[], int]
) -> Iterator[Found]:
    """Motors by their id; what else is heard on the bus at the end, as id -1. Raises BusError."""
    bus = DamiaoBus(wire, clock, fd=settings.data_bitrate is not None)
    left = list(ids)
    while left:
        some, left = left[:_AT_ONCE], left[_AT_ONCE:]
        for motor, answers in who_answers(bus, some).items():
            yield _describe(bus, motor, answers)


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
