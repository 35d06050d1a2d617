"""A fault outlives the daemon: a real arm that faulted does not start again until a person has cleared it.

A service manager restarts what failed; an arm that stopped for a reason nobody has looked at must not move
because of that. The latch is a small file in ``$XDG_STATE_HOME/wall-edge`` (``~/.local/state`` by default),
one a robot's name: two names never share one. The simulated arm has none.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime, timezone
from pathlib import Path

from wall_edge.atomic import atomic_write
from wall_edge.config import RobotConfig
from wall_edge.errors import RuntimeFault
from wall_edge.files import read_json

_LONGEST = 180
"""Bytes of a name in a file's name, which may have 255."""


def latch_path(config: RobotConfig) -> Path | None:
    """Where this robot's fault is kept; None for a simulated one."""
    return None if config.simulated else _folder() / f"{_encoded(config.name)}.fault.json"


def _folder() -> Path:
    named = Path(os.environ.get("XDG_STATE_HOME") or "")
    # A relative one is not to be used, says the standard: it would name another latch in every folder.
    state = named if named.is_absolute() else Path.home() / ".local" / "state"
    return state / "wall-edge"


def _encoded(name: str) -> str:
    """One to one: as it is, but for separators; by its digest where a file cannot be called so."""
    plain = name.replace("%", "%25").replace(os.sep, "%2F")
    if plain.isprintable() and len(plain.encode()) <= _LONGEST:
        return plain
    return f"%sha256-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _present(config: RobotConfig) -> Path | None:
    """The latch that holds now, be it by the name that earlier versions gave it."""
    path = latch_path(config)
    if path is None or os.path.lexists(path):
        return path
    former = path.with_name(f"{config.name.replace(os.sep, '_').replace(chr(0), '')}.fault.json")
    if not os.path.lexists(former):
        return None
    try:
        return former if json.loads(former.read_text())["robot"] == config.name else None
    except (OSError, ValueError, TypeError, KeyError):
        return former  # a latch that cannot be read is a latch all the same


def set_latch(config: RobotConfig, reason: str) -> None:
    """Keep why the arm faulted; a fault that is there already stays. Raises OSError."""
    path = latch_path(config)
    if path is None or _present(config) is not None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    when = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    # On the disk before it counts: what cuts the power may be what went wrong.
    text = json.dumps({"robot": config.name, "time": when, "reason": reason}) + "\n"
    atomic_write(path, text, durable=True)


def require_latch(config: RobotConfig) -> None:
    """Raises RuntimeFault where a fault could not be kept: to be known before an arm is powered."""
    path = latch_path(config)
    if path is None:
        return
    probe = path.with_name(f"{path.name}.{os.getpid()}.probe")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(probe, "probe", durable=True)
        probe.unlink()
    except OSError as error:
        raise RuntimeFault(
            f"a fault of {config.name} could not be kept in {path.parent} ({error.strerror or error})",
            expected="a folder that can be written",
            fix="free it, or set XDG_STATE_HOME to another",
        ) from None


def require_unlatched(config: RobotConfig) -> None:
    """Raises RuntimeFault when the robot's last fault has not been cleared."""
    path = _present(config)
    if path is not None and os.path.lexists(path):
        raise RuntimeFault(
            f"{config.name} faulted and was not cleared: {_describe(path)}",
            expected="an arm that a person has looked at",
            fix="remove the cause, then 'wall-edge clear ROBOT.yaml'",
        )


def clear_latch(config: RobotConfig) -> str | None:
    """Forget the fault, which is returned; None when there was none. Raises RuntimeFault."""
    path = _present(config)
    if path is None:
        return None
    fault = _describe(path)
    try:
        path.unlink()
    except OSError as error:
        raise RuntimeFault(
            f"the fault of {config.name} stays: {path}: {error.strerror}",
            expected="a file that can be deleted",
            fix="delete it by hand",
        ) from None
    return fault


def _describe(path: Path) -> str:
    try:
        latch = read_json(path, RuntimeFault)
        return f"{latch['reason']} ({latch['time']})"
    except RuntimeFault as error:
        return f"{path} cannot be read ({error})"
    except (KeyError, TypeError):
        return f"{path} cannot be read (no reason and time in it)"
