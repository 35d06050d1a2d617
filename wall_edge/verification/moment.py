"""One observation and words on an engine, with the inputs that goldens are computed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wall_edge.array_types import Array
from wall_edge.bundle import Manifest
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.observation import Observation
from wall_edge.verification.comparison import StageCheck

Arrays = Mapping[str, Array]
Check = Callable[[str, str, Array, Array], StageCheck]
"""A stage, its kind (which has the tolerance), what was computed and the golden."""


@dataclass(frozen=True)
class Moment:
    """What every stage starts from; ``inputs`` as of :func:`goldens.golden_inputs`."""

    encoder: Encoder
    observation: Observation
    words: str
    inputs: Arrays

    @property
    def manifest(self) -> Manifest:
        return self.encoder.manifest
