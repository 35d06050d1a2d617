"""How the shaft of a simulated servo moves."""

from __future__ import annotations

import math
from collections.abc import Callable

RATE = -math.log(1 - 0.6) * 30
"""1/s: the shaft closes 60 % of the gap to its goal in 1/30 s."""
MAX_SPEED = 6.0
"""rad/s: an STS3215 at 12 V without load."""
_STEP_NS = 1_000_000
_STEP_S = 1e-3


def follow_goal(position: float, goal: float, max_speed: float, seconds: float) -> float:
    """Where a shaft is ``seconds`` later: dq/dt = RATE · gap, at most ``max_speed``; any unit of angle."""
    gap = goal - position
    linear = max_speed / RATE  # farther from the goal than this, the speed is what limits
    if abs(gap) > linear:
        duration = min(seconds, (abs(gap) - linear) / max_speed)
        position += math.copysign(max_speed * duration, gap)
        seconds -= duration
    return position - math.expm1(-RATE * seconds) * (goal - position)


class Shaft:
    """``ticks`` is the encoder's angle; ``pace`` and ``max_speed`` bound its speed [tick/s].

    The path does not depend on how often it is asked for: it is solved exactly, or, under an acceleration,
    in steps of a fixed millisecond.
    """

    def __init__(self, ticks: float, max_speed: float) -> None:
        self.ticks = ticks
        self.speed = 0.0
        """tick/s, over the time since the last look."""
        self.pace = math.inf
        self._max_speed = max_speed
        self._velocity = 0.0
        self._now_ns: int | None = None

    def advance(self, now_ns: int, move: Callable[[float, int], None]) -> None:
        """Calls ``move`` with the seconds and the whole milliseconds since the last look, if any passed."""
        before_ns = now_ns if self._now_ns is None else self._now_ns
        self._now_ns = max(now_ns, before_ns)
        if now_ns > before_ns:
            before = self.ticks
            seconds = (now_ns - before_ns) * 1e-9
            move(seconds, now_ns // _STEP_NS - before_ns // _STEP_NS)
            self.speed = (self.ticks - before) / seconds

    def follow(self, gap: float, acceleration: float, seconds: float, steps: int) -> None:
        """Towards a goal that is ``gap`` away; ``acceleration`` [tick/s²] is unbounded when it is 0."""
        fastest = min(self.pace, self._max_speed)
        if not acceleration:
            self._velocity = 0.0
            self.ticks += follow_goal(0.0, gap, fastest, seconds)
            return
        goal = self.ticks + gap
        for _ in range(steps):
            gap = goal - self.ticks
            speed = min(RATE * abs(gap), fastest, math.sqrt(2 * acceleration * abs(gap)))
            change = math.copysign(speed, gap) - self._velocity
            most = acceleration * _STEP_S
            self._velocity += min(max(change, -most), most)
            self.ticks += self._velocity * _STEP_S

    def turn(self, speed: float, seconds: float) -> None:
        """Without end, at ``speed`` [tick/s]."""
        self.ticks += min(max(speed, -self._max_speed), self._max_speed) * seconds
