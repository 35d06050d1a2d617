"""Training samples for the two-handed policy, made on the fly: scenes, pictures and the demonstrator's
answers.

Random streams: the trainer draws from ``np.random.default_rng([TRAIN_STREAM, seed])``; evaluation episodes
from ``[EPISODE_STREAM, seed, index]``. The first word differs, so an evaluation episode is never one that was
trained on.

States are drawn off the demonstrator's path on purpose, 6 to 8 cm past every limit of what it does itself: a
learned policy leaves the path too, and the label there shows the way back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wall_edge.array_types import Floats, Frame
from wall_edge.kinematics.rotations import from_matrix, to_matrix
from wall_edge.sim.blocks import BLOCKS, COLOURS, TOUCH_HEIGHT, Scene
from wall_edge.sim.two_handed import expert
from wall_edge.sim.two_handed.hands import OUTWARD, Hands
from wall_edge.sim.two_handed.render import CAMERAS, SIZES, face_cells, render
from wall_edge.sim.two_handed.scene import Task, sample_scene, sample_task

CELLS = 15  # image tokens of the front view
SLOTS = 14

# Block positions times this have a spread near 1. Both axes alike: a centimetre costs the same in each.
XY_CENTRE: Floats = np.array([0.19, 0.0])
XY_SCALE = 0.08

# Where the active hand's state comes from; the rest is where a run towards the target starts.
UNIFORM, PATH, NEAR_TARGET = 0.35, 0.35, 0.20
# The same of the idle hand; the rest is at home.
IDLE_UNIFORM, IDLE_PATH = 0.25, 0.30
# Of x, z and the distance outwards from the middle, where a hand may ever be (m).
LOW, HIGH = np.array([0.07, 0.03, -0.14]), np.array([0.32, 0.16, 0.27])
TILT: Floats = np.array([0.3, 0.3, 0.35])  # of a tool against the demonstrator's (rad)
NOISE = 0.012  # m
TURN_NOISE = 0.06  # rad
LEAST_APART = 0.06  # m, of the tips along y: hands never cross

# State slots over these; rotations are never as large.
LOWER: Floats = np.tile([0.0, -0.40, 0.0, -0.5, -0.5, -1.5, 0.0], 2)
UPPER: Floats = np.tile([0.4, 0.40, 0.3, 0.5, 0.5, 1.5, 1.0], 2)


@dataclass(frozen=True)
class Batch:
    """B samples. Lengths in metres unless normalised, angles in radians.

    ``frames``: camera → uint8 [B, height, width, 3]; ``state`` [B, 14] slots; ``actions`` [B, 32, 14] slots
    relative to it; ``instructions`` and ``subgoals`` in words. For auxiliary losses: ``target_xy`` [B, 2] of
    the block to touch, ``word_xy`` [B, 2, 2] of the two blocks that the instruction names (normalised); per
    colour ``colours`` [B, 5, 4] (present, touched, x, y) and per cell of the front view ``cells`` [B, 15, 5,
    4] of the blocks that it shows.
    """

    frames: dict[str, Frame]
    state: Floats
    actions: Floats
    instructions: list[str]
    subgoals: list[str]
    target_xy: Floats
    word_xy: Floats
    colours: Floats
    cells: Floats


def normalise_xy(xy: npt.ArrayLike) -> Floats:
    """Table positions [..., 2] in metres as numbers with mean near 0 and spread near 1."""
    return (np.asarray(xy, dtype=np.float64) - XY_CENTRE) / XY_SCALE


def sample_batch(rng: np.random.Generator, size: int) -> Batch:
    """``size`` independent samples; about half have the first block touched and ask for the second."""
    scenes, tasks = _sample_scenes(rng, size)
    hands, target, active = _sample_states(rng, scenes, tasks)
    state = hands.slots()
    frames = {
        camera: np.empty((size, SIZES[camera][1], SIZES[camera][0], 3), dtype=np.uint8) for camera in CAMERAS
    }
    for index, (slots, scene) in enumerate(zip(state, scenes, strict=True)):
        for camera, picture in render(slots, scene).items():
            frames[camera][index] = picture
    colours, cells = _seen(scenes)
    named = [
        [scene.xy[scene.index(touch.colour)] for touch in (task.first, task.second)]
        for scene, task in zip(scenes, tasks, strict=True)
    ]
    return Batch(
        frames=frames,
        state=state,
        actions=relative(expert.rollout(hands, target, active), hands),
        instructions=[task.instruction for task in tasks],
        subgoals=[task.subgoal(_done(scene)) for task, scene in zip(tasks, scenes, strict=True)],
        target_xy=normalise_xy(target),
        word_xy=normalise_xy(np.array(named)),
        colours=colours,
        cells=cells,
    )


def relative(commands: list[Hands], state: Hands) -> Floats:
    """Commands as slots [B, horizon, 14] relative to the state.

    Positions and grippers as differences; rotations as the rpy of ``R_delta = R_command · R_stateᵀ``, so that
    the command is ``R_delta · R_state``: turned about the base frame's axes.
    """
    back = np.swapaxes(state.rotation, -1, -2)
    steps = [
        np.concatenate(
            (
                commanded.position - state.position,
                from_matrix("rpy", commanded.rotation @ back),
                (commanded.gripper - state.gripper)[..., None],
            ),
            axis=-1,
        )
        for commanded in commands
    ]
    stacked = np.stack(steps, axis=1)
    return stacked.reshape(*stacked.shape[:2], SLOTS)


def absolute(actions: Floats, state: Hands) -> Hands:
    """The inverse of :func:`relative` for one step: slots [..., 14] and the state they are relative to."""
    split = actions.reshape(*actions.shape[:-1], 2, 7)
    return Hands(
        state.position + split[..., :3],
        to_matrix("rpy", split[..., 3:6]) @ state.rotation,
        state.gripper + split[..., 6],
    )


def action_spread(rng: np.random.Generator, samples: int = 4096) -> Floats:
    """Spread [14] of the actions over samples and horizon.

    One number for all positions and one for all rotations: each axis as exact as the others. A floor keeps
    the noise of what hardly moves from being blown up to unit size.
    """
    scenes, tasks = _sample_scenes(rng, samples)
    hands, target, active = _sample_states(rng, scenes, tasks)
    moves = relative(expert.rollout(hands, target, active), hands).reshape(-1, 2, 7)
    square = (moves**2).mean(axis=(0, 1))
    place, turn, grip = np.sqrt(square[:3].mean()), np.sqrt(square[3:6].mean()), np.sqrt(square[6])
    return np.tile(np.repeat([place, max(turn, 0.05), max(grip, 0.1)], [3, 3, 1]), 2)


def _sample_scenes(rng: np.random.Generator, size: int) -> tuple[list[Scene], list[Task]]:
    scenes = [sample_scene(rng) for _ in range(size)]
    tasks = [sample_task(rng, scene) for scene in scenes]
    for index in np.flatnonzero(rng.random(size) < 0.5):
        scenes[index].touched[scenes[index].index(tasks[index].first.colour)] = True
    return scenes, tasks


def _seen(scenes: list[Scene]) -> tuple[Floats, Floats]:
    """What the auxiliary losses want to know of the blocks: see :class:`Batch`."""
    size = len(scenes)
    rows = np.repeat(np.arange(size), BLOCKS)
    colour = np.concatenate([scene.colours for scene in scenes])
    xy = np.concatenate([scene.xy for scene in scenes])
    touched = np.concatenate([scene.touched for scene in scenes])
    values = np.column_stack((np.ones(len(xy)), touched, normalise_xy(xy)))
    colours = np.zeros((size, len(COLOURS), 4))
    colours[rows, colour] = values
    cell, visible = face_cells(np.column_stack((xy, np.full(len(xy), TOUCH_HEIGHT - 0.025))))
    cells = np.zeros((size, CELLS, len(COLOURS), 4))
    cells[rows[visible], cell[visible], colour[visible]] = values[visible]
    return colours, cells


def _sample_states(
    rng: np.random.Generator, scenes: list[Scene], tasks: list[Task]
) -> tuple[Hands, Floats, npt.NDArray[np.int64]]:
    """Hands [B, 2, …], position of the block to touch next [B, 2] (m), and the hand that touches it [B]."""
    size = len(scenes)
    pairs = list(zip(scenes, tasks, strict=True))
    touches = [task.touch(_done(scene)) for scene, task in pairs]
    target = np.array(
        [scene.xy[scene.index(touch.colour)] for scene, touch in zip(scenes, touches, strict=True)]
    )
    active = np.array([touch.hand for touch in touches])
    done = np.array([_done(scene) for scene in scenes])[:, None] > 0
    first = np.array([scene.xy[scene.index(task.first.colour)] for scene, task in pairs])
    first_hand = np.array([task.first.hand for task in tasks])[:, None]
    rows = np.arange(size)

    # Where each hand comes from: home, the block it touched first, or where an earlier episode ended.
    home = np.broadcast_to(expert.HOME, (size, 2, 3))
    earlier = _mine(np.roll(target, 1, axis=0)[:, None])
    after = np.where(rng.random((size, 2, 1)) < 0.3, _above(rng, earlier, 0.012), home)
    touched_it = done & (first_hand == np.arange(2))
    start = np.where(touched_it[..., None], _above(rng, np.repeat(first[:, None], 2, axis=1), 0.012), after)

    places = _idle_places(rng, start, home)
    places[rows, active] = _active_places(rng, start[rows, active], target, active)
    noise = rng.normal(size=(size, 2, 3)) * NOISE * rng.random((size, 1, 1))
    position = _uncrossed(places + noise, active)
    return Hands(position, _tools(rng, position), _grippers(rng, active)), target, active


def _active_places(
    rng: np.random.Generator, start: Floats, target: Floats, active: npt.NDArray[np.int64]
) -> Floats:
    """Tips [B, 3] of the hands that are to touch ``target`` [B, 2]."""
    size = len(start)
    anywhere = _anywhere(rng, size)[np.arange(size), active]
    path = _on_the_way(rng, np.where(rng.random((size, 1)) < 0.5, start, anywhere), target)
    kind = rng.random((size, 1))
    place = np.where(kind < UNIFORM + PATH + NEAR_TARGET, _above(rng, target, 0.025), start)
    place = np.where(kind < UNIFORM + PATH, path, place)
    return np.asarray(np.where(kind < UNIFORM, anywhere, place))


def _idle_places(rng: np.random.Generator, start: Floats, home: Floats) -> Floats:
    """Tips [B, 2, 3] of hands on their way home."""
    size = len(start)
    share = np.clip(rng.uniform(-0.25, 1.0, size=(size, 2, 1)), 0.0, 1.0)
    way = start + share * (home - start)
    # First up, then across: at no share of the way is it lower than hover height.
    rising = np.maximum(start[..., 2], start[..., 2] + rng.random((size, 2)) * (expert.HOVER - start[..., 2]))
    way[..., 2] = np.where(share[..., 0] > 0, np.maximum(way[..., 2], expert.HOVER), rising)
    kind = rng.random((size, 2, 1))
    place = np.where(kind < IDLE_UNIFORM + IDLE_PATH, way, home)
    return np.asarray(np.where(kind < IDLE_UNIFORM, _anywhere(rng, size), place))


def _anywhere(rng: np.random.Generator, size: int) -> Floats:
    """Tips [size, 2, 3] anywhere a hand may be, and past it."""
    x, z, out = np.moveaxis(rng.uniform(LOW, HIGH, size=(size, 2, 3)), -1, 0)
    return np.stack((x, out * OUTWARD, z), axis=-1)


def _mine(xy: Floats) -> Floats:
    """Places [B, 1, 2] (m) as each hand would reach them [B, 2, 2]: on its own side of the middle."""
    return np.stack(np.broadcast_arrays(xy[..., 0], np.abs(xy[..., 1]) * OUTWARD), axis=-1)


def _above(rng: np.random.Generator, xy: Floats, spread: float) -> Floats:
    """Tips [..., 3] around the touch points of blocks at ``xy`` [..., 2] (m), mostly above."""
    shape = xy.shape[:-1]
    height = TOUCH_HEIGHT + 1.5 * spread * np.abs(rng.normal(size=shape)) + 0.004 * rng.normal(size=shape)
    return np.concatenate((xy + spread * rng.normal(size=xy.shape), height[..., None]), axis=-1)


def _on_the_way(rng: np.random.Generator, start: Floats, target: Floats) -> Floats:
    """Tips [B, 3] on the demonstrator's way from ``start`` [B, 3]: rising, crossing or sinking."""
    size = len(start)
    share = np.clip(rng.uniform(-0.25, 1.0, size=(size, 1)), 0.0, 1.0)
    there = start[:, :2] + share * (target - start[:, :2])
    goal = expert.goal_height(np.linalg.norm(target - there, axis=-1))
    rising = start[:, 2] + rng.random(size) * (goal - start[:, 2])
    return np.column_stack((there, np.where(share[:, 0] > 0, goal, rising)))


