"""Figures as inline SVG without words of their own beyond numbers and units, and frames as PNG.

What is drawn in ``INK`` takes the colour of the text around it: one figure serves light and dark pages.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from wall_edge.array_types import Floats, Frame
from wall_edge.errors import ConfigError

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
except ModuleNotFoundError as missing:
    raise ConfigError(
        "matplotlib is not installed",
        expected="it for the HTML report",
        fix="pip install 'wall-edge[report]'",
    ) from missing

INK = "#010203"
MEASURED = "#3987e5"
SUBGOAL_COLOURS = ("#eda100", "#1baf7a", "#e87ba4", "#8a7be0", "#eb6834", "#4cb0c9")
MARKS = {"p50": "#1baf7a", "p99": "#eda100", "p99.9": "#e34948"}
"""Colours of the percentiles in :func:`histogram`."""
_MAX_POINTS = 400
_MIN_RANGE_RAD = 0.1
_MAX_BARS = 60
_MAX_FRAME_PX = 168
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 8,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}


@dataclass(frozen=True)
class Span:
    """A stretch of an episode [s] that is shaded and lettered."""

    start: float
    end: float
    letter: str
    colour: str


def joint_panel(
    seconds: Floats,
    setpoint: Floats,
    position: Floats,
    boundaries: Sequence[float],
    spans: Sequence[Span],
    duration: float,
) -> str:
    """One joint over an episode: ``setpoint`` and ``position`` [n, rad] at ``seconds`` since its start.

    Thin vertical lines at ``boundaries`` [s]; the time axis reaches from 0 to ``duration`` [s].
    """
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(3.9, 1.75)
        for span in spans:
            axes.axvspan(span.start, span.end, color=span.colour, alpha=0.22, linewidth=0)
            if span.end - span.start > 0.04 * duration:
                where = ((span.start + span.end) / 2, 0.98)
                axes.annotate(span.letter, where, xycoords=axes.get_xaxis_transform(), va="top", ha="center")
        x = np.repeat(np.asarray(boundaries, np.float64), 3)  # one path with gaps: a tenth of the bytes
        y = np.tile([0.0, 1.0, np.nan], len(boundaries))
        axes.plot(x, y, color=INK, alpha=0.25, linewidth=0.3, transform=axes.get_xaxis_transform())
        few = slice(None, None, -(-len(seconds) // _MAX_POINTS) or 1)
        axes.plot(seconds[few], position[few], color=MEASURED, linewidth=2.2)
        axes.plot(seconds[few], setpoint[few], color=INK, linewidth=0.8)
        low, high = _range(np.concatenate([setpoint, position]))
        axes.set_ylim(low, high + 0.16 * (high - low))  # room for the letters
        axes.set_xlim(0.0, max(duration, 1e-3))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.set(xlabel="s", ylabel="rad")
        return _svg(figure)


def histogram(edges: Floats, counts: Floats, marks: dict[str, float], unit: str, log: bool = False) -> str:
    """Bars between ``edges`` [n + 1, ``unit``], ``marks`` (names of MARKS → value) as vertical lines.

    ``log``: both axes are logarithmic.
    """
    group = -(-len(counts) // _MAX_BARS)
    starts = np.arange(0, len(counts), group)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(3.9, 2.0)
        bars, base = np.add.reduceat(counts, starts), 0.5 if log else 0.0
        axes.stairs(
            bars, np.append(edges[starts], edges[-1]), fill=True, baseline=base, color=MEASURED, alpha=0.75
        )
        for name, value in marks.items():
            axes.axvline(value, color=MARKS[name], linewidth=1.4)
        axes.set_ylim(base, bars.max() * (2.0 if log else 1.08))
        axes.set(xlabel=unit, ylabel="count")
        if log:
            _log_axes(axes)
        else:
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        return _svg(figure)


def frame_png(frame: Frame) -> str:
    """The frame [height, width, 3] as a data URI, shrunk when it is larger than a thumbnail."""
    image = Image.fromarray(np.ascontiguousarray(frame))
    image.thumbnail((_MAX_FRAME_PX, _MAX_FRAME_PX))
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of ``width`` × ``height`` inches; fixed margins, so that time axes line up."""
    x, y, rest = 0.62, 0.42, 0.06
    figure = Figure((width, height))
    box = x / width, y / height, 1 - (x + rest) / width, 1 - (y + rest) / height
    axes = figure.add_axes(box)
    axes.yaxis.set_label_coords(0.13 / width, 0.5 + y / height / 2, transform=figure.transFigure)
    return figure, axes


def _range(values: Floats) -> tuple[float, float]:
    """What the axis shows: a joint at rest is a flat line, not magnified noise."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    margin = max(0.05 * (high - low), (_MIN_RANGE_RAD - (high - low)) / 2)
    return low - margin, high + margin


def _log_axes(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True)
    svg = text.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' id="\w+_\d+"', "", svg)  # the same in every figure, and nothing refers to them
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)
    return svg.replace(INK, "currentColor").replace("<svg ", '<svg role="img" ', 1)
