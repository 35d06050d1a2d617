"""What speaks on a CAN bus that is no Damiao motor, by the looks of its frames.

Source: the formats in the sibling kinds; RobStride's get-id request and reply as its SampleProgram has them.
"""

from __future__ import annotations

from typing import NamedTuple

from wall_edge_bridge.transport import Frame

GET_ID_REPLY = 0xFE
_HOST = 0xFD
_ODRIVE_HEARTBEAT = 0x01
_CANOPEN_HEARTBEAT = 0x700
_CANOPEN_STATES = (0x00, 0x04, 0x05, 0x7F)


class Other(NamedTuple):
    """A kind's name, an id on its bus, and how it gave itself away."""

    kind: str
    id: int
    sign: str

    def __str__(self) -> str:
        return f"{self.sign} from id {self.id} (kind: {self.kind})"


def robstride_get_id(motor: int) -> Frame:
    """Type 0: asks for the unique number of a motor, and changes nothing."""
    return Frame(_HOST << 8 | motor, bytes(8), extended=True)


def other_of(frame: Frame) -> Other | None:
    """None where it does not show."""
    identifier, data = frame.id, frame.data
    if frame.extended and frame.fd:
        return Other("moteus", identifier >> 8 & 0x7F, "29-bit CAN FD frames")
    if frame.extended:
        return Other("robstride", identifier >> 8 & 0xFF, "RobStride's private protocol")
    if len(data) == 1 and identifier & 0x780 == _CANOPEN_HEARTBEAT and data[0] in _CANOPEN_STATES:
        return Other("cia402", identifier & 0x7F, "CANopen heartbeats")
    if len(data) == 8 and identifier & 0x1F == _ODRIVE_HEARTBEAT and data[:4] == bytes(4):
        return Other("odrive", identifier >> 5, "an ODrive's heartbeats")
    return None
