"""Power while chunks are computed: rails sampled by a thread, watts integrated over time.

Which rail stands for the whole module: ``VDD_IN`` of Orin NX and Nano, ``VIN`` of Thor; of AGX Orin
``VDD_GPU_SOC``, ``VDD_CPU_CV`` and ``VIN_SYS_5V0`` together (github.com/energymon/energymon, its README for
Jetsons). A carrier board's fan and sockets are in none of them but VIN. Never tried on a
board: none was at hand.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from wall_edge.board import Rail

PERIOD_S = 0.05
"""From sample to sample: the monitors themselves average over about as long."""
TOTAL = "total"
_WHOLE = (("VDD_IN",), ("VIN",), ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"))

Sample = tuple[float, Mapping[str, float]]
"""When [s], and each rail's power [W]."""


@dataclass(frozen=True)
class Draw:
    """Of one rail, or of the whole module (:data:`TOTAL`)."""

    mean_w: float
    idle_w: float | None
    """With everything loaded and nothing running."""
    joules_a_chunk: float


class PowerSampler:
    """Samples all rails while it is entered. Never keeps what it surrounds from ending."""

    def __init__(self, rails: Sequence[Rail], clock: Callable[[], float] = time.monotonic) -> None:
        self._rails, self._clock = rails, clock
        self.samples: list[Sample] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="power", daemon=True)

    def sample(self) -> None:
        """One more, now."""
        watts: dict[str, float] = {}
        for rail in self._rails:
            value = rail.watts()
            if value is not None:
                watts[rail.label] = watts.get(rail.label, 0.0) + value
        self.samples.append((self._clock(), watts))

    def _run(self) -> None:
        while not self._ended.wait(PERIOD_S):
            self.sample()

    def __enter__(self) -> PowerSampler:
        self.sample()
        if self._rails:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self.sample()


def joules(samples: Sequence[Sample]) -> dict[str, float]:
    """Energy of each rail that every sample has, and of the whole module, by the trapezoidal rule."""
    labels = set(samples[0][1]).intersection(*(watts for _, watts in samples)) if samples else set()
    energy = {
        label: sum(
            (after - before) * (watts[label] + later[label]) / 2
            for (before, watts), (after, later) in pairwise(samples)
        )
        for label in sorted(labels)
    }
    whole = next((rails for rails in _WHOLE if labels.issuperset(rails)), ())
    if whole:
        energy[TOTAL] = sum(energy[label] for label in whole)
    return energy


def draws(busy: Sequence[Sample], idle: Sequence[Sample], chunks: int) -> dict[str, Draw]:
    """Of the rails (and the whole, where some stand for it) while ``chunks`` chunks were computed."""
    seconds, still = _seconds(busy), _seconds(idle)
    if not seconds:
        return {}
    quiet = joules(idle)
    return {
        label: Draw(
            energy / seconds, quiet[label] / still if still and label in quiet else None, energy / chunks
        )
        for label, energy in joules(busy).items()
    }


def _seconds(samples: Sequence[Sample]) -> float:
    return samples[-1][0] - samples[0][0] if samples else 0.0
