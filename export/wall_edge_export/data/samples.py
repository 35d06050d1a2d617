"""What calibration and error measurements run on: samples of the robot at work, and where they come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wall_edge.session_format import Sample

MIN_SAMPLES = 8


@dataclass(frozen=True)
class SampleSet:
    """Samples and where they are from; ``sha256`` covers the files that were read.

    Row k of a sample's ``actions [horizon, degrees]`` was due k action periods after the observation.
    """

    name: str
    sha256: str
    samples: tuple[Sample, ...]


class SampleSource(Protocol):
    """Data to draw from: ``total`` samples in the order of time, read one at a time."""

    @property
    def total(self) -> int: ...

    @property
    def files(self) -> Iterable[Path]:
        """Those read so far."""

    def sample(self, index: int) -> Sample: ...
