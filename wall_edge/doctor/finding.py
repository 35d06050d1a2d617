"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Remark:
    """Something to mend. error: the robot will not run; warning: it will run worse; note: worth knowing."""

    severity: Severity
    what: str
    fix: str
    """What to do. Where it begins with a command, the whole line can be pasted: words stand behind ``#``."""


@dataclass(frozen=True)
class Finding(Remark):
    """A remark, and the check that made it."""

    check: str = ""
