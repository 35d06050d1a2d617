"""Whether a value can be meant: the checks that the schemas of files share. Each raises :class:`Invalid`."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import PurePath

from wall_edge.config_loader import Invalid
from wall_edge.files import is_plain_name

MAX_DOF = 64
"""Degrees of freedom; a humanoid with hands has about 50."""
MAX_SLOTS = 256
"""A model's places for them, of a state or an action; no checkpoint has more."""
MAX_CAMERAS = 16
LEAST_POSITIVE = 1e-30
"""What is divided by it stays within float32, up to 1e8; by 5e-324, which is more than 0, nothing does."""
MAX_SIDE = 8192
MAX_FRAME_PIXELS = 1 << 25
"""An 8K frame has 33 million pixels."""
_MAX_TEXT = 4096


def between(key: str, value: float | None, low: float, high: float, unit: str = "") -> None:
    """From ``low`` to ``high``, both included; None passes."""
    if value is not None and not low <= value <= high:
        raise Invalid(key, value, expected=f"{low:.12g} to {high:.12g} {unit}")


def positive(key: str, value: float | None, unit: str, high: float) -> None:
    """More than 0, by which can be divided, and at most ``high``; None passes."""
    if value is None or LEAST_POSITIVE <= value <= high:
        return
    bound = f"at most {high:.12g}" if value > high else "more than 0"
    if 0 < value < LEAST_POSITIVE:
        bound = f"at least {LEAST_POSITIVE:g}"
    raise Invalid(key, value, expected=f"{bound} {unit}")


def one_of(key: str, value: str, choices: Sequence[str]) -> None:
    """One of some words."""
    if value not in choices:
        raise Invalid(key, value, expected=" or ".join(choices))


def require_device(key: str, device: str) -> None:
    """Where an engine computes: the processor, or a CUDA device by its number."""
    if re.fullmatch(r"cpu|cuda(:[0-9]{1,2})?", device) is None:
        raise Invalid(key, device, expected="cpu, cuda or cuda:N")


def counted(key: str, values: Sequence[object] | Mapping[str, object], least: int, most: int) -> None:
    """How many entries a list or a mapping has."""
    if not least <= len(values) <= most:
        raise Invalid(key, list(values), expected=f"{least} to {most} entries")


def require_name(key: str, name: str, also: str = "") -> None:
    """A plain name, see :func:`wall_edge.files.is_plain_name`."""
    if not is_plain_name(name, also):
        marks = "_-. and space" if not also else f"_-.{also} and space"
        raise Invalid(key, name, expected=f"a name of at most 64 letters, digits, {marks}")


def require_title(key: str, title: str) -> None:
    """A robot's name: printable, short, without space at either end; no file and no prompt is named by it."""
    if not title.isprintable() or not 1 <= len(title) <= 64 or title != title.strip():
        raise Invalid(key, title, expected="1 to 64 printable characters, no space at either end")


def require_names(key: str, names: Iterable[str], also: str = "") -> None:
    """Plain names, all different."""
    names = tuple(names)
    for i, name in enumerate(names):
        require_name(f"{key}[{i}]", name, also)
    require_unique(key, names)


def require_unique(key: str, values: Sequence[Hashable], attribute: str = "") -> None:
    """No value twice; ``attribute`` is what the values are of the list's entries."""
    positions: dict[Hashable, int] = {}
    for i, value in enumerate(values):
        first = positions.setdefault(value, i)
        if first != i:
            dotted = f"{key}[{i}].{attribute}" if attribute else f"{key}[{i}]"
            raise Invalid(dotted, value, expected=f"a value other than that of {key}[{first}]")


def require_text(key: str, text: str | None, most: int = _MAX_TEXT) -> None:
    """Printable text of a bounded length: what a terminal, a log or a prompt can hold."""
    if text is None:
        return
    if len(text) > most:
        raise Invalid(key, text, expected=f"at most {most} characters")
    if not all(character.isprintable() or character in "\n\t" for character in text):
        raise Invalid(key, text, expected="printable text")


def require_file_name(key: str, name: str, suffix: str = "") -> None:
    """The name of a file in a folder, never a path."""
    if not is_plain_name(name) or PurePath(name).name != name or not name.endswith(suffix):
        raise Invalid(key, name, expected=f"a plain file name{f' that ends in {suffix}' if suffix else ''}")


def require_sha256(key: str, digest: str | None) -> None:
    """64 hexadecimal digits."""
    if digest is not None and re.fullmatch(r"[0-9a-f]{64}", digest) is None:
        raise Invalid(key, digest, expected="a SHA-256 in 64 hexadecimal digits")


def check_frame(width: int, height: int) -> None:
    """Sides of a camera's frame in pixels."""
    between("width", width, 1, MAX_SIDE, "pixels")
    between("height", height, 1, MAX_SIDE, "pixels")
    if width * height > MAX_FRAME_PIXELS:
        raise Invalid("width", width, expected=f"at most {MAX_FRAME_PIXELS} pixels in a frame")
