"""Training samples for the tabletop policy, made on the fly: scenes, pictures and the demonstrator's answers.

Random streams: the trainer draws from ``np.random.default_rng([TRAIN_STREAM, seed])``; evaluation
episodes (`wall_edge.sim.tabletop.referee`) from ``[EPISODE_STREAM, seed, index]``. The first word differs, so
an evaluation episode is never one that was trained on.

States are drawn off the demonstrator's path on purpose: a learned policy leaves it too, and the label there
shows the way back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wall_edge.sim.blocks import BLOCKS, COLOURS, TOUCH_HEIGHT, Scene
from wall_edge.sim.tabletop import arm, expert
from wall_edge.sim.tabletop.render import CAMERAS, render
from wall_edge.sim.tabletop.scene import HALF_ANGLE, Task, sample_scene, sample_task

Array = npt.NDArray[np.float64]

# Block positions times this have a mean near 0 and a spread near 1.
XY_CENTRE: Array = np.array([0.13, 0.0])
XY_SCALE: Array = np.array([0.035, 0.095])

# Where states come from; the rest is where a run towards the target starts.
UNIFORM, PATH, NEAR_TARGET = 0.35, 0.35, 0.20
JOINT_NOISE: Array = np.array([0.04, 0.03, 0.03, 0.03, 0.02, 0.02])


@dataclass(frozen=True)
class Batch:
    """B samples. Lengths in metres unless normalised, angles in radians.

    ``frames``: camera → uint8 [B, 84, 84, 3]; ``state`` [B, 6] joints; ``commands`` [B, 24, 6] absolute joint
    commands from that state on; ``instructions`` and ``subgoals`` in words. For auxiliary losses:
    ``target_xy`` [B, 2] of the block to touch (normalised); per colour ``colour_present`` [B, 5] and
    ``colour_touched`` [B, 5] as bool, and ``colour_xy`` [B, 5, 2] (normalised, 0 where absent).
    """

    frames: dict[str, npt.NDArray[np.uint8]]
    state: Array
    commands: Array
    instructions: list[str]
    subgoals: list[str]
    target_xy: Array
    colour_present: npt.NDArray[np.bool_]
    colour_touched: npt.NDArray[np.bool_]
    colour_xy: Array


def normalise_xy(xy: npt.ArrayLike) -> Array:
    """Table positions [..., 2] in metres as numbers with mean near 0 and spread near 1."""
    return (np.asarray(xy, dtype=np.float64) - XY_CENTRE) / XY_SCALE


def sample_batch(rng: np.random.Generator, size: int) -> Batch:
    """``size`` independent samples; about half have the first block touched and ask for the second."""
    scenes, tasks = _sample_scenes(rng, size)
    target, state = _sample_states(rng, scenes, tasks)
    frames = {camera: np.empty((size, 84, 84, 3), dtype=np.uint8) for camera in CAMERAS}
    for index, (joints, scene) in enumerate(zip(state, scenes, strict=True)):
        for camera, picture in render(joints, scene).items():
            frames[camera][index] = picture

    rows = np.arange(size)[:, None]
    colours = np.array([scene.colours for scene in scenes]).reshape(size, BLOCKS)
    present = np.zeros((size, len(COLOURS)), dtype=np.bool_)
    present[rows, colours] = True
    touched = np.zeros_like(present)
    touched[rows, colours] = np.array([scene.touched for scene in scenes]).reshape(size, BLOCKS)
    colour_xy = np.zeros((size, len(COLOURS), 2))
    colour_xy[rows, colours] = normalise_xy(np.array([scene.xy for scene in scenes]).reshape(size, BLOCKS, 2))
    return Batch(
        frames=frames,
        state=state,
        commands=expert.rollout(state, target),
        instructions=[task.instruction for task in tasks],
        subgoals=[task.subgoal(_done(scene)) for task, scene in zip(tasks, scenes, strict=True)],
        target_xy=normalise_xy(target),
        colour_present=present,
        colour_touched=touched,
        colour_xy=colour_xy,
    )


def action_spread(rng: np.random.Generator, samples: int = 1024) -> Array:
    """Standard deviation [6] of commands − state over samples and horizon (rad), at least 0.02.

    The floor is for wrist_roll and gripper, which hardly move: their noise is not blown up to unit size.
    """
    scenes, tasks = _sample_scenes(rng, samples)
    target, state = _sample_states(rng, scenes, tasks)
    moves = expert.rollout(state, target) - state[:, None]
    return np.asarray(np.maximum(moves.reshape(-1, moves.shape[-1]).std(axis=0), 0.02))


def _sample_scenes(rng: np.random.Generator, size: int) -> tuple[list[Scene], list[Task]]:
    scenes = [sample_scene(rng) for _ in range(size)]
    tasks = [sample_task(rng, scene) for scene in scenes]
    for index in np.flatnonzero(rng.random(size) < 0.5):
        scenes[index].touched[scenes[index].index(tasks[index].first)] = True
    return scenes, tasks


def _sample_states(rng: np.random.Generator, scenes: list[Scene], tasks: list[Task]) -> tuple[Array, Array]:
    """Position of the block to touch next [B, 2] (m) and joints [B, 6] in the five kinds of places."""
    size = len(scenes)
    pairs = list(zip(scenes, tasks, strict=True))
    target = np.array([scene.xy[scene.index(task.target(_done(scene)))] for scene, task in pairs])
    first = np.array([scene.xy[scene.index(task.first)] for scene, task in pairs])
    done = np.array([_done(scene) for scene in scenes])[:, None]
    target, first = target.reshape(size, 2), first.reshape(size, 2)

    # Before the first touch the arm is at rest, or where an earlier episode ended: over another row's block.
    last = _above(rng, np.where(done > 0, first, np.roll(first, 1, axis=0)), 0.012)
    start = np.where((done > 0) | (rng.random((size, 1)) < 0.5), last, arm.REST)
    anywhere = _anywhere(rng, size)
    path = _on_the_way(rng, np.where(rng.random((size, 1)) < 0.5, start, anywhere), target)
    kind = rng.random((size, 1))
    state = np.where(kind < UNIFORM + PATH + NEAR_TARGET, _above(rng, target, 0.025), start)
    state = np.where(kind < UNIFORM + PATH, path, state)
    state = np.where(kind < UNIFORM, anywhere, state)
    # Half of the noise amplitudes are small: most of a run is spent close to the path.
    noise = rng.normal(size=(size, 6)) * JOINT_NOISE * rng.random((size, 1))
    return target, np.clip(state + noise, arm.LOWER, arm.UPPER)


def _anywhere(rng: np.random.Generator, size: int) -> Array:
    """Joints [size, 6] with the tip anywhere over the table and the tool roughly downwards."""
    low = np.array([-1.25 * HALF_ANGLE, 0.07, 0.03, np.pi - 0.15])
    high = np.array([1.25 * HALF_ANGLE, 0.23, 0.16, np.pi + 0.15])
    pan, radius, height, pitch = rng.uniform(low, high, size=(size, 4)).T
    return arm.from_planar(pan, radius, height, pitch)


def _above(rng: np.random.Generator, xy: Array, spread: float) -> Array:
    """Joints [B, 6] with the tip around the touch points of blocks at ``xy`` [B, 2] (m), mostly above."""
    size = len(xy)
    height = TOUCH_HEIGHT + 1.5 * spread * np.abs(rng.normal(size=size)) + 0.004 * rng.normal(size=size)
    return arm.inverse(np.column_stack((xy + spread * rng.normal(size=(size, 2)), height)))


def _on_the_way(rng: np.random.Generator, start: Array, target: Array) -> Array:
    """Joints [B, 6] on the demonstrator's way from ``start`` [B, 6]: rising, crossing or sinking."""
    size = len(start)
    radius, height, _ = arm.planar(start)
    share = np.clip(rng.uniform(-0.25, 1.0, size=size), 0.0, 1.0)
    pan = start[:, 0] + share * (np.arctan2(target[:, 1], target[:, 0]) - start[:, 0])
    radius = radius + share * (np.hypot(target[:, 0], target[:, 1]) - radius)
    there = np.column_stack((radius * np.cos(pan), radius * np.sin(pan)))
    goal = expert.goal_height(np.hypot(*(target - there).T))
    rising = height + rng.random(size) * (goal - height)
    return arm.from_planar(pan, radius, np.where(share > 0, goal, rising), np.full(size, np.pi))


def _done(scene: Scene) -> int:
    return int(scene.touched.sum())
