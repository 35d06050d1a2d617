"""The workspace watched at every tick: where tips are told to be, where they would stop, and where they are.

Chunks of poses were kept inside before (:mod:`wall_edge.body.workspace`); what joints do between and after
the steps of a chunk, or where joints are commanded in the first place, is known only here. As long as every
setpoint is one from which the fastest stop stays inside, braking is always a way to stay there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from wall_edge.body.bounds import bounded_poses, tip_pairs
from wall_edge.body.frames import Frame, fixed_frame
from wall_edge.body.model import PoseChain, RobotModel
from wall_edge.config import Bounds, PoseBounds, RobotConfig
from wall_edge.errors import ConfigError, RuntimeFault
from wall_edge.kinematics.scalar import Point
from wall_edge.runtime.motion.braking import JointMotion, stop_distance, stop_of
from wall_edge.runtime.motion.watched_arm import Breach, WatchedArm

_WINDOW_NS, _STALE_NS, _NOISE_M = 100_000_000, 20_000_000, 0.005
"""Measured speeds are means over such a time, of readings no farther apart, and a tip may seem to jump so
far: encoders, and a joint that comes loose after friction held it."""
_SLOW_SHARE = 0.9
"""Of ``max_speed``, from which on tips are slowed down: what accelerates becomes a little faster first."""
_REST_SHARE = 0.8
"""Of ``max_speed``, for the way to rest."""
_BULGE = 0.25
"""Of how far any point may go in a stop, its way is this share beyond both of its ends at most (of 1500
random stops of two arms: 0.18)."""
_ON_THE_WAY = (0.15, 0.35, 0.6)
"""Of the time that a stop takes: where it is looked at, about as far apart as its parts are long. A tip goes
through arcs, and joints stop one after the other: a stop that ends inside may pass outside."""


class WorkspaceWatch:
    """Raises RuntimeFault naming the pose, its bound and the value. Of a servo loop of period ``dt`` [s]."""

    def __init__(
        self,
        arms: Sequence[WatchedArm],
        pairs: Sequence[tuple[int, int, Frame]],
        tip_distance_m: float,
        bounds: Sequence[Bounds],
        dt: float,
    ) -> None:
        self._arms, self._tip_distance_m, self._dt = arms, tip_distance_m, dt
        self._pairs = [(i, j, _plain(frame)) for i, j, frame in pairs]
        self._bounds = [joint.inside(dt) for joint in bounds]  # by which the limiter stops
        self._weights = [sum(arm.weights[i] for arm in arms) for i in range(len(self._bounds))]
        self._tips: list[Point] = []
        self._sent: list[Point] = []
        self._measured: tuple[int, list[Point]] | None = None
        self._setpoint = [0.0] * len(self._bounds)
        self._clear = -math.inf
        self.on_leave: Callable[[str, str], None] = lambda *_: None
        """Told the pose and the bound when the arm has to brake."""

    @classmethod
    def of(cls, config: RobotConfig) -> WorkspaceWatch | None:
        """Of a robot with a workspace.

        Raises ConfigError, KinematicsError: what does not fit together, or a pose of rest that is outside.
        """
        workspace = config.workspace
        if workspace is None:
            return None
        model = RobotModel.of(config)
        bounded = bounded_poses(workspace, model)
        arms = [WatchedArm(config.dof, p.chain, p.frame, p.bounds) for p in bounded]
        names = tip_pairs(workspace, model)
        for name in dict.fromkeys(name for pair in names for name in pair if name not in workspace.poses):
            arms.append(_unbounded(config.dof, model.chains[name]))
        place = {arm.name: i for i, arm in enumerate(arms)}
        pairs = []
        for i, j in ((place[a], place[b]) for a, b in names):
            frame = fixed_frame(model.urdf, arms[j].bounds.frame, arms[i].bounds.frame)
            pairs.append((i, j, frame))
        watch = cls(arms, pairs, workspace.tip_distance_m or 0.0, config.bounds(), 1 / config.control.rate_hz)
        watch._require_rest(config.control.rest)
        return watch

    def require_start(self, position: Sequence[float]) -> None:
        """Refuses joints [dof, rad] that bring a tip outside before they are powered."""
        if self._clearance(position) < 0:
            breach = self._breach(position)
            fix = "move it inside by hand, or correct workspace in ROBOT.yaml"
            raise RuntimeFault(f"{breach.who} starts at {breach.value}", expected=breach.expected, fix=fix)

    def require_setpoint(self, joints: Sequence[JointMotion], *, slowed: bool = False) -> bool:
        """The setpoint that is to be sent next, and where its fastest stop ends.

        False: a tip would soon be too fast. That setpoint is not to be sent, but one that is slower
        (``slowed``), which is asked for next.
        """
        position = [joint[0] for joint in joints]
        clear = self._clearance(position)
        if clear < 0:
            raise self._fault(self._breach(position), "is about to be at")
        travel, ends = 0.0, position.copy()
        for i, (_, velocity, acceleration) in enumerate(joints):
            if velocity or acceleration:
                distance = stop_distance(velocity, acceleration, self._bounds[i])
                ends[i] += distance
                travel += self._weights[i] * abs(distance)
        tips = self._tips
        if travel > clear:
            self._require_stop(joints, ends, travel, clear)
        if self._sent and not self._slow_enough(joints, tips, slowed):
            return False
        self._sent, self._setpoint, self._clear = tips, position, clear
        return True

    def require_measured(self, position: Sequence[float], oldest_ns: int, newest_ns: int) -> None:
        """Where the joints are [dof, rad], read between these times [ns]."""
        there = zip(position, self._setpoint, self._weights, strict=True)
        far = sum(weight * abs(p - s) for p, s, weight in there) > self._clear
        if far and self._clearance(position) < 0:
            raise self._fault(self._breach(position), "is at")
        if newest_ns - oldest_ns <= _STALE_NS:
            self._require_measured_speed(position, oldest_ns)

    def _require_stop(
        self, joints: Sequence[JointMotion], ends: Sequence[float], travel: float, before: float
    ) -> None:
        """Of the fastest stop, which ends at ``ends`` [dof, rad]: no point goes farther than ``travel`` [m].

        ``before``: how far inside it begins [m].
        """
        clear = self._clearance(ends)
        if clear < 0:
            raise self._fault(self._breach(ends), "could no longer stop before")
        if travel <= clear + before or _BULGE * travel <= min(clear, before):
            return
        moving = [
            (i, p, v, a, stop_of(v, a, self._bounds[i])) for i, (p, v, a) in enumerate(joints) if v or a
        ]
        lasts, there = max([stop.seconds for *_, stop in moving]), [joint[0] for joint in joints]
        for part in _ON_THE_WAY:
            for i, p, v, a, stop in moving:
                there[i] = p + stop.way(v, a, part * lasts)
            if self._clearance(there) < 0:
                raise self._fault(self._breach(there), "could no longer stop before")

    def rest_velocity(self, position: Sequence[float], rest: Sequence[float], velocity: float) -> float:
        """At most ``velocity`` [rad/s]: with that, of the joint that goes farthest, no tip is too fast."""
        ways = [abs(b - a) for a, b in zip(position, rest, strict=True)]
        farthest = max(ways)
        for arm in self._arms:
            if arm.max_speed is not None and farthest > 0:
                reach = sum(weight * way / farthest for weight, way in zip(arm.weights, ways, strict=True))
                velocity = min(velocity, _REST_SHARE * arm.max_speed / reach) if reach > 0 else velocity
        return velocity

    def _require_rest(self, rest: Sequence[float]) -> None:
        if self._clearance(rest) < 0:
            breach = self._breach(rest)
            raise ConfigError(
                f"control.rest: {breach.who} is at {breach.value} there",
                expected=breach.expected,
                fix="choose a rest inside, or widen workspace",
            )

    def _clearance(self, position: Sequence[float]) -> float:
        """How far inside all bounds of place a posture is [m]; its tips are in ``_tips`` afterwards."""
        clear = math.inf
        tips = self._tips = []
        for arm in self._arms:
            inside, tip = arm.clearance(position)
            tips.append(tip)
            if inside < clear:
                clear = inside
        for i, j, frame in self._pairs:
            clear = min(clear, _distance(tips[i], tips[j], frame) - self._tip_distance_m)
        return clear

    def _breach(self, position: Sequence[float]) -> Breach:
        """What a posture outside is outside of."""
        self._clearance(position)
        for arm in self._arms:
            if breach := arm.breach(position):
                return breach
        tips = self._tips
        apart, i, j = min((_distance(tips[i], tips[j], frame), i, j) for i, j, frame in self._pairs)
        names = f"{self._arms[i].name} and {self._arms[j].name}"
        expected = f"at least {self._tip_distance_m:g} m (workspace.tip_distance_m)"
        return Breach(f"poses {names}", f"{apart:.4f} m from tip to tip", expected)

    def _slow_enough(self, joints: Sequence[JointMotion], tips: Sequence[Point], slowed: bool) -> bool:
        """Of ``tips`` to be sent after ``_sent``."""
        for arm, a, b in zip(self._arms, self._sent, tips, strict=True):
            if arm.max_speed is None:
                continue
            speed, most = math.dist(a, b) / self._dt, _SLOW_SHARE * arm.max_speed
            if speed + arm.growth(joints, self._bounds) > most:
                peak = max(speed, arm.peak_speed(joints, self._bounds, b, self._dt))
                if not slowed and not peak <= most:
                    return False
                if not speed <= arm.max_speed:
                    raise self._fault(arm.too_fast(speed), "is about to move, though slowed down, at")
        return True

    def _require_measured_speed(self, position: Sequence[float], now_ns: int) -> None:
        if self._measured is not None and now_ns - self._measured[0] < _WINDOW_NS:
            return
        tips = [arm.points(position)[-1] for arm in self._arms]
        before, self._measured = self._measured, (now_ns, tips)
        if before is None:
            return
        seconds = (now_ns - before[0]) / 1e9
        for arm, a, b in zip(self._arms, before[1], tips, strict=True):
            if arm.max_speed is not None and not math.dist(a, b) <= arm.max_speed * seconds + _NOISE_M:
                raise self._fault(arm.too_fast(math.dist(a, b) / seconds), "moved at")

    def _fault(self, breach: Breach, verb: str) -> RuntimeFault:
        self.on_leave(breach.who, f"{verb} {breach.value}")
        return RuntimeFault(f"{breach.who} {verb} {breach.value}", expected=breach.expected, fix=breach.fix)


def _unbounded(dof: int, pose: PoseChain) -> WatchedArm:
    """In the axes of its base link."""
    return WatchedArm(dof, pose, Frame(np.zeros(3), np.eye(3)), PoseBounds(frame=pose.chain.base))


Plain = tuple[tuple[float, ...], ...] | None


def _plain(frame: Frame) -> Plain:
    """Rows of rotation and position; None where there is nothing to turn or to move."""
    rows = [(*row, at) for row, at in zip(frame.rotation.tolist(), frame.position.tolist(), strict=True)]
    still = [(1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)]
    return None if rows == still else tuple(rows)


def _distance(a: Point, b: Point, frame: Plain) -> float:
    """From ``a`` to ``b``, which is in ``frame`` in the axes of ``a`` [m]."""
    if frame is not None:
        x, y, z = b
        b = tuple(row[0] * x + row[1] * y + row[2] * z + row[3] for row in frame)  # type: ignore[assignment]
    return math.dist(a, b)
