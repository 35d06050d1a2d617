"""LeRobot as a peer of a benchmark: its virtual environment, its process, and the inputs that it gets."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.peers.environment import environment
from wall_edge.bundle import Bundle
from wall_edge.errors import EngineError
from wall_edge.policies.observation import Observation
from wall_edge.policies.prompts import Prompts
from wall_edge.policies.state_text import said_state
from wall_edge.policies.transforms import model_state
from wall_edge.policies.vision import patches

LEROBOT = "lerobot==0.4.4"
SCRIPT = Path(__file__).parent / "lerobot_wall_x.py"
# What policies/wall_x computes with, in the versions of the wheel's own extra [wallx]. The wheel asks for
# torch below 2.11; this is the one that wall-edge is developed with.
_NEEDS = ("torch==2.13.0", "transformers==4.49.0", "torchdiffeq==0.2.5", "scipy==1.15.3", "pillow")

Array = npt.NDArray[Any]


def peer_python(folder: Path) -> Path:
    """The interpreter of the peer's virtual environment, which is made and filled on the first call."""
    # --no-deps: a chunk is computed without torchvision, datasets, video codecs and motor drivers.
    return environment(folder, LEROBOT, (_NEEDS, ("--no-deps", LEROBOT)))


def start_noise(horizon: int, slots: int) -> npt.NDArray[np.float32]:
    """Where both sides' integration starts, ``[horizon, slots]``."""
    return np.random.default_rng(0).standard_normal((horizon, slots), dtype=np.float32)


def peer_inputs(bundle: Bundle, observation: Observation, words: str) -> dict[str, Array]:
    """What LeRobot's model takes for the observation, named as in a golden case.

    The same prompt ids, state and masks as ours, the action tokens behind the prompt; the images as patches,
    resized by Pillow.
    """
    manifest, prompts = bundle.manifest, Prompts.of(bundle)
    action_tokens = np.full(manifest.horizon, prompts.tokenizer.ids.action)
    state, state_mask = model_state(manifest, observation.state)
    said = said_state(manifest.embodiment.state, manifest.state_text, observation.state)
    prompt = prompts.action(words, said)
    ids = np.concatenate([prompt.ids, action_tokens])[None]
    dof_mask = np.zeros((1, manifest.horizon, manifest.action_slots), dtype=np.float32)
    dof_mask[:, :, list(manifest.embodiment.action.slots)] = 1
    images = [patches(observation.frames[name], camera) for name, camera in manifest.cameras.items()]
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "pixel_values": np.concatenate(images),
        "image_grid_thw": np.array([(1, *camera.grid) for camera in manifest.cameras.values()]),
        "proprioception": state[None, None],
        "agent_pos_mask": state_mask[None, None],
        "dof_mask": dof_mask,
        "noise": start_noise(manifest.horizon, manifest.action_slots)[None],
    }


@dataclass(frozen=True)
class PeerChunk:
    """Normalised ``actions [horizon, slots]``, how long they took [ms] and the processor time of that [s]."""

    ms: float
    cpu_s: float
    actions: Array


class Peer:
    """LeRobot's process: computes a chunk when asked and sleeps otherwise."""

    def __init__(
        self,
        python: Path,
        checkpoint: Path,
        inputs: Path,
        *,
        threads: int,
        steps: int,
        device: str = "cpu",
        dtype: str = "float32",
    ) -> None:
        command = [python, SCRIPT, checkpoint, inputs, "--threads", threads, "--steps", steps]
        command += ["--device", device, "--dtype", dtype]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"},
        )
        try:
            self.versions: dict[str, str] = self._answer()["versions"]
        except BaseException:
            self.close()
            raise

    def chunk(self) -> PeerChunk:
        """Have it compute one; raises :class:`EngineError` when it has ended."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: there is no answer either
            print(file=self._process.stdin, flush=True)
        answer = self._answer()
        return PeerChunk(answer["ms"], answer["cpu_s"], np.array(answer["chunk"]))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            raise EngineError(f"LeRobot's process ended with code {code}", fix="its own message is above")
        answer: dict[str, Any] = json.loads(line)
        return answer
