"""LeRobot's own wall_x (wheel 0.4.4) on a checkpoint folder: runs inside the peer's own virtual environment.

``python lerobot_wall_x.py CHECKPOINT INPUTS.npz [--threads 2] [--steps 10]`` loads the model, warms it up and
prints one JSON line with its versions. Then every line on stdin asks for one action chunk, answered by one
JSON line ``{"ms": …, "cpu_s": …, "chunk": [[…]]}``: the caller decides when this process computes.

INPUTS.npz is named as the golden cases' ``case.npz``: ``input_ids``, ``attention_mask``, ``pixel_values``,
``image_grid_thw``, ``proprioception``, ``agent_pos_mask``, ``dof_mask``, ``noise``. Timed is
``Qwen2_5_VLMoEForAction.predict_action``, which computes the image tokens once and then runs the whole
sequence at each Euler step; image resizing and tokenising are not part of it.

The files that compute (``modeling_wall_x.py``, ``qwen2_5_vl_moe.py``) run as they are in the wheel, with
the attention that LeRobot configures by default. Three things differ from ``WallXPolicy``: no hub, float32
unless ``--dtype bfloat16`` has it rounded as LeRobot does, and given instead of random noise.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import json
import sys
import time
import types
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers.modeling_utils import no_init_weights

_INPUTS = ("input_ids", "attention_mask", "pixel_values", "image_grid_thw", "proprioception",
           "agent_pos_mask", "dof_mask")  # fmt: skip


def _stub(name: str, **attributes: Any) -> None:
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    module.__dict__.update(attributes)
    sys.modules[name] = module


def _stub_what_the_model_never_calls() -> None:
    """Names that ``modeling_wall_x.py`` imports for training, recording and image files.

    Without these stubs the venv would need torchvision, datasets, video codecs and robot drivers.
    """
    # The package's __init__ imports every policy that LeRobot has: only its folder is needed.
    spec = importlib.util.find_spec("lerobot")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("error: lerobot is not installed in this environment")
    _stub("lerobot.policies", __path__=[str(Path(spec.submodule_search_locations[0]) / "policies")])
    # The policy around the model: config registry, hub, queues of past actions.
    _stub("lerobot.policies.wall_x.configuration_wall_x", WallXConfig=object)
    _stub("lerobot.policies.pretrained", PreTrainedPolicy=object)
    _stub("lerobot.policies.utils", populate_queues=None)
    # Fine-tuning adapters, and image preprocessing (which imports torchvision).
    _stub("peft", LoraConfig=None, get_peft_model=None)
    _stub("qwen_vl_utils")
    _stub("qwen_vl_utils.vision_process", smart_resize=None)


class _Torch(types.ModuleType):
    """torch as ``modeling_wall_x`` sees it, with two names changed.

    ``predict`` rounds the state embedding to bfloat16 and then writes it into float32 embeddings, which torch
    refuses; and it draws its noise itself, where both sides must start from the same.
    """

    def __init__(self, noise: torch.Tensor, dtype: torch.dtype) -> None:
        super().__init__("torch")
        self._noise, self.bfloat16 = noise, dtype

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def randn(self, size: tuple[int, ...], **_: Any) -> torch.Tensor:
        if tuple(size) != tuple(self._noise.shape):
            raise ValueError(f"noise of shape {list(self._noise.shape)}, expected {list(size)}")
        return self._noise.clone()


def token_ids(folder: Path) -> dict[str, int | None]:
    """Ids of the state and action tokens: from ``tokenizer.json``, or a golden case's ``config.json``."""
    path = folder / "tokenizer.json"
    if path.is_file():
        tokenizer = Tokenizer.from_file(str(path))
        return {token: tokenizer.token_to_id(token) for token in ("<|propri|>", "<|action|>")}
    return dict(json.loads((folder / "config.json").read_text())["special_token_ids"])


def load(folder: Path, modeling: Any) -> Any:
    """The float32 model with the folder's weights; a missing or unknown tensor is an error."""
    config = modeling.Qwen2_5_VLConfig.from_pretrained(folder, local_files_only=True)
    config._attn_implementation = "eager"  # LeRobot's default, set where its from_pretrained sets it
    # Not every checkpoint states this id and LeRobot's configuration has no default; no video comes here.
    config.video_token_id = getattr(config, "video_token_id", -1)
    ids = token_ids(folder)
    processor = types.SimpleNamespace(tokenizer=types.SimpleNamespace(convert_tokens_to_ids=ids.__getitem__))
    with no_init_weights():
        model = modeling.Qwen2_5_VLMoEForAction(config, processor=processor)
    _fill(model.float(), folder)
    return model.eval()


@torch.no_grad()
def _fill(model: Any, folder: Path) -> None:
    wanted = dict(model.state_dict())
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                if not name.startswith("action_preprocessor.normalizer_"):
                    wanted.pop(name).copy_(file.get_tensor(name))
    if model.config.tie_word_embeddings:
        wanted.pop("lm_head.weight", None)
    if wanted:
        raise SystemExit(f"error: {folder} has no {', '.join(sorted(wanted))}")


def predictor(
    folder: Path, inputs: dict[str, torch.Tensor], dtype: torch.dtype = torch.float32
) -> Callable[[int], torch.Tensor]:
    """A function of the number of Euler steps that returns the chunk ``[horizon, dof]``.

    The model goes where the ``inputs`` are.
    """
    _stub_what_the_model_never_calls()
    from lerobot.policies.wall_x import modeling_wall_x as modeling

    modeling.torch = _Torch(inputs["noise"], dtype)
    model = load(folder, modeling)
    if dtype == torch.bfloat16:
        model.to_bfloat16_for_selected_params()
    model.to(inputs["noise"].device)
    horizon, dof = inputs["noise"].shape[1:]
    given = {name: inputs[name] for name in _INPUTS}
    action_id = model.action_token_id_set["action_token_id"]

    def predict(steps: int) -> torch.Tensor:
        chunk: torch.Tensor
        chunk, _ = model.predict_action(
            "diffusion",
            pred_horizon=horizon,
            action_dim=dof,
            moe_token_types=given["input_ids"] == action_id,
            num_inference_timesteps=steps,
            **given,
        )
        return chunk[0]

    return predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", type=torch.device, default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    answers, sys.stdout = sys.stdout, sys.stderr  # LeRobot prints
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    with np.load(options.inputs, allow_pickle=False) as file:
        inputs = {name: torch.from_numpy(file[name]).to(options.device) for name in (*_INPUTS, "noise")}
    predict = predictor(options.checkpoint, inputs, getattr(torch, options.dtype))
    predict(1)  # the first run allocates
    versions = {name: metadata.version(name) for name in ("lerobot", "torch", "transformers")}
    versions |= {"device": str(options.device), "dtype": options.dtype}
    print(json.dumps({"versions": versions, "threads": torch.get_num_threads()}), file=answers, flush=True)
    for _ in sys.stdin:
        begun, used = time.perf_counter(), time.process_time()
        chunk = predict(options.steps).float().cpu()  # on a GPU, this waits for it
        answer = {
            "ms": 1e3 * (time.perf_counter() - begun),
            "cpu_s": time.process_time() - used,
            "chunk": chunk.tolist(),
        }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
