"""A ROBOT.yaml of the first edition, written as one of the second."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from wall_edge.config.document.editions import is_first_edition, second_edition, with_kind
from wall_edge.config.document.extends import EXTENDS, complete
from wall_edge.config.robot import load_robot, robot_from_document
from wall_edge.config.scheduler import nest_scheduler
from wall_edge.config_loader import read_yaml
from wall_edge.errors import ConfigError
from wall_edge.files import YAML_BYTES, parse_yaml, read_text, shown

_COMMENT = re.compile(r"(^|\s)#")


def migrated(path: Path, out: Path | None = None) -> str:
    """The text that says in the second edition what ``path`` says, to stand in ``out`` (or in its place).

    What it extends stays as it is: a file may extend one of the other edition. Raises ConfigError for a file
    that is no robot's, or is of the second edition already, and where the new text would be another robot:
    relative paths in another folder, ``joints`` that replaced a longer list of the base.
    """
    old = load_robot(path)
    data = read_yaml(path)
    assert isinstance(data, Mapping)  # it is a robot's
    if not is_first_edition(data):
        raise ConfigError(f"{shown(path)} says no 'drive'", expected="a ROBOT.yaml of the first edition")
    document = nest_scheduler(second_edition(data, shown(path)), shown(path))
    # In a file that extends another, the kind may be said there.
    candidates = [document, with_kind(document)] if EXTENDS in document else [with_kind(document)]
    place = out or path
    for candidate in candidates:
        text = _written(candidate)
        if _robot_of(text, place) == old:
            return text
    raise ConfigError(
        f"{shown(path)} in the second edition in {shown(place)} would be another robot",
        expected="the same folder, and joints with all the names of the file that it extends",
        fix="write it by hand",
    )


def commented_lines(path: Path) -> int:
    """How many lines of a file have a comment: YAML's data has none of them, so they are lost."""
    text = read_text(path, ConfigError, YAML_BYTES)
    return sum(_COMMENT.search(line) is not None for line in text.splitlines())


def _written(document: Mapping[str, Any]) -> str:
    plain = {key: list(value) if isinstance(value, list) else value for key, value in document.items()}
    # Innermost mappings and lists on one line each, as people write joints.
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def _robot_of(text: str, place: Path) -> object:
    try:
        return robot_from_document(*complete(parse_yaml(text, shown(place), ConfigError), place), place)
    except ConfigError:
        return None
