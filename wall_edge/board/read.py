"""A machine's facts, from files alone: no command runs, and a recorded tree reads as the machine would.

What the files mean: Jetson Linux Developer Guide ("Platform Power and Performance"), rbonghi/jetson_stats
(``jtop/core``), the kernel's ``Documentation/admin-guide/pm/cpufreq.rst`` and
``Documentation/ABI/testing/sysfs-class-devfreq``. Never tried on a Jetson: none was at hand.
"""

from __future__ import annotations

import re

from wall_edge.board.clocks import cpu_clocks, gpu_clock, memory_clock
from wall_edge.board.facts import Facts, Tree
from wall_edge.board.modes import power_mode, power_modes
from wall_edge.board.packages import packages, upstream
from wall_edge.board.releases import CHIPS, release_of
from wall_edge.errors import WallEdgeError
from wall_edge.files import parse_json

DEVICE_TREE = "/proc/device-tree"
_PART = r"p(\d{4})-(\d{4})"
_MODULES = ("2888", "3668", "3701", "3767", "3834")
"""Of Xavier, Orin and Thor; other numbers are carrier boards."""


def read_facts(tree: Tree | None = None) -> Facts:
    """What the machine (or a recorded ``tree``) is and how it is set. Never raises for its files."""
    tree = tree or Tree()
    installed = packages(tree)
    compatible = (tree.text(f"{DEVICE_TREE}/compatible") or "").split("\0")
    soc = next((chip for chip in CHIPS if f"nvidia,{chip}" in compatible), None)
    l4t = _l4t(tree, installed)
    memory, modes = memory_sizes(tree), power_modes(tree)
    swap, zram = _swaps(tree)
    return Facts(
        model=tree.text(f"{DEVICE_TREE}/model"),
        part_number=_part_number(tree, compatible),
        soc=soc,
        sm=CHIPS.get(soc or ""),
        l4t=l4t,
        jetpack=_jetpack(l4t, installed),
        tensorrt=_tensorrt(installed),
        cuda=_cuda(tree, installed),
        kernel=_kernel(tree),
        realtime=tree.number("/sys/kernel/realtime") == 1,
        isolated_cores=cores(tree.text("/sys/devices/system/cpu/isolated") or ""),
        power_mode=power_mode(tree, modes),
        power_modes=tuple(modes.values()),
        gpu_clock=gpu_clock(tree),
        memory_clock=memory_clock(tree),
        cpu_clocks=cpu_clocks(tree),
        memory_total_bytes=memory.get("MemTotal"),
        memory_available_bytes=memory.get("MemAvailable"),
        swap_bytes=swap,
        zram_bytes=zram,
    )


def _kernel(tree: Tree) -> str | None:
    match = re.match(r"Linux version (\S+)", tree.text("/proc/version") or "")
    return tree.text("/proc/sys/kernel/osrelease") or (match[1] if match else None)


def cores(text: str) -> tuple[int, ...]:
    """The kernel's list of cores: ``1-3,5`` → (1, 2, 3, 5); what is none is left out."""
    result: set[int] = set()
    for first, last in re.findall(r"\b(\d{1,4})(?:-(\d{1,4}))?\b", text):
        result.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(result))


def _l4t(tree: Tree, installed: dict[str, str]) -> str | None:
    """``# R36 (release), REVISION: 4.3, …`` or, without that file, the version of its core package."""
    text = tree.text("/etc/nv_tegra_release") or ""
    match = re.search(r"^# R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)", text, re.ASCII)
    if match:
        return f"{match[1]}.{match[2]}"
    core = upstream(installed.get("nvidia-l4t-core", ""))
    return core if re.fullmatch(r"\d+(\.\d+)+", core, re.ASCII) else None


def _jetpack(l4t: str | None, installed: dict[str, str]) -> str | None:
    """Of the package, or of the release: a board may be flashed without JetPack's packages."""
    package = upstream(installed.get("nvidia-jetpack", ""))
    release = release_of(l4t)
    return package or (release.jetpack if release else None)


def _part_number(tree: Tree, compatible: list[str]) -> str | None:
    """Of the module: its EEPROM (address 0x50; bytes 20 on: 699-level number), else the device tree.

    The EEPROM's layout: Jetson EEPROM Layout in the Developer Guide; read as jetson_stats does, but from the
    file that the kernel's at24 driver makes (root only).
    """
    for bus in (0, 1, 2, 7):
        content = tree.text(f"/sys/bus/i2c/devices/{bus}-0050/eeprom") or ""
        match = re.search(r"699-1(\d{4})-(\d{4})", content[:80], re.ASCII)
        if match:
            return f"p{match[1]}-{match[2]}"
    ids = (tree.text(f"{DEVICE_TREE}/nvidia,boardids") or "").replace(":", "-")
    names = " ".join((f"p{ids}", tree.text(f"{DEVICE_TREE}/nvidia,dtsfilename") or "", *compatible))
    modules = [part for part in re.finditer(_PART, names) if part[1] in _MODULES]
    return modules[0][0] if modules else None


def _tensorrt(installed: dict[str, str]) -> str | None:
    for name in ("libnvinfer10", "libnvinfer8", "tensorrt"):
        if name in installed:
            return upstream(installed[name]) or None
    return None


def _cuda(tree: Tree, installed: dict[str, str]) -> str | None:
    """Of /usr/local/cuda, or the newest runtime package (``cuda-cudart-12-6``)."""
    try:
        data = parse_json(tree.text("/usr/local/cuda/version.json") or "", "version.json", WallEdgeError)
        return str(data["cuda"]["version"])
    except (WallEdgeError, KeyError, TypeError, IndexError):
        pass
    names = (re.fullmatch(r"cuda-cudart-(\d{1,4})-(\d{1,4})", name, re.ASCII) for name in installed)
    versions = [(int(match[1]), int(match[2])) for match in names if match]
    return "{}.{}".format(*max(versions)) if versions else None


def memory_sizes(tree: Tree) -> dict[str, int]:
    """Bytes by name, of /proc/meminfo's kB."""
    rows = re.findall(r"^(\w+):\s+(\d{1,15}) kB\b", tree.text("/proc/meminfo") or "", re.MULTILINE | re.ASCII)
    return {name: 1024 * int(size) for name, size in rows}


def _swaps(tree: Tree) -> tuple[int | None, int | None]:
    """Bytes of swap on disks, and of zram; None where /proc/swaps cannot be read."""
    text = tree.text("/proc/swaps")
    if text is None:
        return None, None
    rows = re.findall(r"^(\S+)\s+(?:partition|file)\s+(\d{1,15})\s", text, re.MULTILINE | re.ASCII)
    zram = sum(1024 * int(size) for name, size in rows if "zram" in name)
    return sum(1024 * int(size) for _, size in rows) - zram, zram
