"""Bundles of random checkpoints for benchmarks: made once, kept in a folder between runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from wall_edge_export.checkpoint.checkpoint import Checkpoint
from wall_edge_export.inputs.settings import resolve_settings
from wall_edge_export.quantize.precision import load_recipe

from wall_edge.bundle import Bundle, Manifest, file_digest
from wall_edge.cli.output import stderr
from wall_edge.errors import BundleError, EngineError
from wall_edge.policies.observation import Observation
from wall_edge.policies.rotation_range import valid_rotations
from wall_edge.session_format import FrameSize, SessionHeader, SessionWriter, units_of

WORDS = "pick up the red block and put it into the box."
CALIBRATION_MOMENTS, CALIBRATION_SAMPLES = 12, 8
"""Few, as random weights have no behaviour to keep: it is time and memory that are measured."""


def synthetic_observation(manifest: Manifest, seed: int = 0) -> Observation:
    """Coloured pictures for every camera and joints inside the normaliser's range."""
    rng = np.random.default_rng(seed)
    frames = {name: _picture(rng, camera.height, camera.width) for name, camera in manifest.cameras.items()}
    state = manifest.embodiment.state
    return Observation(0, frames, valid_rotations(state, state.restore(rng.uniform(-1, 1, len(state)))))


def _picture(rng: np.random.Generator, height: int, width: int, block: int = 40) -> npt.NDArray[np.uint8]:
    """Blocks of colour with some noise: flat areas and edges, as a table has."""
    colours = rng.uniform(0, 255, (-(-height // block), -(-width // block), 3))
    large = colours.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]
    return np.clip(large + rng.normal(0, 8, large.shape), 0, 255).astype(np.uint8)


def calibration_session(checkpoint: Path, folder: Path) -> Path:
    """A recorded session of synthetic moments for the checkpoint's cameras, written once.

    Its actions move in a straight line from one random posture to another.
    """
    if folder.exists():
        return folder
    chosen = resolve_settings(Checkpoint(checkpoint), None)
    robot, cameras = chosen.embodiment, chosen.cameras
    sizes = {name: FrameSize(camera.width, camera.height) for name, camera in cameras.items()}
    units = units_of(robot.state), units_of(robot.action)
    header = SessionHeader(robot.name, *units, sizes, chosen.horizon, chosen.action_rate_hz)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    writer = SessionWriter(partial, header)
    share = np.linspace(0, 1, chosen.horizon)[:, None]
    for moment in range(1, CALIBRATION_MOMENTS + 1):
        rng = np.random.default_rng(moment)
        here, there = (robot.state.restore(rng.uniform(-1, 1, len(robot.state))) for _ in range(2))
        frames = {name: _picture(rng, camera.height, camera.width) for name, camera in cameras.items()}
        writer.add(Observation(0, frames, here), WORDS, (1 - share) * here + share * there)
    return partial.rename(folder)


def random_checkpoint(shape: str, folder: Path) -> Path:
    """The folder of ``wall-edge checkpoint random``, made once."""
    if not folder.exists():
        _wall_edge("checkpoint", "random", shape, "--out", folder)
    return folder


def exported(checkpoint: Path, work: Path, precision: str) -> Bundle:
    """The bundle of ``checkpoint`` in ``precision``: the one in ``work`` when it is this checkpoint's."""
    out = work / precision
    try:
        bundle = Bundle(out)
        weights = sorted(checkpoint.glob("*.safetensors"))
        if bundle.manifest.source.sha256 == file_digest(checkpoint / "config.json", *weights):
            return bundle
    except (BundleError, OSError):
        pass  # none yet, or an earlier exporter's; what is wrong with the checkpoint, export says
    calibration: Sequence[object] = ()
    if precision == "auto" or load_recipe(precision).calibrated():
        session = calibration_session(checkpoint, work / "calibration")
        calibration = ("--calibration", session, "--samples", CALIBRATION_SAMPLES)
    _wall_edge("export", checkpoint, "--out", out, "--precision", precision, *calibration, "--json")
    return Bundle(out)


def _wall_edge(*arguments: object) -> None:
    command = [sys.executable, "-m", "wall_edge", *map(str, arguments)]
    stderr.print(f"wall-edge {' '.join(command[3:])}", highlight=False, soft_wrap=True)
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise EngineError(f"wall-edge {arguments[0]} exited with code {done.returncode}", expected="code 0")
