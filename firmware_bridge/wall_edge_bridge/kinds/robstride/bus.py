"""What is asked of RobStride motors at leisure: who they are, their parameters; and why one may be silent.

A motor whose firmware was switched to the 11-bit MIT framing hears none of ours and fails silently
(LeRobot#3547). It can be asked for its faults by ``ff×6 00 fb``, which changes nothing on it. A Damiao motor
would take the same frame for a setpoint, and an ODrive might: so it is sent only on a bus on which nobody
speaks and no Damiao motor answers a read of its registers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.exchange import ATTEMPTS, FrameExchange
from wall_edge_bridge.kinds.robstride import codec
from wall_edge_bridge.kinds.robstride.codec import Type
from wall_edge_bridge.kinds.robstride.registers import Parameter
from wall_edge_bridge.transport import Frame, FrameTransport

REPLY_S = 0.02
"""A motor answers within one; adapters on USB hold frames back."""
TWIN_S = 0.01
"""How long a second motor of the same id may take longer than the first."""
QUIET_S = 0.25
"""Longer than an ODrive's heartbeat takes."""
DAMIAO_ID = 0x7FF
_DAMIAO_MASTER_ID = 7
MIT_READ_FAULTS = bytes.fromhex("ffffffffffff00fb")
"""Source: RS00 manual 2026-01, MIT command 5; the answer has the host's id, the motor's, and 32 bits."""
MIT = "11-bit MIT framing"


class RobStrideBus:
    """Motors by their id. Each method asks several times, and gives those that answered. Raises BusError."""

    def __init__(
        self,
        wire: FrameTransport,
        host: int,
        counters: BusCounters,
        clock: Callable[[], int],
        unasked: Callable[[Frame], object] = lambda _: None,
    ) -> None:
        self.host = host
        self.exchange = FrameExchange(wire, counters, clock, REPLY_S, self._hear)
        self._unasked = unasked
        self._identities: dict[int, set[bytes]] = {}

    def identities(self, ids: Sequence[int], attempts: int = ATTEMPTS) -> dict[int, set[bytes]]:
        """The unique ids (8 bytes) of the motors that answer to each id: more than one are several motors."""
        self._identities = {}
        requests = {motor: codec.request(Type.GET_ID, self.host, motor) for motor in ids}
        replies = self.exchange.ask(requests, self._introduced, attempts)
        self.exchange.listen(TWIN_S)
        for motor, reply in replies.items():
            self._identities.setdefault(motor, set()).add(reply.data)
        return {motor: uids for motor, uids in self._identities.items() if motor in requests}

    def read(
        self, parameter: Parameter, ids: Sequence[int], attempts: int = ATTEMPTS
    ) -> dict[int, float | None]:
        """None of a motor that does not support the parameter."""
        requests = {motor: codec.read(parameter, self.host, motor) for motor in ids}
        replies = self.exchange.ask(requests, lambda frame: self._answer(frame, parameter), attempts)
        return {motor: codec.value_of(reply, parameter) for motor, reply in replies.items()}

    def command(self, requests: Mapping[int, Frame]) -> dict[int, Frame]:
        """Anything that is answered with feedback."""
        return self.exchange.ask(requests, lambda frame: codec.sender(frame, Type.FEEDBACK, self.host))

    def _introduced(self, frame: Frame) -> int | None:
        return codec.sender(frame, Type.GET_ID, codec.ANY_HOST)

    def _answer(self, frame: Frame, parameter: Parameter) -> int | None:
        motor = codec.sender(frame, Type.READ, self.host)
        return (
            motor if motor is not None and frame.data[:2] == parameter.address.to_bytes(2, "little") else None
        )

    def _hear(self, frame: Frame) -> None:
        if (motor := self._introduced(frame)) is not None:
            self._identities.setdefault(motor, set()).add(frame.data)
        self._unasked(frame)


def find_instead(exchange: FrameExchange, ids: Sequence[int], host: int) -> str:
    """What was found where motors of ``ids`` should have answered, or nothing. Raises BusError."""
    heard = [*exchange.others, *exchange.listen(QUIET_S)]
    if foreign := [frame for frame in heard if not _is_ours(frame, host)]:
        return f"frames of another protocol, as {_show(foreign[-1])}"
    # A lost answer must not make a setpoint of the next question.
    damiao = [frame for _ in range(ATTEMPTS) for frame in _ask(exchange, [_damiao_request(m) for m in ids])]
    if answers := [frame for frame in damiao if frame.data[2:3] == b"\x33" and not frame.extended]:
        names = ", ".join(map(str, sorted({frame.data[0] for frame in answers})))
        return f"Damiao motors under {names}"
    mit = _ask(exchange, [Frame(motor, MIT_READ_FAULTS) for motor in ids])
    if numbers := sorted({frame.data[0] for frame in mit if _is_mit_answer(frame, ids)}):
        names = ", ".join(map(str, numbers))
        return f"RobStride motors under {names} whose firmware is set to the {MIT}"
    return ""


def _ask(exchange: FrameExchange, requests: Sequence[Frame]) -> list[Frame]:
    exchange.drain()
    exchange.send(*requests)
    return exchange.listen(0.02)


def _damiao_request(motor: int) -> Frame:
    """A read of its master id."""
    return Frame(DAMIAO_ID, bytes([motor, 0, 0x33, _DAMIAO_MASTER_ID, 0, 0, 0, 0]))


def _is_mit_answer(frame: Frame, ids: Sequence[int]) -> bool:
    return not frame.extended and len(frame.data) >= 5 and frame.data[0] in ids


def _is_ours(frame: Frame, host: int) -> bool:
    """Of this protocol: to a host, from a motor, or another program's request."""
    kinds = {kind.value for kind in Type} | {6, 22, 23, 24, 25}
    return frame.extended and frame.id >> 24 in kinds and (frame.id & 0xFF) in (host, codec.ANY_HOST)


def _show(frame: Frame) -> str:
    return f"{frame.id:0{8 if frame.extended else 3}X}#{frame.data.hex()}"
