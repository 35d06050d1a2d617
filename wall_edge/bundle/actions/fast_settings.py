"""How FAST turns coefficients into characters: the settings in a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wall_edge.checks import positive
from wall_edge.config_loader import Invalid, from_mapping
from wall_edge.errors import BundleError, WallEdgeError
from wall_edge.files import read_json, shown

FAST_TOKENIZER = "fast_tokenizer.json"
"""The FAST BPE's file in a bundle, where ``tokenizer.json`` is the prompt's."""
_LARGEST_SCALE = 1e6
_LARGEST_VOCABULARY = 1 << 16
LAST_CODE = 0xD7FF  # surrogates follow, which no text can hold


@dataclass(frozen=True)
class FastSettings:
    """How coefficients become characters: ``code point = round(scale * coefficient) - min_token``.

    ``vocab_size`` is the number of ``<|action_token_i|>``. Published: 10, 2048, -354.
    """

    scale: float
    vocab_size: int
    min_token: int

    def __post_init__(self) -> None:
        positive("scale", self.scale, "", _LARGEST_SCALE)
        if not 1 <= self.vocab_size <= _LARGEST_VOCABULARY:
            raise Invalid(
                "vocab_size", self.vocab_size, expected=f"at least 1, at most {_LARGEST_VOCABULARY}"
            )
        if not -LAST_CODE <= self.min_token <= 0:
            raise Invalid("min_token", self.min_token, expected=f"an integer from -{LAST_CODE} to 0")

    @classmethod
    def read(cls, path: Path, error: type[WallEdgeError] = BundleError) -> FastSettings:
        """The settings in a ``processor_config.json``; its other keys are ignored. Raises ``error``."""
        data = read_json(path, error)
        return from_mapping(cls, data, shown(path), error, strict=False)
