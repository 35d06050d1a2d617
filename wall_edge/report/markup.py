"""HTML by functions: every string that is not :class:`Html` is escaped on its way in."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence


class Html(str):
    """Finished markup."""

    __slots__ = ()


def el(name: str, *children: object, **attributes: str) -> Html:
    """One element around ``children``; ``class_`` stands for the attribute ``class``."""
    inside = "".join(child if isinstance(child, Html) else html.escape(str(child)) for child in children)
    pairs = "".join(f' {key.rstrip("_")}="{html.escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{pairs}>" if name == "img" else f"<{name}{pairs}>{inside}</{name}>")


NOTHING = el("p", "nothing recorded", class_="nothing")


def section(title: str, *children: object) -> Html:
    """A part of the page under its heading; without children it says that nothing was recorded."""
    return el("section", el("h2", title), *(children or (NOTHING,)))


def table(head: Sequence[str], rows: Iterable[Sequence[object]], class_: str = "") -> Html:
    """Rows of cells under ``head``, which may be empty; it scrolls sideways where it is too wide."""
    body = [el("tr", *(el("td", cell) for cell in row)) for row in rows]
    if not body:
        return NOTHING
    top = [el("thead", el("tr", *(el("th", name) for name in head)))] if head else []
    return el("div", el("table", *top, el("tbody", *body), class_=class_), class_="wide")


def number(value: object, unit: str = "") -> str:
    """Three digits or so and the unit; a dash for None and NaN."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    size = abs(value)
    digits = 0 if isinstance(value, int) or size >= 1000 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f} {unit}".rstrip()


def swatch(colour: str, letter: str = "") -> Html:
    """A patch of ``colour`` for a legend."""
    return el("i", letter, class_="swatch", style=f"background:{colour}")


def page(title: str, *children: object) -> str:
    """The whole document."""
    head = el(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        el("title", title),
        el("style", Html(_CSS)),
    )
    return "<!doctype html>\n" + el("html", head, el("body", el("main", *children)), lang="en") + "\n"


_CSS = """
:root { color-scheme: light dark; --ink: #1d2229; --soft: #5d6570; --line: #dde1e6; --back: #fff;
  --card: #f6f7f9; --good: #17794c; --bad: #bd2c2c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa3ae; --line: #333a43;
  --back: #14171b; --card: #1b1f25; --good: #4cc38a; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 40px 0 8px; }
h3 { font-size: 16px; margin: 28px 0 4px; }
h4 { font-size: 14px; margin: 20px 0 4px; }
p { margin: 4px 0; }
.verdict { font-size: 17px; }
.facts, .note, .nothing, figcaption { color: var(--soft); font-size: 13px; }
.facts span { margin-right: 20px; display: inline-block; }
.good { color: var(--good); } .bad { color: var(--bad); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { text-align: left; font-size: 13px; font-weight: 500; color: var(--soft); }
th, td { padding: 5px 20px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.pairs { min-width: min(560px, 100%); }
.pairs td:first-child { color: var(--soft); }
.episodes { width: 100%; }
.episodes td:nth-child(3), .episodes td:nth-child(4), .episodes td:nth-child(6) { white-space: nowrap; }
ol { margin: 0; padding: 0; list-style: none; }
ol li { min-width: 210px; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(310px, 100%), 1fr)); gap: 10px; }
figure { margin: 0; background: var(--card); border-radius: 6px; padding: 8px; }
figure b { font-weight: 600; font-size: 14px; }
.pair { grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); }
svg { display: block; width: 100%; height: auto; }
.legend span { margin-right: 18px; display: inline-block; }
.swatch { display: inline-block; width: 18px; height: 15px; margin-right: 6px; border-radius: 3px;
  vertical-align: text-bottom; text-align: center; font: 600 11px/15px sans-serif; color: #111; }
.strip { display: flex; gap: 10px; overflow-x: auto; margin-top: 12px; }
.strip figure { flex: 1 0 120px; max-width: 180px; padding: 6px; }
.strip img { display: block; width: 100%; margin-bottom: 4px; image-rendering: pixelated; }
"""
