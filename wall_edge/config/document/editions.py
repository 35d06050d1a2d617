"""ROBOT.yaml's first edition, with one bus, as the second has it.

::

    drive: {kind: feetech, port: /dev/ttyACM0, joints: [A, B]}     first
    drives: {arm: {kind: feetech, port: /dev/ttyACM0}}             second
    joints: [A, B]

``port: sim`` was the simulated robot: ``simulated: true``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wall_edge.errors import ConfigError

FIRST = "drive"
ONLY_DRIVE = "arm"
"""What the one drive of a file of the first edition is called in the second."""
ONLY_KIND = "feetech"
"""What a ``drive`` was that did not say."""
_SECOND = ("simulated", "drives", "joints")


class WholeList(list[Any]):
    """A list that replaces another, as all did in the first edition: not merged by names."""


def is_first_edition(document: object) -> bool:
    """Whether it says ``drive``; a part of a file that extends another may say neither."""
    return isinstance(document, Mapping) and FIRST in document


def second_edition(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The same, perhaps a part of one, in the second edition; what is in it already stays as it is.

    A mapping that is none is passed on, for whoever checks it. Raises ConfigError for both editions at once.
    """
    if not is_first_edition(document):
        return dict(document)
    if both := [key for key in _SECOND if key in document]:
        raise ConfigError(
            f"{where}: {FIRST} beside {' and '.join(both)}",
            expected=f"the first edition ({FIRST}) or the second ({', '.join(_SECOND)})",
            fix="move what drive says to drives and joints",
        )
    result: dict[str, Any] = {}
    for key, value in document.items():
        result.update(_of_drive(value) if key == FIRST else {key: value})
    return result


def with_kind(document: Mapping[str, Any]) -> dict[str, Any]:
    """A whole document that came from the first edition: its drive is Feetech's when it does not say."""
    drives = document.get("drives")
    drive = drives.get(ONLY_DRIVE) if isinstance(drives, Mapping) else None
    if not isinstance(drives, Mapping) or not isinstance(drive, Mapping) or "kind" in drive:
        return dict(document)
    return {**document, "drives": {**drives, ONLY_DRIVE: {"kind": ONLY_KIND, **drive}}}


def _of_drive(drive: object) -> dict[str, Any]:
    if not isinstance(drive, Mapping):
        return {"drives": {ONLY_DRIVE: drive}}
    simulated = drive.get("port") == "sim"
    unsaid = ("joints", "port") if simulated else ("joints",)
    settings = {key: value for key, value in drive.items() if key not in unsaid}
    result: dict[str, Any] = {"simulated": simulated} if "port" in drive else {}
    result["drives"] = {ONLY_DRIVE: settings}
    if "joints" in drive:
        joints = drive["joints"]
        result["joints"] = WholeList(joints) if isinstance(joints, list) else joints
    return result
