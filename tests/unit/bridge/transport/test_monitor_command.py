"""``wall-edge motors monitor``: logs of buses, real processes among them; it sends nothing."""

from __future__ import annotations

import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner
from wall_edge_bridge.drives.settings import CanSettings, SerialSettings
from wall_edge_bridge.sim.hub import HubStation, running_hubs
from wall_edge_bridge.sim.slcan import SlcanAdapter
from wall_edge_bridge.sim.stations import serving, serving_frames, station_for, wait
from wall_edge_bridge.transport.base import Frame
from wall_edge_bridge.transport.can_errors import BUS_OFF
from wall_edge_bridge.transport.can_frame import ErrorFrame
from wall_edge_bridge.transport.can_sockets import open_unix
from wall_edge_bridge.transport.candump import LogEntry, parse_entry
from wall_edge_bridge.transport.socketcan import RawCanTransport

from tests.doubles.echo_motors import EchoTwin
from wall_edge.cli import app
from wall_edge.cli.motors import buses
from wall_edge.errors import BusError, ConfigError

FRAME = Frame(0x44, bytes.fromhex("2A366C2B"))


def soon(seconds: float = 30.0) -> int:
    return time.monotonic_ns() + round(seconds * 1e9)


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def entries(text: str) -> list[LogEntry]:
    parsed = [parse_entry(line) for line in text.splitlines()]
    assert None not in parsed
    return [entry for entry in parsed if entry is not None]


@contextmanager
def hub_with_traffic() -> Iterator[tuple[HubStation, RawCanTransport]]:
    """A daemon's part: a client that sends as soon as a second one listens."""
    with serving_frames(EchoTwin()) as hub:
        wire = open_unix(hub.place, "can", "")

        def drive() -> None:
            deadline_ns = soon(120)  # a command of its own may take long to start
            while len(hub.fds()) < 3 and time.monotonic_ns() < deadline_ns:
                time.sleep(0.001)
            wire.send([FRAME, FRAME._replace(id=0x100, fd=True, brs=True)], soon())

        thread = threading.Thread(target=drive)
        thread.start()
        yield hub, wire
        thread.join()
        wire.close()


def test_both_sides_of_a_bus_are_logged_in_order_with_unix_time() -> None:
    before_ns = time.time_ns()
    with hub_with_traffic() as (hub, _):
        text = run("motors", "monitor", "--interface", "unix", "--channel", hub.place, "--seconds", 5.0)
    logged = entries(text)
    frames = [FRAME, EchoTwin.reply(FRAME)]
    frames += [frame._replace(id=0x100 + i, fd=True, brs=True) for i, frame in enumerate(frames)]
    assert [entry.frame for entry in logged] == frames
    assert {entry.channel for entry in logged} == {hub.place}
    assert before_ns - 1000 <= logged[0].unix_ns <= time.time_ns()
    assert re.fullmatch(r"\(\d{10}\.\d{6}\) \S+ 044#2A366C2B", text.splitlines()[0])


def test_it_sends_nothing() -> None:
    twin = EchoTwin()
    with serving_frames(twin) as hub:
        run("motors", "monitor", "--interface", "unix", "--channel", hub.place, "--seconds", 0.1)
        assert twin.heard == []
        assert hub.refused == 0


def test_an_slcan_adapter_is_opened_to_listen_only() -> None:
    adapter = SlcanAdapter(EchoTwin(), 500_000)
    with serving(adapter) as (port,):
        options = ("--interface", "slcan", "--channel", port.place, "--bitrate", 500_000)
        run("motors", "monitor", *options, "--seconds", 0.1)
    assert adapter.listens_only


def test_error_frames_are_logged_and_a_bus_that_is_off_is_waited_for(tmp_path: Path) -> None:
    out = tmp_path / "can.log"
    with serving_frames(EchoTwin()) as hub:

        def trouble() -> None:
            while len(hub.fds()) < 2:
                time.sleep(0.001)
            time.sleep(0.05)
            hub.go_off()
            time.sleep(0.15)
            hub.restart()

        thread = threading.Thread(target=trouble)
        thread.start()
        run(
            "motors", "monitor", "--interface", "unix", "--channel", hub.place, "--seconds", 5.0, "--out", out
        )
        thread.join()
    errors = [entry.frame for entry in entries(out.read_text())]
    assert errors == [ErrorFrame(BUS_OFF), ErrorFrame(0x100)]


