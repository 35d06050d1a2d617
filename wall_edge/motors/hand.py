"""Who moves a limp arm during a calibration: a person at the keyboard, or, of simulated motors, this file."""

from __future__ import annotations

import select
import sys
import time
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.config import RobotConfig

if TYPE_CHECKING:
    from wall_edge.sim.twins import RobotTwins

_SWEEP_LOOKS = 40
_LITTLE_RAD = 0.2


class Hand(Protocol):
    """Each is asked again and again until it says that it is done."""

    def hold_zero(self, prompt: str) -> bool:
        """Every joint at its 0."""

    def turn_positive(self, prompt: str) -> bool:
        """Every joint a little further, in its positive direction."""

    def sweep(self, prompt: str) -> bool:
        """Every joint from one end to the other."""


class PersonsHand:
    """Done when Enter is pressed."""

    def __init__(self) -> None:
        self._told = ""

    def hold_zero(self, prompt: str) -> bool:
        return self._done(prompt)

    def turn_positive(self, prompt: str) -> bool:
        return self._done(prompt)

    def sweep(self, prompt: str) -> bool:
        return self._done(prompt)

    def _done(self, prompt: str) -> bool:
        if prompt != self._told:
            self._told = prompt
            print(f"{prompt}, then press Enter.", file=sys.stderr)
        ready, _, _ = select.select([sys.stdin], [], [], 0)
        return bool(ready) and bool(sys.stdin.readline() or True)


class SimulatedHand:
    """Moves twins as a person would, by the limits of ROBOT.yaml: calibration can be tried without an arm."""

    def __init__(self, config: RobotConfig, twins: RobotTwins) -> None:
        self._twins = twins
        self._lower = np.array([joint.lower for joint in config.joints])
        self._upper = np.array([joint.upper for joint in config.joints])
        self._looks = 0

    def hold_zero(self, prompt: str) -> bool:  # noqa: ARG002
        self._put(np.clip(0.0, self._lower, self._upper))
        return True

    def turn_positive(self, prompt: str) -> bool:  # noqa: ARG002
        self._put(np.clip(_LITTLE_RAD, self._lower, self._upper))
        return True

    def sweep(self, prompt: str) -> bool:  # noqa: ARG002
        share = min(1.0, self._looks / _SWEEP_LOOKS)
        self._looks += 1
        self._put(self._lower + share * (self._upper - self._lower))
        return share == 1.0

    def _put(self, positions: Floats) -> None:
        self._twins.set_positions(positions)
        time.sleep(0.02)  # whoever answers for the motors does so from the next look on
