"""Make the README's picture: ``python examples/tabletop/picture.py runs/demo/bundle docs/demo.png``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import wall_edge_engines
from PIL import Image

from wall_edge.bundle import Bundle
from wall_edge.policies.encoder import Encoder
from wall_edge.policies.flow_policy import FlowPolicy
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompts import Prompts
from wall_edge.policies.subgoals import SubgoalPlanner
from wall_edge.sim.tabletop import arm, expert
from wall_edge.sim.tabletop.referee import TabletopWorld
from wall_edge.sim.tabletop.render import CAMERAS

COLUMNS, SCALE, RE_PLAN = 6, 3, 3


def main() -> None:
    """Play episode 0 in virtual time and lay a few moments of it side by side."""
    bundle = Bundle(Path(sys.argv[1]))
    engine, prompts, manifest = wall_edge_engines.load(bundle), Prompts.of(bundle), bundle.manifest
    policy = FlowPolicy(Encoder.on(engine, manifest, prompts))
    planner = SubgoalPlanner(Encoder.on(engine, manifest, prompts))
    world = TabletopWorld(0)
    q, moments = np.array(arm.REST), []
    while world.episode.status == "running":
        frames = world.frames(q)
        moments.append(np.concatenate([frames[camera] for camera in CAMERAS]))
        if world.episode.steps % RE_PLAN == 0:
            observation = Observation(0, frames, q)
            words = planner.subgoal(observation, world.episode.task.instruction)
            chunk, start = policy.chunk(observation, words), world.episode.steps
        q = expert.follow(q, chunk[world.episode.steps - start])
        world.step(q)
    frames = world.frames(q)
    moments.append(np.concatenate([frames[camera] for camera in CAMERAS]))
    pictures = [moments[round(n)] for n in np.linspace(0, len(moments) - 1, COLUMNS)]
    picture = Image.fromarray(np.concatenate(pictures, axis=1))
    picture.resize((picture.width * SCALE, picture.height * SCALE), Image.Resampling.NEAREST).save(
        sys.argv[2]
    )
    print(f"{world.episode.task.instruction} {world.episode.status} after {world.episode.seconds:.1f} s")


if __name__ == "__main__":
    main()
