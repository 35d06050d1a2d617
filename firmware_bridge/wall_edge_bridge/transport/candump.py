"""Log lines of ``candump -L``, that can-utils, python-can, SavvyCAN and cantools read.

``(1436509052.249713) can0 044#2A366C2B``; CAN FD ``044##1`` and data, the digit being its flags (1: bit rate
switch); remote ``044#R4``; error frames have bit 29 of a 32-bit id set. Times are Unix time. Pure.

Source: can-utils, ``candump.c`` and ``lib.c``.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from wall_edge.errors import BusError
from wall_edge_bridge.transport.base import Frame
from wall_edge_bridge.transport.can_frame import MAX_EXTENDED_ID, ErrorFrame, pack_frame

_ERROR = 0x20000000
_BRS = 1
_LINE = re.compile(
    r"\((?P<seconds>[0-9]{1,10})\.(?P<micro>[0-9]{6})\) (?P<channel>\S+) "
    r"(?P<id>[0-9A-Fa-f]{8}|[0-9A-Fa-f]{3})"
    r"#(?:R(?P<length>[0-8]?)|(?:#(?P<flags>[0-9A-Fa-f]))?(?P<data>(?:[0-9A-Fa-f]{2})*))(?: [RT])?\n?"
)


class LogEntry(NamedTuple):
    """One line."""

    unix_ns: int
    channel: str
    frame: Frame | ErrorFrame


def format_entry(entry: LogEntry) -> str:
    """Without a line end. White space in the channel's name becomes underscores."""
    frame = entry.frame
    if isinstance(frame, ErrorFrame):
        text = f"{frame.classes & MAX_EXTENDED_ID | _ERROR:08X}#{frame.data.hex().upper()}"
    else:
        identifier = f"{frame.id:08X}" if frame.extended else f"{frame.id:03X}"
        data = frame.data.hex().upper()
        if frame.remote:
            data = f"R{len(frame.data) or ''}"
        elif frame.fd:
            data = f"#{_BRS if frame.brs else 0}{data}"
        text = f"{identifier}#{data}"
    seconds, rest_ns = divmod(entry.unix_ns, 1_000_000_000)
    channel = re.sub(r"\s", "_", entry.channel) or "can"
    return f"({seconds:010d}.{rest_ns // 1000:06d}) {channel} {text}"


def parse_entry(line: str) -> LogEntry | None:
    """None for a line that is none, or whose frame no bus can carry."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    unix_ns = int(match["seconds"]) * 1_000_000_000 + int(match["micro"]) * 1000
    word, extended = int(match["id"], 16), len(match["id"]) == 8
    data = bytes.fromhex(match["data"] or "")
    if extended and word & _ERROR and match["length"] is None and match["flags"] is None:
        error = ErrorFrame(word & MAX_EXTENDED_ID, data)
        valid = word >> 29 == 1 and len(data) == 8
        return LogEntry(unix_ns, match["channel"], error) if valid else None
    remote, flags = match["length"] is not None, match["flags"]
    data = bytes(int(match["length"] or 0)) if remote else data
    brs = flags is not None and bool(int(flags, 16) & _BRS)
    frame = Frame(word, data, extended, flags is not None, brs, remote=remote)
    try:
        pack_frame(frame)
    except BusError:
        return None
    return LogEntry(unix_ns, match["channel"], frame)
