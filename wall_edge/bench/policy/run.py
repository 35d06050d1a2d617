"""The timed part: warm-up, chunks end to end, chunks stage by stage, words; one after the other."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wall_edge.bench.policy.load import OtherLoad
from wall_edge.bench.policy.power import PowerSampler, Sample
from wall_edge.bench.policy.rig import CHUNK, PolicyRig
from wall_edge.bench.policy.session import LOOP, PREFIX, VISION, WORDS
from wall_edge.board import Rail
from wall_edge.errors import PolicyError

PHASES = ("warm-up", "end to end", "stages", "words")


@dataclass(frozen=True)
class Options:
    """What is measured, and how often."""

    repeats: int = 100
    warm_up: int = 3
    """Chunks before anything is timed."""
    steps: int | None = None
    """Integration steps; the bundle's time grid without."""
    instruction: str = "pick up the red block and put it into the box."
    idle_s: float = 2.0
    """How long rails are sampled with nothing running, where there are any."""


@dataclass
class Run:
    """What was timed [s], by row; samples of the rails; other programs' load."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    first_chunk_s: float = 0.0
    seconds: float = 0.0
    other_cores: float | None = None
    busy: list[Sample] = field(default_factory=list)
    idle: list[Sample] = field(default_factory=list)
    refusal: str = ""
    """Why there is no chunk to time: a FAST model's words need not be one."""


def timed_run(
    rig: PolicyRig,
    options: Options,
    rails: Sequence[Rail],
    told: Callable[[str], None],
    look: Callable[[], None] = lambda: None,
) -> Run:
    """All rows of ``rig``; ``look`` is called between the phases, when most memory is taken.

    Raises :class:`PolicyError` for a flow policy that gives no chunk.
    """
    run = Run()
    told("warm-up")
    _warm_up(rig, options, run)
    look()
    if rails:
        with PowerSampler(rails) as idle:
            time.sleep(options.idle_s)
        run.idle = idle.samples
    load = _load()
    told("end to end")
    if not run.refusal:
        with PowerSampler(rails) as busy:
            run.times[CHUNK] = [rig.chunk() for _ in range(options.repeats)]
        run.busy = busy.samples
    told("stages")
    for _ in range(options.repeats):
        _add_stages(rig.stages(), run)
    told("words")
    while len(run.times["word"]) < options.repeats:
        words, heads = rig.subgoal()
        run.times["word"] += words
        run.times["lm_head"] += heads
    if load is not None:
        run.seconds, run.other_cores = load.seconds, load.cores()
    look()
    return run


def _warm_up(rig: PolicyRig, options: Options, run: Run) -> None:
    """The first runs of graphs are slower: buffers, kernels, captured loops."""
    begun = time.perf_counter()
    for number in range(max(1, options.warm_up)):
        try:
            rig.chunk()
        except PolicyError as refusal:
            if not rig.speaks:
                raise
            run.refusal = str(refusal)
        if number == 0:
            run.first_chunk_s = time.perf_counter() - begun
    rig.stages()
    rig.subgoal()


def _add_stages(spent: dict[str, float], run: Run) -> None:
    """One chunk's stages, and what is left of it for the host."""
    rows = {VISION: "vision", PREFIX: "prefix"}
    if not run.refusal:  # else it ended in the middle of its words
        rows |= {LOOP: "action_loop", WORDS: "action_word", "host": "host"}
    for name, row in rows.items():
        if name in spent:
            run.times[row].append(spent[name])


def _load() -> OtherLoad | None:
    try:
        return OtherLoad()
    except (OSError, ValueError):  # no /proc/stat, or another system's
        return None
