"""What ``wall-edge bench policy`` is made of: percentiles, power, load, and what makes figures comparable."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_edge_engines.plan.prediction import StagePrediction

from tests.unit.board.test_power import monitor
from wall_edge.bench.policy.comparable import doubts
from wall_edge.bench.policy.floors import Floor, rows
from wall_edge.bench.policy.load import BUSY_CORES, OtherLoad
from wall_edge.bench.policy.memory import MemoryWatch
from wall_edge.bench.policy.power import TOTAL, PowerSampler, draws, joules
from wall_edge.bench.policy.report import Row, missing_percentiles
from wall_edge.bench.policy.statistics import Spread, enough_for, percentile
from wall_edge.bench.policy.words import TIMED, TITLES
from wall_edge.board import Clock, Facts, Tree, rails, read_facts
from wall_edge.errors import ConfigError


@pytest.mark.parametrize(("percent", "n"), [(50, 2), (95, 20), (99, 100)])
def test_a_percentile_needs_a_time_beyond_it(percent: int, n: int) -> None:
    assert enough_for(percent) == n
    assert percentile(range(n), percent) == n - 2
    assert percentile(range(n - 1), percent) is None


@given(st.lists(st.floats(1e-6, 10), min_size=1, max_size=300))
def test_percentiles_rise_and_the_largest_time_is_none_but_of_one(times: list[float]) -> None:
    spread = Spread.of(times)
    rising = [value for value in (spread.least, spread.p50, spread.p95, spread.p99) if value is not None]
    assert rising == sorted(rising)
    assert spread.n == len(times)
    assert spread.least == pytest.approx(1e3 * min(times))
    assert (spread.p95 is None) == (len(times) < 20)
    assert (spread.p99 is None) == (len(times) < 100)


def test_one_outlier_of_a_hundred_is_no_p99() -> None:
    spread = Spread.of([0.01] * 99 + [5.0])
    assert (spread.p50, spread.p95, spread.p99) == (10, 10, 10)


def test_a_single_time_is_its_own_median() -> None:
    assert Spread.of([0.25]) == Spread(1, 250, 250, None, None)
    with pytest.raises(ConfigError, match="at least one repeat"):
        Spread.of([])


def test_a_step_is_a_loop_over_its_number() -> None:
    assert Spread.of([0.1] * 20).divided(10) == Spread(20, 10, 10, 10, None)


def test_what_has_too_few_times_says_how_many_it_needs() -> None:
    def told(n: int) -> list[str]:
        return missing_percentiles({"chunk": Row(Spread.of([0.1] * n), "")})

    assert told(100) == []
    assert told(99) == ["no p99 of 99 times, it would be the largest: take --repeats 100"]
    assert [line[:6] for line in told(3)] == ["no p95", "no p99"]


def board(**changes: object) -> Facts:
    """A Jetson with everything known and all clocks locked."""
    locked = Clock(1_300_000_000, 1_300_000_000, 1_300_000_000)
    facts = Facts(
        l4t="36.4.3", jetpack="6.2", tensorrt="10.3.0.30", power_mode="MAXN", gpu_clock=locked,
        cpu_clocks={"cpu0": locked},
    )  # fmt: skip
    return replace(facts, **changes)  # type: ignore[arg-type]


QUIET = {"busy_cores": 0.1, "seconds": 5.0, "device": "cuda"}
FREE = Clock(306_000_000, 1_300_000_000, 612_000_000)


def told(before: Facts, after: Facts | None = None, **changes: object) -> list[str]:
    return doubts(before, after or before, **{**QUIET, **changes})  # type: ignore[arg-type]


def test_a_locked_quiet_jetson_is_comparable() -> None:
    assert told(board()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpu_clock": FREE}, "clocks are not locked: sudo jetson_clocks"),
        ({"cpu_clocks": {"cpu0": FREE}}, "clocks are not locked"),
        ({"memory_clock": FREE}, "clocks are not locked"),
        ({"gpu_clock": None}, "GPU's clock cannot be read"),
        ({"cpu_clocks": {}}, "cores' clocks cannot be read"),
        ({"power_mode": None}, "power mode is unknown"),
        ({"jetpack": None}, "version of JetPack is unknown"),
    ],
)
def test_each_fact_that_is_missing_or_open_is_a_reason(changes: dict[str, object], words: str) -> None:
    (reason,) = told(board(**changes))
    assert words in reason


BOARDS = Path(__file__).parents[2] / "boards"
UNLOCKED = ["the clocks are not locked: sudo jetson_clocks"]


@pytest.mark.parametrize(
    ("name", "reasons", "watts"),
    [
        ("agx-orin-64", [], 11.4 + 5.7 + 4.536),
        ("agx-orin-64-faults", UNLOCKED, 11.4 + 5.7 + 4.536),
        ("orin-nx-16", [], 1.512),  # VDD_IN is all of it, whatever the other rails say
        ("orin-nano-8", UNLOCKED, 1.512),
        ("thor", [], 23.5),
        ("workstation", [], None),
    ],
)
def test_recorded_boards(name: str, reasons: list[str], watts: float | None) -> None:
    tree = Tree(BOARDS / name)
    assert told(read_facts(tree)) == reasons
    with PowerSampler(rails(tree)) as sampler:
        pass
    draw = draws(sampler.samples, sampler.samples, chunks=1)
    assert (draw[TOTAL].mean_w if draw else None) == pytest.approx(watts)


def test_a_mode_that_changes_meanwhile_is_a_reason() -> None:
    (reason,) = told(board(), board(power_mode="30W"))
    assert reason == "the power mode changed from MAXN to 30W"
    assert "not locked" in told(board(), board(gpu_clock=FREE))[0]


def test_nothing_of_a_jetson_is_asked_of_another_machine() -> None:
    assert told(Facts(), device="cpu") == []


def test_a_gpu_that_shares_the_hosts_memory_is_a_jetsons_whatever_its_files_say() -> None:
    reasons = told(Facts(), integrated=True)
    assert any("clocks are not locked" in reason for reason in reasons)
    assert any("power mode is unknown" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("busy", "seconds", "words"),
    [
        (BUSY_CORES, 1.0, None),
        (0.21, 1.0, "other programs kept 0.21 cores busy"),
        (0.0, 0.99, "too short to tell"),
        (None, 5.0, "cannot be read"),
    ],
)
def test_other_programs_make_figures_doubtful_on_any_machine(
    busy: float | None, seconds: float, words: str | None
) -> None:
    reasons = told(Facts(), busy_cores=busy, seconds=seconds, device="cpu")
    assert (words is None) == (reasons == [])
    assert words is None or words in reasons[0]


def test_a_busy_program_is_noticed() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            load, deadline = OtherLoad(), time.monotonic() + 60
            while (load.seconds < 1 or load.cores() <= BUSY_CORES) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert load.cores() > BUSY_CORES
        finally:
            other.kill()


def clock(*times: float) -> Iterator[float]:
    yield from times


def test_energy_follows_rails_that_change(tmp_path: Path) -> None:
    """2 W, then 4 W, then 4 W, a second apart: 3 J, then 4 J."""
    folder = monitor(tmp_path, 0, "ina3221", in1_label="VDD_IN", in1_input="5000", curr1_input="400")
    times = clock(0.0, 1.0, 2.0)
    sampler = PowerSampler(rails(Tree(tmp_path)), clock=lambda: next(times))
    for milliamperes in (400, 800, 800):
        (folder / "curr1_input").write_text(str(milliamperes))
        sampler.sample()
    assert joules(sampler.samples) == {"VDD_IN": pytest.approx(7.0), TOTAL: pytest.approx(7.0)}
    idle = [(0.0, {"VDD_IN": 1.5}), (2.0, {"VDD_IN": 1.5})]
    draw = draws(sampler.samples, idle, chunks=10)["VDD_IN"]
    assert (draw.mean_w, draw.idle_w, draw.joules_a_chunk) == pytest.approx((3.5, 1.5, 0.7))


@pytest.mark.parametrize(
    ("labels", "total"),
    [
        (("VDD_CPU_GPU_CV", "VDD_IN", "VDD_SOC"), 2.0),  # Orin NX and Nano: VDD_IN is all of them
        (
            ("VDD_CPU_CV", "VDD_GPU_SOC", "VDDQ_VDD2_1V8AO", "VIN_SYS_5V0"),
            7.0,
        ),  # AGX Orin: not the memory's twice
        (("VDD_CPU_CV", "VDD_GPU_SOC"), None),
        (("VDD_GPU", "VIN"), 2.0),  # Thor
    ],
)
def test_only_rails_that_stand_for_the_module_make_its_total(
    labels: tuple[str, ...], total: float | None
) -> None:
    watts = {label: 2.0**number for number, label in enumerate(labels)}
    expected = {2.0: watts.get("VDD_IN", watts.get("VIN")), 7.0: 1 + 2 + 8, None: None}[total]
    energy = joules([(0.0, watts), (1.0, watts)])
    assert energy.get(TOTAL) == expected


def test_a_rail_that_falls_silent_tells_no_energy() -> None:
    assert joules([(0.0, {"A": 1.0, "B": 1.0}), (1.0, {"B": 1.0})]) == {"B": 1.0}
    assert joules([]) == {}
    assert draws([], [], 3) == {}


def test_the_sampling_thread_ends_with_what_it_watches(tmp_path: Path) -> None:
    monitor(tmp_path, 0, "ina3221", in1_label="VDD_IN", in1_input="5000", curr1_input="400")
    with pytest.raises(KeyboardInterrupt), PowerSampler(rails(Tree(tmp_path))) as sampler:
        raise KeyboardInterrupt
    assert not sampler._thread.is_alive()
    assert len(sampler.samples) >= 2


def test_memory_that_falls_is_told_at_its_least(tmp_path: Path) -> None:
    meminfo = tmp_path / "proc" / "meminfo"
    meminfo.parent.mkdir()
    meminfo.write_text("MemTotal: 100 kB\nMemAvailable:      90 kB\n")
    watch = MemoryWatch("cpu", Tree(tmp_path))
    for available in (50, 70):
        meminfo.write_text(f"MemAvailable: {available} kB\n")
        watch.look()
    memory = watch.memory()
    assert memory.available_drop == 40 * 1024
    assert memory.peak_rss > 1 << 20
    assert (memory.device_drop, memory.device_total) == (None, None)
    assert MemoryWatch("cpu", Tree(tmp_path / "nowhere")).memory().available_drop is None


def stage(floor: float | None, low: float = 2.0, high: float = 4.0) -> StagePrediction:
    return StagePrediction(10, 20, floor, None if floor is None else (low, high), "bandwidth")


def test_predictions_of_stages_become_those_of_rows() -> None:
    stages = {
        "vision": stage(1.0),
        "prefix": stage(1.0),
        "expert": stage(1.0),
        "word": stage(0.5),
        "lm_head": stage(0.5),
    }
    floors = rows(stages, steps=10)
    assert floors["action_loop"] == Floor(10.0, (20.0, 40.0))
    assert floors["prefix"] == Floor(1.0, (2.0, 8.0))  # two runs: one word more at most
    assert floors["chunk"] == Floor(12.0, (24.0, 52.0))
    assert floors["word"] == Floor(1.0, (4.0, 8.0))
    assert set(floors) == set(TITLES) - {"host"}
    assert "chunk" not in rows(stages, steps=None)  # words, as many as the model says


def test_without_a_ceiling_a_row_has_no_floor() -> None:
    floors = rows({"vision": stage(None), "prefix": stage(1.0), "expert": stage(1.0)}, steps=2)
    assert set(floors) == {"prefix", "step", "action_loop"}


def test_a_row_lies_over_its_floor_and_in_its_range_or_not() -> None:
    row = Row(Spread.of([0.003]), "", Floor(1.5, (2.0, 4.0)))
    assert (row.over_floor, row.as_predicted) == (2.0, True)
    assert Row(Spread.of([0.005]), "", row.floor).as_predicted is False
    assert Row(Spread.of([0.005]), "").as_dict()["over_floor"] is None


def test_every_row_says_what_is_timed() -> None:
    assert set(TITLES) | {"chunk_words"} == set(TIMED)
    assert all("wait" in TIMED[name] for name in TITLES if name not in ("step", "host"))
