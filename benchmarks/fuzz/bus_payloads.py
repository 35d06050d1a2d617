"""The decoders of what CAN frames carry: a bus delivers whole frames, so these never see a damaged one, but
may see any other. They succeed or say None; what they say is what the frame has.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from wall_edge_bridge.kinds.cia402 import codec as cia402
from wall_edge_bridge.kinds.damiao.codec import MitCodec, RegisterFrame, is_echo, parse_value
from wall_edge_bridge.kinds.damiao.registers import REGISTERS, Ranges
from wall_edge_bridge.kinds.moteus import codec as moteus
from wall_edge_bridge.kinds.moteus.registers import ANGLE
from wall_edge_bridge.kinds.odrive import codec as odrive
from wall_edge_bridge.kinds.robstride import codec as robstride
from wall_edge_bridge.kinds.robstride.registers import PARAMETERS
from wall_edge_bridge.transport import Frame

_MIT = MitCodec(Ranges(12.5, 30.0, 10.0))
_RANGES = robstride.Ranges(12.57, 44.0, 17.0, 500.0, 5.0)
_HOST = 0xFD


class Payload(NamedTuple):
    """``read`` takes bytes, and says whether they meant something. AssertionError: a finding."""

    name: str
    share: int
    lengths: tuple[int, ...]
    """That are read; empty: any up to 64."""
    read: Callable[[bytes, random.Random], bool]


def _damiao(data: bytes, rng: random.Random) -> bool:
    said = _MIT.parse_feedback(data)
    assert abs(said.position) <= 12.5 + 1e-9
    assert abs(said.velocity) <= 30.0 + 1e-9
    assert abs(said.effort) <= 10.0 + 1e-9
    again = int.from_bytes(_MIT.feedback(data[0] & 15, said)[1:3], "big")
    assert abs(again - int.from_bytes(data[1:3], "big")) <= 1
    position, velocity, kp, kd, effort = _MIT.parse_command(data)
    assert 0 <= kp <= 500
    assert 0 <= kd <= 5
    assert max(abs(position) / 12.5, abs(velocity) / 30, abs(effort) / 10) <= 1 + 1e-9
    return is_echo(data, rng.getrandbits(11))


def _damiao_register(data: bytes, rng: random.Random) -> bool:
    del rng
    said = RegisterFrame.parse(data)
    if said is None:
        return False
    assert said.pack() == data
    if said.register in REGISTERS:
        parse_value(said.register, said.value)
    return True


def _robstride(data: bytes, rng: random.Random) -> bool:
    said = Frame(_robstride_id(rng), data, extended=True)
    if rng.random() < 0.02:
        said = said._replace(extended=False)
    believed = False
    for kind in robstride.Type:
        if robstride.sender(said, kind, _HOST) is not None:
            assert (said.id >> 24, said.id & 0xFF, len(data)) == (kind, _HOST, 8)
            believed = True
    if not believed:
        return False
    state = robstride.parse_feedback(said, _RANGES)
    assert abs(state.position) <= 12.57 + 1e-9
    assert abs(state.velocity) <= 44 + 1e-9
    for parameter in PARAMETERS.values():
        robstride.value_of(said, parameter)
    robstride.parse_fault_report(data)
    return True


def _robstride_id(rng: random.Random) -> int:
    kind = rng.choice(tuple(robstride.Type)) if rng.random() < 0.8 else rng.getrandbits(5)
    return kind << 24 | rng.getrandbits(16) << 8 | (_HOST if rng.random() < 0.8 else rng.getrandbits(8))


def _odrive(data: bytes, rng: random.Random) -> bool:
    old = rng.random() < 0.5
    said = odrive.parse_heartbeat(data, old=old)
    assert said.error == int.from_bytes(data[:4], "little")
    assert bool(said.error) <= bool(said.faults)
    return True


def _odrive_others(data: bytes, rng: random.Random) -> bool:
    said = Frame(rng.getrandbits(11), data)
    node = odrive.parse_address(said)
    version = odrive.parse_version(data)
    values = [odrive.parse_sdo(data, form) for form in ("f", "I", "B", "?", "Q")]
    return any(each is not None for each in (node, version, *values))


def _moteus(data: bytes, rng: random.Random) -> bool:
    del rng
    parts = list(moteus.parse(data))
    for part in parts:
        for value in part.values:
            moteus.from_raw(value, part.type, ANGLE)
    assert sum(len(part.values) for part in parts) <= len(data)
    return bool(parts)


def _cia402(data: bytes, rng: random.Random) -> bool:
    del rng
    upload = cia402.upload_of(data)
    if upload is not None:
        assert 1 <= len(upload.data) <= 4
        assert upload.data in data
    code = cia402.emergency_code(data)
    assert code is None or code == int.from_bytes(data[:2], "little")
    return upload is not None


PAYLOADS = (
    Payload("damiao MIT", 2, (8,), _damiao),
    Payload("damiao registers", 2, (), _damiao_register),
    Payload("robstride", 1, (8, 8, 8, 7, 0), _robstride),
    Payload("odrive heartbeat", 1, (8,), _odrive),
    Payload("odrive", 1, (), _odrive_others),
    Payload("moteus", 2, (), _moteus),
    Payload("cia402", 2, (), _cia402),
)