def test_the_end_of_the_bus_is_an_error(tmp_path: Path) -> None:
    hub = HubStation(EchoTwin(), str(tmp_path / "can"))

    def end() -> None:
        wait([hub], soon())  # until the monitor knocks
        hub.close()

    thread = threading.Thread(target=end)
    thread.start()
    with pytest.raises(BusError, match="vanished"):
        run("motors", "monitor", "--interface", "unix", "--channel", hub.place, "--seconds", 30)
    thread.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well_and_the_log_is_whole(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "can.log"
    with hub_with_traffic() as (hub, _):
        command = ["motors", "monitor", "--interface", "unix", "--channel", hub.place, "--out", str(out)]
        process = subprocess.Popen(
            [sys.executable, "-m", "wall_edge", *command], stderr=subprocess.PIPE, text=True
        )
        deadline_ns = soon(120)
        while not (out.exists() and out.read_text().count("\n") == 4) and time.monotonic_ns() < deadline_ns:
            time.sleep(0.01)
        process.send_signal(number)
        _, words = process.communicate(timeout=120)
    assert (process.returncode, words) == (0, "4 frames\n")
    assert len(entries(out.read_text())) == 4


def test_a_log_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "can.log"
    out.write_text("mine")
    with (
        serving_frames(EchoTwin()) as hub,
        pytest.raises(ConfigError, match=r"can\.log: File exists; expected a new file"),
    ):
        run("motors", "monitor", "--interface", "unix", "--channel", hub.place, "--out", out)
    assert out.read_text() == "mine"


# --- which buses -------------------------------------------------------------------------------------------

LEFT, RIGHT = (CanSettings("any", channel=channel, data_bitrate=5_000_000) for channel in ("can0", "can1"))
HANDS = SerialSettings("any", port="/dev/ttyACM0")


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    drives = {"left": LEFT, "right": RIGHT, "hands": HANDS}
    config = SimpleNamespace(name="two-handed", simulated=False, drives=drives)
    monkeypatch.setattr(buses, "load_robot", lambda _: config)
    return config


def test_all_can_drives_of_a_robot_or_one(robot: SimpleNamespace) -> None:  # noqa: ARG001
    assert buses.channels_of(Path("r"), None) == {"left": LEFT, "right": RIGHT}
    assert buses.channels_of(Path("r"), "right") == {"right": RIGHT}
    with pytest.raises(ConfigError, match="no CAN drive hands"):
        buses.channels_of(Path("r"), "hands")


def test_the_buses_of_a_simulated_robot_are_found_by_their_drives(robot: SimpleNamespace) -> None:
    robot.simulated = True
    # Names of their own: the buses of a machine are listed, those of other workers' tests among them.
    names = [f"{side}{secrets.token_hex(4)}" for side in ("left", "right")]
    robot.drives = dict(zip(names, (LEFT, RIGHT), strict=True))
    with pytest.raises(ConfigError, match=rf"simulated drive {names[0]}: 0 buses .* start the robot first"):
        buses.channels_of(Path("r"), None)
    left, right = (station_for(EchoTwin(), name) for name in names)
    assert {left.place, right.place} <= set(running_hubs())
    found = buses.channels_of(Path("r"), None)
    assert [each.place for each in found.values()] == [left.place, right.place]
    assert {each.interface for each in found.values()} == {"unix"}
    left.close()
    right.close()
    assert left.place not in running_hubs()


def test_two_buses_in_one_log() -> None:
    with serving(EchoTwin(), EchoTwin()) as hubs:
        settings = {name: LEFT.at(hub.place) for name, hub in zip(("left", "right"), hubs, strict=True)}
        wires = [open_unix(hub.place, "can", "") for hub in hubs]
        with buses.tapped(settings) as lines:
            while any(len(hub.fds()) < 3 for hub in hubs):
                time.sleep(0.001)
            for wire in wires:
                wire.send([FRAME], soon())
            logged: list[LogEntry] = []
            for line in lines:
                if line is not None:
                    logged += entries(line)
                if len(logged) == 4:
                    break
        assert sorted(entry.channel for entry in logged) == ["left", "left", "right", "right"]
        for wire in wires:
            wire.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "ROBOT.yaml or --channel"),
        (("ROBOT.yaml", "--channel", "can0"), "one of them"),
        (("--channel", "can0", "--interface", "can"), "--interface is 'can'"),
        (("--channel", "", "--interface", "unix"), "--channel is ''"),
        (("--channel", "x", "--interface", "virtual", "--bitrate", "5"), "bitrate is 5"),
    ],
)
def test_arguments_that_cannot_be_meant(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        run("motors", "monitor", *arguments)


def test_a_network_interface_that_is_not_there() -> None:
    with pytest.raises(BusError, match="nocan7 does not exist"):
        run("motors", "monitor", "--channel", "nocan7")
