"""What speaks on a CAN bus that is no Damiao motor, by the looks of its frames.

Source: the formats in the sibling kinds; RobStride's get-id request and reply as its SampleProgram has them.
"""

from __future__ import annotations

from wall_edge_bridge.transport.base import Frame

GET_ID_REPLY = 0xFE
_HOST = 0xFD
_ODRIVE_HEARTBEAT = 0x01
_CANOPEN_HEARTBEAT = 0x700
_CANOPEN_STATES = (0x00, 0x04, 0x05, 0x7F)


def robstride_get_id(motor: int) -> Frame:
    """Type 0: asks for the unique number of a motor, and changes nothing."""
    return Frame(_HOST << 8 | motor, bytes(8), extended=True)


def name_of_other(frame: Frame) -> str:
    """Empty where it does not show."""
    if frame.extended:
        if frame.fd:
            return "CAN FD frames with 29-bit identifiers (moteus?)"
        return "29-bit frames (RobStride's private protocol?)"
    if len(frame.data) == 1 and frame.id & 0x780 == _CANOPEN_HEARTBEAT and frame.data[0] in _CANOPEN_STATES:
        return f"a CANopen heartbeat of node {frame.id & 0x7F}"
    if len(frame.data) == 8 and frame.id & 0x1F == _ODRIVE_HEARTBEAT and frame.data[:4] == bytes(4):
        return f"an ODrive's heartbeat of node {frame.id >> 5}"
    return ""
