"""The last word on every setpoint: bounds up to jerk, whatever the policy says.

Setpoints are samples of one motion with continuous acceleration: at each tick the limiter chooses a jerk. It
steers to the reference with a cascade of position, velocity and acceleration loops, each with the
square-root law that leaves room to brake (as the `sqrt_controller` of ArduPilot's position control), and
takes the step only if a full stop from there keeps every bound (``motion.braking``). Where it
would not, it takes the nearest step towards the stop that does. A reference within the bounds is followed
up to sampling, as its own jerk is fed forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats
from wall_edge.config import Bounds
from wall_edge.errors import ConfigError, RuntimeFault
from wall_edge.runtime.motion.braking import JointMotion, glide, safe, stop_of, well_inside

_BANDWIDTH = 60.0
"""rad/s: how fast what is left of an error is worked off; less where the ticks are too few for it."""
_PER_TICK = 0.2
"""rad: the bandwidth times the period stays below this, far from where a sampled cascade would oscillate."""
_SLOWER = 0.9
"""Of its speed: what a joint that is slowed heads for at each tick."""
_HALVINGS = 8
"""Of the way between the step that was wanted and the stop."""


class Limiter:
    """Moves setpoints of ``len(bounds)`` joints by one tick of ``dt`` [s] a call, within ``bounds``.

    :meth:`follow` steers to a reference, :meth:`stop` brings the joints to rest. Both return positions [dof]
    in rad, not to be written to and valid until the next call. Raises ConfigError for impossible bounds.
    """

    def __init__(self, bounds: Sequence[Bounds], dt: float) -> None:
        if not bounds or not (math.isfinite(dt) and dt > 0):
            raise ConfigError(f"{len(bounds)} joints, dt {dt}", expected="at least one joint, dt above 0 s")
        self._bounds = [joint.inside(dt) for joint in bounds]
        self._dt = dt
        self._bandwidth = min(_BANDWIDTH, _PER_TICK / dt)
        self._joints: list[JointMotion] | None = None
        self._before: list[JointMotion] | None = None
        self.state: Floats = np.zeros((3, len(bounds)))
        """Rows: position [rad], velocity [rad/s], acceleration [rad/s²] of the last setpoint; read only."""
        self.hits = {
            name: [0] * len(bounds) for name in ("position", "velocity", "acceleration", "jerk", "brake")
        }
        """How often each bound acted, by joint; ``brake``: the step was bent towards the stop."""
        self.refused = 0
        """References with NaN or infinity: the joints brake instead."""

    def reset(self, position: npt.ArrayLike) -> None:
        """Starts at rest at ``position`` [dof, rad]; one outside the range starts at its edge."""
        start = np.array(position, np.float64)
        if start.shape != (len(self._bounds),) or not np.isfinite(start).all():
            raise RuntimeFault(f"a start at {start}", expected=f"{len(self._bounds)} finite angles")
        joints = zip(start.tolist(), self._bounds, strict=True)
        self._keep([(min(max(p, b.lower), b.upper), 0.0, 0.0) for p, b in joints])

    @property
    def position(self) -> Floats:
        """The last setpoint [dof, rad]."""
        row: Floats = self.state[0]
        return row

    @property
    def joints(self) -> list[JointMotion]:
        """The same as ``state``, joint by joint."""
        return self._require_position()

    @property
    def at_rest(self) -> bool:
        """Whether velocity and acceleration are zero."""
        return not self.state[1:].any()

    def follow(self, now: Floats, then: Floats) -> Floats:
        """One tick towards a reference whose rows are position, velocity and acceleration [3, dof].

        ``now`` is due with the last setpoint, ``then`` with this one. One that is not finite is refused.
        """
        if not (np.isfinite(now).all() and np.isfinite(then).all()):
            self.refused += 1
            return self.stop()
        joints, dt = self._require_position(), self._dt
        references = zip(*now.tolist(), then[2].tolist(), strict=True)
        steps = []
        for i, (joint, (*reference, next_acceleration)) in enumerate(zip(joints, references, strict=True)):
            jerk = self._jerk_to(i, joint, reference, (next_acceleration - reference[2]) / dt)
            step = glide(joint, jerk, dt)
            bounds = self._bounds[i]
            fine = well_inside(step, bounds) or safe(step, bounds)
            steps.append(step if fine else self._bent(i, joint, step))
        return self._keep(steps)

    def slow(self) -> Floats:
        """One tick towards less speed of all joints alike, so that a tip keeps its direction."""
        target = self.state.copy()
        target[1] *= _SLOWER
        target[2] = 0.0
        return self.follow(target, target)

    def stop(self) -> Floats:
        """One tick of the fastest stop."""
        pairs = zip(self._require_position(), self._bounds, strict=True)
        return self._keep([stop_of(s[1], s[2], b).after(s, self._dt) for s, b in pairs])

    def revoke(self) -> None:
        """As if the last step had not been taken: it is not sent. Once, until the next."""
        assert self._before is not None
        self._keep(self._before)

    def counts(self) -> dict[str, object]:
        """How often each bound acted (lists by joint), and the refused references."""
        return {**{name: list(by_joint) for name, by_joint in self.hits.items()}, "refused": self.refused}

    def _jerk_to(self, i: int, joint: JointMotion, reference: Sequence[float], feedforward: float) -> float:
        """What the cascade asks of joint ``i`` [rad/s³], clipped at every loop."""
        bounds, w = self._bounds[i], self._bandwidth
        p, v, a = joint
        # The gains put all three poles at -w where nothing is clipped; half of each bound is left to brake.
        target = self._clipped("position", i, reference[0], bounds.lower, bounds.upper)
        still = target != reference[0]  # a reference beyond the range is a wall, and walls do not move
        vr, ar, feedforward = (0.0, 0.0, 0.0) if still else (reference[1], reference[2], feedforward)
        speed = vr + _approach(target - p, w / 3, bounds.acceleration / 2)
        speed = self._clipped("velocity", i, speed, -bounds.velocity, bounds.velocity)
        push = ar + _approach(speed - v, w, bounds.jerk / 2)
        push = self._clipped("acceleration", i, push, -bounds.acceleration, bounds.acceleration)
        jerk = self._clipped("jerk", i, feedforward + 3 * w * (push - a), -bounds.jerk, bounds.jerk)
        # The whole tick keeps the acceleration bound, not its end alone: mixed with a stop it does so too.
        most = bounds.acceleration
        return min(max(jerk, (-most - a) / self._dt), (most - a) / self._dt)

    def _clipped(self, name: str, i: int, value: float, low: float, high: float) -> float:
        if low <= value <= high:
            return value
        self.hits[name][i] += 1
        return low if value < low else high

    def _bent(self, i: int, joint: JointMotion, target: JointMotion) -> JointMotion:
        """The step nearest to ``target``, between it and the stop, that is safe; the stop always is.

        States reached in one tick from one state mix like their jerks, so that every mixture keeps the jerk
        bound.
        """
        bounds = self._bounds[i]
        self.hits["brake"][i] += 1
        best = stop = stop_of(joint[1], joint[2], bounds).after(joint, self._dt)
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            part = (low + high) / 2
            mixed = _mixed(stop, target, part)
            if safe(mixed, bounds):
                low, best = part, mixed
            else:
                high = part
        return best

    def _require_position(self) -> list[JointMotion]:
        if self._joints is None:
            what = "a setpoint before the arm's position is known"
            raise RuntimeFault(what, expected="reset(position) first")
        return self._joints

    def _keep(self, joints: list[JointMotion]) -> Floats:
        self._before, self._joints = self._joints, joints
        self.state[:] = tuple(zip(*joints, strict=True))
        return self.position


def _approach(error: float, gain: float, limit: float) -> float:
    """The rate at which to close ``error`` so that braking at ``limit`` never overshoots.

    ``gain · error`` near 0, the square-root law of constant deceleration farther out.
    """
    near = limit / (gain * gain)
    if abs(error) <= near:
        return gain * error
    return math.copysign(math.sqrt(2 * limit * (abs(error) - near / 2)), error)


def _mixed(a: JointMotion, b: JointMotion, part: float) -> JointMotion:
    return a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1]), a[2] + part * (b[2] - a[2])
