"""Where, with what and when a figure was measured: the lines beside every figure we print."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path


def provenance(*packages: str) -> dict[str, str]:
    """``machine``, ``python``, ``versions`` (wall-edge, numpy, those ``packages`` installed), ``date``."""
    versions = {name: _version(name) for name in dict.fromkeys(("wall-edge", "numpy", *packages))}
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def wall_edge_version() -> str:
    """Of the installed distribution; empty where it runs from a checkout that is not installed."""
    return _version("wall-edge")


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    """The processor's name; the architecture where /proc/cpuinfo has none, as on ARM."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
