"""What a drive is told before it is enabled: process data, mode, watchdog. All in working memory."""

from __future__ import annotations

from wall_edge.errors import DriveError
from wall_edge_bridge.kinds.cia402 import codec
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.network import MissingObject, Nodes
from wall_edge_bridge.kinds.cia402.settings import Cia402Joint

_OTHER_TPDOS = (1, 2, 3)
_COMMANDS = (obj.CONTROL << 16 | 16, obj.TARGET << 16 | 32)
_FEEDBACK = (obj.STATUS << 16 | 16, obj.POSITION << 16 | 32)


def map_pdos(nodes: Nodes, joint: int, node_id: int) -> None:
    """RPDO1: controlword and target; TPDO1: statusword and position; both by SYNC. Others are off."""
    _map(nodes, joint, obj.RPDO, obj.RPDO_MAP, codec.RPDO1 + node_id, _COMMANDS)
    _map(nodes, joint, obj.TPDO, obj.TPDO_MAP, codec.TPDO1 + node_id, _FEEDBACK)
    for number in _OTHER_TPDOS:
        cob = nodes.find(joint, obj.TPDO + number, 1, "I")
        if cob is not None and not cob & obj.NO_PDO:
            nodes.write(joint, obj.TPDO + number, 1, "I", cob | obj.NO_PDO)


def _map(nodes: Nodes, joint: int, parameters: int, mapping: int, cob: int, entries: tuple[int, ...]) -> None:
    nodes.write(joint, parameters, 1, "I", obj.NO_PDO | cob)
    nodes.write(joint, mapping, 0, "B", 0)
    for sub, entry in enumerate(entries, 1):
        nodes.write(joint, mapping, sub, "I", entry)
    nodes.write(joint, mapping, 0, "B", len(entries))
    nodes.write(joint, parameters, 2, "B", obj.EVERY_SYNC)
    nodes.write(joint, parameters, 1, "I", cob)


def select_csp(nodes: Nodes, joint: int, spec: Cia402Joint, sync_ms: float | None) -> None:
    """Cyclic synchronous position mode, interpolated over the loop's period where the drive can be told."""
    if sync_ms is not None:
        value, exponent = interpolation(sync_ms)
        if nodes.write_if_there(joint, obj.INTERPOLATION, 1, "B", value):
            nodes.write_if_there(joint, obj.INTERPOLATION, 2, "b", exponent)
    nodes.write(joint, obj.MODE, 0, "b", obj.CSP)
    mode = nodes.find(joint, obj.MODE_DISPLAY, 0, "b")
    if mode not in (None, obj.CSP):
        raise DriveError(
            f"joint {spec} stays in mode {mode}",
            expected=f"{obj.CSP}, cyclic synchronous position",
            fix="check that the drive has this mode",
        )


def interpolation(period_ms: float) -> tuple[int, int]:
    """Object 60C2: a number of 8 bits and a power of ten of seconds, to 0.1 ms where that fits."""
    tenths = round(10 * period_ms)
    return (tenths, -4) if tenths % 10 and tenths < 256 else (round(period_ms), -3)


def arm(nodes: Nodes, joint: int, spec: Cia402Joint, host: int, timeout_ms: int) -> bool:
    """Whether the drive watches our heartbeat from now on, and stops without it. Read back."""
    value = host << 16 | timeout_ms
    try:
        nodes.write(joint, obj.CONSUMER_HEARTBEAT, 1, "I", value)
        nodes.write(joint, obj.ABORT_OPTION, 0, "h", obj.RAISE_FAULT)
    except MissingObject:
        nodes.write_if_there(joint, obj.CONSUMER_HEARTBEAT, 1, "I", 0)
        return False
    reacts = nodes.write_if_there(joint, obj.FAULT_REACTION_OPTION, 0, "h", obj.QUICK_STOP_RAMP)
    _require(nodes, joint, spec, obj.CONSUMER_HEARTBEAT, 1, "I", value)
    _require(nodes, joint, spec, obj.ABORT_OPTION, 0, "h", obj.RAISE_FAULT)
    if reacts:
        _require(nodes, joint, spec, obj.FAULT_REACTION_OPTION, 0, "h", obj.QUICK_STOP_RAMP)
    return True


def _require(
    nodes: Nodes, joint: int, spec: Cia402Joint, index: int, sub: int, form: str, value: int
) -> None:
    answer = nodes.read(joint, index, sub, form)
    if answer != value:
        raise DriveError(
            f"joint {spec}: object {index:04X}:{sub} is {answer:#x}",
            expected=f"{value:#x}, as written",
            fix="check the drive's firmware",
        )


def require_csp(nodes: Nodes, joint: int, spec: Cia402Joint) -> None:
    """That the drive has the mode, and lets the joint go as far as its limits. Reads only."""
    modes = nodes.find(joint, obj.SUPPORTED_MODES, 0, "I")
    if modes is not None and not modes & obj.CSP_BIT:
        raise DriveError(
            f"joint {spec} has modes {modes:#x}",
            expected="cyclic synchronous position (bit 7 of object 6502)",
            fix="use another drive, or another kind",
        )
    low = nodes.find(joint, obj.POSITION_LIMITS, 1, "i")
    high = nodes.find(joint, obj.POSITION_LIMITS, 2, "i")
    if low is None or high is None or low >= high:
        return
    angles = (spec.direction * angle + spec.zero_rad for angle in (spec.lower, spec.upper))
    ends = [round(angle * spec.counts_per_rad) for angle in angles]
    if min(ends) < low or max(ends) > high:
        raise DriveError(
            f"joint {spec}: limits at {min(ends)} to {max(ends)} counts",
            expected=f"within the drive's own, {low} to {high} (object 607D)",
            fix="change lower and upper, or the drive's limits",
        )
