"""``wall-edge inspect`` in a narrow terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from typer.testing import CliRunner

from wall_edge.bundle import Bundle, write_manifest
from wall_edge.cli import app

NAME = "follow_left_ee_cartesian_pos_2"
"""As long as upstream's are, and like its neighbours but for the end."""


def test_names_are_whole(copy_bundle: Callable[[], Bundle]) -> None:
    """ROBOT.yaml's entries are called by them: cut short, those of a group all look the same."""
    bundle = copy_bundle()
    embodiment = bundle.manifest.embodiment
    first, *others = embodiment.action.degrees
    action = replace(embodiment.action, degrees=(replace(first, name=NAME), *others))
    write_manifest(bundle.folder, replace(bundle.manifest, embodiment=replace(embodiment, action=action)))
    told = CliRunner().invoke(app, ["inspect", str(bundle.folder)], env={"COLUMNS": "80"}).output
    names = [line.split("│")[1].strip() for line in told.splitlines() if line.startswith("│")]
    assert NAME in "".join(names)
    assert not re.search("…", "".join(names))
