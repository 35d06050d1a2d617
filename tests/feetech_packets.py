"""Feetech packets that no drive sends, and whole packets out of bytes: for tests of the protocol."""

from __future__ import annotations

from wall_edge_bridge.kinds.feetech.codec import BROADCAST_ID, Instruction, Request, Status, build_packet
from wall_edge_bridge.kinds.feetech.parser import RequestParser, StatusParser


def build_ping(servo_id: int) -> bytes:
    return build_packet(servo_id, Instruction.PING)


def build_reg_write(servo_id: int, address: int, data: bytes) -> bytes:
    return build_packet(servo_id, Instruction.REG_WRITE, bytes((address,)) + data)


def build_action(servo_id: int = BROADCAST_ID) -> bytes:
    return build_packet(servo_id, Instruction.ACTION)


def parse_status(data: bytes) -> tuple[list[Status], int]:
    """Status packets in ``data`` and how many bytes of it belong to none of them."""
    parser = StatusParser()
    packets = parser.feed(data)
    return packets, parser.skipped_bytes + parser.pending_bytes


def parse_request(data: bytes) -> tuple[list[Request], int]:
    """Request packets in ``data`` and how many bytes of it belong to none of them."""
    parser = RequestParser()
    packets = parser.feed(data)
    return packets, parser.skipped_bytes + parser.pending_bytes
