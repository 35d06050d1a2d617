"""Power modes of a Jetson: their names and numbers, and which one is the fastest.

``/etc/nvpmodel.conf`` has a line ``< POWER_MODEL ID=2 NAME=MODE_30W >`` a mode; the numbers differ between
boards (0 is MAXN on an AGX Orin, 15W on an Orin Nano). ``/var/lib/nvpmodel/status`` has ``pmode:0002``, to
which some releases add ``fmode:quiet``. Source: Jetson Linux Developer Guide, "Power Mode Controls"; the
status file is not documented, several projects read it so.
"""

from __future__ import annotations

import re

from wall_edge.board.facts import Tree

CONFIGURATION = "/etc/nvpmodel.conf"
STATUS = "/var/lib/nvpmodel/status"


def power_modes(tree: Tree) -> dict[int, str]:
    """Name by number, in the file's order."""
    modes = {}
    for head in re.findall(
        r"^[ \t]*<\s*POWER_MODEL\s+([^>]*)>", tree.text(CONFIGURATION) or "", re.MULTILINE
    ):
        number, name = re.search(r"\bID=(\d{1,4})\b", head, re.ASCII), re.search(r"\bNAME=(\S+)", head)
        if number and name:
            modes[int(number[1])] = name[1]
    return modes


def power_mode(tree: Tree, modes: dict[int, str]) -> str | None:
    """The present one; before anybody chose one, the default of the configuration."""
    status = re.search(r"pmode:(\d{1,4})\b", tree.text(STATUS) or "", re.ASCII)
    default = re.search(
        r"^[ \t]*<\s*PM_CONFIG\s+DEFAULT=(\d{1,4})\b", tree.text(CONFIGURATION) or "", re.M | re.A
    )
    match = status or default
    return modes.get(int(match[1])) if match else None


def fastest(modes: dict[int, str]) -> int | None:
    """Number of the mode without a cap (MAXN_SUPER before MAXN), else that of the most watts."""
    ranked = sorted(modes, key=lambda number: _rank(modes[number]))
    return ranked[-1] if ranked else None


def _rank(name: str) -> tuple[int, int]:
    if name.startswith("MAXN"):
        return (2 if "SUPER" in name else 1), 0
    watts = re.search(r"(\d{1,4})W", name, re.ASCII)
    return 0, int(watts[1]) if watts else -1
