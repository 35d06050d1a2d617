"""What becomes of each drive's motors when nobody commands them any more, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def watchdog_words(drives: Mapping[str, Mapping[str, Any]]) -> str:
    """Of ``bus.drives`` in a servo summary; empty where no watchdog was told of yet."""
    told = [_of_one(name, drive) for name, drive in drives.items() if "watchdog_s" in drive]
    return f"watchdog: {'; '.join(told)}" if told else ""


def _of_one(name: str, drive: Mapping[str, Any]) -> str:
    seconds = drive["watchdog_s"]
    note = f" ({drive['watchdog_note']})" if drive.get("watchdog_note") else ""
    time = f"has none{note}: the heartbeat stands in" if seconds is None else f"{1e3 * seconds:.0f} ms"
    return f"{name} ({drive['kind']}) {time}"
