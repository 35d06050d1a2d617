"""ODrives of one drive at leisure: each method asks or awaits all, and names the silent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from wall_edge.errors import BusTimeout, DriveError
from wall_edge_bridge.drives import BusCounters
from wall_edge_bridge.kinds.exchange import ATTEMPTS, FrameExchange, bus_trouble
from wall_edge_bridge.kinds.odrive import codec
from wall_edge_bridge.kinds.odrive.codec import Command, Version
from wall_edge_bridge.kinds.odrive.readings import ODriveReadings
from wall_edge_bridge.kinds.odrive.settings import ODriveJoint, ODriveSettings
from wall_edge_bridge.transport import Frame, FrameTransport

HEARTBEAT_S = 0.5
"""The longest that a heartbeat is waited for; every 0.1 s from the factory."""
_REPLY_S = 0.02
_FEED_NS = 5_000_000


class ODriveMotors:
    """``readings`` take in what is said. Methods raise BusTimeout, DriveError, BusError."""

    def __init__(
        self,
        settings: ODriveSettings,
        joints: Sequence[ODriveJoint],
        wire: FrameTransport,
        counters: BusCounters,
        clock: Callable[[], int],
        readings: ODriveReadings,
    ) -> None:
        self.settings, self.joints, self.readings = settings, tuple(joints), readings
        self.ids = [joint.id for joint in joints]
        self._index = {node: index for index, node in enumerate(self.ids)}
        self._wire, self._clock = wire, clock
        self._exchange = FrameExchange(wire, counters, clock, _REPLY_S, self._hear)
        self.versions: dict[int, Version] = {}
        self._serials: dict[int, set[int]] = {}

    def pump(self, seconds: float, done: Callable[[], bool], feed: Sequence[Frame] = ()) -> bool:
        """What is said, until ``done`` or for ``seconds``; ``feed`` keeps watchdogs from expiring."""
        deadline_ns, feed_ns = self._clock() + round(seconds * 1e9), self._clock()
        while not done():
            now_ns = self._clock()
            if now_ns >= deadline_ns:
                return False
            if feed and now_ns >= feed_ns:
                self.send(*feed)
                feed_ns = now_ns + _FEED_NS
            for frame in self._wire.receive(min(deadline_ns, feed_ns) if feed else deadline_ns):
                self._hear(frame)
        return True

    def send(self, *frames: Frame) -> None:
        """What has no reply."""
        self._exchange.send(*frames)

    def await_heartbeats(self, feed: Sequence[Frame] = ()) -> None:
        """One of each, from now on."""
        if silent := self.try_heartbeats(feed):
            raise self.no_answer(silent)

    def try_heartbeats(self, feed: Sequence[Frame] = ()) -> list[ODriveJoint]:
        """Those of which none came."""
        self._exchange.drain()
        since_ns, heard_ns = self._clock(), self.readings.heard_ns
        self.pump(HEARTBEAT_S, lambda: min(heard_ns) > since_ns, feed)
        return [joint for joint, at in zip(self.joints, heard_ns, strict=True) if at <= since_ns]

    def introduce(self) -> None:
        """Every node there, of the firmware that was said, alone under its id."""
        self.versions, self._serials = {}, {}
        for _ in range(ATTEMPTS):
            self.send(
                *(codec.request(node, Command.VERSION) for node in self.ids if node not in self.versions)
            )
            self.pump(_REPLY_S, lambda: self.versions.keys() >= set(self.ids))
        self.await_heartbeats()
        for joint in self.joints:
            self._require_firmware(joint)
        if self.settings.firmware == "0.5":
            return  # there, its next request would be taken for a command
        for _ in range(ATTEMPTS):
            self.send(codec.request(codec.BROADCAST, Command.ADDRESS))
            self.pump(_REPLY_S, lambda: False)
        for joint in self.joints:
            if len(serials := self._serials.get(joint.id, ())) > 1:
                names = ", ".join(f"{serial:012X}" for serial in sorted(serials))
                raise DriveError(
                    f"joint {joint.name}: {len(serials)} ODrives have node id {joint.id} ({names})",
                    expected="one a node id",
                    fix="give every axis its own node id, one at a time on the bus",
                )

    def ask(self, command: Command, attempts: int = ATTEMPTS) -> set[int]:
        """Asks each for a message, which ``readings`` then have; ids of those that answered."""

        def key_of(frame: Frame) -> int | None:
            whole = not frame.extended and not frame.remote and len(frame.data) == 8
            return frame.id >> 5 if whole and frame.id & 0x1F == command else None

        requests = {node: codec.request(node, command) for node in self.ids}
        replies = self._exchange.ask(requests, key_of, attempts)
        for frame in replies.values():
            self.readings.take(frame)
        return set(replies)

    def write(self, endpoint: int, form: str, value: float) -> None:
        """Sets a value of the firmware in each, and compares what it reads back."""
        self.send(*(codec.sdo_write(node, endpoint, form, value) for node in self.ids))
        self.pump(_REPLY_S / 2, lambda: False)  # newer firmware confirms
        for joint, got in zip(self.joints, self.read(endpoint, form), strict=True):
            if abs(got - value) > 1e-6 * abs(value):
                raise DriveError(
                    f"joint {joint.name} (node {joint.id}): endpoint {endpoint} reads back as {got:g}",
                    expected=f"{value:g}",
                    fix="take endpoints from the flat_endpoints.json of the ODrive's firmware",
                )

    def read(self, endpoint: int, form: str) -> list[float]:
        """A value of the firmware of each."""

        def key_of(frame: Frame) -> int | None:
            ours = not frame.extended and frame.id & 0x1F == Command.TX_SDO
            value = codec.parse_sdo(frame.data, form) if ours else None
            return frame.id >> 5 if value is not None and value[0] == endpoint else None

        requests = {node: codec.sdo_read(node, endpoint) for node in self.ids}
        replies = self._exchange.ask(requests, key_of)
        self.require(replies, f"endpoint {endpoint}")
        values: Mapping[int, tuple[int, float] | None] = {
            node: codec.parse_sdo(frame.data, form) for node, frame in replies.items()
        }
        return [value[1] if (value := values[node]) else 0.0 for node in self.ids]

    def require(self, answers: Iterable[int], what: str = "") -> None:
        """Raises BusTimeout naming those that are not among ``answers``."""
        missing = set(self.ids) - set(answers)
        if silent := [joint for joint in self.joints if joint.id in missing]:
            raise self.no_answer(silent, what)

    def no_answer(self, silent: Sequence[ODriveJoint], what: str = "") -> BusTimeout:
        """The error that names them."""
        names = ", ".join(f"{joint.name} (node {joint.id})" for joint in silent)
        asked = f" about {what}" if what else ""
        foreign = [frame for frame in self._exchange.others if not self._is_ours(frame)]
        heard = f"; heard instead {foreign[-1].id:X}#{foreign[-1].data.hex()}" if foreign else ""
        return BusTimeout(
            f"no answer{asked} from {names} on {self._wire.description}{bus_trouble(self._wire)}{heard}",
            fix="check the ODrive's power, cable, node id, bit rate and heartbeat_msg_rate_ms",
        )

    def _require_firmware(self, joint: ODriveJoint) -> None:
        version, expected = self.versions.get(joint.id), self.settings.firmware
        if version is None:
            what, which = "0.5 (it has heartbeats and tells no version)", "0.5"
        elif (version.major, version.minor) == (0, 0):
            return  # an unreleased one
        else:
            what, which = str(version), "0.5" if (version.major, version.minor) == (0, 5) else "0.6"
        if which != expected:
            raise DriveError(
                f"joint {joint.name} (node {joint.id}) has ODrive firmware {what}",
                expected=f"{expected}, whose errors and heartbeats mean other things",
                fix=f"set firmware: '{which}' on its drive, or change the ODrive's",
            )

    def _hear(self, frame: Frame) -> None:
        self.readings.take(frame)
        if (said := codec.parse_address(frame)) is not None:
            self._serials.setdefault(said[0], set()).add(said[1])
        elif not self._is_ours(frame):
            self._exchange.others.append(frame)
        elif frame.id & 0x1F == Command.VERSION and (version := codec.parse_version(frame.data)):
            self.versions[frame.id >> 5] = version

    def index_of(self, frame: Frame) -> int | None:
        """Of the joint whose node a frame is from."""
        return self._index.get(frame.id >> 5)

    def _is_ours(self, frame: Frame) -> bool:
        return not frame.extended and frame.id >> 5 in self.ids
