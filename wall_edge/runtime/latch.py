"""A fault outlives the daemon: a real arm that faulted does not start again until a person has cleared it.

A service manager restarts what failed; an arm that stopped for a reason nobody has looked at must not move
because of that. The latch is a small file in ``$XDG_STATE_HOME/wall-edge`` (``~/.local/state`` by default),
one a robot's name. The simulated arm has none.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path

from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault

__all__ = ["clear_latch", "latch_path", "require_unlatched", "set_latch"]


def latch_path(config: RobotConfig) -> Path | None:
    """Where this robot's fault is kept; None for a simulated one."""
    if config.simulated:
        return None
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "wall-edge" / f"{config.name.replace(os.sep, '_')}.fault.json"


def set_latch(config: RobotConfig, reason: str) -> None:
    """Keep why the arm faulted; a fault that is there already stays. Raises OSError."""
    path = latch_path(config)
    if path is None or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps({"robot": config.name, "time": when, "reason": reason}) + "\n")
    partial.replace(path)


def require_unlatched(config: RobotConfig) -> None:
    """Raises RuntimeFault when the robot's last fault has not been cleared."""
    path = latch_path(config)
    if path is not None and path.exists():
        raise RuntimeFault(
            f"{config.name} faulted and was not cleared: {_told(path)}",
            expected="an arm that a person has looked at",
            fix="remove the cause, then 'wall-edge clear ROBOT.yaml'",
        )


def clear_latch(config: RobotConfig) -> str | None:
    """Forget the fault, which is returned; None when there was none. Raises OSError."""
    path = latch_path(config)
    if path is None or not path.exists():
        return None
    told = _told(path)
    path.unlink()
    return told


def _told(path: Path) -> str:
    try:
        kept = json.loads(path.read_text())
        return f"{kept['reason']} ({kept['time']})"
    except (ValueError, KeyError, TypeError, OSError) as error:
        return f"{path} cannot be read ({error})"  # a latch that cannot be read is a latch all the same
