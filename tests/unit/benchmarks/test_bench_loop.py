"""``wall-edge bench loop``: what it counts, what it refuses, what it prints."""

from __future__ import annotations

import json
import math
import shutil

import pytest
from typer.testing import CliRunner

from wall_edge.bench.cyclictest import missed_wakeups_added, parse_histogram, percentile_us
from wall_edge.bench.processes import RelativeSleep
from wall_edge.bench.rig import bench_config, median_tick_ns, require_rate
from wall_edge.cli import app
from wall_edge.errors import ConfigError, RuntimeFault

PRINTED = """\
# /dev/cpu_dma_latency set to 0us
# Histogram
000017 000001
000019 000001
000020 000001
000021 000002
000022 000005
000023 000003
000024 000012
000025 000009
000026 000019
000027 000031
000028 000047
000029 000043
000030 000050
000031 000052
000032 000059
000033 000067
000034 000054
000035 000085
000036 000058
000037 000056
000038 000056
000039 000058
000040 000059
000041 000047
000042 000053
000043 000064
000044 000042
000045 000045
000046 000045
000047 000047
000048 000040
000049 000028
000050 000039
000051 000031
000052 000024
000053 000019
000054 000021
000055 000016
000056 000011
000057 000010
000058 000012
000059 000007
000060 000008
000061 000009
000062 000006
000063 000005
000064 000005
000065 000004
000066 000001
000067 000002
000068 000001
000069 000006
000070 000002
000072 000001
000073 000006
000074 000001
000078 000003
000080 000001
000081 000001
000091 000001
000092 000001
000096 000001
000098 000001
000102 000001
000111 000001
000127 000001
000231 000001
# Total: 000001499
# Min Latencies: 00017
# Avg Latencies: 00041
# Max Latencies: 00888
# Histogram Overflows: 00001
# Histogram Overflow at cycle number:
# Thread 0: 01381

"""
"""cyclictest 2.40 -m -p80 -i 2000 -q -h 400 -D 3; the empty lines are left out."""

KEYS = {"rate_hz", "ours", "relative_sleep", "cyclictest", "fifo"}
EXTRAS = {
    "load", "seconds", "ticks", "overruns", "skipped", "refused", "ratio_p999_to_cyclictest",
    "ratio_p99_relative_to_ours", "relative_sleep_drift_ms", "machine", "versions", "date",
}  # fmt: skip


def test_a_histogram_of_cyclictest_is_read_with_what_lies_beyond_it() -> None:
    counts = parse_histogram(PRINTED)
    assert sum(counts.values()) == 1500
    assert counts[888] == 1
    assert min(counts) == 17
    assert percentile_us(counts, 100.0) == 888


def test_percentiles_are_of_the_nearest_rank() -> None:
    counts = {10: 500, 20: 490, 30: 9, 4000: 1}
    assert [percentile_us(counts, q) for q in (50.0, 99.0, 99.9, 100.0)] == [10.0, 20.0, 30.0, 4000.0]


def test_threads_are_counted_together() -> None:
    assert parse_histogram("# Histogram\n000004 000001\t000002\n000005 000000\t000003\n") == {4: 3, 5: 3}


def test_of_several_beyond_the_histogram_only_one_is_the_longest() -> None:
    printed = "000398 000005\n000399 000000\n# Max Latencies: 00888\n# Histogram Overflows: 00003\n"
    assert parse_histogram(printed) == {398: 5, 400: 2, 888: 1}


def test_what_is_not_a_histogram_is_refused() -> None:
    with pytest.raises(RuntimeFault, match="no histogram"):
        parse_histogram("Unable to change scheduling policy!\n")


def test_wakeups_that_a_stall_swallowed_count_as_late() -> None:
    """Of 7 ms at a period of 2 ms: 7, 5, 3 and 1 ms late, as Ticker counts."""
    assert missed_wakeups_added({10: 5, 7000: 1}, 2000) == {10: 5, 7000: 1, 5000: 1, 3000: 1, 1000: 1}


def test_a_relative_tick_is_late_by_its_interval_less_the_period() -> None:
    now = [1_000_000]

    def work(_: int) -> None:
        now[0] += 300_000

    def sleep(seconds: float) -> None:
        now[0] += round(seconds * 1e9) + 50_000

    loop = RelativeSleep(2_000_000, work, lambda: now[0], sleep)
    for _ in range(11):
        loop.advance()
    assert loop.ticks == loop.lateness.count == 10
    assert loop.lateness.max_ns == 350_000
    assert loop.drift_ns == 3_500_000


@pytest.mark.parametrize("rate", [1.0, 20_000.0])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="expected 10 to 1000 Hz"):
        bench_config(rate)


def test_a_rate_that_the_machine_cannot_hold_is_refused_with_the_arithmetic() -> None:
    require_rate(500.0, 180_000.0)
    with pytest.raises(ConfigError) as refused:
        require_rate(20_000.0, 180_000.0)
    for part in ("takes 180 µs", "20000 Hz leaves 50 µs", "at most about 5556 Hz"):
        assert part in str(refused.value)


@pytest.mark.parametrize("rate", [10.0, 1000.0])
def test_the_rehearsed_tick_follows(rate: float) -> None:
    assert median_tick_ns(bench_config(rate)) > 0


def test_an_unknown_load_is_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "loop", "--load", "heavy"])
    assert isinstance(result.exception, ConfigError)


def test_the_command_prints_every_figure() -> None:
    for _ in range(3):  # a machine that stalls starves the loop of chunks, which the command says
        result = CliRunner().invoke(app, ["bench", "loop", "--seconds", "1", "--rate", "100", "--json"])
        if not isinstance(result.exception, RuntimeFault):
            break
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told.keys() >= KEYS | EXTRAS
    measured = ["ours", "relative_sleep"] + ["cyclictest"] * bool(shutil.which("cyclictest") and told["fifo"])
    for name in measured:
        assert set(told[name]) == {"p50", "p99", "p999"}
        assert all(math.isfinite(value) for value in told[name].values()), name
    assert told["ticks"] + told["skipped"] >= 97  # and more where it stalled at the end
