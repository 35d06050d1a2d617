"""systemd-networkd's files that bring a CAN interface up at the start.

Keys: ``man systemd.network`` ([CAN]: BitRate, DataBitRate, FDMode, RestartSec, BusErrorReporting), ``man
systemd.link`` (TransmitQueueLength, systemd 248 and later; JetPack 6 has 249).
"""

from __future__ import annotations

import re

from wall_edge.checks import between
from wall_edge.config_loader import Invalid

_FOLDER = "/etc/systemd/network"
_QUEUE = 1000


def can_network(interface: str, bitrate: int, data_bitrate: int | None) -> list[str]:
    """Commands that write both files; ``data_bitrate`` [bit/s] switches CAN FD on. Raises ConfigError."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", interface) is None:
        raise Invalid("--interface", interface, expected="an interface such as can0")
    between("--bitrate", bitrate, 10_000, 1_000_000, "bit/s")
    if data_bitrate is not None:
        between("--data-bitrate", data_bitrate, bitrate, 8_000_000, "bit/s")
    flexible = [] if data_bitrate is None else [f"DataBitRate={data_bitrate}", "FDMode=yes"]
    network = [
        "[Match]",
        f"Name={interface}",
        "[Link]",
        "RequiredForOnline=no",
        "[CAN]",
        f"BitRate={bitrate}",
        *flexible,
        "RestartSec=100ms",
        "BusErrorReporting=yes",
    ]
    link = ["[Match]", f"OriginalName={interface}", "[Link]", f"TransmitQueueLength={_QUEUE}"]
    return [
        f"# {interface} at each start, by systemd-networkd; it leaves other interfaces to NetworkManager.",
        "# To install: wall-edge udev --can … | sudo sh",
        *_file(f"{_FOLDER}/80-wall-edge-{interface}.network", network),
        *_file(f"{_FOLDER}/80-wall-edge-{interface}.link", link),
        "# A Jetson's own controllers need their module, which NVIDIA's list keeps from loading at the",
        "# start, and the AGX Orin's header its pins (doctor). An adapter needs neither.",
        f"if readlink /sys/class/net/{interface}/device/driver | grep -qv mttcan; then :",
        "elif modprobe -q mttcan; then",
        "  echo mttcan > /etc/modules-load.d/wall-edge-can.conf",
        "  grep -ls '^ *blacklist  *mttcan' /etc/modprobe.d/*.conf |",
        "    xargs -r sed -i 's/^ *blacklist  *mttcan/# &/'",
        "fi",
        "# Nothing else may need networkd, and the start must not wait for it.",
        "systemctl disable systemd-networkd-wait-online.service",
        "systemctl enable systemd-networkd.service",
        "systemctl restart systemd-networkd.service",
    ]


def _file(name: str, lines: list[str]) -> list[str]:
    return [f"cat > {name} <<'END'", *lines, "END"]
