"""A batch of every target of ``benchmarks/fuzz/bus_fuzz.py``, and that it can find something."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from wall_edge_bridge.kinds.dynamixel import parser as dynamixel_parser
from wall_edge_bridge.kinds.feetech import parser as feetech_parser

import benchmarks.fuzz.bus_drives as bus_drives
import benchmarks.fuzz.bus_fuzz as bus_fuzz
from wall_edge.errors import BusError

TARGETS = bus_fuzz.targets()


@pytest.mark.parametrize("name", TARGETS)
def test_a_batch_finds_nothing(name: str) -> None:
    """No crash, no hang, nothing believed beyond what a checksum lets through."""
    report = bus_fuzz.fuzz(name, TARGETS[name][1], 7, 0, 1)
    assert report["cases"] >= 1
    assert not report["findings"]


def findings(name: str) -> str:
    return " ".join(bus_fuzz.fuzz(name, bus_fuzz.targets()[name][1], 0, 0, 600)["findings"])


def test_it_finds_a_parser_that_believes_wrong_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feetech_parser, "checksum", lambda body: feetech_sum(body) & 0x7F)
    assert "was believed, and is not in the stream" in findings("parser feetech status")


def feetech_sum(body: bytes) -> int:
    return ~sum(body) & 0xFF


def test_it_finds_a_parser_that_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    def crc(data: bytes) -> int:
        return 1 // (len(data) - 20)

    monkeypatch.setattr(dynamixel_parser, "crc16", crc)
    assert "ZeroDivisionError at parser.py" in findings("parser dynamixel")


def test_it_finds_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_fuzz, "HANG_S", 0.1)

    def endless(_: random.Random, __: Counter[str]) -> int:
        while True:
            pass

    assert "Hang" in " ".join(bus_fuzz.fuzz("parser endless", endless, 0, 0, 1)["findings"])


def test_it_finds_a_refusal_of_several_lines() -> None:
    def wordy(_: random.Random, __: Counter[str]) -> int:
        raise BusError("a\nb")

    assert bus_fuzz.fuzz("parser wordy", wordy, 0, 0, 1)["findings"]


def test_it_finds_positions_that_were_never_true() -> None:
    """Frames that lie, on a line that is said to be honest."""
    line = bus_drives.LINES["damiao"]

    class Honest(bus_drives.Scene):
        def run(self) -> None:
            self.lies = False
            super().run()

    def liar(rng: random.Random, report: Counter[str]) -> int:
        scene = Honest("damiao", rng, True, report)
        scene.run()
        return scene.wire.disturbed

    assert line.let_through == 0
    assert "false positions believed" in " ".join(bus_fuzz.fuzz("drive damiao", liar, 0, 0, 300)["findings"])
