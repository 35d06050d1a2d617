"""A checkout whose own code runs, whatever is installed in this interpreter's environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from threading import Lock

from benchmarks.behaviour.compare import Figures

PACKAGES = ("wall_edge", "wall_edge_export", "wall_edge_engines", "wall_edge_bridge")
ROOMS = ("", "export", "engines", "firmware_bridge")
TABLETOP = Path("examples/tabletop")
UNKNOWN = "unknown"
"""The commit of a folder that git knows nothing of."""
VARIANTS = {
    "auto": ("--precision", "auto", "--max-action-error", "0.03", "--samples", "64"),
    "guidance": ("--guidance",),
    "vocabulary": ("--vocabulary", "words.txt"),
}
"""Exports beside those of the recipes; a plain name in the options is a file of the work folder."""
# Matches to the next table, or the end; in pyproject.toml, as Python 3.10 has no reader of TOML.
_COMMANDS = re.compile(r'^\[project\.entry-points\."wall_edge\.commands"\]\n([^\[]*)', re.MULTILINE)


class SideError(Exception):
    """What cannot be measured of a side, and why."""


class Checkout:
    """One side's code in ``folder``, which stays as it is, and the empty folder ``work`` that it works in.

    Raises :class:`SideError` for a folder that is no checkout, or a command that fails.
    """

    def __init__(self, folder: Path, work: Path, *, quick: bool) -> None:
        self.folder, self.work, self.quick = folder.resolve(), work, quick
        self._plug_in_commands()
        self._environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(str(path) for path in (work, *(self.folder / r for r in ROOMS))),
            "PYTHONPYCACHEPREFIX": str(work / "bytecode"),
            "XDG_STATE_HOME": str(work / "state"),
            "OMP_NUM_THREADS": "1",  # what torch sums on several threads depends on how many there are
        }
        self._require_its_code()
        (work / "words.txt").write_text("touch the red block.\n")
        self._locks: dict[str, Lock] = {}

    def _plug_in_commands(self) -> None:
        """Write the entry points of this checkout's pyproject.toml: what is installed has others."""
        pyproject = self.folder / "pyproject.toml"
        section = _COMMANDS.search(pyproject.read_text()) if pyproject.exists() else None
        if section is None:
            raise SideError(f"{pyproject}: no entry points wall_edge.commands; expected those of wall-edge")
        info = self.work / "wall_edge-0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wall-edge\nVersion: 0\n")
        (info / "entry_points.txt").write_text(f"[wall_edge.commands]\n{section[1]}".replace('"', ""))

    def _require_its_code(self) -> None:
        files = ", ".join(f"{name}.__file__" for name in PACKAGES)
        for path in self.run("-c", f"import {', '.join(PACKAGES)}; print({files})").stdout.split():
            if not Path(path).is_relative_to(self.folder):
                raise SideError(f"{path} was imported; expected the code in {self.folder}")

    def commit(self) -> str:
        """The commit, and whether the files differ from it."""
        done = subprocess.run(
            ["git", "-C", self.folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
        )
        return done.stdout.strip() or UNKNOWN

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """``python ARGUMENTS``. Exit code 1 is a judgement when there is output, else an error."""
        command = [sys.executable, *(str(argument) for argument in arguments)]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode not in (0, 1) or not done.stdout:
            line = f"{' '.join(command)}: exit code {done.returncode}; expected figures"
            raise SideError(f"{line}\n{done.stderr[-2000:]}")
        return done

    def figures(self, module: str, *arguments: object) -> Figures:
        """Exit code and output of ``python -m MODULE ARGUMENTS --json``."""
        done = self.run("-m", module, *arguments, "--json")
        return {"exit_code": done.returncode, "printed": json.loads(done.stdout)}

    def wall_edge(self, *arguments: object) -> Figures:
        return self.figures("wall_edge", *arguments)

    @cached_property
    def session(self) -> Path:
        """What exports are calibrated on."""
        self.run(TABLETOP / "record_session.py", "--out", self.work / "session")
        return self.work / "session"

    def recipes(self) -> list[str]:
        """By name, wherever in the exporter they lie."""
        return sorted(path.stem for path in (self.folder / "export").rglob("recipes/*.yaml"))

    def bundle(self, name: str) -> Path:
        """The tabletop policy in a recipe, or as one of ``VARIANTS``; exported when it is first asked for.

        What the export printed lies beside it, in ``NAME.json``.
        """
        with self._locks.setdefault(name, Lock()):
            if not (out := self.work / "bundles" / name).exists():
                self._export(name, out)
        return out

    def _export(self, name: str, out: Path) -> None:
        options: list[object] = list(VARIANTS.get(name, ("--precision", name)))
        options = [self.work / str(word) if str(word).endswith(".txt") else word for word in options]
        if "int" in name or name == "auto":
            options += ["--calibration", self.session]
        robot = ("--robot", TABLETOP / "robot.yaml")
        done = self.wall_edge("export", TABLETOP / "checkpoint", "--out", out, *robot, *options)
        out.with_suffix(".json").write_text(json.dumps(done))
