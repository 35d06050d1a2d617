"""A robot whose policy reads its state as text, and tokenizers for its prompts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

from wall_edge.bundle import Embodiment, ImageGeometry, StateText, joint_layout
from wall_edge.policies.prompt_text import PromptTokenizer
from wall_edge.policies.prompts import Prompts

TABLETOP = Path(__file__).parents[3] / "examples/tabletop/checkpoint/tokenizer.json"
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
CAMERAS = {
    "face_view": ImageGeometry(64, 64, resolution=56),
    "cam_high": ImageGeometry(64, 48, resolution=84),
}
JOINTS = ("elbow", "wrist", "base")
SLOTS = (4, 0, 2)


def merging_tokenizer() -> PromptTokenizer:
    """The tabletop's, which merges across words and spaces."""
    return PromptTokenizer(TABLETOP)


def qwen_like_tokenizer(folder: Path) -> PromptTokenizer:
    """Normalised and cut as Qwen2.5-VL's is: each digit by itself."""
    tokenizer = Tokenizer.from_file(str(TABLETOP))
    tokenizer.normalizer = normalizers.NFC()
    parts = [pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    tokenizer.save(str(folder / "tokenizer.json"))
    return PromptTokenizer(folder / "tokenizer.json")


def text_manifest(text: StateText | None = StateText(256)) -> Any:  # noqa: B008 - frozen
    """What the encoder reads of a manifest."""
    layout = joint_layout(JOINTS, (0.0, 1.0, 0.5), (1.0, 2.0, 0.5), SLOTS, clip=1.0)
    return SimpleNamespace(
        cameras=CAMERAS,
        embodiment=Embodiment(name="arm", state=layout, action=layout),
        state_text=text,
        state_slots=5 if text is None else text.width(layout),
        state_dof=len(JOINTS),
    )


def text_prompts(tokenizer: PromptTokenizer, manifest: Any, **style: Any) -> Prompts:
    text = manifest.state_text
    room = 0 if text is None else text.most_tokens(manifest.state_dof)
    return Prompts(CAMERAS, tokenizer, wording="wall-oss-0.5", state_tokens=room, **style)
