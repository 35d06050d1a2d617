"""One simulated CANopen node: network state, heartbeat, emergency messages, and a drive behind them."""

from __future__ import annotations

from collections.abc import Callable

from wall_edge_bridge.kinds.cia402 import codec
from wall_edge_bridge.kinds.cia402 import objects as obj
from wall_edge_bridge.kinds.cia402.twin.dictionary import NOT_A_VALUE, Dictionary, Entry, SdoServer
from wall_edge_bridge.kinds.cia402.twin.machine import Machine
from wall_edge_bridge.kinds.cia402.twin.mapping import Pdo
from wall_edge_bridge.transport import Frame

_BOOT_NS = 100_000_000
_HEARTBEAT_LOST, _PDO_TOO_SHORT = 0x8130, 0x8210


class Node:
    """``say`` gets what it sends unasked, with the time. What a test or a fault may change is public."""

    def __init__(self, node_id: int, machine: Machine, say: Callable[[Frame, int], None]) -> None:
        self.id, self.machine = node_id, machine
        self._say = say
        self.silent = False
        self.emergencies = True
        """Whether it sends emergency messages, as many drives do not."""
        self.serial = 0x5E0000 + node_id
        self.missing: set[int] = set()
        """Objects that it does not have."""
        self._now_ns = 0
        self.boot_ns: int | None = None
        self.start()

    def start(self) -> None:
        """As after power-on: nothing that was written before is left."""
        self.state = obj.PRE_OPERATIONAL
        self._watched_ns: int | None = None
        self.dictionary = Dictionary()
        self.sdo = SdoServer(self.dictionary)
        self._fill()
        self.rpdo = Pdo(self.dictionary, obj.RPDO, obj.RPDO_MAP, codec.RPDO1 + self.id, writes=True)
        self.tpdo = Pdo(self.dictionary, obj.TPDO, obj.TPDO_MAP, codec.TPDO1 + self.id, writes=False)

    def _fill(self) -> None:
        machine, objects = self.machine, self.dictionary
        machine.reaction = obj.QUICK_STOP_RAMP
        objects.missing = self.missing
        objects[obj.DEVICE_TYPE, 0] = Entry("I", 0x0002_0000 | obj.PROFILE_402)
        objects[0x1001, 0] = Entry("B", read=lambda: int(machine.error != 0))
        objects[obj.SYNC_COB, 0] = Entry("I", codec.SYNC_ID)
        objects[obj.NAME, 0] = Entry("", b"wall-edge simulated CiA 402 drive")
        for sub, value in enumerate((4, 0x57454447, 0x402, 1, self.serial)):
            objects[obj.IDENTITY, sub] = Entry("B" if sub == 0 else "I", value)
        objects[obj.CONSUMER_HEARTBEAT, 0] = Entry("B", 1)
        objects[obj.CONSUMER_HEARTBEAT, 1] = Entry("I", writable=True, wrote=self._watch)
        objects[obj.PRODUCER_HEARTBEAT, 0] = Entry("H", writable=True, check=_one_of(0))
        objects[obj.ABORT_OPTION, 0] = Entry("h", 0, writable=True, check=_one_of(0, 1, 2, 3))
        objects[obj.ERROR_CODE, 0] = Entry("H", read=lambda: machine.error)
        objects[obj.CONTROL, 0] = Entry("H", writable=True, mappable=True, wrote=lambda _: self._control())
        objects[obj.STATUS, 0] = Entry("H", read=lambda: machine.status, mappable=True)
        objects[obj.FAULT_REACTION_OPTION, 0] = Entry(
            "h", obj.QUICK_STOP_RAMP, writable=True, check=_one_of(0, 1, 2), wrote=self._react
        )
        objects[obj.MODE, 0] = Entry(
            "b", writable=True, mappable=True, check=_one_of(0, obj.CSP), wrote=self._mode
        )
        objects[obj.MODE_DISPLAY, 0] = Entry("b", read=lambda: machine.mode, mappable=True)
        objects[obj.POSITION, 0] = Entry("i", read=lambda: machine.position, mappable=True)
        objects[0x606C, 0] = Entry(
            "i", read=lambda: round(machine.rotor.velocity * machine.counts_per_rad), mappable=True
        )
        objects[0x6077, 0] = Entry("h", read=lambda: round(machine.rotor.effort * 100), mappable=True)
        objects[obj.TARGET, 0] = Entry("i", writable=True, mappable=True, wrote=lambda _: self._control())
        objects[obj.INTERPOLATION, 0] = Entry("B", 2)
        objects[obj.INTERPOLATION, 1] = Entry("B", 1, writable=True)
        objects[obj.INTERPOLATION, 2] = Entry("b", -3, writable=True)
        objects[obj.SUPPORTED_MODES, 0] = Entry("I", obj.CSP_BIT)
        for sub, value in enumerate((2, -(1 << 31), (1 << 31) - 1)):
            objects[obj.POSITION_LIMITS, sub] = Entry("B" if sub == 0 else "i", value, writable=sub > 0)

    def _control(self) -> None:
        objects = self.dictionary
        before = self.machine.error
        self.machine.control(objects[obj.CONTROL, 0].value, objects[obj.TARGET, 0].value)
        if before and not self.machine.error:
            self._emergency(0, self._now_ns)

    def _react(self, value: int) -> None:
        self.machine.reaction = value

    def _mode(self, value: int) -> None:
        self.machine.mode = value

    def _watch(self, _: int) -> None:
        self._watched_ns = None

    def hears(self, now_ns: int) -> bool:
        """Not while it is cut off, or starts."""
        return not self.silent and self.boot_ns is None and now_ns >= 0

    @property
    def due_ns(self) -> int | None:
        """When it does something by itself."""
        events = (self.boot_ns, self.machine.due_ns, self._expiry_ns())
        return min((each for each in events if each is not None), default=None)

    def _expiry_ns(self) -> int | None:
        ms = self.dictionary[obj.CONSUMER_HEARTBEAT, 1].value & 0xFFFF
        return self._watched_ns + ms * 1_000_000 if self._watched_ns is not None and ms else None

    def advance(self, now_ns: int) -> None:
        """A moment already passed changes nothing."""
        self._now_ns = max(self._now_ns, now_ns)
        if self.boot_ns is not None and now_ns >= self.boot_ns:
            boot_ns, self.boot_ns = self.boot_ns, None
            self._tell(codec.heartbeat(self.id, 0), boot_ns)
        expiry_ns = self._expiry_ns()
        if expiry_ns is not None and now_ns >= expiry_ns:
            self._watched_ns = None
            self.machine.advance(expiry_ns)
            self._lose_heartbeat(expiry_ns)
        self.machine.advance(now_ns)

    def _lose_heartbeat(self, now_ns: int) -> None:
        """CiA 301's default: back to pre-operational; CiA 402's reaction by object 6007."""
        self.state = obj.PRE_OPERATIONAL
        option = self.dictionary[obj.ABORT_OPTION, 0].value
        if option == obj.RAISE_FAULT:
            self.machine.fail(_HEARTBEAT_LOST, now_ns)
        elif option:
            self.machine.lose_torque()
        self._emergency(_HEARTBEAT_LOST, now_ns)

    def fail(self, code: int) -> None:
        """A fault, told at once."""
        self.machine.fail(code, self._now_ns)
        self._emergency(code, self._now_ns)

    def _emergency(self, code: int, now_ns: int) -> None:
        if self.emergencies:
            self._tell(codec.emergency(self.id, code, int(code != 0)), now_ns)

    def _tell(self, frame: Frame, now_ns: int) -> None:
        if not self.silent:
            self._say(frame, now_ns)

    def reboot(self, now_ns: int) -> None:
        """Power off and on; its boot-up message follows."""
        self.machine.lose_torque()
        self.machine.error, self.machine.mode = 0, 0
        self.start()
        self.boot_ns = now_ns + _BOOT_NS

    def manage(self, data: bytes, now_ns: int) -> None:
        """Network management."""
        if len(data) != 2 or data[1] not in (0, self.id):
            return
        if data[0] == obj.NMT_RESET:
            self.reboot(now_ns)
        states = {
            obj.NMT_START: obj.OPERATIONAL,
            obj.NMT_STOP: obj.STOPPED,
            obj.NMT_PREPARE: obj.PRE_OPERATIONAL,
        }
        self.state = states.get(data[0], self.state)

    def hear_heartbeat(self, producer: int, now_ns: int) -> None:
        """Watching begins with the first one."""
        if self.dictionary[obj.CONSUMER_HEARTBEAT, 1].value >> 16 & 0x7F == producer:
            self._watched_ns = now_ns

    def hear_command(self, data: bytes) -> None:
        """An RPDO: now, or at the next SYNC, by its type."""
        if self.state == obj.OPERATIONAL and not self.rpdo.hear(data):
            self._emergency(_PDO_TOO_SHORT, self._now_ns)

    def synchronize(self) -> Frame | None:
        """SYNC: what was commanded before it takes effect, and what was asked for goes out."""
        if self.state != obj.OPERATIONAL:
            return None
        self.rpdo.apply()
        data = self.tpdo.sample()
        return None if data is None else Frame(self.tpdo.cob, data)

    def answer(self, data: bytes) -> Frame | None:
        """Of the SDO server: not when stopped."""
        if self.state == obj.STOPPED:
            return None
        reply = self.sdo.answer(data)
        return None if reply is None else Frame(codec.SDO_REPLY + self.id, reply)


def _one_of(*values: int) -> Callable[[int], int]:
    return lambda value: 0 if value in values else NOT_A_VALUE
