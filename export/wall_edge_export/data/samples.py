"""What calibration and error measurements run on: recorded moments of the robot at work."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wall_edge.policies.observation import Observation


@dataclass(frozen=True)
class Sample:
    """One moment: what was seen, the words that were acted on, and the actions that followed.

    ``actions [horizon, dof]`` are joint positions in rad; row k was due k action periods after the
    observation.
    """

    observation: Observation
    words: str
    actions: npt.NDArray[np.float64]


@dataclass(frozen=True)
class SampleSet:
    """Samples and where they are from; ``sha256`` covers the files that were read."""

    name: str
    sha256: str
    samples: tuple[Sample, ...]
