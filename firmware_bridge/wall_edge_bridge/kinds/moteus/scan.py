"""Who is on the bus, and what it is: questions alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from moteus import multiplex as library
from moteus.protocol import parse_registers

from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.kinds.moteus.codec import pad
from wall_edge_bridge.kinds.moteus.frames import controller, frame_to, reply_identifier
from wall_edge_bridge.kinds.moteus.settings import MoteusSettings
from wall_edge_bridge.kinds.registry import MotorIdentity
from wall_edge_bridge.transport import FrameTransport

_BATCH = 16
"""Motors asked at once: a motor's answer waits in an adapter for as long as the others' take."""
_TIMEOUT_NS = 20_000_000
_LINGER_NS = 2_000_000
_SOURCE = 0


def identity_query(motor: int) -> bytes:
    """Model, firmware, register map and serial number."""
    fields = [reg.MODEL, reg.FIRMWARE, reg.REGISTER_MAP, *range(reg.SERIAL, reg.SERIAL + 3)]
    data: bytes = controller(motor).make_custom_query(dict.fromkeys(fields, library.INT32)).data
    return pad(data)


def values(data: bytes) -> Mapping[int, float]:
    """A reply's registers in their units, as the library reads it; none where it cannot."""
    try:
        response: Mapping[int, float] = parse_registers(data).response
    except Exception:  # noqa: BLE001 - the library raises what it comes across in a frame that is cut off
        return {}
    return response


def describe(identity: Mapping[int, float]) -> tuple[str, str]:
    """Model and what else it said."""
    serial = "".join(f"{int(identity.get(reg.SERIAL + i, 0)) & 0xFFFFFFFF:08x}" for i in range(3))
    detail = (
        f"firmware {int(identity.get(reg.FIRMWARE, 0)):#x}, "
        f"register map {int(identity.get(reg.REGISTER_MAP, 0))}, serial {serial}"
    )
    return f"{int(identity.get(reg.MODEL, 0)):#x}", detail


def scan(
    settings: MoteusSettings,  # noqa: ARG001 - a scan is the same for all
    wire: FrameTransport,
    ids: Iterable[int],
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Iterator[MotorIdentity]:
    """Those that answer, in the order of ``ids``; one that is there twice comes twice. Raises BusError."""
    return who_answer(wire, ids, clock)


def who_answer(wire: FrameTransport, ids: Iterable[int], clock: Callable[[], int]) -> Iterator[MotorIdentity]:
    """The same."""
    ids = list(ids)
    for begin in range(0, len(ids), _BATCH):
        batch = ids[begin : begin + _BATCH]
        answers = _ask(wire, batch, clock)
        for motor in batch:
            for identity in answers[motor]:
                yield MotorIdentity(motor, "moteus", *describe(identity))


def _ask(
    wire: FrameTransport, batch: list[int], clock: Callable[[], int]
) -> dict[int, list[Mapping[int, float]]]:
    answers: dict[int, list[Mapping[int, float]]] = {motor: [] for motor in batch}
    places = {reply_identifier(motor, _SOURCE): motor for motor in batch}
    deadline_ns = clock() + _TIMEOUT_NS
    wire.send([frame_to(motor, _SOURCE, identity_query(motor)) for motor in batch], deadline_ns)
    while frames := wire.receive(deadline_ns):
        for frame in frames:
            identity = values(frame.data)
            if frame.id in places and reg.REGISTER_MAP in identity:
                answers[places[frame.id]].append(identity)
        if all(answers.values()):
            deadline_ns = min(deadline_ns, clock() + _LINGER_NS)
        if clock() >= deadline_ns:
            break
    return answers
