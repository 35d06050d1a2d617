"""ROBOTIS' own slave, Dynamixel2Arduino's, unmodified and compiled for this machine, is the motor of our bus.

It is in no package registry: ``git clone https://github.com/ROBOTIS-GIT/Dynamixel2Arduino`` and set
``DYNAMIXEL2ARDUINO`` to the clone; tried with commit 516205f.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from wall_edge_bridge.drives.values import BusCounters
from wall_edge_bridge.kinds.dynamixel import codec
from wall_edge_bridge.kinds.dynamixel.bus import DynamixelBus
from wall_edge_bridge.kinds.dynamixel.registers import TABLE
from wall_edge_bridge.kinds.dynamixel.replies import Block

SOURCE = os.environ.get("DYNAMIXEL2ARDUINO", "")
SHIM = Path(__file__).parent / "dynamixel_slave"
pytestmark = [
    pytest.mark.skipif(not SOURCE, reason="DYNAMIXEL2ARDUINO names no clone of ROBOTIS' library"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="no g++"),
]


class Pipes:
    """A byte transport to a process."""

    description = "ROBOTIS' slave"

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin, process.stdout

    def send(self, data: bytes, deadline_ns: int) -> None:  # noqa: ARG002
        self._input.write(data)

    def receive(self, at_most: int, deadline_ns: int) -> bytes:
        seconds = max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9)
        ready, _, _ = select.select([self._output], [], [], seconds)
        return os.read(self._output.fileno(), at_most) if ready else b""

    def close(self) -> None:
        self._input.close()


@pytest.fixture(scope="module")
def slave(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary, source = tmp_path_factory.mktemp("slave") / "slave", Path(SOURCE) / "src"
    includes = [f"-I{each}" for each in (SHIM, source / "utility", source / "dxl_c", source)]
    files = [SHIM / "main.cpp", source / "utility" / "slave.cpp", source / "dxl_c" / "protocol.cpp"]
    subprocess.run(["g++", "-std=c++14", *includes, *map(str, files), "-o", str(binary)], check=True)
    return binary


@pytest.fixture
def bus(slave: Path) -> Iterator[DynamixelBus]:
    process = subprocess.Popen([slave], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    pipes = Pipes(process)
    yield DynamixelBus(pipes, (1,), 300_000_000, BusCounters())
    pipes.close()
    process.wait(10)


def test_it_answers_our_ping(bus: DynamixelBus) -> None:
    answer = bus.exchange(1, codec.build_ping(1), Block(0, 3))
    assert answer is not None
    assert answer.data == bytes([1060 & 0xFF, 1060 >> 8, 45])


@pytest.mark.parametrize("value", [2048, -1, -131_073, 0x00FDFFFF, -513, 123_456_789, 0x7FFDFFFF])
def test_it_understands_our_stuffing_and_we_its(bus: DynamixelBus, value: int) -> None:
    register = TABLE["goal_position"]
    written = bus.exchange(1, codec.build_write(1, register.address, register.encode(value)))
    assert written is not None
    assert written.error == 0
    time.sleep(0.01)
    answer = bus.read_one(Block.of("present_position"), 1)
    assert answer is not None
    assert answer.value("present_position") == value
    assert bus.counters.errors == bus.counters.foreign == 0
