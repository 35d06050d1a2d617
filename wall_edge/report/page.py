"""The report from top to bottom: verdict, figures, episodes, latencies, what the kernel granted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wall_edge.errors import plural
from wall_edge.report import plots
from wall_edge.report.episodes import episode_table, episodes_section
from wall_edge.report.markup import NOTHING, Html, el, number, page, section, swatch, table
from wall_edge.runtime.telemetry.run_log import RunLog, chunk_intervals_ms
from wall_edge.runtime.telemetry.servo.watchdogs import watchdog_words

_KEY_FIGURES = (
    ("servo rate", "Hz", "servo.rate_hz"),
    ("servo lateness p50 / p99 / p99.9", "µs", "servo.lateness_us.p50 p99 p999"),
    ("starved ticks", "", "servo.starved_ticks"),
    ("overruns", "", "servo.overruns"),
    ("chunks published", "", "policy.chunks"),
    ("chunk latency p50 / p99", "ms", "policy.latency_ms.p50 p99"),
    ("subgoals decoded / switches", "", "subgoals.generated switches"),
    ("subgoal latency p50 / p99", "ms", "subgoals.latency_ms.p50 p99"),
    ("longest chunk interval", "ms", "subgoals.longest_chunk_interval_ms"),
    ("poses solved / nearest / held", "steps", "kinematics.solved nearest held"),
    ("inverse kinematics p99", "ms", "kinematics.p99_ms"),
    ("bus cycles", "Hz", "bus.cycles_hz"),
    ("bus errors", "", "bus.errors"),
)
"""Name, unit, and the place in the summary: the last words of a dotted path are names side by side."""


def render(record: RunLog, summary: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    """The page's HTML; arguments as of :func:`wall_edge.report.write_report`."""
    title = _title(record)
    return page(
        title,
        el("h1", title),
        _subgoal_verdict(record),
        el("p", *(el("span", f"{name}: {text}") for name, text in facts.items()), class_="facts"),
        section("Key figures", _key_figures(record, summary)),
        section("Episodes", episode_table(record)),
        episodes_section(record),
        section("Latencies", el("div", *_histograms(record), class_="grid pair")),
        section("Real time", _realtime(record.servo.get("realtime", {}))),
        section("Servo counters", table((), _counters(record), "pairs")),
    )


def _title(record: RunLog) -> str:
    if not record.episodes:
        return "wall-edge demo: nothing recorded"
    good = sum(episode.status == "success" for episode in record.episodes)
    return f"wall-edge demo: {good} of {plural(len(record.episodes), 'episode')} succeeded"


def _accuracy(record: RunLog) -> str:
    right, judged = record.subgoal_score()
    return f"{right} of {judged} ({100 * right / judged:.1f} %)" if judged else "–"


def _subgoal_verdict(record: RunLog) -> Html:
    text = "Subgoals in the right words: " + _accuracy(record)
    return el("p", text if record.judged_subgoals() else "No subgoals to judge", class_="verdict")


def _key_figures(record: RunLog, summary: Mapping[str, Any]) -> Html:
    rate = summary.get("success_rate")
    share = f" ({100 * rate:.0f} %)" if isinstance(rate, int | float) else ""
    episodes = f"{number(summary.get('successes'))} of {number(summary.get('episodes'))}{share}"
    rows = [("episodes succeeded", episodes), ("subgoals in the right words", _accuracy(record))]
    rows += [(name, _side_by_side(summary, where, unit)) for name, unit, where in _KEY_FIGURES]
    return table((), rows, "pairs")


def _side_by_side(summary: Mapping[str, Any], where: str, unit: str) -> str:
    path, _, names = where.rpartition(".")
    node: Any = summary
    for key in path.split("."):
        node = (node.get(key) if isinstance(node, Mapping) else None) or {}
    values = [number(node.get(name)) for name in names.split()]
    numeric = any(value != "–" for value in values)
    return " / ".join(values) + (f" {unit}" if unit and numeric else "")


