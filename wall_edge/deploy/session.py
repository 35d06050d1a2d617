"""``wall-edge activate --session``: the robot's side of ``wall-edge deploy``, on the other end of ssh.

It holds the place's lock from the first to the last word, so that two deploys never mix, and says what is
missing; the workstation copies that by rsync or sftp beside this connection and says when it is done. When
the workstation goes away, or says nothing for a minute, the session ends where it is: what was copied
and built stays for the next one, ``current`` is as it was unless the new bundle had verified.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shutil
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from wall_edge.bundle import FORMAT_VERSION, MANIFEST, Bundle
from wall_edge.deploy.activation import activate, plain_errors
from wall_edge.deploy.engine import RobotEngine
from wall_edge.deploy.incoming import bytes_there, remove_damaged, survey
from wall_edge.deploy.messages import (
    LINE_BYTES,
    Awaiting,
    Copied,
    Done,
    Failed,
    FileEntry,
    FromRobot,
    FromWorkstation,
    Hello,
    Offer,
    Progress,
    encoded,
    from_workstation,
)
from wall_edge.deploy.place import PATIENCE_S, Place, real
from wall_edge.deploy.transfer import rsync_version
from wall_edge.errors import BundleError, ConfigError, RuntimeFault, WallEdgeError
from wall_edge.files import shown
from wall_edge.provenance import wall_edge_version

SILENCE_S = 60.0
"""A workstation says something every five seconds."""
_TELL_S = 0.5
_COPIES = 2
"""A file that was damaged on its way is copied once more."""
_MARGIN_BYTES = 64 << 20


class Session:
    """One deploy. ``source``: a descriptor with the workstation's lines; ``gone``: called when it is away."""

    def __init__(
        self, source: int, out: TextIO, gone: Callable[[], None], silence_s: float | None = None
    ) -> None:
        self._source, self._out, self._gone = source, out, gone
        self._silence_s = SILENCE_S if silence_s is None else silence_s
        self._messages: queue.Queue[FromWorkstation | WallEdgeError] = queue.Queue()
        self._told = ""
        threading.Thread(target=self._read, name="workstation", daemon=True).start()

    def run(
        self,
        folder: Path,
        place: Place,
        engine: Callable[[], RobotEngine],
        keep: int,
        patience_s: float = PATIENCE_S,
    ) -> bool:
        """Whether the bundle is current now; why not has been said to the workstation."""
        try:
            with plain_errors(place), place.alone(self._progress, patience_s):
                self._tell(Hello(wall_edge_version(), FORMAT_VERSION, rsync_version()))
                self._serve(folder, place, engine(), keep)
        except WallEdgeError as problem:
            self._tell(Failed(str(problem)))
            return False
        return True

    def _serve(self, folder: Path, place: Place, engine: RobotEngine, keep: int) -> None:
        offer = self._next()
        if not isinstance(offer, Offer) or MANIFEST not in offer.files:
            raise RuntimeFault("the workstation offered no bundle", fix="install one wall-edge on both sides")
        digest = offer.files[MANIFEST].sha256
        if folder.name != digest or folder.absolute().parent != place.incoming:
            raise ConfigError(
                f"{shown(folder)}: no place for a copy", expected=shown(place.incoming / digest)
            )
        self._progress("digests")
        opened = place.whole(digest) or self._received(offer.files, folder, place, engine)
        self._tell(Done(activate(opened, place, engine, keep, self._progress)))

    def _received(
        self, files: Mapping[str, FileEntry], folder: Path, place: Place, engine: RobotEngine
    ) -> Bundle:
        """The bundle, copied and its digests checked; what was damaged is asked for again, once."""
        damaged: list[str] = []
        for _ in range(_COPIES):
            missing = survey(folder, files)
            _require_space(place, files, missing, engine)
            self._tell(Awaiting(str(folder.absolute()), missing, tuple(damaged)))
            self._await_copy(folder)
            self._progress("digests")
            if not survey(folder, files):
                with contextlib.suppress(BundleError):
                    return Bundle(real(folder))
            damaged = remove_damaged(folder, files)
        what = ", ".join(damaged) or "the copy"
        raise BundleError(
            f"{shown(folder)}: {what}: not what the workstation has, twice",
            fix="look at the disk there and at the network, then run the same command again",
        )

    def _await_copy(self, folder: Path) -> None:
        while True:
            try:
                message = self._next(_TELL_S)
            except queue.Empty:
                self._tell(Progress("copy", bytes_there(folder)))
                continue
            if isinstance(message, Copied):
                return
            raise RuntimeFault("the workstation spoke out of turn", fix="run the same command again")

    def _next(self, timeout: float | None = None) -> FromWorkstation:
        message = self._messages.get(timeout=timeout)
        if isinstance(message, WallEdgeError):
            raise message
        return message

    def _progress(self, stage: str) -> None:
        if stage != self._told:
            self._tell(Progress(stage))
            self._told = stage

    def _tell(self, message: FromRobot) -> None:
        self._out.write(encoded(message))
        self._out.flush()

    def _read(self) -> None:
        """The thread that hears the workstation; the end, too much or silence ends us."""
        rest = b""
        while len(rest) < LINE_BYTES and select.select([self._source], [], [], self._silence_s)[0]:
            block = os.read(self._source, 1 << 16)
            if not block:
                break
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self._take(line.decode(errors="replace"))
        self._gone()

    def _take(self, line: str) -> None:
        try:
            message = from_workstation(line)
        except WallEdgeError as problem:
            self._messages.put(problem)
        else:
            if message is not None:
                self._messages.put(message)


def end_this_process() -> None:
    """What an interruption does: the main thread cleans up behind itself."""
    os.kill(os.getpid(), signal.SIGTERM)


def _require_space(
    place: Place, files: Mapping[str, FileEntry], missing: Mapping[str, int], engine: RobotEngine
) -> None:
    copy = sum(files[name].bytes - there for name, there in missing.items())
    plans = engine.disk_bytes(sum(entry.bytes for entry in files.values()))
    free = shutil.disk_usage(place.root).free
    if copy + plans + _MARGIN_BYTES > free:
        parts = (
            f"{copy / 1e6:.0f} MB to copy + {plans / 1e6:.0f} MB of engines + {_MARGIN_BYTES / 1e6:.0f} MB"
        )
        raise ConfigError(
            f"{shown(place.root)}: {free / 1e6:.0f} MB of disk are free",
            expected=f"{parts} = {(copy + plans + _MARGIN_BYTES) / 1e6:.0f} MB",
            fix="remove something there, or choose another --at",
        )
