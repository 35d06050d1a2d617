"""Which JetPack is what: releases of Linux for Tegra, their TensorRT and CUDA, chips and modules.

Sources: developer.nvidia.com/embedded/jetpack-archive and the tables of rbonghi/jetson_stats
(``jtop/core/jetson_variables.py``), read in November 2026; package versions of JetPack 7.2.1 from
repo.download.nvidia.com/jetson. A release that is not here is not refused: nothing is compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """A JetPack and the first numbers of what it brings."""

    jetpack: str
    tensorrt: str
    cuda: str


RELEASES = {
    "36.3.0": Release("6.0", "8.6", "12.2"),
    "36.4.0": Release("6.1", "10.3", "12.6"),
    "36.4.2": Release("6.1", "10.3", "12.6"),
    "36.4.3": Release("6.2", "10.3", "12.6"),
    "36.4.4": Release("6.2.1", "10.3", "12.6"),
    "36.4.7": Release("6.2.1", "10.3", "12.6"),
    "36.5.0": Release("6.2.2", "10.3", "12.6"),
    "38.2.0": Release("7.0", "10.13", "13.0"),
    "38.2.1": Release("7.0", "10.13", "13.0"),
    "38.2.2": Release("7.0", "10.13", "13.0"),
    "38.4.0": Release("7.1", "10.13", "13.0"),
    "39.0.0": Release("7.2 EA", "10.16", "13.2"),
    "39.2.0": Release("7.2", "10.16", "13.2"),
    "39.2.1": Release("7.2.1", "10.16", "13.2"),
}
"""By release of Linux for Tegra."""

CHIPS = {"tegra194": 72, "tegra234": 87, "tegra264": 110}
"""Ten times the compute capability of the GPU in Xavier, Orin and Thor."""


def release_of(l4t: str | None) -> Release | None:
    """The JetPack of a release; None for one that is not in the table."""
    return RELEASES.get(l4t or "")


def numbers(version: str | None) -> tuple[int, ...]:
    """``10.3.0.30`` → (10, 3, 0, 30); what is no number ends it, and none is longer than eight digits."""
    result: list[int] = []
    for part in (version or "").split("."):
        if not (part.isascii() and part.isdigit() and len(part) <= 8):
            break
        result.append(int(part))
    return tuple(result)


def same_release(version: str | None, wish: str) -> bool:
    """Whether ``version`` begins with the numbers of ``wish``."""
    first = numbers(wish)
    return numbers(version)[: len(first)] == first
