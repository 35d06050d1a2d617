"""Facts of recorded boards, and of files that say nothing or nonsense."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recorded import BOARDS, NAMES, change, copied, link
from wall_edge.board import Clock, Facts, Tree, read_facts
from wall_edge.board.modes import fastest
from wall_edge.board.packages import STATUS, packages, upstream
from wall_edge.board.read import cores
from wall_edge.board.releases import RELEASES, numbers, same_release


def facts(board: str) -> Facts:
    return read_facts(Tree(BOARDS / board))


@pytest.mark.parametrize(
    ("board", "part", "sm", "l4t", "jetpack", "tensorrt", "cuda", "mode"),
    [
        ("agx-orin-64", "p3701-0005", 87, "36.4.3", "6.2", "10.3.0.30", "12.6.11", "MAXN"),
        ("agx-orin-32", "p3701-0004", 87, "36.4.4", "6.2.1", "10.3.0.30", "12.6.11", "MAXN"),
        ("orin-nx-16", "p3767-0000", 87, "36.4.7", "6.2.1", "10.3.0.30", "12.6.11", "MAXN_SUPER"),
        ("orin-nano-8", "p3767-0005", 87, "36.4.7", "6.2.1", "10.3.0.30", "12.6.11", "25W"),
        ("thor", "p3834-0008", 110, "38.4.0", "7.1", "10.13.3.9", "13.0.0", "MAXN"),
        ("agx-orin-64-jetpack-7.2", "p3701-0005", 87, "39.2.0", "7.2", "10.16.2.10", "13.2.1", "MAXN"),
    ],
)
def test_each_board_is_told_apart(
    board: str, part: str, sm: int, l4t: str, jetpack: str, tensorrt: str, cuda: str, mode: str
) -> None:
    seen = facts(board)
    assert (seen.part_number, seen.sm, seen.l4t) == (part, sm, l4t)
    assert (seen.jetpack, seen.tensorrt, seen.cuda, seen.power_mode) == (jetpack, tensorrt, cuda, mode)
    assert seen.is_jetson


def test_a_workstation_is_no_jetson() -> None:
    seen = facts("workstation")
    assert not seen.is_jetson
    assert (seen.l4t, seen.gpu_clock, seen.power_mode, seen.kernel) == (None, None, None, "6.8.0-45-generic")


def test_clocks_are_locked_when_every_clock_is() -> None:
    seen = facts("agx-orin-64")
    assert seen.gpu_clock == Clock(1300500000, 1300500000, 1300500000, 1300500000)
    assert seen.cpu_clocks["cpu0"] == Clock(2201600000, 2201600000, 2201600000, 2201600000)
    assert seen.clocks_locked
    assert not facts("orin-nano-8").clocks_locked
    assert facts("thor").gpu_clock == Clock(1575000000, 1575000000, 1575000000, 1575000000)
    assert not Facts().clocks_locked


def test_one_free_core_is_enough_to_be_unlocked(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, "/sys/devices/system/cpu/cpu4/cpufreq/scaling_min_freq", "729600")
    assert not read_facts(Tree(root)).clocks_locked


@pytest.mark.parametrize(("held", "locked"), [("1", True), ("0", False)])
def test_the_memory_clock_counts_where_root_may_read_it(tmp_path: Path, held: str, locked: bool) -> None:
    root, folder = copied("agx-orin-64", tmp_path), "/sys/kernel/debug/bpmp/debug/clk/emc"
    for name, rate in {"rate": "3199000000", "min_rate": "204000000", "max_rate": "3199000000"}.items():
        change(root, f"{folder}/{name}", rate)
    change(root, f"{folder}/mrq_rate_locked", held)
    assert read_facts(Tree(root)).clocks_locked is locked


@pytest.mark.parametrize(("least", "locked"), [("4266000000", True), ("665600000", False)])
def test_thor_s_memory_clock_is_there_for_everybody(tmp_path: Path, least: str, locked: bool) -> None:
    root = copied("thor", tmp_path)
    for name, rate in {"min_freq": least, "max_freq": "4266000000", "cur_freq": "3200000000"}.items():
        change(root, f"/sys/class/devfreq/bwmgr/{name}", rate)
    seen = read_facts(Tree(root))
    assert seen.memory_clock == Clock(int(least), 4266000000, 3200000000, None)
    assert seen.clocks_locked is locked


def test_a_memory_clock_is_locked_where_one_of_its_two_places_says_so(tmp_path: Path) -> None:
    root = copied("agx-orin-64-jetpack-7.2", tmp_path)
    for name, rate in {"min_freq": "204000000", "max_freq": "3199000000", "cur_freq": "3199000000"}.items():
        change(root, f"/sys/class/devfreq/bwmgr/{name}", rate)
    assert not read_facts(Tree(root)).clocks_locked
    folder = "/sys/kernel/debug/bpmp/debug/clk/emc"
    for name, rate in {"rate": "3199000000", "min_rate": "204000000", "mrq_rate_locked": "1"}.items():
        change(root, f"{folder}/{name}", rate)
    assert read_facts(Tree(root)).clocks_locked


def test_files_edited_elsewhere(tmp_path: Path) -> None:
    root = copied("orin-nano-8", tmp_path)
    modes = (root / "etc/nvpmodel.conf").read_text()
    change(root, "/etc/nvpmodel.conf", modes.replace("< PM_CONFIG", " < PM_CONFIG").replace("\n", "\r\n"))
    change(root, "/var/lib/nvpmodel/status", None)
    change(root, "/proc/sys/kernel/osrelease", "5.15.148-tegra\r\n\0")
    seen = read_facts(Tree(root))
    assert (seen.power_modes, seen.kernel) == (facts("orin-nano-8").power_modes, "5.15.148-tegra")
    assert seen.power_mode is not None


def test_memory_swap_and_zram() -> None:
    nano, nx = facts("orin-nano-8"), facts("orin-nx-16")
    assert (nano.swap_bytes, nano.zram_bytes) == (0, 2 * 1950720 * 1024)
    assert (nx.swap_bytes, nx.zram_bytes) == (16777212 * 1024, 0)
    assert (nano.memory_total_bytes, nano.memory_available_bytes) == (7802892 * 1024, 4100000 * 1024)


def test_realtime_kernel_and_isolated_cores() -> None:
    seen = facts("agx-orin-64-realtime")
    assert (seen.realtime, seen.isolated_cores) == (True, (3,))
    assert (facts("agx-orin-64").realtime, facts("agx-orin-64").isolated_cores) == (False, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ()), ("3", (3,)), ("1-3,5", (1, 2, 3, 5)), ("3-1", ()), ("nonsense", ()), ("0-1\n", (0, 1))],
)
def test_lists_of_cores(text: str, expected: tuple[int, ...]) -> None:
    assert cores(text) == expected


def test_without_its_release_file_the_package_tells_the_release(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, "/etc/nv_tegra_release", None)
    assert read_facts(Tree(root)).l4t == "36.4.3"
    change(root, STATUS, None)
    bare = read_facts(Tree(root))
    assert (bare.l4t, bare.jetpack, bare.tensorrt, bare.is_jetson) == (None, None, None, True)


def test_without_its_package_jetpack_is_that_of_the_release(tmp_path: Path) -> None:
    root = copied("orin-nx-16", tmp_path)
    change(root, STATUS, "Package: nvidia-jetpack\nStatus: deinstall ok config-files\nVersion: 9.9\n")
    assert read_facts(Tree(root)).jetpack == "6.2.1"
    assert packages(Tree(root)) == {}


def test_before_anybody_chose_a_mode_the_default_holds(tmp_path: Path) -> None:
    root = copied("agx-orin-64", tmp_path)
    change(root, "/var/lib/nvpmodel/status", None)
    assert read_facts(Tree(root)).power_mode == "MODE_30W"


def test_the_fastest_mode_is_known_by_name_and_not_by_number() -> None:
    assert fastest({0: "15W", 1: "25W", 2: "MAXN_SUPER", 3: "7W"}) == 2
    assert fastest({0: "MAXN", 1: "MODE_15W", 3: "MODE_50W"}) == 0
    assert fastest({0: "10W", 1: "MODE_40W", 2: "25W"}) == 1
    assert fastest({}) is None


def test_versions() -> None:
    assert upstream("1:10.3.0.30-1+cuda12.5") == "10.3.0.30"
    assert (upstream("6.2+b77"), upstream("7.2.1-b49"), upstream("")) == ("6.2", "7.2.1", "")
    assert numbers("10.3.0.30") == (10, 3, 0, 30)
    assert (numbers("7.2 EA"), numbers("x"), numbers(None)) == ((7,), (), ())
    assert same_release("10.3.0.30", "10.3")
    assert not same_release("10.13.3", "10.3")
    assert all(numbers(l4t) for l4t in RELEASES)


def test_links_stay_inside_the_tree(tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "secret").write_text("outside")
    (tmp_path / "root/etc/plain").write_text("inside")
    link(tmp_path / "root", "/etc/absolute", "/etc/plain")
    link(tmp_path / "root", "/etc/up", "../../../secret")
    link(tmp_path / "root", "/etc/circle", "circle")
    tree = Tree(tmp_path / "root")
    assert tree.text("/etc/absolute") == "inside"
    assert (tree.text("/etc/up"), tree.real("/etc/up")) == (None, "/secret")
    assert tree.text("/etc/circle") is None
    assert tree.text("/../../secret") is None
    assert (tree.text("/etc/\0"), tree.names("/etc/\0"), tree.exists("/\0")) == (None, (), False)


def test_a_pipe_blocks_nobody(tmp_path: Path) -> None:
    import os

    (tmp_path / "proc").mkdir()
    os.mkfifo(tmp_path / "proc/meminfo")
    assert read_facts(Tree(tmp_path)).memory_total_bytes is None


READ = sorted(
    str(path.relative_to(BOARDS / "agx-orin-64"))
    for path in (BOARDS / "agx-orin-64").rglob("*")
    if path.is_file() and not path.is_symlink()
)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(READ),
    content=st.one_of(
        st.binary(max_size=400), st.text(max_size=200).map(lambda text: text.encode(errors="replace"))
    ),
)
def test_no_content_of_any_file_raises(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    root = copied("agx-orin-64", tmp_path_factory.mktemp("board"))
    (root / name).write_bytes(content)
    read_facts(Tree(root))


def test_every_recorded_board_reads() -> None:
    assert len(NAMES) >= 8
    for name in NAMES:
        assert read_facts(Tree(BOARDS / name)).kernel is not None
