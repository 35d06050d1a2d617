"""What goes out on the tick: made once by mjbots' library, later with three numbers packed into a copy.

Measured here, one joint: the library needs 10 µs for a command and 22 µs for a reply, twenty joints 0.65 ms
of every tick; packing into its frame takes 1 µs. The bytes are the same, see tests/unit/bridge/moteus.
"""

from __future__ import annotations

import math
import struct

from moteus import Controller, PositionResolution, QueryResolution
from moteus import multiplex as library
from moteus.protocol import Register

from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.kinds.moteus.codec import identifier, pad
from wall_edge_bridge.kinds.moteus.settings import MoteusJoint
from wall_edge_bridge.transport import Frame

_SHORT = 0x7FF
"""Identifiers beyond it need an extended frame."""
_COMMAND = struct.Struct("<5sf3shh")
"""Mode and the head of position, position, the head of what follows, velocity, torque; the rest stays."""
REPLY = struct.Struct("<2sb2sfff2sbbb")
"""Mode; position, velocity, torque; voltage, temperature, fault: what the library asks for by default."""
REPLY_HEADS = (b"\x21\x00", b"\x2f\x01", b"\x23\x0d")
REPLY_LENGTH = 24
_SPEED, _TORQUE = reg.SPEED.int16, reg.TORQUES.int16
_LARGEST = 32767


def _resolution() -> PositionResolution:
    """Position in full; the others in 16 bits, so that command and question fill a frame of 32 bytes."""
    resolution = PositionResolution()
    for name in (
        "velocity",
        "feedforward_torque",
        "kp_scale",
        "kd_scale",
        "maximum_torque",
        "stop_position",
        "watchdog_timeout",
    ):
        setattr(resolution, name, library.INT16)
    return resolution


def controller(motor: int) -> Controller:
    """The library's, which makes frames here and sends none."""
    return Controller(id=motor, position_resolution=_resolution(), transport=object())


def look_query() -> QueryResolution:
    """The default, and the motor's own temperature."""
    query = QueryResolution()
    query.motor_temperature = library.INT8
    return query


def readback_query() -> QueryResolution:
    """The default, and the watchdog's time."""
    query = QueryResolution()
    query._extra = {Register.COMMAND_TIMEOUT: library.F32}
    return query


class JointFrames:
    """One joint's commands and questions, padded. Positions in turns, speeds in turns/s, torques in Nm."""

    def __init__(self, joint: MoteusJoint, timeout_s: float) -> None:
        self._controller, self._joint, self._timeout_s = controller(joint.id), joint, timeout_s
        self.query = pad(self._controller.make_query().data)
        self.look = pad(self._controller.make_query(look_query()).data)
        self.stop = pad(self._controller.make_stop(query=True).data)
        self.hold = pad(self._position(math.nan, readback_query()))
        template = self._position(0.0)
        self._head, _, self._middle, _, _ = _COMMAND.unpack_from(template)
        self._tail = template[_COMMAND.size :]

    def _position(self, position: float, query: QueryResolution | None = None) -> bytes:
        """NaN is "here". The library writes the mode first."""
        joint = self._joint
        data: bytes = self._controller.make_position(
            position=position,
            velocity=0.0,
            feedforward_torque=0.0,
            kp_scale=joint.kp_scale,
            kd_scale=joint.kd_scale,
            maximum_torque=math.nan if joint.max_effort is None else joint.max_effort,
            stop_position=math.nan,
            watchdog_timeout=self._timeout_s,
            query=query is None,
            query_override=query,
        ).data
        return data

    def command(self, position: float, velocity: float, torque: float) -> bytes:
        """As the library makes it: values of 16 bits are truncated, and saturate."""
        speed = min(max(int(velocity / _SPEED), -_LARGEST), _LARGEST)
        effort = min(max(int(torque / _TORQUE), -_LARGEST), _LARGEST)
        return _COMMAND.pack(self._head, position, self._middle, speed, effort) + self._tail


def frame_to(motor: int, source: int, data: bytes, *, reply: bool = True) -> Frame:
    """With bit rate switching, as the library sends it."""
    arbitration = identifier(motor, source, reply=reply)
    return Frame(arbitration, data, arbitration > _SHORT, True, True)


def reply_identifier(motor: int, source: int) -> int:
    """Of a motor's answer to ``source``."""
    return motor << 8 | source


def is_extended(arbitration: int) -> bool:
    """Whether a motor's firmware sends it in an extended frame."""
    return arbitration > _SHORT
