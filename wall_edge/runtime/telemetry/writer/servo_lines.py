"""What the servo process tells, as the log's JSON spells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wall_edge.runtime.ipc.mailbox_types import ServoState
from wall_edge.runtime.telemetry.servo.types import EventKind, ServoEvent, ServoStatus

Fields = dict[str, Any]

_DECIMALS = 4
"""Of an angle in rad: 0.006°, a fourteenth of a Feetech servo's step."""


def event_name(event: ServoEvent) -> str:
    """The ``kind`` of its line: servo_state, servo_fault …"""
    return f"servo_{event.kind.name.lower()}"


def event_fields(event: ServoEvent) -> Fields:
    """What its kind tells."""
    return {**_TELLS[event.kind](event), "tick": event.tick}


def status_fields(row: np.void) -> Fields:
    """The counters and the joints of a status [rad]."""
    status = ServoStatus.of(row)
    return {
        "state": ServoState(status.state).name,
        **{name: getattr(status, name) for name in _STATUS},
        "lateness_us": status.lateness_ns / 1e3 if status.lateness_ns >= 0 else None,
        "setpoint": status.setpoint.round(_DECIMALS).tolist(),
        "position": status.position.round(_DECIMALS).tolist(),
    }


_STATUS = (
    *("tick", "epoch", "chunk_index", "served_ticks", "overruns", "skipped", "starved_ticks"),
    *("waiting_ticks", "bus_cycles", "bus_errors", "chunks_taken"),
)


def _change(event: ServoEvent) -> Fields:
    before, after = ServoState(event.before).name, ServoState(event.after).name
    return {"before": before, "after": after, "reason": event.text}


def _chunk(event: ServoEvent) -> Fields:
    return {"epoch": event.epoch, "chunk_index": event.chunk_index}


_TELLS: dict[EventKind, Callable[[ServoEvent], Fields]] = {
    EventKind.STARTED: lambda event: {"pid": event.values[0]},
    EventKind.REALTIME: lambda event: {
        "setting": event.name,
        "granted": bool(event.values[0]),
        "detail": event.text,
    },
    EventKind.STATE: _change,
    EventKind.FAULT: lambda event: {"fault": event.text},
    EventKind.EPOCH: lambda event: {"epoch": event.epoch},
    EventKind.CHUNK_REFUSED: lambda event: {**_chunk(event), "reason": event.name},
    EventKind.OVERRUN: lambda event: {"overruns": event.values[0], "skipped": event.values[1]},
    EventKind.BUS_ERROR: lambda event: {"errors": event.values[0], "new": event.values[1]},
    EventKind.TORQUE_ON: lambda _: {},
    EventKind.TORQUE_OFF: lambda event: {"attempt": event.values[0], "trouble": event.text},
    EventKind.ENDED: lambda _: {},
    EventKind.WATCHDOG: lambda event: {
        "drive": event.name,
        "timeout_ms": event.values[0] / 1e3 if event.values[0] >= 0 else None,
    },
    EventKind.LIMITER: lambda event: {"joint": event.name, "limiter": event.text},
    EventKind.WORKSPACE: lambda event: {"who": event.name, "how": event.text},
}
