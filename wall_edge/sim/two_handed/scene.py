"""The two-handed task: which block to touch with which hand, in words, and how it is laid out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from wall_edge.array_types import Floats
from wall_edge.sim.blocks import BLOCKS, COLOURS, SPACING, Scene
from wall_edge.sim.two_handed.hands import HANDS, OUTWARD

# Where blocks lie (m), and how far past the middle a hand may be sent: there the words alone decide.
BLOCK_X = (0.13, 0.25)
BLOCK_Y = 0.19
OVERLAP = 0.07
TIME_LIMIT_S = 15.0


@dataclass(frozen=True)
class Touch:
    """The block of colour ``colour`` (index into `COLOURS`) with ``hand`` (0: left, 1: right)."""

    colour: int
    hand: int

    @property
    def words(self) -> str:
        return f"the {COLOURS[self.colour]} block with the {HANDS[self.hand]} hand"


@dataclass(frozen=True)
class Task:
    """Two touches of two blocks, one after the other."""

    first: Touch
    second: Touch

    @property
    def instruction(self) -> str:
        """The whole task in words."""
        return f"touch {self.first.words}, then {self.second.words}."

    def touch(self, done: int) -> Touch:
        """What to do next when ``done`` touches are done; the second one stays when both are."""
        return self.second if done else self.first

    def subgoal(self, done: int) -> str:
        """The same in words."""
        return f"touch {self.touch(done).words}."


def reachable(hand: int, y: float) -> bool:
    """Whether a hand may be sent to blocks at ``y`` (m)."""
    return bool(OUTWARD[hand] * y >= -OVERLAP)


def sample_scene(rng: np.random.Generator, clear_of: Floats | None = None, clearance: float = 0.07) -> Scene:
    """Three blocks of different colours, at least `SPACING` apart.

    ``clear_of`` [n, 2] (m) keeps every block ``clearance`` away from those points.
    """
    colours = rng.permutation(len(COLOURS))[:BLOCKS].astype(np.int64)
    avoided = [] if clear_of is None else clear_of.tolist()
    while True:
        # Plain floats: numpy would take five times as long for three points.
        draws = rng.random((BLOCKS, 2)).tolist()
        places = [(BLOCK_X[0] + x * (BLOCK_X[1] - BLOCK_X[0]), (2 * y - 1) * BLOCK_Y) for x, y in draws]
        if min(math.dist(a, b) for a, b in combinations(places, 2)) < SPACING:
            continue
        if any(math.dist(place, point) < clearance for place in places for point in avoided):
            continue
        return Scene(colours, np.array(places))


def sample_task(rng: np.random.Generator, scene: Scene) -> Task:
    """Two different blocks of the scene in a random order, each with a random hand that reaches it."""
    first, second = (_touch(rng, scene, int(block)) for block in rng.permutation(BLOCKS)[:2])
    return Task(first, second)


def _touch(rng: np.random.Generator, scene: Scene, block: int) -> Touch:
    y = float(scene.xy[block, 1])
    hands = [hand for hand in range(len(HANDS)) if reachable(hand, y)]
    return Touch(int(scene.colours[block]), hands[int(rng.integers(len(hands)))])
