"""What a bundle remembers of the second opinion that was asked for at its export.

The exporter asks it (``wall_edge_export.opinion.check``); the robot only reads and shows it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from wall_edge.config_loader import Invalid
from wall_edge.errors import plural
from wall_edge.files import shown

_MOST, _LONGEST = 64, 4096


@dataclass(frozen=True)
class SecondOpinion:
    """The checkpoint's own tokenizer and image processor, run by transformers, agreed with the exporter.

    There is no record of a disagreement: it ends the export. ``flavour`` is the rule of the camera words:
    LeRobot's, upstream's, or that of this project's own training. ``largest_pixel_difference`` is of
    normalised values; none where no pixels were compared.
    """

    tools: dict[str, str]
    """Versions, by package."""
    flavour: str
    compared: tuple[str, ...]
    not_compared: dict[str, str]
    """What could not be compared, and why."""
    instructions: tuple[str, ...]
    images: tuple[str, ...]
    """Kinds of image, of each of which every camera had one."""
    largest_pixel_difference: float | None = None

    def __post_init__(self) -> None:
        for name in ("tools", "compared", "not_compared", "instructions", "images"):
            entries = getattr(self, name)
            texts = [*entries, *entries.values()] if isinstance(entries, dict) else [*entries]
            if len(texts) > _MOST or any(len(text) > _LONGEST for text in texts):
                raise Invalid(name, f"{len(texts)} texts", expected=f"at most {_MOST}, of {_LONGEST} letters")
        difference = self.largest_pixel_difference
        if difference is not None and not (difference >= 0 and math.isfinite(difference)):
            raise Invalid("largest_pixel_difference", difference, expected="0 or more")


def describe_opinion(opinion: SecondOpinion | None) -> str:
    """One line for a person: who agreed at export, to what, and what nobody looked at."""
    if opinion is None:
        return (
            "none: at export nobody compared prompts and pixels with the checkpoint's own processor "
            "(install 'wall-edge[check]' and export again)"
        )
    tools = ", ".join(f"{name} {version}" for name, version in opinion.tools.items())
    verdict = "compared nothing"
    if opinion.compared:
        images = f"{plural(len(opinion.images), 'image')} a camera"
        scope = f"{plural(len(opinion.instructions), 'instruction')}, {images}"
        verdict = f"agreed on {', '.join(opinion.compared)} ({scope}, {opinion.flavour} prompts)"
    missing = "".join(f"; not compared: {what} ({why})" for what, why in opinion.not_compared.items())
    return shown(f"{tools} {verdict}{missing}", 2000)
