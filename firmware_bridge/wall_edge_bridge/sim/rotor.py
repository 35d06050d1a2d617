"""How a simulated motor's shaft moves under a torque: for motors that follow several things at once."""

from __future__ import annotations

_STEP_NS = 250_000
_STEP_S = _STEP_NS * 1e-9
_STILL = 0.02
"""rad/s: slower than this, dry friction stops a rotor without torque."""


class Rotor:
    """``position`` [rad], ``velocity`` [rad/s].

    Torque = kp·(goal - position) + kd·(speed - velocity) + effort, within ``max_effort``.
    ``inertia`` [kg·m²] and viscous ``friction`` [Nm·s/rad] are of motor and load together. The path does not
    depend on how often it is asked for: it goes in fixed steps of 250 µs.
    """

    def __init__(
        self, position: float, *, inertia: float = 0.01, friction: float = 0.05, max_effort: float = 10.0
    ) -> None:
        self.position, self.velocity = position, 0.0
        self.effort = 0.0
        """Nm, of the last step"""
        self.inertia, self.friction, self.max_effort = inertia, friction, max_effort
        self.max_velocity = 1e3
        """rad/s: no effort drives it beyond."""
        self.load = 0.0
        """Nm, from outside: gravity, or what blocks it."""
        self.powered = False
        self._kp = self._kd = self._goal = self._speed = self._feed = 0.0
        self._step: int | None = None

    def follow(self, goal: float, speed: float, kp: float, kd: float, effort: float) -> None:
        """From now on, while it is powered."""
        self._goal, self._speed, self._kp, self._kd, self._feed = goal, speed, kp, kd, effort

    def release(self) -> None:
        """No torque; it coasts."""
        self.powered = False
        self.follow(self.position, 0.0, 0.0, 0.0, 0.0)

    def advance(self, now_ns: int) -> None:
        """A moment already passed changes nothing."""
        step = now_ns // _STEP_NS
        before = step if self._step is None else self._step
        self._step = max(step, before)
        if not self.powered and not self.load and abs(self.velocity) < _STILL:
            self.effort = self.velocity = 0.0
            return
        for _ in range(step - before):
            self._move()

    def _move(self) -> None:
        effort = 0.0
        if self.powered:
            effort = self._kp * (self._goal - self.position) + self._kd * (self._speed - self.velocity)
            effort = min(max(effort + self._feed, -self.max_effort), self.max_effort)
            if effort != effort:  # NaN, or infinities against each other: no number, no torque
                effort = 0.0
        self.effort = effort
        # Friction is taken implicitly: a light rotor with much of it stays stable.
        velocity = self.velocity + (effort + self.load) * _STEP_S / self.inertia
        velocity /= 1.0 + self.friction * _STEP_S / self.inertia
        self.velocity = min(max(velocity, -self.max_velocity), self.max_velocity)
        self.position += self.velocity * _STEP_S
