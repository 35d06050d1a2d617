"""Values for what is no joint of ours (a base, a lift): one JSON line a chunk to whoever listens."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Mapping
from typing import Any

from wall_edge.array_types import Floats
from wall_edge.config import SinkConfig
from wall_edge.errors import ConfigError
from wall_edge.runtime.ipc.mailbox_types import Chunk

_MOST_BYTES = 107
"""Of the path of a UNIX socket, less its final 0 (man 7 unix)."""
_DIGITS = 6


def require_paths(sinks: Mapping[str, SinkConfig]) -> None:
    """Raise :class:`ConfigError` for a path that no socket can have."""
    for name, sink in sinks.items():
        if sink.path is not None and not 0 < len(sink.path.encode()) <= _MOST_BYTES:
            raise ConfigError(
                f"sinks.{name}.path {sink.path}",
                expected=f"1 to {_MOST_BYTES} bytes, as a UNIX socket's path",
                fix="place the socket in /run",
            )


class SinkSockets:
    """Sends datagrams and never waits: what nobody takes is dropped and counted."""

    def __init__(self, sinks: Mapping[str, SinkConfig]) -> None:
        self._paths = {name: sink.path for name, sink in sinks.items()}
        self.dropped = dict.fromkeys(sinks, 0)
        self._socket: socket.socket | None = None
        if any(self._paths.values()):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)

    def send(self, chunk: Chunk, sinks: Mapping[str, Floats]) -> list[dict[str, Any]]:
        """One datagram a sink, of ``[horizon, n]`` values in the policy's units; what was in each.

        Row k is due at plan time ``plan_start_ns + k · dt_ns``, as the chunk's positions are; ``observed_ns``
        is CLOCK_MONOTONIC at row 0 of a chunk that is followed without a stop.
        """
        lines = []
        for name, values in sinks.items():
            line: dict[str, Any] = {
                "sink": name,
                "chunk": chunk.index,
                "epoch": chunk.epoch,
                "observed_ns": chunk.observation_time_ns,
                "plan_start_ns": chunk.plan_start_ns,
                "dt_ns": chunk.dt_ns,
                "values": values.round(_DIGITS).tolist(),
                "dropped": self.dropped.get(name, 0),
            }
            self._send(name, line)
            lines.append(line)
        return lines

    def _send(self, name: str, line: Mapping[str, object]) -> None:
        path = self._paths.get(name)
        if self._socket is None or path is None:
            return
        try:
            self._socket.sendto(json.dumps(line).encode() + b"\n", path)
        except OSError:  # nobody there, nobody reads, too long for its buffer
            self.dropped[name] += 1

    def close(self) -> None:
        """Nothing more is sent."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
