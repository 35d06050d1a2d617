"""An action chunk as a curve with continuous acceleration, joined to the motion that it takes over from.

A chunk's steps are the control points of a uniform cubic B-spline (de Boor, "A Practical Guide to Splines",
1978): it stays inside the hull of four neighbouring steps, so it neither overshoots nor needs a system of
equations, and it misses a step by only a sixth of the second difference. Whatever is missing between the
motion so far and the new curve when the curve takes over decays along a quintic polynomial whose first three
derivatives match at both ends, so that position, velocity and acceleration are continuous.
"""

from __future__ import annotations

import numpy as np

from wall_edge.array_types import Floats


class Splice:
    """``positions`` [n, dof] in rad, one every ``dt_s``; taken over at ``start_s`` from ``state`` [3, dof].

    The rows of ``state`` are position [rad], velocity [rad/s] and acceleration [rad/s²]; what it differs from
    the curve decays within ``blend_s``. Times are seconds from the first step.
    """

    def __init__(self, positions: Floats, dt_s: float, start_s: float, state: Floats, blend_s: float) -> None:
        self._dt, self._start, self._blend = dt_s, start_s, blend_s
        self.end_s = (len(positions) - 1) * dt_s
        """When the last step is due."""
        # One phantom step at each end puts the curve through the first and the last step.
        before = 2 * positions[:1] - positions[1:2] if len(positions) > 1 else positions[:1]
        after = 2 * positions[-1:] - positions[-2:-1] if len(positions) > 1 else positions[-1:]
        self._steps = np.concatenate((before, positions, after, after))
        # One product evaluates the curve and what is left of the difference.
        self._weights = np.zeros((3, 7))
        self._points = np.zeros((7, positions.shape[1]))
        self.at(start_s, out := np.empty((3, positions.shape[1])))
        np.subtract(state, out, out=self._points[4:])

    def at(self, seconds: float, out: Floats) -> None:
        """Writes position, velocity and acceleration at this time, 0 … ``end_s``, into ``out`` [3, dof]."""
        span = min(max(seconds, 0.0), self.end_s) / self._dt
        k = int(span)
        self._points[:4] = self._steps[k : k + 4]
        self._spline(span - k)
        self._decay((seconds - self._start) / self._blend)
        np.matmul(self._weights, self._points, out=out)

    def _spline(self, u: float) -> None:
        """The basis of a uniform cubic B-spline and its derivatives, ``u`` 0 … 1 between two steps."""
        w, dt = self._weights, self._dt
        r = 1 - u
        w[0, 0], w[0, 1], w[0, 2], w[0, 3] = (
            r * r * r / 6,
            (3 * u * u * u - 6 * u * u + 4) / 6,
            (3 * r * r * r - 6 * r * r + 4) / 6,
            u * u * u / 6,
        )
        w[1, 0], w[1, 1], w[1, 2], w[1, 3] = (
            -r * r / (2 * dt),
            (3 * u * u - 4 * u) / (2 * dt),
            (-3 * r * r + 4 * r) / (2 * dt),
            u * u / (2 * dt),
        )
        dt2 = dt * dt
        w[2, 0], w[2, 1], w[2, 2], w[2, 3] = r / dt2, (3 * u - 2) / dt2, (3 * r - 2) / dt2, u / dt2

    def _decay(self, s: float) -> None:
        """What is left at ``s`` of a difference in position, velocity and acceleration; nothing from 1 on."""
        w, b = self._weights, self._blend
        if s >= 1:
            w[:, 4:] = 0.0
            return
        s2, s3, s4 = s * s, s**3, s**4
        w[0, 4:] = (
            1 - 10 * s3 + 15 * s4 - 6 * s4 * s,
            b * (s - 6 * s3 + 8 * s4 - 3 * s4 * s),
            b * b / 2 * (s2 - 3 * s3 + 3 * s4 - s4 * s),
        )
        w[1, 4:] = (
            (-30 * s2 + 60 * s3 - 30 * s4) / b,
            1 - 18 * s2 + 32 * s3 - 15 * s4,
            b / 2 * (2 * s - 9 * s2 + 12 * s3 - 5 * s4),
        )
        w[2, 4:] = (
            (-60 * s + 180 * s2 - 120 * s3) / (b * b),
            (-36 * s + 96 * s2 - 60 * s3) / b,
            1 - 9 * s + 18 * s2 - 10 * s3,
        )
