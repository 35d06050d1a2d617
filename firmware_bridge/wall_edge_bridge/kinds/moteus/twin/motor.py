"""One simulated moteus: its modes, its command, its watchdog and its shaft. Angles in turns of the output."""

from __future__ import annotations

import math

from wall_edge_bridge.kinds.moteus import registers as reg
from wall_edge_bridge.sim.rotor import Rotor

_TURN = 2 * math.pi
_PREPARE_NS = 8_000_000
"""From stopped to any other mode: the current sensors are calibrated, without torque."""
_STEP_NS = 1_000_000
"""How finely a goal advances with its velocity."""
_BOOT_NS = 50_000_000
_TIMEOUT_TORQUE = 5.0
"""Nm, servo.timeout_max_torque_Nm"""
_DRIVEN = (reg.POSITION_MODE, reg.ZERO_VELOCITY, reg.BRAKE)
WRITABLE_MODES = (reg.STOPPED, *_DRIVEN)
"""Those of them that this twin has; the others are refused."""


class MoteusMotor:
    """What a test or a fault may change is public."""

    def __init__(self, motor_id: int, radians: float) -> None:
        self.id = motor_id
        self.rotor = Rotor(radians)
        self.command = self._defaults()
        self.mode = reg.STOPPED
        self.fault = 0
        self.limiter: int | None = None
        """A code to be reported from 96 on; None: what limits the torque in truth."""
        self.offset = 0.0
        """Turns that it reports too many, as after a lost calibration."""
        self.kp, self.kd = 188.5, 8.0
        """Nm/turn and Nm·s/turn, servo.pid_position"""
        self.max_torque = 10.0
        """Nm, by servo.max_current_A"""
        self.bounds = (-math.inf, math.inf)
        """Turns, servopos.position_min and position_max"""
        self.default_timeout_s = reg.DEFAULT_TIMEOUT_S
        self.voltage, self.temperature, self.motor_temperature = 24.0, 25.0, 24.0
        self.fault_temperature = 75.0
        self.register_map = 5
        self.serial = (motor_id, 0x5EA1, 0x4D4F)
        self.unsupported: set[int] = set()
        """Registers that its firmware does not know."""
        self.silent = False
        self._boot_ns = 0
        self._now_ns: int | None = None
        self._ready_ns: int | None = None
        self._deadline_ns: int | None = None
        self._goal: float | None = None
        """turns; None until a command gave one."""
        self._goal_ns = 0

    @staticmethod
    def _defaults() -> dict[int, float]:
        return {register: default for register, (default, _) in reg.COMMANDS.items()}

    def begin_command(self, mode: int) -> None:
        """The mode was written: whatever else the frame does not say is its default."""
        self.command = self._defaults()
        self.command[reg.MODE] = mode

    @property
    def position(self) -> float:
        """turns, as reported"""
        return self.rotor.position / _TURN + self.offset

    @property
    def torque_on(self) -> bool:
        """Whether it follows a command; damping after the watchdog is none."""
        return self.mode in _DRIVEN

    def hears(self, now_ns: int) -> bool:
        """Not while it is cut off, or starts."""
        return not self.silent and now_ns >= self._boot_ns

    def reported_fault(self) -> int:
        """Register 0x00F."""
        if self.mode == reg.FAULTED:
            return self.fault
        if self.limiter is not None:
            return self.limiter
        if not self.torque_on:
            return 0
        low, high = self.bounds
        if self._goal is not None and not low <= self._goal <= high:
            return 103
        limited = abs(self.rotor.effort) >= self.rotor.max_effort - 1e-9
        return (102 if math.isfinite(self.command[reg.COMMAND_MAX_TORQUE]) else 99) if limited else 0

    def apply(self, now_ns: int) -> None:
        """Carry the command out. Faults and an expired watchdog obey nothing but a stop."""
        mode = int(self.command[reg.MODE])
        if mode == reg.STOPPED:
            self._release(reg.STOPPED)
            self.fault = 0
            return
        if self.mode in (reg.FAULTED, reg.TIMED_OUT):
            return
        timeout_s = self.command[reg.COMMAND_TIMEOUT] or self.default_timeout_s
        self._deadline_ns = None if math.isnan(timeout_s) else now_ns + round(timeout_s * 1e9)
        if self.mode == reg.STOPPED:
            self.mode, self._ready_ns = reg.PREPARING[1], now_ns + _PREPARE_NS
        elif self.mode not in reg.PREPARING:
            self._drive(mode, now_ns)

    def _drive(self, mode: int, now_ns: int) -> None:
        low, high = self.bounds
        fresh = self.mode != reg.POSITION_MODE
        if fresh and mode == reg.POSITION_MODE and not low <= self.position <= high:
            self.fail(39)
            return
        self.mode = mode
        self.rotor.powered = True
        bound = self.command[reg.COMMAND_MAX_TORQUE]
        self.rotor.max_effort = self.max_torque if math.isnan(bound) else min(bound, self.max_torque)
        goal = self.command[reg.COMMAND_POSITION]
        if not math.isnan(goal):
            self._goal = goal
        elif fresh or self._goal is None:
            self._goal = self.position
        self._goal_ns = now_ns
        self._follow()

    def _follow(self) -> None:
        command = self.command
        kp_scale = command[reg.COMMAND_KP_SCALE]
        kd = self.kd * min(command[reg.COMMAND_KD_SCALE], kp_scale) / _TURN
        if self.mode != reg.POSITION_MODE or self._goal is None:
            self.rotor.follow(0.0, 0.0, 0.0, self.kd / _TURN, 0.0)
            return
        speed = self._speed()
        low, high = self.bounds
        goal = min(max(self._goal, low), high) - self.offset
        feed = command[reg.COMMAND_TORQUE]
        torque = 0.0 if math.isnan(feed) else feed
        self.rotor.follow(goal * _TURN, speed * _TURN, self.kp * kp_scale / _TURN, kd, torque)

    def _speed(self) -> float:
        speed = self.command[reg.COMMAND_VELOCITY]
        return 0.0 if math.isnan(speed) else speed

    def fail(self, code: int) -> None:
        """Latch a fault: no torque."""
        self._release(reg.FAULTED)
        self.fault = code

    def _release(self, mode: int) -> None:
        self.mode = mode
        self._ready_ns = self._deadline_ns = self._goal = None
        self.rotor.release()

    def lose_torque(self) -> None:
        """Stopped by somebody else."""
        self._release(reg.STOPPED)

    def reboot(self, now_ns: int) -> None:
        """As after power-on."""
        self._release(reg.STOPPED)
        self.fault, self.command = 0, self._defaults()
        self._boot_ns = now_ns + _BOOT_NS

    def advance(self, now_ns: int) -> None:
        """A moment already passed changes nothing."""
        at = now_ns if self._now_ns is None else self._now_ns
        while at < now_ns:
            at = self._advance_to(min(self._next_event(at), now_ns))
        self._now_ns = max(at, now_ns)
        self.rotor.advance(now_ns)
        if self.temperature > self.fault_temperature and self.torque_on:
            self.fail(38)

    def _next_event(self, at: int) -> int:
        events = [each for each in (self._ready_ns, self._deadline_ns) if each is not None]
        if self.mode == reg.POSITION_MODE and self._speed():
            events.append(self._goal_ns + _STEP_NS)
        return max(min(events, default=at + 3_600_000_000_000), at)

    def _advance_to(self, at: int) -> int:
        self.rotor.advance(at)
        if self._ready_ns is not None and at >= self._ready_ns:
            self._ready_ns = None
            self._drive(int(self.command[reg.MODE]), at)
        if self._deadline_ns is not None and at >= self._deadline_ns:
            self.expire()
        elif self.mode == reg.POSITION_MODE and self._goal is not None:
            while self._speed() and at >= self._goal_ns + _STEP_NS:
                self._goal += self._speed() * _STEP_NS * 1e-9
                self._goal_ns += _STEP_NS
                self._follow()
        return at

    def expire(self) -> None:
        """As its watchdog does: it damps, and obeys nothing but a stop."""
        self._release(reg.TIMED_OUT)
        self.rotor.powered, self.rotor.max_effort = True, _TIMEOUT_TORQUE
        self.rotor.follow(0.0, 0.0, 0.0, self.kd / _TURN, 0.0)
