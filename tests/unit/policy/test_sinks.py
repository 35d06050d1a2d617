"""Values for what is no joint: a datagram a chunk, which nobody has to read."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import numpy as np
import pytest

from wall_edge.config import SinkConfig
from wall_edge.errors import ConfigError
from wall_edge.runtime.ipc.mailbox_types import Chunk
from wall_edge.runtime.policy.sinks import SinkSockets, require_paths

CHUNK = Chunk(7, 1000, 33, 2, np.zeros((3, 1)), 500)
VALUES = {"base": np.array([[0.1, 1 / 3], [0.2, 0.4], [0.3, -0.5]])}
LINE = {
    "sink": "base", "chunk": 7, "epoch": 2, "observed_ns": 1000, "plan_start_ns": 500, "dt_ns": 33,
    "values": [[0.1, 0.333333], [0.2, 0.4], [0.3, -0.5]], "dropped": 0,
}  # fmt: skip


@pytest.fixture
def listener(tmp_path: Path) -> socket.socket:
    ears = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ears.bind(str(tmp_path / "base"))
    ears.settimeout(60)
    return ears


def test_one_json_line_a_chunk(listener: socket.socket) -> None:
    sinks = SinkSockets({"base": SinkConfig(listener.getsockname()), "lift": SinkConfig()})
    assert sinks.send(CHUNK, VALUES) == [LINE]
    line = listener.recv(65536)
    assert line.endswith(b"\n")
    assert json.loads(line) == LINE
    sinks.close()
    listener.close()


def test_what_nobody_listens_to_is_dropped_and_counted(tmp_path: Path) -> None:
    sinks = SinkSockets({"base": SinkConfig(str(tmp_path / "nobody"))})
    for count in range(3):
        assert sinks.send(CHUNK, VALUES)[0]["dropped"] == count
    assert sinks.dropped == {"base": 3}


def test_a_listener_that_does_not_read_holds_nobody_up(listener: socket.socket) -> None:
    sinks = SinkSockets({"base": SinkConfig(listener.getsockname())})
    for _ in range(2000):  # more than a socket's queue holds
        sinks.send(CHUNK, VALUES)
    assert 0 < sinks.dropped["base"] < 2000
    listener.close()
    before = sinks.dropped["base"]
    sinks.send(CHUNK, VALUES)
    assert sinks.dropped["base"] == before + 1


def test_a_sink_without_a_path_is_in_the_log_alone() -> None:
    sinks = SinkSockets({"base": SinkConfig()})
    assert sinks.send(CHUNK, VALUES) == [LINE]
    assert sinks.dropped == {"base": 0}
    assert SinkSockets({}).send(CHUNK, {}) == []


def test_a_path_that_no_socket_can_have() -> None:
    require_paths({"base": SinkConfig("/run/" + 102 * "a"), "lift": SinkConfig()})
    with pytest.raises(ConfigError, match=r"sinks\.base\.path .*; expected 1 to 107 bytes"):
        require_paths({"base": SinkConfig("/run/" + 103 * "a")})
