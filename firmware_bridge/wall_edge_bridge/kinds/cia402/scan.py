"""Who is on the bus, and what it is: SDO uploads alone."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from wall_edge_bridge.kinds.cia402 import codec
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.settings import Cia402Settings
from wall_edge_bridge.kinds.registry import MotorIdentity
from wall_edge_bridge.transport import Frame, FrameTransport

_BATCH = 16
_LINGER_NS = 2_000_000
"""How long the answer of a second node with one id may come after the first one's."""


def uploads(
    wire: FrameTransport,
    nodes: Sequence[int],
    index: int,
    sub: int,
    timeout_ns: int,
    clock: Callable[[], int] = time.monotonic_ns,
    strangers: list[Frame] | None = None,
) -> dict[int, list[int]]:
    """What each node says an object is: twice from one that is there twice, nothing from a silent one."""
    values: dict[int, list[int]] = {node: [] for node in nodes}
    deadline_ns = clock() + timeout_ns
    wire.send([codec.read(node, index, sub) for node in nodes], deadline_ns)
    while frames := wire.receive(deadline_ns):
        for frame in frames:
            upload = codec.upload_of(frame.data)
            node = frame.id - codec.SDO_REPLY
            fits = upload is not None and (upload.object, upload.sub) == (index, sub)
            if upload and fits and node in values and not frame.extended:
                values[node].append(int.from_bytes(upload.data, "little"))
            elif strangers is not None:
                strangers.append(frame)
        if all(values.values()):
            deadline_ns = min(deadline_ns, clock() + _LINGER_NS)
        if clock() >= deadline_ns:
            break
    return values


def scan(
    settings: Cia402Settings,
    wire: FrameTransport,
    ids: Iterable[int],
    *,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Iterator[MotorIdentity]:
    """Those that answer, in the order of ``ids``; one that is there twice comes twice."""
    ids, timeout_ns = list(ids), round(settings.timeout_ms * 1e6)
    for begin in range(0, len(ids), _BATCH):
        types = uploads(wire, ids[begin : begin + _BATCH], obj.DEVICE_TYPE, 0, timeout_ns, clock)
        for node, answers in types.items():
            for device_type in answers:
                yield _identity(wire, node, device_type, timeout_ns, clock)


def _identity(
    wire: FrameTransport, node: int, device_type: int, timeout_ns: int, clock: Callable[[], int]
) -> MotorIdentity:
    identity = [
        uploads(wire, [node], obj.IDENTITY, sub, timeout_ns, clock)[node][:1] or [0] for sub in (1, 2, 3, 4)
    ]
    vendor, product, revision, serial = (each[0] for each in identity)
    profile = struct.unpack("<HH", struct.pack("<I", device_type))[0]
    kind = "cia402" if profile == obj.PROFILE_402 else f"canopen profile {profile}"
    return MotorIdentity(
        node, kind, f"{vendor:#x}:{product:#x}", f"revision {revision:#x}, serial {serial:#x}"
    )
