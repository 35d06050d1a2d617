"""One simulated RobStride motor: its memory, its modes, its faults, its shaft."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from wall_edge_bridge.drives import Fault
from wall_edge_bridge.kinds.robstride import codec
from wall_edge_bridge.kinds.robstride.codec import ANY_HOST, WORDS, Mode, State, Type, dequantize
from wall_edge_bridge.kinds.robstride.registers import (
    CAN_TIMEOUT,
    FEEDBACK_FAULTS,
    LIMIT_TORQUE,
    MECH_POS,
    MECH_VEL,
    MOTOR_TEMPERATURE,
    PARAMETERS,
    REPORT_FAULTS,
    RUN_MODE,
    TORQUE,
    VBUS,
    WATCHDOG_UNIT_S,
)
from wall_edge_bridge.kinds.robstride.settings import RobStrideJoint
from wall_edge_bridge.sim.rotor import Rotor
from wall_edge_bridge.transport import Frame

FAULTS = {fault.name: fault for fault in (*FEEDBACK_FAULTS.values(), *REPORT_FAULTS.values())}
_BOOT_NS = 300_000_000
_FRICTION = 0.2
"""Nm·s/rad, of a geared motor"""
_AMBIENT, _WARMING, _WARM_S = 31.5, 80.0, 60.0
"""°C, °C more at full effort, and how long that takes [s]"""


class SimulatedRobStride:
    """What it answers follows from what it was sent and when. Quirks are attributes, off at first."""

    def __init__(self, joint: RobStrideJoint, angle: float, host: int) -> None:
        self.id, self.host, self.ranges = joint.id, host, joint.ranges
        """As the firmware has them; joints may say otherwise."""
        self.uid = bytes([0x52, 0x53, joint.id, 0, 0, 0, 0, 1])
        self.rotor = Rotor(angle, friction=_FRICTION, max_effort=self.ranges.effort)
        self.rotor.max_velocity = self.ranges.velocity
        self.mode = Mode.RESET
        self.faults: tuple[Fault, ...] = ()
        self.volts = 24.25
        self.temperature = _AMBIENT
        self.offset = 0.0
        """rad that it reports more than the shaft's angle; goals mean as much less."""
        self.unsupported: set[int] = set()
        """Quirk: parameters that this firmware does not have; a read answers with a mark and zeros."""
        self.mit_framing = False
        """Quirk: its firmware is set to the 11-bit MIT framing: private frames are not heard."""
        self.delay_ns = 0
        """Quirk: how long it thinks before an answer."""
        self.silent = False
        self._awake_ns = 0
        self._heard_ns = 0
        self._now_ns = 0
        self._values: dict[int, float] = {}
        self._boot()

    @property
    def memory(self) -> tuple[object, ...]:
        """All that a host can write, and its goal."""
        return self.id, self.mode, dict(self._values), self._goal, self.faults

    def hears(self, now_ns: int) -> bool:
        return not self.silent and now_ns >= self._awake_ns

    def advance(self, now_ns: int) -> None:
        """To this moment; what the watchdog stops, it stops at its own."""
        seconds = max(0, now_ns - self._now_ns) * 1e-9
        self._now_ns = max(now_ns, self._now_ns)
        expiry_ns = self._heard_ns + round(self._values[CAN_TIMEOUT.address] * WATCHDOG_UNIT_S * 1e9)
        if self.mode == Mode.RUN and self._values[CAN_TIMEOUT.address] and now_ns >= expiry_ns:
            self.rotor.advance(expiry_ns)
            self.stop()
        self.rotor.advance(now_ns)
        warm = _AMBIENT + _WARMING * min(1.0, abs(self.rotor.effort) / self.ranges.effort)
        self.temperature += (warm - self.temperature) * min(1.0, seconds / _WARM_S)

    def stop(self) -> None:
        """Torque off."""
        self.mode = Mode.RESET
        self.rotor.release()

    def fail(self, name: str) -> Frame:
        """Latches a fault, and the report that goes out unasked. KeyError for an unknown name."""
        self.faults = tuple(dict.fromkeys((*self.faults, FAULTS[name])))
        self.stop()
        return codec.fault_report(self.id, self.host, self.faults)

    def reboot(self, now_ns: int) -> None:
        """Off for a moment; what was only in RAM is lost."""
        self._awake_ns = now_ns + _BOOT_NS
        self.faults = ()
        self.stop()
        self._boot()

    def answer(self, frame: Frame, now_ns: int) -> Iterator[Frame]:
        """To a frame of the private protocol for it; a malformed one is not heard."""
        kind, data = frame.id >> 24, frame.id >> 8 & 0xFFFF
        if len(frame.data) != 8:
            return
        self._heard_ns = now_ns
        if kind == Type.CONTROL:
            self._control(frame.data, data)
            yield self.feedback()
            return
        host = data & 0xFF
        if kind == Type.GET_ID:
            yield self._introduction()
        elif kind == Type.ENABLE:
            yield from self._enable()
        elif kind == Type.STOP:
            self.stop()
            if frame.data[0] == 1:
                self.faults = ()
            yield self.feedback(host)
        elif kind == Type.SET_ID:
            self.id = data >> 8
            yield self._introduction()
        elif kind == Type.READ:
            yield self._read(frame.data, host)
        elif kind == Type.WRITE:
            self._write(frame.data)
            yield self.feedback(host)

    def answer_mit(self, frame: Frame) -> Iterator[Frame]:
        """To an 11-bit frame, where its firmware speaks that: the read of faults only."""
        if len(frame.data) == 8 and frame.data[:6] == b"\xff" * 6 and frame.data[7] == 0xFB:
            yield Frame(0, bytes([self.id, 0, 0, 0, 0, 0, 0, 0]))

    def feedback(self, host: int | None = None) -> Frame:
        rotor = self.rotor
        state = State(
            self.mode,
            self.faults,
            rotor.position + self.offset,
            rotor.velocity,
            rotor.effort,
            self.temperature,
        )
        return codec.feedback(self.ranges, self.id, self.host if host is None else host, state)

    def _boot(self) -> None:
        self._values = dict.fromkeys(PARAMETERS, 0.0)
        self._values[LIMIT_TORQUE.address] = self.ranges.effort
        self._goal: tuple[object, ...] = ()

    def _introduction(self) -> Frame:
        return Frame(codec.identifier(Type.GET_ID, self.id, ANY_HOST), self.uid, extended=True)

    def _enable(self) -> Iterator[Frame]:
        if self.faults:
            yield codec.fault_report(self.id, self.host, self.faults)
        elif self.mode != Mode.RUN:
            self.mode = Mode.RUN
            self.rotor.follow(self.rotor.position, 0.0, 0.0, 0.0, 0.0)
            self.rotor.powered = True
        yield self.feedback()

    def _control(self, data: bytes, effort: int) -> None:
        """Torque follows it in mode 2 and run_mode 0 only."""
        if self.mode != Mode.RUN or self._values[RUN_MODE.address]:
            return
        position, velocity, kp, kd = WORDS.unpack(data)
        r = self.ranges
        goal = dequantize(position, -r.position, r.position) - self.offset
        self._goal = (position, velocity, kp, kd, effort)
        self.rotor.follow(
            goal,
            dequantize(velocity, -r.velocity, r.velocity),
            dequantize(kp, 0.0, r.kp),
            dequantize(kd, 0.0, r.kd),
            dequantize(effort, -r.effort, r.effort),
        )

    def _read(self, data: bytes, host: int) -> Frame:
        index = int.from_bytes(data[:2], "little")
        if index not in PARAMETERS or index in self.unsupported:
            return Frame(
                codec.identifier(Type.READ, 0x0100 | self.id, host), data[:2] + bytes(6), extended=True
            )
        live = {
            MECH_POS: self.rotor.position + self.offset,
            MECH_VEL: self.rotor.velocity,
            TORQUE: self.rotor.effort,
            VBUS: self.volts,
            MOTOR_TEMPERATURE: round(self.temperature * 10),
        }
        parameter = PARAMETERS[index]
        value = live.get(parameter, self._values[index])
        packed = struct.pack(parameter.format, value if parameter.format == "<f" else int(value))
        return Frame(codec.identifier(Type.READ, self.id, host), data[:2] + b"\0\0" + packed, extended=True)

    def _write(self, data: bytes) -> None:
        index = int.from_bytes(data[:2], "little")
        parameter = PARAMETERS.get(index)
        if parameter is None or not parameter.writable or index in self.unsupported:
            return
        if parameter is RUN_MODE and self.mode == Mode.RUN:
            return  # at rest only
        self._values[index] = struct.unpack(parameter.format, data[4:])[0]
