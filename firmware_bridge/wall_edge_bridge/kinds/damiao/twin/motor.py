"""One simulated Damiao motor: registers, states, watchdog, protections, and a shaft in MIT mode."""

from __future__ import annotations

import math

from wall_edge_bridge.kinds.damiao.codec import (
    CLEAR,
    DISABLE,
    ENABLE,
    READ,
    REFRESH,
    SAVE,
    SET_ZERO,
    WRITE,
    MitCodec,
    MitFeedback,
    RegisterFrame,
    pack_value,
    parse_value,
)
from wall_edge_bridge.kinds.damiao.registers import (
    CTRL_MODE,
    DISABLED,
    ENABLED,
    ESC_ID,
    LOST_COMMUNICATION,
    MIT_MODE,
    MST_ID,
    PMAX,
    REGISTERS,
    TMAX,
    VMAX,
)
from wall_edge_bridge.kinds.damiao.twin.memory import Memory
from wall_edge_bridge.sim.rotor import Rotor

_AMBIENT = 25.0
_HEAT = 60.0
"""°C above it under all of its effort, in the end."""
_HEATING_S = 60.0
_BOOT_NS = 200_000_000


class SimulatedMotor:
    """``position`` [rad] is what it reports; ``offset`` is how far that is from where the shaft is."""

    def __init__(self, motor: int, reply_id: int, model: str, position: float) -> None:
        self.memory = Memory(motor, reply_id, model)
        ranges = self.memory.ranges
        self.rotor = Rotor(position, max_effort=ranges.effort)
        self.rotor.max_velocity = ranges.velocity
        self.offset = 0.0
        self.state = DISABLED
        self.mos = self.rotor_temperature = _AMBIENT
        """°C"""
        self.silent = False
        self.mute: set[int] = set()
        """Registers that this firmware does not answer about."""
        self.keeps_goal = True
        """Whether its last MIT command is followed again when it is enabled."""
        self.robstride = False
        """It speaks RobStride's protocol instead."""
        self.zeros_written = self.saves = 0
        """How often its flash was written."""
        self._command = (0.0,) * 5
        self._heard_ns: int | None = None
        self._now_ns: int | None = None
        self._booted_ns = 0

    @property
    def id(self) -> int:
        return int(self.registers[ESC_ID])

    @property
    def reply_id(self) -> int:
        return int(self.registers[MST_ID])

    @property
    def codec(self) -> MitCodec:
        """By the ranges that its registers have now."""
        return MitCodec(self.memory.ranges)

    @property
    def registers(self) -> dict[int, float]:
        return self.memory.now

    def writable(self) -> object:
        """All that a host can write."""
        return dict(self.registers), dict(self.memory.flash), self.state, self._command, self.offset

    def deaf(self, now_ns: int) -> bool:
        """Cut off, or booting."""
        return self.silent or now_ns < self._booted_ns

    def advance(self, now_ns: int) -> None:
        """A moment already passed changes nothing."""
        before_ns = now_ns if self._now_ns is None else self._now_ns
        self._now_ns = max(now_ns, before_ns)
        expiry_ns = self._expiry_ns()
        if self.state == ENABLED and expiry_ns is not None and now_ns > expiry_ns:
            self.rotor.advance(expiry_ns)
            self.fail(LOST_COMMUNICATION)
        self.rotor.advance(now_ns)
        self._warm((self._now_ns - before_ns) * 1e-9)
        self._protect()

    def fail(self, state: int) -> None:
        """Latch a fault; the shaft is free."""
        self.state = state
        self.rotor.release()

    def reboot(self, now_ns: int) -> None:
        """Its encoder knows the angle within one turn only; its RAM is what its flash says."""
        self.memory.restart()
        self.fail(DISABLED)
        self._command = (0.0,) * 5
        self._booted_ns = now_ns + _BOOT_NS
        reported = self.rotor.position + self.offset
        self.offset += math.remainder(reported, 2 * math.pi) - reported

    def hear(self, data: bytes, now_ns: int) -> bytes | None:
        """Data on its own id, in MIT mode → its feedback."""
        self.advance(now_ns)
        if len(data) != 8:
            return None
        if data == ENABLE:
            if self.state in (DISABLED, ENABLED):
                self._heard_ns = now_ns
                self._enable()
        elif data == DISABLE:
            if self.state == ENABLED:
                self.fail(DISABLED)
        elif data == CLEAR:
            if self.state not in (DISABLED, ENABLED):
                self.state = DISABLED
        elif data == SET_ZERO:
            self.zeros_written += 1
            self.offset = -self.rotor.position
        elif self.registers[CTRL_MODE] == MIT_MODE:
            self._heard_ns = now_ns
            self._command = self.codec.parse_command(data)
            self._follow()
        else:
            return None
        return self.feedback()

    def answer(self, request: RegisterFrame, now_ns: int) -> bytes | None:
        """A request on 0x7FF → an echo of it with the value, or feedback."""
        self.advance(now_ns)
        register = REGISTERS.get(request.register)
        if request.operation == REFRESH:
            return self.feedback()
        if request.operation == SAVE:
            if self.state == ENABLED:
                return None
            self.saves += 1
            self.memory.save()
            return request.pack()
        if register is None or request.register in self.mute:
            return None
        if request.operation == WRITE:
            if not register.written:
                return None
            motor, value = self.id, parse_value(request.register, request.value)
            if request.register in (PMAX, VMAX, TMAX) and not 0 < value < math.inf:
                return None  # no range to work in: what a real motor would do then is not known
            self.registers[request.register] = value
            return RegisterFrame(motor, WRITE, request.register, request.value).pack()
        packed = pack_value(request.register, self.registers[request.register])
        return RegisterFrame(self.id, READ, request.register, packed).pack()

    def feedback(self) -> bytes:
        """As it stands now."""
        rotor = self.rotor
        return self.codec.feedback(
            self.id,
            MitFeedback(
                self.state,
                rotor.position + self.offset,
                rotor.velocity,
                rotor.effort,
                int(self.mos),
                int(self.rotor_temperature),
            ),
        )

    def _enable(self) -> None:
        if self.state == ENABLED:
            return
        self.state = ENABLED
        self.rotor.powered = True
        if not self.keeps_goal:
            self._command = (0.0,) * 5
        self._follow()

    def _follow(self) -> None:
        if self.state == ENABLED:
            position, velocity, kp, kd, effort = self._command
            self.rotor.follow(position - self.offset, velocity, kp, kd, effort)

    def _expiry_ns(self) -> int | None:
        timeout_ns = self.memory.timeout_ns
        return None if timeout_ns is None or self._heard_ns is None else self._heard_ns + timeout_ns

    def _warm(self, seconds: float) -> None:
        load = self.rotor.effort / self.registers[TMAX]
        share = -math.expm1(-seconds / _HEATING_S)
        self.rotor_temperature += (_AMBIENT + _HEAT * load * load - self.rotor_temperature) * share
        self.mos += (_AMBIENT + 0.5 * _HEAT * load * load - self.mos) * share

    def _protect(self) -> None:
        if self.state == ENABLED and (fault := self.memory.trip(self.mos, self.rotor_temperature)):
            self.fail(fault)
