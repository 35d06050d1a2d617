"""Samples of a session that ``wall-edge run --record`` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from wall_edge.bundle import Embodiment
from wall_edge.errors import ConfigError
from wall_edge.session_format import HEADER, Sample, SessionHeader, read_session, units_of
from wall_edge_export.data.robot_checks import require_camera, require_names


class SessionSamples:
    """The session in ``folder``, with frames of the bundle's cameras in its order.

    ``sizes``: width and height by camera. Raises :class:`ConfigError` for a session that is damaged or of
    another embodiment.
    """

    def __init__(
        self,
        folder: Path,
        embodiment: Embodiment,
        sizes: Mapping[str, tuple[int, int]],
        horizon: int,
        action_rate_hz: float,
    ) -> None:
        self._session, self._cameras = read_session(folder), tuple(sizes)
        where, header = folder / HEADER, self._session.header
        _require_degrees(where, header, embodiment)
        _require_cameras(where, header, sizes)
        _require_chunks(where, header, horizon, action_rate_hz)
        self.total = len(self._session.files)
        self.files = {where}

    def sample(self, index: int) -> Sample:
        """Sample ``index`` in the order of time. Raises :class:`ConfigError` naming its file."""
        path = self._session.files[index]
        sample = self._session.sample(path)
        self.files.add(path)
        frames = {name: sample.observation.frames[name] for name in self._cameras}
        return replace(sample, observation=replace(sample.observation, frames=frames))


def _require_degrees(where: Path, header: SessionHeader, embodiment: Embodiment) -> None:
    for units, layout in ((header.state, embodiment.state), (header.actions, embodiment.action)):
        require_names(where, tuple(units), layout.names)
        for name, unit in units_of(layout).items():
            if units[name] != unit:
                raise ConfigError(
                    f"{where}: {name} in {units[name]}",
                    expected=f"{unit}, as the checkpoint and ROBOT.yaml have it",
                    fix="record with a bundle of this checkpoint",
                )


def _require_cameras(where: Path, header: SessionHeader, sizes: Mapping[str, tuple[int, int]]) -> None:
    session_sizes = {name: (size.width, size.height) for name, size in header.cameras.items()}
    for name, size in sizes.items():
        require_camera(where, name, session_sizes.get(name), size)


def _require_chunks(where: Path, header: SessionHeader, horizon: int, action_rate_hz: float) -> None:
    if header.horizon != horizon or not np.isclose(header.action_rate_hz, action_rate_hz):
        raise ConfigError(
            f"{where}: chunks of {header.horizon} steps at {header.action_rate_hz:g} Hz",
            expected=f"{horizon} steps at {action_rate_hz:g} Hz",
            fix="record with a bundle of this checkpoint",
        )
