"""What is asked of RobStride motors at leisure: who they are, their parameters, their torque."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from wall_edge_bridge.drives.values import BusCounters
from wall_edge_bridge.kinds.exchange import ATTEMPTS, FrameExchange
from wall_edge_bridge.kinds.robstride import codec
from wall_edge_bridge.kinds.robstride.codec import Type
from wall_edge_bridge.kinds.robstride.registers import Parameter
from wall_edge_bridge.transport.base import Frame, FrameTransport

REPLY_S = 0.02
"""A motor answers within one; adapters on USB hold frames back."""
TWIN_S = 0.01
"""How long a second motor of the same id may take longer than the first."""


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
