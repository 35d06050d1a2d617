"""Every error a user can meet, in one tree.

::

    WallEdgeError
    ├── ConfigError        a YAML file, a command line or an environment asks for something impossible
    ├── CheckpointError    a WALL-OSS checkpoint is incomplete, contradicts itself or is not supported
    ├── BundleError        an exported bundle is damaged, of another version, or misses a part
    ├── EngineError        an inference backend is absent or refuses a graph or a tensor
    ├── PolicyError        a policy produced something that must not move an arm
    ├── BusError           the wire to the motors: port missing, bytes damaged
    │   └── BusTimeout     a motor did not answer in time
    ├── DriveError         a motor reported a fault or refused a command
    ├── CameraError        a camera is missing or delivers nothing
    ├── KinematicsError    a rotation that is none, or a URDF without the chain that is asked for
    └── RuntimeFault       a process of the daemon died, hung or broke a limit

The command line prints ``str(error)`` as one line and exits with code 1; nothing else is caught there.
"""

from __future__ import annotations

LONGEST_PART = 800
"""Characters of each part of a message: what was given may be a file's worth of text."""


def printable(text: str) -> str:
    """Text in which control codes, line breaks and lone surrogates are spelt with a backslash."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, length: int) -> str:
    """Text of at most about ``length`` characters, the middle left out."""
    if len(text) <= length:
        return text
    return f"{text[: length * 2 // 3]}…{text[len(text) - length // 4 :]}"


def plural(count: int, noun: str) -> str:
    """``1 step``, ``2 steps``."""
    return f"{count} {noun}{'s' * (count != 1)}"


class WallEdgeError(Exception):
    """One line that names what was given, what was expected and what to do about it."""

    def __init__(self, what: str, *, expected: str = "", fix: str = "") -> None:
        parts = [what]
        if expected:
            parts.append(f"expected {expected}")
        if fix:
            parts.append(fix)
        lines = (" ".join(shortened(part, LONGEST_PART).split()) for part in parts)
        super().__init__(printable("; ".join(lines)))


class ConfigError(WallEdgeError):
    """A YAML file, a command line or an environment asks for something impossible."""


class CheckpointError(WallEdgeError):
    """A WALL-OSS checkpoint is incomplete, contradicts itself or is not supported."""


class BundleError(WallEdgeError):
    """An exported bundle is damaged, of another version, or misses a part."""


class EngineError(WallEdgeError):
    """An inference backend is absent or refuses a graph or a tensor."""


class PolicyError(WallEdgeError):
    """A policy produced something that must not move an arm."""


class BusError(WallEdgeError):
    """The wire to the motors: port missing, bytes damaged."""


class BusTimeout(BusError):
    """A motor did not answer in time."""


class DriveError(WallEdgeError):
    """A motor reported a fault or refused a command."""


class CameraError(WallEdgeError):
    """A camera is missing or delivers nothing."""


class KinematicsError(WallEdgeError):
    """A rotation that is none, or a URDF without the chain that is asked for."""


class RuntimeFault(WallEdgeError):
    """A process of the daemon died, hung or broke a limit."""