def _histograms(record: RunLog) -> list[Html]:
    return [
        _histogram("Chunk latency, observation to mailbox", [c.latency_ms for c in record.chunks]),
        _histogram("Chunk interval", chunk_intervals_ms(record.chunks)),
        _histogram("Subgoal latency, observation to words", [s.latency_ms for s in record.subgoals]),
        _lateness(record.servo.get("lateness_us", {})),
    ]


def _histogram(title: str, values_ms: Sequence[float]) -> Html:
    values = np.asarray(values_ms, np.float64)
    if not values.size:
        return el("figure", el("b", title), NOTHING)
    marks = {name: float(np.percentile(values, float(name[1:]))) for name in plots.MARKS}
    counts, edges = np.histogram(values, bins=min(40, 5 + int(np.sqrt(values.size))))
    drawing = plots.histogram(edges, counts.astype(np.float64), marks, "ms")
    return _figure(title, drawing, marks, "ms", values.size, float(values.max()))


def _lateness(lateness: Mapping[str, Any]) -> Html:
    title = "Servo lateness, due to begun"
    histogram = lateness.get("histogram", {})
    counts, upper = (np.asarray(histogram.get(key, []), np.float64) for key in ("counts", "edges_us"))
    if not counts.sum():
        return el("figure", el("b", title), NOTHING)
    ratio = upper[-1] / upper[-2] if len(upper) > 1 else 1.02
    edges = np.append(upper[0] / ratio, upper)
    marks = {name: float(lateness[name.replace(".", "")]) for name in plots.MARKS}
    drawing = plots.histogram(edges, counts, marks, "µs", log=True)
    return _figure(title, drawing, marks, "µs", int(counts.sum()), float(lateness["max"]))


def _figure(title: str, svg: str, marks: Mapping[str, float], unit: str, count: int, highest: float) -> Html:
    named = [el("span", swatch(plots.MARKS[name]), f"{name} {number(marks[name], unit)}") for name in marks]
    rest = el("span", f"max {number(highest, unit)}, n = {number(count)}")
    return el("figure", el("b", title), Html(svg), el("figcaption", *named, rest, class_="legend"))


def _realtime(report: Mapping[str, Mapping[str, object]]) -> Html:
    rows = []
    for name, setting in report.items():
        granted = bool(setting.get("granted"))
        mark = el("span", "✓ granted" if granted else "✗ refused", class_="good" if granted else "bad")
        rows.append((name, mark, str(setting.get("detail", ""))))
    return table(("asked for", "", "in force, or why not"), rows)


def _counters(record: RunLog) -> Iterator[tuple[str, str]]:
    servo = record.servo
    names = ("state", "fault", "ticks", "seconds", "waiting_ticks", "starved_ticks", "overruns", "skipped")
    for name in names:
        if name in servo:
            value = servo[name]
            numeric = isinstance(value, int | float)
            yield name.replace("_", " "), number(value) if numeric else str(value or "none")
    chunks, limiter = servo.get("chunks", {}), servo.get("limiter", {})
    if chunks:
        yield "chunks taken", number(chunks.get("taken"))
        yield "chunks refused by the servo", _by_name(chunks.get("refused", {}))
    if limiter:
        for kind in ("position", "velocity"):
            hits = dict(zip(record.joint_names, limiter.get(kind, ()), strict=False))
            yield f"setpoints held by the {kind} limit", _by_name(hits)
        yield "setpoints refused (NaN or infinite)", number(limiter.get("refused"))
    for name, drive in servo.get("bus", {}).get("drives", {}).items():
        counted = {
            key: count for key, count in drive.items() if key not in ("kind", "watchdog_s", "watchdog_note")
        }
        yield f"bus of {name} ({drive['kind']})", _by_name(counted)
    if words := watchdog_words(servo.get("bus", {}).get("drives", {})):
        yield "watchdog", words.removeprefix("watchdog: ")
    if servo or record.refused:
        yield "refused before the servo", _by_name(record.refused)


def _by_name(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number(count)}" for name, count in counts.items() if count) or "none"
