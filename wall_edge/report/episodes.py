"""What the report shows of each episode: a table of all, and drawings of some."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from wall_edge.array_types import Array, Floats
from wall_edge.report import plots
from wall_edge.report.markup import Html, el, number, section, swatch, table
from wall_edge.runtime.telemetry.run_log import EpisodeRecord, FrameRecord, RunLog, SubgoalRecord

_FIRST, _MOST_DRAWINGS, _MOST_TIMES = 3, 6, 6
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Trace = dict[str, Array]


def episode_table(record: RunLog) -> Html:
    """One row an episode."""
    truths = dict(record.judged_subgoals())
    head = ("", "instruction", "status", "time", "subgoals", "chunks")
    return table(head, [_row(record, episode, truths) for episode in record.episodes], "episodes")


def episodes_to_draw(record: RunLog) -> list[EpisodeRecord]:
    """The first three and those that failed, six at most."""
    episodes = [e for n, e in enumerate(record.episodes) if n < _FIRST or e.status != "success"]
    return episodes[:_MOST_DRAWINGS]


def episodes_section(record: RunLog) -> Html:
    """Joints and camera frames of :func:`episodes_to_draw`."""
    drawings = episodes_to_draw(record)
    failed = [e for e in record.episodes if e.status != "success" and e not in drawings]
    more = [el("p", f"Failed too, not drawn: {_numbers(failed)}.", class_="note")] if failed else []
    key = _subgoal_key(record)
    return section("Motion", *(part for e in drawings for part in _drawing(record, e, key)), *more)


def _numbers(episodes: Sequence[EpisodeRecord]) -> str:
    return ", ".join(str(episode.number) for episode in episodes)


def _status(status: str) -> Html:
    good = status == "success"
    return el("span", ("✓ " if good else "✗ ") + status.replace("_", " "), class_="good" if good else "bad")


def _row(record: RunLog, episode: EpisodeRecord, truths: dict[SubgoalRecord, str]) -> Sequence[object]:
    subgoals = [s for s in record.subgoals if s.epoch == episode.epoch]
    runs = [_run(text, list(run), truths) for text, run in groupby(subgoals, lambda s: s.text)]
    seconds = number((episode.end_ns - episode.start_ns) / 1e9, "s")
    chunks = sum(chunk.epoch == episode.epoch for chunk in record.chunks)
    status = _status(episode.status)
    return episode.number, episode.instruction, status, seconds, el("ol", *runs) if runs else "–", chunks


def _run(text: str, run: Sequence[SubgoalRecord], truths: dict[SubgoalRecord, str]) -> Html:
    """A subgoal that was decoded once or several times in a row, and how often it was right."""
    judged = [subgoal for subgoal in run if subgoal in truths]
    right = sum(truths[subgoal] == text for subgoal in judged)
    if not judged:
        return el("li", f"– {text} ×{len(run)}, not judged")
    if right == len(judged):
        return el("li", el("span", "✓", class_="good"), f" {text} ×{len(run)}")
    truth = next(truths[subgoal] for subgoal in judged if truths[subgoal] != text)
    verdict = el("span", "✗", class_="bad")
    return el("li", verdict, f" {text} ×{len(run)}, {right} of {len(judged)} right (expected: {truth})")


def _subgoal_key(record: RunLog) -> dict[str, tuple[str, str]]:
    """Letter and colour of every subgoal that chunks were made for, in order of appearance."""
    texts = dict.fromkeys(chunk.subgoal for chunk in record.chunks if chunk.subgoal)
    colours = plots.SUBGOAL_COLOURS
    return {text: (_LETTERS[n % 26], colours[n % len(colours)]) for n, text in enumerate(texts)}


def _drawing(record: RunLog, episode: EpisodeRecord, key: dict[str, tuple[str, str]]) -> list[Html]:
    title = el("h3", f"Episode {episode.number}: {episode.instruction} ", _status(episode.status))
    return [title, *_joints(record, episode, key), *_frames(record, episode)]


def _joints(record: RunLog, episode: EpisodeRecord, key: dict[str, tuple[str, str]]) -> list[Html]:
    trace: Trace = record.servo.get("trace", {})
    times = trace.get("time_ns", np.zeros(0, np.int64))
    here = (times >= episode.start_ns) & (times <= episode.end_ns)
    if np.count_nonzero(here) < 2:
        return [el("p", "joints: nothing recorded; the trace keeps the newest samples only", class_="note")]
    seconds = (times[here] - episode.start_ns) / 1e9
    duration = (episode.end_ns - episode.start_ns) / 1e9
    followed = trace["chunk_index"][here]
    starts = np.flatnonzero(np.diff(followed, prepend=-1) != 0)
    words = {chunk.index: chunk.subgoal for chunk in record.chunks if chunk.epoch == episode.epoch}
    spans = _spans(seconds, [words.get(int(index), "") for index in followed], key)
    boundaries = seconds[starts[followed[starts] >= 0]].tolist()
    setpoint, position = trace["setpoint"][here], trace["position"][here]
    names = record.joint_names or tuple(f"joint {n + 1}" for n in range(setpoint.shape[1]))
    panels = [
        el(
            "figure",
            el("b", name),
            Html(plots.joint_panel(seconds, goal, actual, boundaries, spans, duration)),
        )
        for name, goal, actual in zip(names, setpoint.T, position.T, strict=True)
    ]
    letters = {span.letter for span in spans}
    return [
        _legend([text for text in key if key[text][0] in letters], key),
        el("div", *panels, class_="grid"),
    ]


def _spans(seconds: Floats, words: list[str], key: dict[str, tuple[str, str]]) -> list[plots.Span]:
    """Stretches of samples that follow chunks made for the same subgoal."""
    spans, first = [], 0
    for text, run in groupby(words):
        after = first + sum(1 for _ in run)
        if text in key:
            letter, colour = key[text]
            end = float(seconds[min(after, len(seconds) - 1)])
            spans.append(plots.Span(float(seconds[first]), end, letter, colour))
        first = after
    return spans


def _legend(texts: Sequence[str], key: dict[str, tuple[str, str]]) -> Html:
    lines = [
        el("span", swatch(plots.MEASURED), "measured"),
        el("span", "— setpoint"),
        el("span", "| a new chunk is followed"),
    ]
    subgoals = [el("span", swatch(key[text][1], key[text][0]), text) for text in texts]
    return el("p", *lines, *subgoals, class_="legend note")


def _frames(record: RunLog, episode: EpisodeRecord) -> list[Html]:
    cameras: dict[str, list[FrameRecord]] = {}
    for frame in record.frames:
        if frame.epoch == episode.epoch and episode.start_ns <= frame.time_ns <= episode.end_ns:
            cameras.setdefault(frame.camera, []).append(frame)
    if not cameras:
        return [el("p", "camera frames: nothing recorded", class_="note")]
    lead = next(iter(cameras.values()))
    indices = np.linspace(0, len(lead) - 1, min(_MOST_TIMES, len(lead))).round().astype(int)
    shots = [_shot(lead[n].time_ns, cameras, episode) for n in indices]
    return [el("div", *shots, class_="strip"), el("p", "From the top: " + ", ".join(cameras), class_="note")]


def _shot(time_ns: int, cameras: dict[str, list[FrameRecord]], episode: EpisodeRecord) -> Html:
    """What all cameras saw nearest to a time."""
    nearest = [min(frames, key=lambda frame: abs(frame.time_ns - time_ns)) for frames in cameras.values()]
    images = [el("img", src=plots.frame_png(frame.pixels), alt=frame.camera) for frame in nearest]
    return el("figure", *images, el("figcaption", f"{(time_ns - episode.start_ns) / 1e9:.1f} s"))
