"""The report of ``wall-edge bench policy`` for a person: tables, and what must stand beside them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from wall_edge.bench.policy.report import PolicyReport
from wall_edge.bench.policy.words import TITLES
from wall_edge.board import Clock, Facts
from wall_edge.cli.console import SafeConsole
from wall_edge.errors import plural

_LOUD = "bold red"


def print_report(report: PolicyReport) -> None:
    """On stdout; what speaks against the figures stands above and below them."""
    console = SafeConsole(soft_wrap=True)
    _print_doubts(console, report)
    SafeConsole().print(_measured(report))
    if report.prediction.target is not None:
        SafeConsole().print(_predicted(report))
    for name, row in report.rows.items():
        console.print(f"  {TITLES[name]}: {row.timed}")
    for line in _lines(report):
        console.print(line)
    _print_doubts(console, report)


def _print_doubts(console: SafeConsole, report: PolicyReport) -> None:
    for reason in report.not_comparable_because:
        console.print(f"NOT COMPARABLE: {reason}", style=_LOUD)


def _table(report: PolicyReport, title: str, headings: tuple[str, ...]) -> Table:
    doubtful = not report.comparable
    table = Table(title=f"{title}{', NOT COMPARABLE' * doubtful}", title_style=_LOUD * doubtful)
    for number, heading in enumerate(("", *headings)):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    return table


def _measured(report: PolicyReport) -> Table:
    table = _table(report, "measured, ms", ("p50", "p95", "p99", "least", "n"))
    for name, row in report.rows.items():
        spread = row.spread
        times = (spread.p50, spread.p95, spread.p99, spread.least)
        table.add_row(TITLES[name], *map(_ms, times), str(spread.n))
    return table


def _predicted(report: PolicyReport) -> Table:
    headings = ("p50", "predicted\nfloor", "p50 /\nfloor", "predicted\nrange", "p50\nlies")
    table = _table(report, f"measured over predicted for {report.prediction.target}, ms", headings)
    for name, row in report.rows.items():
        if row.floor is not None:
            low, high = row.floor.likely_ms
            times = (_ms(row.spread.p50), _ms(row.floor.floor_ms), f"{row.over_floor:.1f}")
            place = "within" if row.as_predicted else "above" if row.spread.p50 > high else "below"
            table.add_row(TITLES[name], *times, f"{_ms(low)}–{_ms(high)}", place)
    return table


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _lines(report: PolicyReport) -> Iterator[str]:
    setup, warm = report.setup, report.warm_up
    cameras = ", ".join(f"{name} {width}x{height}" for name, (width, height) in setup["cameras"].items())
    yield f"engine: {setup['engine']}"
    yield f"bundle: {setup['bundle'][:12]}…, {setup['policy']}, recipe {setup['recipe']}"
    yield f"{plural(len(setup['cameras']), 'camera')}: {cameras} ({setup['image_tokens']} tokens)"
    steps = setup["integration_steps"]
    yield f"prompt: {setup['prompt_tokens']} tokens, {setup['instruction']!r}" + (
        f"; {plural(steps, 'integration step')}" if steps else "; a chunk in words"
    )
    yield (
        f"warm-up, in no row: engine loaded in {warm.load_s:.1f} s, first chunk "
        f"{warm.first_chunk_ms:.0f} ms, {plural(warm.chunks, 'chunk')}"
    )
    yield f"memory: {_memory(report)}"
    yield f"power: {_power(report)}"
    yield f"attention fused: {_attention(report)}"
    if report.prediction.target is None:
        yield f"floor: left out: {'; '.join(report.prediction.notes)}"
    else:
        yield f"predicted for {report.prediction.target}: {'; '.join(report.prediction.notes)}"
    if report.board.is_jetson:
        yield f"board: {_board(report.board)}"
    if report.busy_cores is not None:
        yield f"other programs: {report.busy_cores:g} cores busy"
    yield from (f"note: {note}" for note in report.notes)
    where = report.provenance
    yield f"{where['machine']}; Python {where['python']}, {where['versions']}; {where['date']}"


def _memory(report: PolicyReport) -> str:
    memory = report.memory
    parts = [f"peak RSS {_mb(memory.peak_rss)}"]
    if memory.available_drop is not None:
        parts.append(f"MemAvailable fell by {_mb(memory.available_drop)} (with other programs)")
    if memory.device_drop is not None and memory.device_total is not None:
        parts.append(f"the device's free memory by {_mb(memory.device_drop)} of {_mb(memory.device_total)}")
    return ", ".join(parts)


def _mb(count: int) -> str:
    return f"{count / 1e6:.0f} MB"


def _power(report: PolicyReport) -> str:
    if not report.power:
        return report.power_note
    return "; ".join(
        f"{rail} {draw.mean_w:.1f} W, {draw.joules_a_chunk:.2f} J a chunk"
        + ("" if draw.idle_w is None else f" (idle {draw.idle_w:.1f} W)")
        for rail, draw in report.power.items()
    )


def _attention(report: PolicyReport) -> str:
    if not report.attention.graphs:
        return report.attention.note
    parts = []
    for graph, facts in report.attention.graphs.items():
        if facts["fused"] == "none":
            continue
        runs = facts["attentions"] * facts["profiles"]
        reason = facts["unknown"] or f"{facts['kernels']} fused of {runs}"
        parts.append(f"{graph} {facts['fused']} ({reason})")
    return ", ".join(parts)


def _board(facts: Facts) -> str:
    unknown = "unknown"
    return (
        f"{facts.model or unknown} ({facts.part_number or unknown}), power mode "
        f"{facts.power_mode or unknown}, GPU {_clock(facts.gpu_clock)}, memory {_clock(facts.memory_clock)}, "
        f"cores {_clock(next(iter(facts.cpu_clocks.values()), None))}, JetPack {facts.jetpack or unknown}, "
        f"L4T {facts.l4t or unknown}, TensorRT {facts.tensorrt or unknown}"
    )


def _clock(clock: Clock | None) -> str:
    if clock is None or clock.most is None:
        return "clock not readable"
    state = "locked" if clock.locked else "not locked"
    return f"{clock.most / 1e6:.0f} MHz {state}"
