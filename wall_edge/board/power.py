"""Power rails: what a board's current monitors read, from hwmon.

Jetsons carry Texas Instruments' INA3221 (three channels each; kernel: ``Documentation/hwmon/ina3221.rst``): a
channel's name in ``in{n}_label``, its voltage in ``in{n}_input`` [mV], its current in ``curr{n}_input`` [mA].
Jetson Thor adds an INA238 on its input, which says the power itself, in ``power1_input`` [µW]
(``Documentation/hwmon/ina238.rst``). Never tried on a board: none was at hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wall_edge.board.facts import Tree

HWMON = "/sys/class/hwmon"


@dataclass(frozen=True)
class Rail:
    """One measured supply. Rails may lie behind one another (``VDD_IN`` is all of an Orin NX or Nano)."""

    label: str
    """The board's word, such as VDD_GPU_SOC."""
    tree: Tree
    folder: str
    """Its monitor's, below /sys/class/hwmon."""
    channel: int
    says_power: bool = False
    """Whether the monitor multiplies by itself."""

    def watts(self) -> float | None:
        """Present power [W]; None where the driver says nothing."""
        if self.says_power:
            power = self.tree.number(f"{self.folder}/power{self.channel}_input")
            return None if power is None else power / 1e6
        millivolts = self.tree.number(f"{self.folder}/in{self.channel}_input")
        milliamperes = self.tree.number(f"{self.folder}/curr{self.channel}_input")
        return None if millivolts is None or milliamperes is None else millivolts * milliamperes / 1e6


def rails(tree: Tree | None = None) -> tuple[Rail, ...]:
    """All rails of the machine (or of a recorded ``tree``), sorted by label; none where nothing measures."""
    tree = tree or Tree()
    return tuple(sorted(_all(tree), key=lambda rail: (rail.label, rail.folder, rail.channel)))


def _all(tree: Tree) -> list[Rail]:
    result = []
    for name in tree.names(HWMON):
        folder, chip = f"{HWMON}/{name}", tree.text(f"{HWMON}/{name}/name")
        if chip == "ina3221":
            result += [Rail(label, tree, folder, channel) for channel, label in _channels(tree, folder)]
        elif chip in ("ina238", "ina237"):
            result.append(Rail(tree.text(f"{folder}/label") or "VIN", tree, folder, 1, says_power=True))
    return result


def _channels(tree: Tree, folder: str) -> list[tuple[int, str]]:
    """Number and label of what is wired; ``in7`` is the sum of shunt voltages, NC: not connected."""
    channels = []
    for name in tree.names(folder):
        match = re.fullmatch(r"in([1-6])_label", name)
        label = tree.text(f"{folder}/{name}") if match else None
        if match and label and label != "NC" and tree.number(f"{folder}/curr{match[1]}_input") is not None:
            channels.append((int(match[1]), label))
    return channels
