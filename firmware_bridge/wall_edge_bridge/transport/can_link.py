"""A CAN network interface as the kernel has it, and the ``ip link`` lines that set it right.

Sources: ``man ip-link``; ``ip -details -json link show`` of iproute2 (``ip/iplink_can.c``); the kernel's
``Documentation/ABI/testing/sysfs-class-net``.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from wall_edge_bridge.transport.can_frame import FD_SIZE

RESTART_MS = 100
"""How long a controller stays off the bus before it tries again."""
QUEUE = 1000
"""Frames that may wait: the kernel's default of 10 refuses a burst to seven motors and their registers."""
_NET = Path("/sys/class/net")
_ARPHRD_CAN = "280"
_IFF_UP = 1
_IP_S = 2.0


@dataclass(frozen=True)
class CanLink:
    """One interface. None: not told."""

    name: str
    is_can: bool
    up: bool
    fd: bool
    """Whether it takes CAN FD frames."""
    bitrate: int | None = None
    data_bitrate: int | None = None
    state: str | None = None
    """ERROR-ACTIVE, ERROR-WARNING, ERROR-PASSIVE, BUS-OFF, STOPPED or SLEEPING."""

    @property
    def summary(self) -> str:
        """ "up, 1000000 bit/s, classic": what was found, in words."""
        rates = [f"{self.bitrate} bit/s"] if self.bitrate else []
        if self.fd:
            rates.append(f"CAN FD at {self.data_bitrate} bit/s" if self.data_bitrate else "CAN FD")
        return ", ".join(["up" if self.up else "down", *rates, *([] if self.fd else ["classic"])])


def set_up_lines(channel: str, bitrate: int, data_bitrate: int | None) -> list[str]:
    """Commands, without ``sudo``, that bring an interface up; a data bit rate [bit/s] switches CAN FD on."""
    name = shlex.quote(channel)
    flexible = f" dbitrate {data_bitrate} fd on" if data_bitrate else ""
    return [
        f"ip link set {name} down",
        f"ip link set {name} type can bitrate {bitrate}{flexible} restart-ms {RESTART_MS}",
        f"ip link set {name} txqueuelen {QUEUE}",
        f"ip link set {name} up",
    ]


def set_up_fix(channel: str, bitrate: int, data_bitrate: int | None) -> str:
    """The same in one line, for an error's ``fix``."""
    return (
        "run `" + " && ".join(f"sudo {line}" for line in set_up_lines(channel, bitrate, data_bitrate)) + "`"
    )


def problem(link: CanLink, bitrate: int, data_bitrate: int | None) -> str:
    """What keeps an interface from being used with these bit rates [bit/s]; empty when nothing does.

    A virtual interface has no bit rate, and takes any.
    """
    if not link.is_can:
        return "is no CAN interface"
    if not link.up:
        return "is down"
    if link.bitrate is not None and link.bitrate != bitrate:
        return f"has another bit rate ({link.summary})"
    if data_bitrate is None:
        return ""
    if not link.fd:
        return f"takes no CAN FD frames ({link.summary})"
    if link.data_bitrate is not None and link.data_bitrate != data_bitrate:
        return f"has another data bit rate ({link.summary})"
    return ""


def parse_link(text: str) -> CanLink | None:
    """From ``ip -details -json link show NAME``; None for text that is something else."""
    try:
        entry = json.loads(text)[0]
        name, flags, mtu = entry["ifname"], entry["flags"], entry["mtu"]
        info = entry.get("linkinfo", {}).get("info_data", {})
        rates = [info.get(key, {}).get("bitrate") for key in ("bittiming", "data_bittiming")]
        state = info.get("state")
        if not (isinstance(name, str) and isinstance(mtu, int) and isinstance(flags, list)):
            return None
        bitrate, data_bitrate = (rate if type(rate) is int and rate > 0 else None for rate in rates)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    is_can = entry.get("link_type") == "can"
    state = state if isinstance(state, str) else None
    return CanLink(name, is_can, "UP" in flags, mtu == FD_SIZE, bitrate, data_bitrate, state)


def read_link(channel: str, *, details: bool = True, net: Path = _NET) -> CanLink | None:
    """An interface of this machine; None when there is none.

    ``details``: with its bit rates, where ``ip`` is installed; it is run for them.
    """
    folder = net / channel
    if not is_interface_name(channel) or not folder.exists():
        return None
    if details and (link := parse_link(_ip_output(channel))) is not None:
        return link
    return CanLink(
        name=channel,
        is_can=_text(folder / "type") == _ARPHRD_CAN,
        up=bool(_number(_text(folder / "flags")) & _IFF_UP),
        fd=_number(_text(folder / "mtu")) == FD_SIZE,
    )


def can_names(net: Path = _NET) -> list[str]:
    """The CAN interfaces that there are."""
    try:
        return sorted(folder.name for folder in net.iterdir() if _text(folder / "type") == _ARPHRD_CAN)
    except OSError:
        return []


def is_interface_name(channel: str) -> bool:
    """As the kernel's ``dev_valid_name``, and printable."""
    bad = any(c.isspace() or c in "/:" for c in channel)
    return 0 < len(channel.encode()) < 16 and channel not in (".", "..") and not bad and channel.isprintable()


def _ip_output(channel: str) -> str:
    command = ["ip", "-details", "-json", "link", "show", "dev", channel]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_IP_S, check=False).stdout
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0
