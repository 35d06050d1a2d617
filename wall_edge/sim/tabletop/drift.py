"""Blocks that wander over the table, so that a plan made from an old picture misses.

Every block moves straight on at the same constant speed. The edge of the reachable sector mirrors it, and two
blocks that would come closer than `SPACING` turn away from each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wall_edge.sim.blocks import BLOCKS, SPACING, Scene
from wall_edge.sim.tabletop.arm import Array
from wall_edge.sim.tabletop.scene import HALF_ANGLE, RADIUS

Vector = tuple[float, float]


@dataclass
class Drift:
    """``velocities`` [3, 2] of a scene's blocks in m/s, turned as the blocks meet edges and each other."""

    velocities: Array

    def advance(self, scene: Scene, dt: float) -> None:
        """Move the blocks on by ``dt`` seconds; ``scene.xy`` becomes a new array."""
        if not self.velocities.any():
            return
        # Plain floats: numpy would take several times as long for three points.
        places: list[Vector] = [(x, y) for x, y in scene.xy.tolist()]
        ways: list[Vector] = [(x, y) for x, y in self.velocities.tolist()]
        for block in range(len(places)):
            _advance(block, places, ways, dt)
        scene.xy, self.velocities = np.array(places), np.array(ways)


def sample_drift(rng: np.random.Generator, speed: float) -> Drift:
    """A direction of its own for each block, all at ``speed`` (m/s)."""
    angles = 2 * np.pi * rng.random(BLOCKS)
    return Drift(speed * np.column_stack((np.cos(angles), np.sin(angles))))


def _advance(block: int, places: list[Vector], ways: list[Vector], dt: float) -> None:
    """Move one block while the others stand: what may not be entered is never entered, whatever the order."""
    here, way = places[block], ways[block]
    goal = _moved(here, way, dt)
    for inward in _edges(goal):
        way = _along(way, inward)
    for other, there in enumerate(places):
        if other != block and math.dist(goal, there) < SPACING:
            away = _unit(here[0] - there[0], here[1] - there[1])
            way = _along(way, away)
            ways[other] = _along(ways[other], (-away[0], -away[1]))
    ways[block] = way
    goal = _moved(here, way, dt)
    if _free(block, goal, places):  # else it is hemmed in, and waits for the others to move
        places[block] = goal


def _free(block: int, goal: Vector, places: list[Vector]) -> bool:
    apart = all(math.dist(goal, there) >= SPACING for other, there in enumerate(places) if other != block)
    return apart and not _edges(goal)


def _edges(place: Vector) -> list[Vector]:
    """Inward unit normals of the sector's edges that this place lies beyond."""
    radius, angle = math.hypot(*place), math.atan2(place[1], place[0])
    outward = _unit(*place)
    inward = []
    if radius < RADIUS[0]:
        inward.append(outward)
    if radius > RADIUS[1]:
        inward.append((-outward[0], -outward[1]))
    if abs(angle) > HALF_ANGLE:
        inward.append((math.sin(HALF_ANGLE), -math.copysign(math.cos(HALF_ANGLE), angle)))
    return inward


def _along(way: Vector, normal: Vector) -> Vector:
    """``way`` mirrored, if need be, so that it does not go against the unit ``normal``."""
    against = min(0.0, way[0] * normal[0] + way[1] * normal[1])
    return way[0] - 2 * against * normal[0], way[1] - 2 * against * normal[1]


def _moved(place: Vector, way: Vector, dt: float) -> Vector:
    return place[0] + dt * way[0], place[1] + dt * way[1]


def _unit(x: float, y: float) -> Vector:
    length = math.hypot(x, y)
    return x / length, y / length
