"""Record a session without a daemon: ``python examples/tabletop/record_session.py --out DIR``.

Calibration data for the exporter: pictures drawn by the simulated world, joints and the demonstrator's
commands. Drawn as the trainer draws them, but from a random stream of their own: no moment was trained on,
none is an evaluation episode's. The same seed writes the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from examples.tabletop.demonstrations import sample_batch
from wall_edge.bundle import Unit
from wall_edge.policies.observation import Observation
from wall_edge.session_format import FrameSize, SessionHeader, SessionWriter
from wall_edge.sim.blocks import STEP_HZ
from wall_edge.sim.tabletop import arm
from wall_edge.sim.tabletop.expert import HORIZON
from wall_edge.sim.tabletop.render import CAMERAS, SIZE

RECORD_STREAM = 3  # the trainer draws from stream 1, evaluation episodes from 2 (see demonstrations.py)
_APART_NS = 500_000_000


def record(folder: Path, moments: int = 128, seed: int = 0) -> Path:
    """Write a session of ``moments`` into a new ``folder``, which is returned.

    Raises :class:`wall_edge.errors.ConfigError` for a folder that holds anything.
    """
    units: dict[str, Unit] = dict.fromkeys(arm.JOINTS, "rad")
    header = SessionHeader(
        robot="tabletop",
        state=units,
        actions=units,
        cameras={camera: FrameSize(SIZE, SIZE) for camera in CAMERAS},
        horizon=HORIZON,
        action_rate_hz=float(STEP_HZ),
    )
    writer = SessionWriter(folder, header)
    batch = sample_batch(np.random.default_rng([RECORD_STREAM, seed]), moments)
    for index in range(moments):
        time_ns = (index + 1) * _APART_NS
        frames = {camera: batch.frames[camera][index] for camera in CAMERAS}
        observation = Observation(time_ns, frames, batch.state[index], frames_ns=time_ns)
        writer.add(observation, batch.subgoals[index], batch.commands[index])
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--moments", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = record(options.out, options.moments, options.seed)
    print(f"recorded {options.moments} moments in {folder}")


if __name__ == "__main__":
    main()
