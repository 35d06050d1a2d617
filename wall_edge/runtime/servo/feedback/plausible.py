"""Which readings joints can have made: a step that no motion explains is not believed, then or later."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats

Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_NOISE_RAD = 0.02
"""What an encoder may be off from one reading to the next."""
_GAP_TICKS = 2
"""Time without a word of a joint explains motion for so many ticks; beyond, only setpoints do."""
_PERSISTS = 2
"""So many refused readings, each going on from the one before, were no glitches: the joint did jump."""


class Plausibility:
    """Each joint by itself. ``fastest`` [dof] rad/s is more than any joint does; times are ns.

    A reading is believed when the joint cannot have passed it unseen: it lies within ``fastest`` of the last
    good one for the time in which the joint said nothing. Readings were lost or refused in between? Then it
    must lie where setpoints lead, and must not go on from a refused one: an offset that was lost, or a horn
    that slipped, stays refused though every further step of it is small, and though it leads back, as it does
    when the servo takes the jump for an error to correct.

    A reading shows the joint at some moment between its question and its arrival: a process that stalled may
    fetch it long after it was made. So the time until the next one counts from its question.
    """

    def __init__(self, fastest: Floats, period_ns: int) -> None:
        self._fastest = fastest
        self._gap_ns = _GAP_TICKS * period_ns
        self._good: Floats = np.zeros_like(fastest)
        self._good_ns: Times = np.zeros(len(fastest), np.int64)
        self._answer_ns = self._good_ns.copy()
        self._received_ns = self._good_ns.copy()
        self._believed: Mask = np.ones(len(fastest), np.bool_)
        self._refused: Floats = np.full_like(fastest, np.nan)
        self._run = np.zeros(len(fastest), np.int64)  # refused readings that go on from one another
        self._low, self._high = self._good.copy(), self._good.copy()
        self._clean = True
        """Whether every joint was believed last."""

    def restart(self, position: Floats, received_ns: Times) -> None:
        """Believe these, whatever was before."""
        self._good[:], self._low[:], self._high[:] = position, position, position
        self._good_ns[:], self._answer_ns[:], self._received_ns[:] = received_ns, received_ns, received_ns
        self._refused[:], self._run[:], self._believed[:] = np.nan, 0, True
        self._clean = True

    def sent(self, setpoint: Floats) -> None:
        """Setpoints [dof] rad explain motion towards them."""
        np.minimum(self._low, setpoint, out=self._low)
        np.maximum(self._high, setpoint, out=self._high)

    def believe(self, position: Floats, received_ns: Times, setpoint: Floats, asked_ns: int) -> Mask:
        """[dof] of readings that came at ``received_ns`` of a cycle begun at ``asked_ns``; an old one keeps
        its verdict."""
        new = received_ns > self._received_ns
        silent_ns = np.minimum(received_ns - self._answer_ns, self._gap_ns)
        reach = _NOISE_RAD + self._fastest * np.maximum(silent_ns, 0) / 1e9
        moved = np.abs(position - self._good)
        if self._clean and new.all() and (moved <= reach).all():
            np.minimum(received_ns, asked_ns, out=self._answer_ns)
            self._take_all(position, received_ns, setpoint)
            return self._believed
        limit = _NOISE_RAD + self._fastest * np.maximum(received_ns - self._good_ns, 0) / 1e9
        led = np.maximum(self._low - position, position - self._high) <= reach
        goes_on = np.abs(position - self._refused) <= reach  # False where nothing was refused
        persists = goes_on & (self._run >= _PERSISTS)
        near, led_there = moved <= reach, led & (moved <= limit)  # NaN is neither
        good: Mask = np.array((near & ~persists) | (led_there & ~goes_on))
        self._take(new & good, position, np.minimum(received_ns, asked_ns), setpoint)
        refused = new & ~good
        self._run[refused] = np.where(goes_on, self._run + 1, 1)[refused]
        self._refused[refused] = position[refused]
        self._answer_ns[new] = np.minimum(received_ns, asked_ns)[new]
        self._received_ns[new], self._believed[new] = received_ns[new], good[new]
        self._clean = bool(self._believed.all())
        return self._believed

    def _take_all(self, position: Floats, received_ns: Times, setpoint: Floats) -> None:
        """As :meth:`_take` of all, where nothing was refused before: nearly always, and at a third of it."""
        self._good[:] = position
        self._good_ns[:], self._received_ns[:] = self._answer_ns, received_ns
        np.minimum(position, setpoint, out=self._low)
        np.maximum(position, setpoint, out=self._high)

    def _take(self, good: Mask, position: Floats, asked_ns: Times, setpoint: Floats) -> None:
        self._good[good], self._good_ns[good] = position[good], asked_ns[good]
        self._refused[good], self._run[good] = np.nan, 0
        self._low[good] = np.minimum(position, setpoint)[good]
        self._high[good] = np.maximum(position, setpoint)[good]
