"""One simulated ODrive axis: its states, its errors, its messages, its shaft at the gear's output."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator

from wall_edge_bridge.kinds.odrive import codec
from wall_edge_bridge.kinds.odrive.codec import BROADCAST, FLOATS, Command, Version
from wall_edge_bridge.kinds.odrive.errors import ERRORS_05, ERRORS_06, WATCHDOG, State
from wall_edge_bridge.kinds.odrive.settings import ODriveJoint, ODriveSettings
from wall_edge_bridge.sim.rotor import Rotor
from wall_edge_bridge.transport import Frame

WATCHDOG_TIMEOUT, ENABLE_WATCHDOG = 391, 392
"""Endpoints of this simulated firmware, 0.6.10."""
_BOOT_NS = 500_000_000
_TURN = 2 * math.pi
_OVERSPEED = 1.2
_KP, _KD = 30.0, 1.0
"""Of position and velocity control together, at the output [Nm/rad, Nm·s/rad]."""


class SimulatedODrive:
    """What it says follows from what it was sent and when. Quirks are attributes, off at first."""

    def __init__(self, joint: ODriveJoint, angle: float, settings: ODriveSettings, phase: int) -> None:
        self.node = self.saved_node = joint.id
        self.serial = 0x3855_0000_0000 + joint.id
        self.version = Version(0, 6, 10)
        self.gear, self.velocity_scale, self.effort_scale = (
            joint.gear_ratio,
            joint.velocity_scale,
            joint.effort_scale,
        )
        self.rotor = Rotor(angle, friction=0.2, max_effort=30.0)
        self.old = settings.firmware == "0.5"
        """Quirk: firmware 0.5."""
        self.estimates_ms = settings.estimates_ms
        """Quirk: how often it sends them by itself; None: never."""
        self.heartbeat_ms = 100
        self.volts, self.motor_temperature, self.inverter_temperature = 24.0, 31.0, 35.0
        self.offset = 0.0
        """rad at the output that it reports more; goals mean as much less."""
        self.silent = False
        self._heartbeat_ns, self._estimates_ns = phase * 7_000_000, phase * 137_000
        self._awake_ns = self._fed_ns = self._now_ns = 0
        self._boot()

    @property
    def memory(self) -> tuple[object, ...]:
        """All that a host can write, and its goal."""
        return self.node, self.saved_node, self.state, self.error, dict(self.values), self.mode, self.goal

    def hears(self, now_ns: int) -> bool:
        return not self.silent and now_ns >= self._awake_ns

    def advance(self, now_ns: int) -> None:
        """To this moment; what the watchdog stops, it stops at its own."""
        expiry_ns = self._fed_ns + round(self.values[WATCHDOG_TIMEOUT] * 1e9)
        if self.state == State.CLOSED_LOOP and self.values[ENABLE_WATCHDOG] and now_ns >= expiry_ns:
            self.rotor.advance(expiry_ns)
            self.fail(WATCHDOG.name)
        self.rotor.advance(now_ns)
        fast = self.velocity_limit * _TURN / self.gear * _OVERSPEED
        if self.state == State.CLOSED_LOOP and abs(self.rotor.velocity) > fast:
            self.fail("CONTROLLER_FAILED" if self.old else "VELOCITY_LIMIT_VIOLATION")

    def due_ns(self) -> int:
        """When it says something next by itself."""
        return min(self._heartbeat_ns, self._estimates_ns if self.estimates_ms else self._heartbeat_ns)

    def speak(self, now_ns: int, oldest_ns: int) -> Iterator[tuple[int, Frame, bool]]:
        """Messages due since ``oldest_ns``, with their moment, and whether each is a heartbeat."""
        while self.due_ns() <= now_ns:
            at = self.due_ns()
            if at < oldest_ns:
                self._skip(oldest_ns)
                continue
            heartbeat = at == self._heartbeat_ns
            if heartbeat:
                self._heartbeat_ns += self.heartbeat_ms * 1_000_000
            else:
                self._estimates_ns += (self.estimates_ms or 0) * 1_000_000
            if self.hears(at):
                self.advance(at)
                yield at, self.heartbeat() if heartbeat else self.estimates(), heartbeat

    def answer(self, frame: Frame, now_ns: int) -> Iterator[Frame]:
        """To a frame for its node, or for all; a malformed one is not heard."""
        node, command = frame.id >> 5, frame.id & 0x1F
        if command == Command.ADDRESS and node == BROADCAST and not self.old:
            yield from self._address(frame)
        elif node == self.node and frame.remote:
            message = self._messages().get(command)
            if message is not None:
                yield message()
        elif node == self.node and command == Command.RX_SDO and not self.old:
            yield from self._sdo(frame.data)
        elif node == self.node:
            self._obey(command, frame.data, now_ns)

    def stop(self) -> None:
        """Idle, without an error."""
        self.state = State.IDLE
        self.rotor.release()

    def fail(self, name: str) -> None:
        """Latches an error by its name. KeyError for an unknown one."""
        table = {fault.name: bit for bit, fault in (ERRORS_05 if self.old else ERRORS_06).items()}
        self.error |= table[name]
        self.stop()

    def reboot(self, now_ns: int) -> None:
        """Off for a moment; what was not saved is lost."""
        self._awake_ns = now_ns + _BOOT_NS
        self.node = self.saved_node
        self._boot()

    def heartbeat(self) -> Frame:
        return codec.heartbeat(self.node, self.error, self.state)

    def estimates(self) -> Frame:
        turns = self.gear / _TURN
        data = FLOATS.pack((self.rotor.position + self.offset) * turns, self.rotor.velocity * turns)
        return codec.frame(self.node, Command.ESTIMATES, data)

    def _boot(self) -> None:
        self.error, self.mode = 0, (2, 1)  # velocity control
        self.goal: tuple[float, int, int] | None = None
        self.values: dict[int, float] = {WATCHDOG_TIMEOUT: 0.0, ENABLE_WATCHDOG: False}
        self.velocity_limit = 100.0
        self.stop()

    def _skip(self, oldest_ns: int) -> None:
        """What nobody fetched in time is lost."""
        for name, period in (("_heartbeat_ns", self.heartbeat_ms), ("_estimates_ns", self.estimates_ms or 1)):
            period_ns = period * 1_000_000
            behind = max(0, oldest_ns - getattr(self, name))
            setattr(self, name, getattr(self, name) + -(-behind // period_ns) * period_ns)

    def _messages(self) -> dict[int, Callable[[], Frame]]:
        """By command, what a request for one is answered with."""

        def pair(command: Command, first: float, second: float) -> Callable[[], Frame]:
            return lambda: codec.frame(self.node, command, FLOATS.pack(first, second))

        both: dict[int, Callable[[], Frame]] = {
            Command.ESTIMATES: self.estimates,
            Command.BUS: pair(Command.BUS, self.volts, 0.5),
        }
        if (
            self.old
        ):  # the same numbers mean other messages there: sensorless estimates, a voltage of an input
            return both | {
                Command.TEMPERATURE: pair(Command.TEMPERATURE, 123.0, 456.0),
                Command.TORQUES: pair(Command.TORQUES, 3.3, 0.0),
            }
        version = bytes([2, 4, 4, 58, *self.version, 0])
        effort = self.rotor.effort / self.gear
        return both | {
            Command.HEARTBEAT: self.heartbeat,
            Command.VERSION: lambda: codec.frame(self.node, Command.VERSION, version),
            Command.ERROR: lambda: codec.frame(self.node, Command.ERROR, struct.pack("<II", self.error, 0)),
            Command.TEMPERATURE: pair(Command.TEMPERATURE, self.inverter_temperature, self.motor_temperature),
            Command.TORQUES: pair(Command.TORQUES, effort, effort),
        }

    def _address(self, frame: Frame) -> Iterator[Frame]:
        if frame.remote:
            yield Frame(
                codec.identifier(self.node, Command.ADDRESS),
                bytes([self.node]) + self.serial.to_bytes(6, "little"),
            )
        elif (said := codec.parse_address(frame)) is not None:
            node, serial = said
            if serial == self.serial:
                self.node = node
            elif node == self.node:
                self.node = BROADCAST  # who has it makes room

    def _sdo(self, data: bytes) -> Iterator[Frame]:
        if len(data) < 4:
            return
        opcode, endpoint, _ = struct.unpack_from("<BHB", data)
        form = {WATCHDOG_TIMEOUT: "<f", ENABLE_WATCHDOG: "<?"}.get(endpoint)
        if form is None:
            return
        if opcode == 0:
            yield codec.sdo_reply(self.node, endpoint, struct.pack(form, self.values[endpoint]))
        elif opcode == 1 and len(data) == 4 + struct.calcsize(form):
            [self.values[endpoint]] = struct.unpack(form, data[4:])

    def _obey(self, command: int, data: bytes, now_ns: int) -> None:
        if command == Command.SET_STATE and len(data) >= 4:
            self._fed_ns = now_ns
            self._set_state(struct.unpack_from("<I", data)[0])
        elif command == Command.CONTROLLER_MODE and len(data) == 8:
            self.mode = struct.unpack("<II", data)
        elif command == Command.INPUT_POS and len(data) == 8:
            self._fed_ns = now_ns
            self.goal = struct.unpack("<fhh", data)
            self._follow()
        elif command == Command.LIMITS and len(data) == 8:
            self.velocity_limit = FLOATS.unpack(data)[0]
        elif command == Command.CLEAR_ERRORS:
            self.error = 0
        elif command == Command.REBOOT and not self.old:
            if data[:1] == b"\1":
                self.saved_node = self.node
            self.reboot(now_ns)

    def _set_state(self, state: int) -> None:
        if state == State.IDLE:
            self.stop()
        elif state == State.CLOSED_LOOP and not self.error and self.state != State.CLOSED_LOOP:
            self.state = State.CLOSED_LOOP
            self.rotor.powered = True
            self._follow()

    def _follow(self) -> None:
        """The last setpoint, whenever it came: one from before may be far away. Position control only."""
        if self.state != State.CLOSED_LOOP:
            return
        if self.mode != (3, 1) or self.goal is None:
            self.rotor.follow(self.rotor.position, 0.0, 0.0, _KD, 0.0)
            return
        turns, velocity, torque = self.goal
        self.rotor.follow(
            turns * _TURN / self.gear - self.offset,
            velocity * self.velocity_scale * _TURN / self.gear,
            _KP,
            _KD,
            torque * self.effort_scale * self.gear,
        )
