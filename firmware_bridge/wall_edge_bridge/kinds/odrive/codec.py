"""ODrive's CANSimple: values ↔ CAN frames with an 11-bit identifier. Pure. Turns, not radians.

Identifier: node (6 bits) | command (5 bits). Little-endian. Source: ODrive's public DBC files (0.5.6, 0.6.10)
and the examples of ODriveResources.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from wall_edge_bridge.drives import Fault
from wall_edge_bridge.kinds.odrive.errors import ERRORS_05, ERRORS_06, FLAGS_05
from wall_edge_bridge.transport import Frame

BROADCAST = 0x3F
"""The node that all hear; also that of an ODrive without an id."""
INT16 = 32767
FLOATS = struct.Struct("<ff")
_INPUT_POS = struct.Struct("<fhh")
_SDO = struct.Struct("<BHB")
_ADDRESS_BYTES = 7


class Command(IntEnum):
    """What a frame is, in firmware 0.6; 0.5 has 0x01, 0x07, 0x09, 0x0B to 0x0F, 0x16 to 0x18 in common."""

    VERSION = 0x00
    HEARTBEAT = 0x01
    ERROR = 0x03
    RX_SDO = 0x04
    TX_SDO = 0x05
    ADDRESS = 0x06
    SET_STATE = 0x07
    ESTIMATES = 0x09
    CONTROLLER_MODE = 0x0B
    INPUT_POS = 0x0C
    INPUT_VEL = 0x0D
    INPUT_TORQUE = 0x0E
    LIMITS = 0x0F
    TEMPERATURE = 0x15
    REBOOT = 0x16
    BUS = 0x17
    CLEAR_ERRORS = 0x18
    TORQUES = 0x1C


class Heartbeat(NamedTuple):
    """What a node says of itself by itself."""

    error: int
    state: int
    faults: tuple[Fault, ...]


class Version(NamedTuple):
    """Of the firmware."""

    major: int
    minor: int
    revision: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.revision}"


def identifier(node: int, command: int) -> int:
    """The 11 bits."""
    return node << 5 | command


def frame(node: int, command: Command, data: bytes = b"") -> Frame:
    """A command, or a message."""
    return Frame(identifier(node, command), data)


def request(node: int, command: Command) -> Frame:
    """Asks for a message (RTR)."""
    return Frame(identifier(node, command), b"", remote=True)


def set_state(node: int, state: int) -> Frame:
    """IDLE lets go, CLOSED_LOOP holds. 8 bytes as in the DBC files; ODrive's examples send the first 4."""
    return frame(node, Command.SET_STATE, struct.pack("<Q", state))


def controller_mode(node: int, control: int = 3, source: int = 1) -> Frame:
    """Position control (3), setpoints taken as they come (1, passthrough), unless said otherwise."""
    return frame(node, Command.CONTROLLER_MODE, struct.pack("<II", control, source))


def input_pos(node: int, turns: float, velocity: int, torque: int) -> Frame:
    """A setpoint, with feed-forward in steps of the motor's scales (see ``saturated``)."""
    return frame(node, Command.INPUT_POS, _INPUT_POS.pack(turns, velocity, torque))


def saturated(value: float, scale: float) -> int:
    """``value`` in steps of ``scale``; beyond 16 bits the bound."""
    return round(min(max(value / scale, -INT16), INT16))


def limits(node: int, velocity: float, current: float) -> Frame:
    """Turns/s and A, until the next reboot."""
    return frame(node, Command.LIMITS, FLOATS.pack(velocity, current))


def clear_errors(node: int) -> Frame:
    """Forgets latched errors; identify is 0."""
    return frame(node, Command.CLEAR_ERRORS, b"\0")


def reboot(node: int, action: int = 0) -> Frame:
    """0: reboot, 1: save the configuration first."""
    return frame(node, Command.REBOOT, bytes([action]))


def sdo_read(node: int, endpoint: int) -> Frame:
    """Asks for any value of the firmware, by its number in flat_endpoints.json."""
    return frame(node, Command.RX_SDO, _SDO.pack(0, endpoint, 0))


def sdo_write(node: int, endpoint: int, form: str, value: float) -> Frame:
    """Sets one; ``form`` is struct's of the value."""
    return frame(node, Command.RX_SDO, _SDO.pack(1, endpoint, 0) + struct.pack("<" + form, value))


def sdo_reply(node: int, endpoint: int, value: bytes) -> Frame:
    """The motor's side of both."""
    return frame(node, Command.TX_SDO, _SDO.pack(0, endpoint, 0) + value)


def parse_sdo(data: bytes, form: str) -> tuple[int, float] | None:
    """Endpoint and value of a reply; None of one of another size, as confirmations of a write are."""
    if len(data) != _SDO.size + struct.calcsize("<" + form):
        return None
    return _SDO.unpack_from(data)[1], struct.unpack_from("<" + form, data, _SDO.size)[0]


def address(node: int, serial: int) -> Frame:
    """Gives the ODrive of this serial number a node id."""
    return frame(BROADCAST, Command.ADDRESS, bytes([node]) + serial.to_bytes(6, "little"))


def parse_address(said: Frame) -> tuple[int, int] | None:
    """Node and serial number that an ODrive tells; None of any other frame."""
    if said.extended or said.remote or said.id & 0x1F != Command.ADDRESS or len(said.data) < _ADDRESS_BYTES:
        return None
    return said.data[0], int.from_bytes(said.data[1:7], "little")


def parse_version(data: bytes) -> Version | None:
    """Of the 8 bytes of Get_Version."""
    return Version(*data[4:7]) if len(data) == 8 else None


def heartbeat(node: int, error: int, state: int, rest: bytes = bytes(3)) -> Frame:
    """The motor's side of ``parse_heartbeat``; ``rest`` differs by firmware."""
    return frame(node, Command.HEARTBEAT, struct.pack("<IB", error, state) + rest)


def parse_heartbeat(data: bytes, *, old: bool = False) -> Heartbeat:
    """Of 8 bytes; ``old``: of firmware 0.5."""
    return _parse_heartbeat(data, old)


@lru_cache(maxsize=1024)
def _parse_heartbeat(data: bytes, old: bool) -> Heartbeat:
    error, state = struct.unpack_from("<IB", data)
    table = ERRORS_05 if old else ERRORS_06
    faults = [fault for bit, fault in table.items() if error & bit]
    if unknown := error & ~sum(table):
        faults.append(Fault(f"error 0x{unknown:X}"))
    if old:
        bits = int.from_bytes(data, "little")
        faults += [fault for bit, fault in FLAGS_05.items() if bits >> bit & 1]
    return Heartbeat(error, state, tuple(faults))