def _uncrossed(position: Floats, active: npt.NDArray[np.int64]) -> Floats:
    """The same tips [B, 2, 3], the idle hand pushed outwards where it is at or beyond the active one."""
    rows, idle = np.arange(len(active)), 1 - active
    sign = OUTWARD[idle]
    least = sign * position[rows, active, 1] + LEAST_APART
    position = position.copy()
    position[rows, idle, 1] = sign * np.maximum(sign * position[rows, idle, 1], least)
    return position


def _tools(rng: np.random.Generator, position: Floats) -> Floats:
    """Rotations [B, 2, 3, 3]: the demonstrator's, tilted a little or a lot."""
    size = len(position)
    amount = np.where(rng.random((size, 2, 1)) < 0.5, rng.random((size, 2, 1)) * TURN_NOISE, TILT)
    tilt = amount * rng.uniform(-1.0, 1.0, size=(size, 2, 3))
    turn = np.zeros_like(tilt)
    turn[..., 2] = expert.yaw(position)
    return to_matrix("rpy", turn + tilt)


def _grippers(rng: np.random.Generator, active: npt.NDArray[np.int64]) -> Floats:
    """[B, 2]: closed or open as the demonstrator wants it, or somewhere between."""
    goal = (np.arange(2) != active[:, None]).astype(np.float64)
    close = np.clip(goal + 0.04 * rng.normal(size=goal.shape), 0.0, 1.0)
    return np.asarray(np.where(rng.random(goal.shape) < 0.5, close, rng.random(goal.shape)))


def _done(scene: Scene) -> int:
    return int(scene.touched.sum())
