"""canopen on one of our wires: what is configured, off the tick."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import canopen
from canopen.nmt import NmtMaster
from canopen.objectdictionary import ObjectDictionary
from canopen.sdo.client import SdoClient
from canopen.sdo.exceptions import SdoAbortedError, SdoCommunicationError

from wall_edge.errors import BusTimeout, DriveError
from wall_edge_bridge.kinds.cia402.codec import SDO_LENGTH, SDO_REPLY, SDO_REQUEST
from wall_edge_bridge.kinds.cia402.settings import Cia402Joint
from wall_edge_bridge.transport import Frame, FrameTransport

NOT_THERE = (0x06020000, 0x06090011, 0x060A0023)
"""Abort codes: no such object, no such subindex, no such resource."""
_ATTEMPTS = 3


class WireNetwork(canopen.Network):
    """Sends and receives by a ``FrameTransport``; ``observe`` sees every frame that is no SDO reply."""

    def __init__(
        self,
        wire: FrameTransport,
        clock: Callable[[], int],
        observe: Callable[[Frame], None],
        timeout_s: float,
    ) -> None:
        super().__init__()
        self.wire, self.clock = wire, clock
        self.timeout_ns = round(timeout_s * 1e9)
        self._observe = observe

    def send_message(self, can_id: int, data: Any, remote: bool = False) -> None:
        self.wire.send([Frame(can_id, bytes(data), remote=remote)], self.clock() + self.timeout_ns)

    def pump(self, done: Callable[[], bool]) -> None:
        """Receive until ``done``, or the time is over."""
        deadline_ns = self.clock() + self.timeout_ns
        while not done() and (frames := self.wire.receive(deadline_ns)):
            for frame in frames:
                whole = len(frame.data) == SDO_LENGTH  # canopen reads on where a shorter one ends
                if frame.id in self.subscribers and whole and not (frame.extended or frame.remote):
                    self.notify(frame.id, bytearray(frame.data), frame.received_ns * 1e-9)
                else:
                    self._observe(frame)
            if self.clock() >= deadline_ns:
                break


class WireSdo(SdoClient):
    """canopen's client, which waits by receiving from the wire itself instead of for another thread."""

    network: WireNetwork

    def read_response(self) -> bytes:
        self.network.pump(lambda: not self.responses.empty())
        if self.responses.empty():
            raise SdoCommunicationError("no SDO response")
        response: bytes = super().read_response()  # type: ignore[no-untyped-call]
        return response

    def abort(self, abort_code: int = 0x08000000) -> None:
        """Without canopen's word in the log: who asked says what went wrong."""
        self.send_request(struct.pack("<BHBL", 0x80, 0, 0, abort_code))  # type: ignore[no-untyped-call]


class Nodes:
    """The joints' drives, by their index. Raises BusTimeout and DriveError naming joint and object."""

    def __init__(self, network: WireNetwork, joints: Sequence[Cia402Joint]) -> None:
        self.network, self._joints = network, joints
        self._clients, self._masters = [], []
        for joint in joints:
            objects = ObjectDictionary()  # type: ignore[no-untyped-call]
            client = WireSdo(SDO_REQUEST + joint.id, SDO_REPLY + joint.id, objects)  # type: ignore[no-untyped-call]
            master = NmtMaster(joint.id)
            client.network = master.network = network
            network.subscribe(SDO_REPLY + joint.id, client.on_response)
            self._clients.append(client)
            self._masters.append(master)

    def command(self, joint: int, command: int) -> None:
        """Network management: start, stop, prepare, reset."""
        self._masters[joint].send_command(command)

    def read(self, joint: int, index: int, sub: int, form: str) -> int:
        """A number of ``struct`` form ``form``; what a drive sends beyond its size is left."""
        data = self._try(joint, index, sub, lambda client: client.upload(index, sub))
        size = struct.calcsize("<" + form)
        if len(data) < size:
            raise DriveError(
                f"joint {self._joints[joint].name}: object {index:04X}:{sub} has {len(data)} bytes",
                expected=f"{size}",
                fix="check the drive's firmware",
            )
        value: int = struct.unpack_from("<" + form, data)[0]
        return value

    def find(self, joint: int, index: int, sub: int, form: str) -> int | None:
        """The same; None where the drive has no such object."""
        try:
            return self.read(joint, index, sub, form)
        except MissingObject:
            return None

    def write(self, joint: int, index: int, sub: int, form: str, value: int) -> None:
        """In the drive's working memory: nothing here is ever stored beyond its power."""
        data = struct.pack("<" + form, value)
        self._try(joint, index, sub, lambda client: client.download(index, sub, data))

    def write_if_there(self, joint: int, index: int, sub: int, form: str, value: int) -> bool:
        """Whether the drive has such an object."""
        try:
            self.write(joint, index, sub, form, value)
        except MissingObject:
            return False
        return True

    def _try(self, joint: int, index: int, sub: int, action: Callable[[Any], Any]) -> Any:
        who = f"joint {self._joints[joint]}"
        for attempt in range(_ATTEMPTS):
            try:
                return action(self._clients[joint])
            except SdoAbortedError as error:
                if error.code in NOT_THERE:
                    raise MissingObject(f"{who} has no object {index:04X}:{sub}") from None
                raise DriveError(
                    f"{who} refuses object {index:04X}:{sub}: {error}",
                    expected="a CiA 402 drive in CSP mode with free PDO mapping",
                    fix="check the drive's manual and state",
                ) from None
            except SdoCommunicationError as error:
                if attempt + 1 == _ATTEMPTS:
                    raise BusTimeout(
                        f"no answer from {who} about object {index:04X}:{sub} on "
                        f"{self.network.wire.description} ({error})",
                        fix="check the drive's power, cable, termination, id and bit rate",
                    ) from None
        raise AssertionError


class MissingObject(DriveError):
    """A drive has no such object."""
