"""From settings to a wire: what is refused before anything moves, and in which words."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from wall_edge_bridge.drives.settings import CanSettings, DriveSettings, SerialSettings
from wall_edge_bridge.sim.pty import PtyPort
from wall_edge_bridge.sim.stations import serving_frames
from wall_edge_bridge.transport import opening
from wall_edge_bridge.transport.can_link import CanLink
from wall_edge_bridge.transport.opening import open_wire
from wall_edge_bridge.transport.recovering import RecoveringBytes, RecoveringFrames
from wall_edge_bridge.transport.serial import SerialTransport
from wall_edge_bridge.transport.socketcan import RawCanTransport

from tests.doubles.echo_motors import EchoTwin
from wall_edge.errors import BusError, ConfigError

CAN = CanSettings("any", channel="can0")
FD = replace(CAN, data_bitrate=5_000_000)
UP = CanLink("can0", True, True, True, 1_000_000, 5_000_000, "ERROR-ACTIVE")


def test_a_serial_port() -> None:
    with PtyPort() as port:
        wire = open_wire(SerialSettings("any", port=port.path, baudrate=115_200))
        assert isinstance(wire, SerialTransport)
        assert port.baud == 115_200
        wire.close()


def test_a_simulated_bus() -> None:
    with serving_frames(EchoTwin()) as hub:
        wire = open_wire(CAN.at(hub.place))
        assert isinstance(wire, RawCanTransport)
        wire.close()


class BridgeSettings(CanSettings):
    """A kind whose CAN bus is behind a serial port."""

    @property
    def serial_port(self) -> SerialSettings:
        return SerialSettings("any", port=self.channel, baudrate=921_600)


def test_a_bus_behind_a_serial_port_of_the_kinds_own() -> None:
    with PtyPort() as port:
        wire = open_wire(BridgeSettings("any", channel=port.path))
        assert isinstance(wire, SerialTransport)
        assert port.baud == 921_600
        wire.close()


def test_settings_say_whether_a_vanished_adapter_is_opened_again() -> None:
    with PtyPort() as port, serving_frames(EchoTwin()) as hub:
        serial = open_wire(SerialSettings("any", port=port.path, on_loss="recover"))
        can = open_wire(replace(CAN, on_loss="recover").at(hub.place))
        assert isinstance(serial, RecoveringBytes)
        assert isinstance(can, RecoveringFrames)
        serial.close()
        can.close()


def test_a_port_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BusError, match="/dev/ttyNONE7 does not exist"):
        open_wire(SerialSettings("any", port="/dev/ttyNONE7"))
    file = tmp_path / "file"
    file.write_text("no port")
    with pytest.raises(BusError, match="cannot be opened"):
        open_wire(SerialSettings("any", port=str(file)))


def test_a_port_in_use() -> None:
    with PtyPort() as port:
        settings = SerialSettings("any", port=port.path)
        first = open_wire(settings)
        with pytest.raises(BusError, match="is in use"):
            open_wire(settings)
        first.close()


@pytest.mark.parametrize("settings", [SerialSettings("any"), CanSettings("any")])
def test_a_drive_without_a_place(settings: DriveSettings) -> None:
    with pytest.raises(ConfigError, match=r"in ROBOT\.yaml"):
        open_wire(settings)


def test_a_channel_that_does_not_exist_names_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "can_names", lambda: ["can4", "vcan1"])
    with pytest.raises(
        BusError, match=r"can0 does not exist; expected an interface \(present: can4, vcan1\)"
    ):
        open_wire(CAN)


@pytest.mark.parametrize(
    ("settings", "link", "found", "line"),
    [
        (CAN, replace(UP, up=False), "is down", "type can bitrate 1000000 restart-ms 100"),
        (
            FD,
            replace(UP, bitrate=500_000),
            "up, 500000 bit/s, CAN FD at 5000000",
            "bitrate 1000000 dbitrate 5",
        ),
        (FD, replace(UP, data_bitrate=2_000_000), "another data bit rate", "dbitrate 5000000 fd on"),
        (FD, replace(UP, fd=False), "takes no CAN FD frames", "fd on"),
        (CAN, replace(UP, is_can=False), "is no CAN interface", "name one such as can0"),
    ],
)
def test_a_channel_that_is_set_up_otherwise(
    settings: CanSettings, link: CanLink, found: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "read_link", lambda _channel, **_: link)
    with pytest.raises(BusError) as refusal:
        open_wire(settings)
    assert found in str(refusal.value)
    assert line in str(refusal.value)


def test_a_channel_that_is_well_reaches_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "read_link", lambda _channel, **_: replace(UP, name="nocan7"))
    with pytest.raises(BusError, match=r"this kernel opens no CAN socket|does not exist"):
        open_wire(replace(CAN, channel="nocan7"))


def test_without_python_can_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_can(name: str, *rest: Any) -> Any:
        if name == "can":
            raise ImportError("No module named 'can'", name="can")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_can)
    with pytest.raises(ConfigError, match=r"virtual needs can; run `pip install 'wall-edge\[can\]'`"):
        open_wire(replace(CAN, interface="virtual"))


def test_python_cans_refusal_is_a_bus_error() -> None:
    pytest.importorskip("can")
    with pytest.raises(
        BusError, match=r"udp_multicast channel 127\.0\.0\.1 at 1000000 bit/s cannot be opened"
    ):
        open_wire(replace(CAN, interface="udp_multicast", channel="127.0.0.1"))
