"""What ``ip -details -json link show`` says of an interface, and what is refused for it.

The texts are what ``ip`` printed on machines of others: an mcp251xfd with CAN FD, an ES582 as it is plugged
in, a sun4i that hears nobody; shortened where nothing is read.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_bridge.transport.can_link import (
    CanLink,
    can_names,
    parse_link,
    problem,
    read_link,
    set_up_lines,
)

FD_UP = (
    '[{"ifindex":3,"ifname":"can0","flags":["NOARP","UP","LOWER_UP","ECHO"],"mtu":72,"qdisc":"pfifo_fast",'
    '"operstate":"UP","linkmode":"DEFAULT","group":"default","txqlen":10,"link_type":"can","promiscuity":0,'
    '"linkinfo":{"info_kind":"can","info_data":{"ctrlmode":["FD"],"state":"ERROR-ACTIVE",'
    '"berr_counter":{"tx":0,"rx":0},"restart_ms":0,"bittiming":{"bitrate":1000000,"sample_point":"0.500",'
    '"tq":25,"prop_seg":9,"phase_seg1":10,"phase_seg2":20,"sjw":10,"brp":1},"data_bittiming":{"bitrate":5000000,'
    '"sample_point":"0.500","tq":25,"prop_seg":1,"phase_seg1":2,"phase_seg2":4,"sjw":2,"brp":1},'
    '"clock":40000000}},"num_tx_queues":1,"parentbus":"spi","parentdev":"spi0.0"}]'
)
PASSIVE = (
    '[{"ifindex":3,"ifname":"can0","flags":["NOARP","UP","LOWER_UP","ECHO"],"mtu":16,"qdisc":"pfifo_fast",'
    '"operstate":"UP","txqlen":100,"link_type":"can","linkinfo":{"info_kind":"can","info_data":'
    '{"state":"ERROR-PASSIVE","berr_counter":{"tx":0,"rx":135},"restart_ms":100,"bittiming":{"bitrate":250000,'
    '"sample_point":0.875,"tq":250,"prop_seg":6,"phase_seg1":7,"phase_seg2":2,"sjw":1},"clock":24000000},'
    '"info_xstats":{"restarts":0,"bus_error":2,"error_passive":1,"bus_off":0}}}]'
)
DOWN = (
    '[ {"ifindex": 1, "ifname": "can0", "flags": [ "NOARP","ECHO" ], "mtu": 72, "qdisc": "noop",'
    '"operstate": "DOWN", "txqlen": 10, "link_type": "can", "linkinfo": {"info_kind": "can", "info_data": {'
    '"ctrlmode": [ "FD","TDC_AUTO" ], "state": "STOPPED", "restart_ms": 0,'
    '"bittiming": {"bitrate": 1000000, "sample_point": "0.750"}}}} ]'
)
ETHERNET = '[{"ifname":"eth0","flags":["UP"],"mtu":1500,"link_type":"ether"}]'
VIRTUAL = (
    '[{"ifname":"vcan0","flags":["NOARP","UP"],"mtu":72,"link_type":"can","linkinfo":{"info_kind":"vcan"}}]'
)


def link(text: str) -> CanLink:
    parsed = parse_link(text)
    assert parsed is not None
    return parsed


def test_recorded_interfaces() -> None:
    assert link(FD_UP) == CanLink("can0", True, True, True, 1_000_000, 5_000_000, "ERROR-ACTIVE")
    assert link(PASSIVE) == CanLink("can0", True, True, False, 250_000, None, "ERROR-PASSIVE")
    assert link(DOWN) == CanLink("can0", True, False, True, 1_000_000, None, "STOPPED")
    assert not link(ETHERNET).is_can


@pytest.mark.parametrize(
    ("text", "bitrate", "data_bitrate", "words"),
    [
        (FD_UP, 1_000_000, 5_000_000, ""),
        (FD_UP, 1_000_000, None, ""),  # classic frames pass a bus that could do more
        (FD_UP, 500_000, None, "another bit rate (up, 1000000 bit/s, CAN FD at 5000000 bit/s)"),
        (FD_UP, 1_000_000, 2_000_000, "another data bit rate"),
        (PASSIVE, 1_000_000, None, "another bit rate (up, 250000 bit/s, classic)"),
        (PASSIVE, 250_000, 5_000_000, "takes no CAN FD frames"),
        (DOWN, 1_000_000, None, "is down"),
        (ETHERNET, 1_000_000, None, "no CAN interface"),
        (VIRTUAL, 500_000, 5_000_000, ""),
    ],
)
def test_what_is_refused(text: str, bitrate: int, data_bitrate: int | None, words: str) -> None:
    trouble = problem(link(text), bitrate, data_bitrate)
    assert words in trouble
    assert bool(trouble) == bool(words)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", "[1]", '[{"ifname":"can0"}]', "[" * 100_000, "Device …"]
)
def test_other_text_is_no_interface(text: str) -> None:
    assert parse_link(text) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["ifname", "flags", "mtu", "linkinfo", "info_data", "bittiming", "bitrate", "state"]
                ),
                inner,
            )
        ),
        max_leaves=20,
    )
)
def test_any_json_is_an_interface_or_none(value: object) -> None:
    parsed = parse_link(json.dumps([value]))
    assert parsed is None or problem(parsed, 1_000_000, None) is not None


def sysfs(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir(parents=True)
    for file, text in files.items():
        (folder / name / file).write_text(text + "\n")


def test_without_ip_sysfs_is_read(tmp_path: Path) -> None:
    sysfs(tmp_path, "can1", type="280", flags="0x40081", mtu="72")
    sysfs(tmp_path, "can0", type="280", flags="0x40080", mtu="16")
    sysfs(tmp_path, "eth0", type="1", flags="0x1003", mtu="1500")
    assert can_names(tmp_path) == ["can0", "can1"]
    assert read_link("can1", details=False, net=tmp_path) == CanLink("can1", True, True, True)
    assert read_link("can0", details=False, net=tmp_path) == CanLink("can0", True, False, False)
    assert read_link("can7", details=False, net=tmp_path) is None


@pytest.mark.parametrize("name", ["", ".", "..", "../net", "can0/..", "a" * 16, "can 0", "can0:1"])
def test_names_that_no_interface_has(name: str, tmp_path: Path) -> None:
    (tmp_path / "can0").mkdir()
    assert read_link(name, net=tmp_path / "can0") is None


def test_lines_that_bring_it_up() -> None:
    assert set_up_lines("can0", 1_000_000, 5_000_000) == [
        "ip link set can0 down",
        "ip link set can0 type can bitrate 1000000 dbitrate 5000000 fd on restart-ms 100",
        "ip link set can0 txqueuelen 1000",
        "ip link set can0 up",
    ]
    assert "type can bitrate 500000 restart-ms" in set_up_lines("can1", 500_000, None)[1]
