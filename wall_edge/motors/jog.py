"""One joint moved a little by hand of the command line: the others hold, every limit holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.config import RobotConfig
from wall_edge.errors import ConfigError, RuntimeFault
from wall_edge.runtime.motion.homing import Homing
from wall_edge.runtime.motion.limits import Limiter
from wall_edge.runtime.servo.joints import Joints
from wall_edge.runtime.servo.timing import Ticker

_STILL_RAD = 0.05
"""How far a joint may move between what a person was shown and power."""
_SETTLE_S = 0.5
"""How long the joints are held after the motion, so that what is told is where they stand."""


@dataclass(frozen=True)
class Jog:
    """From where the joints stand to the same, but joint ``index`` at ``goal`` [rad]."""

    index: int
    start: Floats
    """[dof] rad"""
    goal: float
    velocity: float
    """rad/s"""

    @classmethod
    def planned(cls, config: RobotConfig, name: str, position: Floats, by: float, velocity: float) -> Jog:
        """Raises ConfigError for an unknown joint, or a goal or speed beyond its limits."""
        names = [joint.name for joint in config.joints]
        if name not in names:
            raise ConfigError(f"joint {name!r}", expected=f"one of {', '.join(names)}")
        index = names.index(name)
        joint, goal = config.joints[index], float(position[index]) + by
        if not joint.lower <= goal <= joint.upper:
            raise ConfigError(
                f"joint {name} at {position[index]:+.3f} rad would go to {goal:+.3f} rad",
                expected=f"{joint.lower:g} to {joint.upper:g} rad",
            )
        if not 0 < velocity <= joint.max_velocity:
            expected = f"more than 0, at most {joint.max_velocity:g} rad/s (its max_velocity)"
            raise ConfigError(f"--velocity {velocity:g}", expected=expected)
        return cls(index, position.copy(), goal, velocity)

    def require_still(self, names: Sequence[str], position: Floats) -> None:
        """That the joints ``names`` stand where the plan begins. Raises RuntimeFault."""
        moved = np.abs(position - self.start)
        if not moved.max() <= _STILL_RAD:
            i = int(np.argmax(moved))
            raise RuntimeFault(
                f"joint {names[i]} moved from {self.start[i]:+.3f} to {position[i]:+.3f} rad since its way "
                "was shown",
                expected=f"within {_STILL_RAD:g} rad",
                fix="hold the arm still, and jog again; nothing was powered",
            )


def run_jog(
    config: RobotConfig,
    joints: Joints,
    jog: Jog,
    stop_requested: Callable[[], bool],
    ticker: Ticker,
) -> Floats:
    """Moves, holds for half a second, and gives where the joints then are [dof] rad; torque stays on.

    A stop brakes and holds where that ends. Raises DriveError, RuntimeFault, BusError: the caller lets go.
    """
    dt = ticker.period_ns / 1e9
    limiter = Limiter(config.bounds(), dt)
    limiter.reset(joints.position)  # where torque went on, not where the plan was made
    target = limiter.position.copy()
    target[jog.index] = jog.goal
    way = Homing(limiter.state, target.tolist(), jog.velocity, config.bounds())
    now_row, then_row = np.zeros((3, config.dof)), np.zeros((3, config.dof))
    elapsed = held = 0.0
    stopping = False
    while held < _SETTLE_S:
        now = ticker.wait()
        stopping = stopping or stop_requested()
        if stopping:
            limiter.stop()
        else:
            way.at(elapsed, now_row)
            way.at(elapsed + dt, then_row)
            limiter.follow(now_row, then_row)
        joints.send(limiter.state, now, ticker.next_ns)
        joints.collect(now)
        joints.require_following()
        elapsed += dt
        still = limiter.at_rest if stopping else elapsed >= way.duration_s
        held += dt if still else 0.0
    there: Floats = joints.position.copy()
    return there
