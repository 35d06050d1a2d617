"""CiA 402 drives in the contract suite."""

from __future__ import annotations

from typing import Any

from wall_edge_bridge.kinds.cia402 import Cia402Joint, Cia402Settings

from tests.drive_cases import Case

JOINTS = tuple(
    Cia402Joint(
        name=f"axis_{index}",
        id=index,
        lower=-1.5,
        upper=1.0,
        max_velocity=2.0,
        direction=-1 if index % 2 else 1,
        zero_rad=0.2 * (index - 2),
        counts_per_turn=10_000,
        gear_ratio=50.0,
    )
    for index in range(1, 7)
)


def memory(twin: Any) -> object:
    return [
        (node.state, node.machine.state, node.machine.error, node.dictionary.state()) for node in twin.nodes
    ]


CASE = Case(
    settings=Cia402Settings(),
    joints=JOINTS,
    tolerance=1e-5,
    settles_within=0.005,
    a_fault="short_circuit",
    watchdog_s=0.1,
    memory=memory,
    tells_late=False,
)
