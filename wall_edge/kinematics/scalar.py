"""Forward kinematics of one posture in plain numbers, for a loop that asks at every tick.

numpy takes longer to be called than a few joints to be computed. A fixed rotation between two joints is
split into turns about z, x and z (Euler): those about z join the joints' own, and two turns a joint are left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.kinematics.chain import Chain

Point = tuple[float, float, float]
Frame = tuple[float, float, float, float, float, float, float, float, float, float, float, float]
"""Origin, then the columns x, y, z."""


class ScalarChain:
    """The same frames as :meth:`Chain.origins` has."""

    def __init__(self, chain: Chain) -> None:
        turns = [_zxz(step[:3].T) for step in chain.steps]
        befores = self._befores = [turn[0] for turn in turns] + [0.0]
        c, s = math.cos(befores[0]), math.sin(befores[0])
        self._start = (c, s, 0.0, -s, c, 0.0)
        self._joints = []
        for i, (step, (before, tilt, after)) in enumerate(zip(chain.steps, turns, strict=True)):
            x, y, z = _turned_back(step[3], before)
            offset = after + befores[i + 1]
            self._joints.append((x, y, z, math.cos(tilt), math.sin(tilt), offset, chain.sliding[i]))
        self._last = (float(chain.last[3, 0]), float(chain.last[3, 1]), float(chain.last[3, 2]))

    def origins(self, q: Sequence[float]) -> list[Point]:
        """Positions of all joints, then of the tip, m, for joint positions ``q`` (n numbers)."""
        frames = self.frames(q)
        points = [frame[:3] for frame in frames]
        points.append(in_the_base(frames[-1], self._last))
        return points

    def frames(self, q: Sequence[float]) -> list[Frame]:
        """All joints' frames; z is the axis, and x such as suits this class: see :meth:`in_frame`."""
        ax, ay, az, bx, by, bz = self._start
        cx, cy, cz = 0.0, 0.0, 1.0
        px = py = pz = 0.0
        frames = []
        for (tx, ty, tz, ct, st, offset, sliding), position in zip(self._joints, q, strict=True):
            px += ax * tx + bx * ty + cx * tz
            py += ay * tx + by * ty + cy * tz
            pz += az * tx + bz * ty + cz * tz
            mx, my, mz = ct * bx + st * cx, ct * by + st * cy, ct * bz + st * cz
            cx, cy, cz = ct * cx - st * bx, ct * cy - st * by, ct * cz - st * bz
            if sliding:
                px, py, pz = px + cx * position, py + cy * position, pz + cz * position
                angle = offset
            else:
                angle = position + offset
            c, s = math.cos(angle), math.sin(angle)
            bx, by, bz = c * mx - s * ax, c * my - s * ay, c * mz - s * az
            ax, ay, az = c * ax + s * mx, c * ay + s * my, c * az + s * mz
            frames.append((px, py, pz, ax, ay, az, bx, by, bz, cx, cy, cz))
        return frames

    def in_frame(self, joint: int, point: Floats) -> Point:
        """A point of the chain's frame of a joint ``[3]``, in that of :meth:`frames`."""
        return _turned_back(point, self._befores[joint + 1])


def in_the_base(frame: Frame, point: Point) -> Point:
    """A point of a joint's frame in that of the base link."""
    px, py, pz, ax, ay, az, bx, by, bz, cx, cy, cz = frame
    x, y, z = point
    return (
        px + ax * x + bx * y + cx * z,
        py + ay * x + by * y + cy * z,
        pz + az * x + bz * y + cz * z,
    )


def _zxz(rotation: Floats) -> tuple[float, float, float]:
    """Angles of ``Rz(before) Rx(tilt) Rz(after)``."""
    r = rotation
    tilt = math.atan2(math.hypot(r[0, 2], r[1, 2]), r[2, 2])
    before = math.atan2(r[0, 2], -r[1, 2])
    c, s = math.cos(before), math.sin(before)
    after = math.atan2(-(c * r[0, 1] + s * r[1, 1]), c * r[0, 0] + s * r[1, 0])
    return before, tilt, after


def _turned_back(vector: Floats, angle: float) -> Point:
    x, y, z = (float(v) for v in np.asarray(vector))
    c, s = math.cos(angle), math.sin(angle)
    return c * x + s * y, c * y - s * x, z
