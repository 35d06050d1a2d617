"""CiA 402 drives on the other side of a CAN channel.

They are strict: a PDO carries what was mapped and nothing else, a synchronous one waits for SYNC, a drive
that is enabled without a target goes to count 0, and a fault's reset needs its edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from wall_edge_bridge.kinds.cia402 import codec
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.settings import Cia402Joint, Cia402Settings
from wall_edge_bridge.kinds.cia402.twin.machine import Machine
from wall_edge_bridge.kinds.cia402.twin.node import Node
from wall_edge_bridge.sim.line import can_duration
from wall_edge_bridge.sim.rotor import Rotor
from wall_edge_bridge.sim.rotors import RotorTwin
from wall_edge_bridge.transport import Frame


class Cia402Twin(RotorTwin):
    """``nodes``, one a joint, and ``extras`` that no joint has: a second one under an id, or a stranger."""

    def __init__(
        self,
        settings: Cia402Settings,
        joints: Sequence[Cia402Joint],
        positions: npt.ArrayLike,
        *,
        timed: bool = False,
    ) -> None:
        super().__init__(joints)
        self._specs = tuple(joints)
        angles = self.angles(positions)
        self.nodes = [
            Node(joint.id, Machine(angle, joint.counts_per_rad), self.replies.put)
            for joint, angle in zip(joints, angles, strict=True)
        ]
        self.extras: list[Node] = []
        if timed:
            self.replies.duration = can_duration(settings.bitrate)

    @property
    def due_ns(self) -> int | None:
        events = [self.replies.due_ns, *(node.due_ns for node in (*self.nodes, *self.extras))]
        return min((each for each in events if each is not None), default=None)

    def handle(self, frame: Frame, now_ns: int) -> list[Frame]:
        self.advance(now_ns)
        arrival_ns = self.replies.request(frame, now_ns)
        if not (frame.extended or frame.fd or frame.remote):
            for node in (*self.nodes, *self.extras):
                if node.hears(now_ns):
                    answer = self._hear(node, frame, now_ns)
                    if answer is not None:
                        self.replies.put(answer, arrival_ns)
        return self.replies.collect(now_ns)

    @staticmethod
    def _hear(node: Node, frame: Frame, now_ns: int) -> Frame | None:
        if frame.id == 0:
            node.manage(frame.data, now_ns)
        elif frame.id == codec.SYNC_ID:
            return node.synchronize()
        elif frame.id == node.rpdo.cob:
            node.hear_command(frame.data)
        elif frame.id == codec.SDO_REQUEST + node.id:
            return node.answer(frame.data)
        elif frame.id & codec.FUNCTION == codec.HEARTBEAT:
            node.hear_heartbeat(frame.id & codec.NODE, now_ns)
        return None

    def advance(self, now_ns: int) -> None:
        for node in (*self.nodes, *self.extras):
            node.advance(now_ns)

    def rotors(self) -> list[Rotor]:
        return [node.machine.rotor for node in self.nodes]

    def powered(self, now_ns: int) -> tuple[bool, ...]:
        self.advance(now_ns)
        return tuple(node.machine.state in obj.POWERED for node in self.nodes)

    def silence(self, index: int, silent: bool = True) -> None:
        self.nodes[index].silent = silent

    def lose_torque(self, index: int) -> None:
        self.nodes[index].machine.lose_torque()

    def reboot(self, index: int, now_ns: int) -> None:
        self.nodes[index].reboot(now_ns)

    def shift_zero(self, index: int, radians: float) -> None:
        joint = self._specs[index]
        self.nodes[index].machine.offset += round(radians * joint.direction * joint.counts_per_rad)

    def set_fault(self, index: int, name: str) -> None:
        self.nodes[index].fail(obj.CODES[name])


make_twin = Cia402Twin
