"""The state machine and the shaft of a simulated CiA 402 drive. Angles are of the joint's side."""

from __future__ import annotations

from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.objects import State
from wall_edge_bridge.sim.rotor import Rotor

STATUS_BITS = {
    State.NOT_READY: 0x00,
    State.DISABLED: 0x40,
    State.READY: 0x21,
    State.SWITCHED_ON: 0x23,
    State.ENABLED: 0x27,
    State.QUICK_STOP: 0x07,
    State.FAULT_REACTION: 0x0F,
    State.FAULT: 0x08,
}
_VOLTAGE = 0x10
_REMOTE = 0x200
_MODE_FOLLOWS = 0x1000
"""In CSP: the drive follows the target."""
_BRAKE_NS = 20_000_000
_KP, _KD = 80.0, 2.0


class Machine:
    """One drive's power: ``control`` moves it from state to state, ``target`` where it is to be."""

    def __init__(self, radians: float, counts_per_rad: float) -> None:
        self.rotor = Rotor(radians, friction=0.3)
        self.counts_per_rad = counts_per_rad
        self.offset = 0
        """Counts that it reports too many."""
        self.state = State.DISABLED
        self.mode = 0
        self.error = 0
        self.cause_remains = False
        """The cause of its fault is there still: a reset is refused."""
        self.reaction = obj.QUICK_STOP_RAMP
        self._control = 0
        self._until_ns: int | None = None

    @property
    def status(self) -> int:
        """Object 6041."""
        word = STATUS_BITS[self.state] | _REMOTE
        if self.state not in (State.DISABLED, State.FAULT, State.NOT_READY):
            word |= _VOLTAGE
        if self.state is State.ENABLED and self.mode == obj.CSP:
            word |= _MODE_FOLLOWS
        return word

    @property
    def position(self) -> int:
        """Object 6064."""
        return round(self.rotor.position * self.counts_per_rad) + self.offset

    def control(self, word: int, target: int) -> None:
        """Objects 6040 and 607A, as they are now."""
        rising = word & ~self._control
        self._control = word
        if self.state is State.FAULT:
            if rising & obj.FAULT_RESET and not self.cause_remains:
                self.state, self.error = State.DISABLED, 0
            return
        if self.state is State.FAULT_REACTION:
            return
        self._move(word)
        if self.state is State.ENABLED:
            self._follow(target)

    def _move(self, word: int) -> None:
        state = self.state
        if not word & 0x02:
            self._go(State.DISABLED)
        elif not word & 0x04:
            self._go(State.QUICK_STOP if state in (State.ENABLED, State.QUICK_STOP) else State.DISABLED)
        elif state is State.QUICK_STOP:
            return
        elif word & 0x07 == obj.SHUTDOWN:
            self._go(State.READY)
        elif state is not State.DISABLED:
            self._go(State.ENABLED if word & 0x0F == obj.ENABLE_OPERATION else State.SWITCHED_ON)

    def _go(self, state: State) -> None:
        self.state = state
        self.rotor.powered = state in obj.POWERED
        if state is State.QUICK_STOP:
            self.rotor.follow(self.rotor.position, 0.0, 0.0, _KD, 0.0)
        elif not self.rotor.powered:
            self.rotor.release()

    def _follow(self, target: int) -> None:
        goal = (target - self.offset) / self.counts_per_rad
        if self.mode == obj.CSP:
            self.rotor.follow(goal, 0.0, _KP, _KD, 0.0)
        else:
            self.rotor.follow(0.0, 0.0, 0.0, _KD, 0.0)

    def fail(self, code: int, now_ns: int) -> None:
        """A fault: brake where it is powered and so set, then no torque."""
        self.error = code
        if self.state in obj.POWERED and self.reaction:
            self._go(State.FAULT_REACTION)
            self.rotor.follow(self.rotor.position, 0.0, 0.0, _KD, 0.0)
            self._until_ns = now_ns + _BRAKE_NS
        else:
            self._go(State.FAULT)

    def lose_torque(self) -> None:
        """Disabled by somebody else."""
        self._go(State.DISABLED)

    @property
    def due_ns(self) -> int | None:
        """When it stops braking."""
        return self._until_ns

    def advance(self, now_ns: int) -> None:
        """A moment already passed changes nothing."""
        if self._until_ns is not None and now_ns >= self._until_ns:
            self.rotor.advance(self._until_ns)
            self._until_ns = None
            if self.state is State.FAULT_REACTION:
                self._go(State.FAULT)
        self.rotor.advance(now_ns)
