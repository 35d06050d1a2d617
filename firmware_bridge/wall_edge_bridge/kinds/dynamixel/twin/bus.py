"""The motors' side of a Dynamixel bus: the same bytes, answered by simulated X-series motors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_

import numpy as np
import numpy.typing as npt

from wall_edge_bridge.kinds.dynamixel.codec import (
    BROADCAST_ID,
    HEADER,
    STATUS,
    Instruction,
    Packet,
    Status,
    build_fast_status,
    build_status,
    crc16,
)
from wall_edge_bridge.kinds.dynamixel.models import NUMBERS
from wall_edge_bridge.kinds.dynamixel.parser import PacketParser
from wall_edge_bridge.kinds.dynamixel.readings import HARDWARE, WATCHDOG
from wall_edge_bridge.kinds.dynamixel.registers import BAUD_RATES, EXTENDED_MODE, RADIANS_PER_TICK
from wall_edge_bridge.kinds.dynamixel.settings import DynamixelJoint, DynamixelSettings
from wall_edge_bridge.kinds.dynamixel.twin.motor import SimulatedMotor
from wall_edge_bridge.sim import ByteTwin
from wall_edge_bridge.sim.line import serial_duration

_MODEL = "XL330-M288"
_BITS = {fault.name: 1 << bit for bit, fault in HARDWARE.items()}
_SYNC_READS = (Instruction.SYNC_READ, Instruction.FAST_SYNC_READ)


class DynamixelTwin(ByteTwin):
    """Motors for ``joints`` at ``positions`` [dof] rad, torque off, goals where they are.

    ``motors`` are in the joints' order; their registers take the quirks: return delays, ids that are the
    same, Protocol 1.0 (``protocol``), ``turns_on_expiry``.
    """

    def __init__(
        self,
        settings: DynamixelSettings,
        joints: Sequence[DynamixelJoint],
        positions: npt.ArrayLike,
        *,
        timed: bool = False,
    ) -> None:
        super().__init__(joints)
        self.missing_silences = True
        """A motor waits for the one before it in a sync read: one that is missing silences all after it."""
        self.stuffing = True
        """Without it, data that look like a header go out as they are."""
        self._zero = np.array([joint.zero_ticks for joint in joints], np.float64)
        self._per_radian = np.array([joint.direction / RADIANS_PER_TICK for joint in joints])
        self._timed = timed
        if timed:
            self.replies.duration = serial_duration(settings.baudrate)
        self._parser = PacketParser()
        self._silent: set[int] = set()
        self._ready_ns = 0
        self.motors = [_motor(settings, joint, index) for index, joint in enumerate(joints)]
        self.set_positions(positions)
        for motor in self.motors:
            motor.power_on()

    # --- the bus -------------------------------------------------------------------------------------------

    def handle(self, data: bytes, now_ns: int, baud: int | None = None) -> bytes:
        self.advance(now_ns)
        self._ready_ns = self.replies.request(data, now_ns)
        self._answer_protocol_1(data, now_ns, baud)
        for request in self._parser.feed(data):
            self._answer(request, now_ns, baud)
        return self.collect(now_ns)

    def collect(self, now_ns: int) -> bytes:
        return b"".join(self.replies.collect(now_ns))  # how the shafts moved shows when they are asked

    def intrude(self, data: bytes, now_ns: int) -> None:
        """Whole requests of another program on the bus; the host sees their replies, not knowing why."""
        self.advance(now_ns)
        self._ready_ns = self.replies.request(data, now_ns)
        for request in PacketParser().feed(data):
            self._answer(request, now_ns, None)

    def _answer(self, request: Packet, now_ns: int, baud: int | None) -> None:
        awake = self._awake(now_ns, baud)
        if request.code == Instruction.SYNC_WRITE and request.id == BROADCAST_ID:
            _sync_write(request.params, awake, now_ns)
        elif request.code in _SYNC_READS and request.id == BROADCAST_ID:
            self._sync_read(request, awake, now_ns)
        elif request.id == BROADCAST_ID:
            # One after the other by their ids; nothing but a ping of all is answered.
            for motor_id in sorted(awake):
                self._execute(request, awake[motor_id], now_ns, answered=request.code == Instruction.PING)
        elif request.code != STATUS:
            self._execute(request, awake.get(request.id, ()), now_ns, answered=True)

    def _execute(
        self, request: Packet, motors: Sequence[SimulatedMotor], now_ns: int, *, answered: bool
    ) -> None:
        statuses = []
        for motor in motors:
            motor.feed_watchdog(now_ns)
            statuses.append(motor.execute(request.code, request.params, now_ns))
        if answered and motors:
            self._say(motors[0], [status for status in statuses if status])

    def _sync_read(self, request: Packet, awake: Mapping[int, Sequence[SimulatedMotor]], now_ns: int) -> None:
        params, ids = request.params, request.params[4:]
        address, count = int.from_bytes(params[:2], "little"), int.from_bytes(params[2:4], "little")
        parts: list[Status] = []
        for motor_id in ids:
            motors = awake.get(motor_id, ())
            for motor in motors:
                motor.feed_watchdog(now_ns)
            heard = [motor for motor in motors if motor.knows_fast or request.code == Instruction.SYNC_READ]
            statuses = [status for motor in heard if (status := motor.reply_with(address, count))]
            if not statuses and (self.missing_silences or request.code == Instruction.FAST_SYNC_READ):
                break
            if request.code == Instruction.SYNC_READ:
                if statuses:
                    self._say(motors[0], statuses)
            elif len(statuses[0].data) == count:
                parts.append(statuses[0])
        if parts:
            self._say_together(awake[ids[0]][0], parts, len(ids), count)

    def _say(self, motor: SimulatedMotor, statuses: Sequence[Status]) -> None:
        """What motors with one id say at once: they talk over each other, and a low bit wins."""
        replies = [self._packet(status) for status in statuses]
        if replies:
            self._send(motor, bytes(reduce(and_, bits) for bits in zip(*replies, strict=False)))

    def _say_together(self, motor: SimulatedMotor, parts: Sequence[Status], motors: int, count: int) -> None:
        """The first says how long all will be; from one that is missing on, nothing comes."""
        absent = [Status(0, 0, bytes(count))] * (motors - len(parts))
        # CRCs are over what came before, so those that are sent do not depend on those that are cut off.
        packet = build_fast_status([*parts, *absent])
        self._send(motor, packet[: len(packet) - len(absent) * (4 + count)])

    def _send(self, motor: SimulatedMotor, reply: bytes) -> None:
        if self._timed:
            self._ready_ns += 2000 * motor.get("return_delay")
        self.replies.put(reply, self._ready_ns)
        self._ready_ns += self.replies.duration(reply)

    def _packet(self, status: Status) -> bytes:
        if self.stuffing:
            return build_status(*status)
        body = bytes((STATUS, status.error)) + status.data
        packet = HEADER + bytes((status.id,)) + (len(body) + 2).to_bytes(2, "little") + body
        return packet + crc16(packet).to_bytes(2, "little")

    def _answer_protocol_1(self, data: bytes, now_ns: int, baud: int | None) -> None:
        for index, motor in enumerate(self.motors):
            if motor.get("protocol") == 1 and index not in self._silent and motor.hears(baud, now_ns):
                ping = b"\xff\xff" + bytes((motor.id, 2, 1, ~(motor.id + 3) & 0xFF))
                if ping in data:
                    self._send(motor, b"\xff\xff" + bytes((motor.id, 2, 0, ~(motor.id + 2) & 0xFF)))

    def _awake(self, now_ns: int, baud: int | None) -> dict[int, list[SimulatedMotor]]:
        """Motors that hear Protocol 2.0 now, by the ids that they obey."""
        awake: dict[int, list[SimulatedMotor]] = {}
        for index, motor in enumerate(self.motors):
            if index not in self._silent and motor.hears(baud, now_ns) and motor.get("protocol") == 2:
                awake.setdefault(motor.id, []).append(motor)
        return awake

    # --- the joints ----------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> None:
        for motor in self.motors:
            motor.advance(now_ns)

    def positions(self, now_ns: int) -> npt.NDArray[np.float64]:
        self.advance(now_ns)
        radians: npt.NDArray[np.float64] = (
            np.array([motor.angle for motor in self.motors]) - self._zero
        ) / self._per_radian
        return radians

    def set_positions(self, positions: npt.ArrayLike) -> None:
        angles = np.asarray(positions, np.float64) * self._per_radian + self._zero
        for motor, angle in zip(self.motors, angles.tolist(), strict=True):
            motor.angle = angle

    def powered(self, now_ns: int) -> tuple[bool, ...]:
        self.advance(now_ns)
        return tuple(motor.powered for motor in self.motors)

    def silence(self, index: int, silent: bool = True) -> None:
        (self._silent.add if silent else self._silent.discard)(index)

    def lose_torque(self, index: int) -> None:
        self.motors[index].set("torque_enable", 0)

    def reboot(self, index: int, now_ns: int) -> None:
        self.advance(now_ns)
        self.motors[index].reboot(now_ns)

    def shift_zero(self, index: int, radians: float) -> None:
        self.motors[index].shift += radians * float(self._per_radian[index])

    def set_fault(self, index: int, name: str) -> None:
        if name == WATCHDOG.name:
            self.motors[index].set("bus_watchdog", -1)
        else:
            self.motors[index].fail(_BITS[name])


def _motor(settings: DynamixelSettings, joint: DynamixelJoint, index: int) -> SimulatedMotor:
    motor = SimulatedMotor(joint.id, 0.0, boot_ns=index * 7_000_000)
    motor.set("model", NUMBERS[joint.model or _MODEL])
    motor.set("baud_code", BAUD_RATES.index(settings.baudrate))
    motor.set("return_delay", settings.return_delay_us // 2)
    motor.set("homing_offset", joint.homing_offset or 0)
    for name, end in zip(("min_position", "max_position"), joint.range_ticks or (), strict=False):
        motor.set(name, end)
    motor.set("drive_mode", int(joint.reverse))
    if joint.extended:
        motor.set("operating_mode", EXTENDED_MODE)
    return motor


def _sync_write(params: bytes, awake: Mapping[int, Sequence[SimulatedMotor]], now_ns: int) -> None:
    address, width = int.from_bytes(params[:2], "little"), int.from_bytes(params[2:4], "little")
    for start in range(4, len(params) - width, width + 1):
        for motor in awake.get(params[start], ()):
            motor.feed_watchdog(now_ns)
            motor.write(address, params[start + 1 : start + 1 + width])


make_twin = DynamixelTwin
